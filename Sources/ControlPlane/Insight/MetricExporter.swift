import EnvoyAPI
import HTTP
import IO
import Insight
import Serialization
import Telemetry

/// Sends the control plane's own page of metrics to a collector by OTLP over HTTP (`--metrics-otlp URL`), cumulative, every ten seconds.
///
/// What nobody takes is tried again, twice; then the next export tells the same. `@unchecked Sendable`: used on one loop (docs/threads.md).
final class MetricExporter: @unchecked Sendable {
    private static let interval = Duration.seconds(10)
    private static let patience = Duration.seconds(5)
    private static let attempts = 3
    private static let pause = Duration.milliseconds(250)

    private let place: WebhookAddress
    private let address: IO.SocketAddress
    private let loop: EventLoop
    private let log = Logger("otlp")
    private let started = MetricExporter.now
    private var task: Task<Void, Never>?
    private var hasFailed = false
    /// The page.
    var page: () -> String = { "" }
    /// Exports that arrived, that did not, and further tries.
    private(set) var counts = (
        sent: UInt64(0), failed: UInt64(0), retried: UInt64(0), points: UInt64(0), leftOut: UInt64(0)
    )

    /// Nil when the URL is none of `http://ADDRESS[:PORT][/PATH]`.
    init?(_ url: String, on loop: EventLoop) {
        guard let place = WebhookAddress(url), let address = IO.SocketAddress(place.authority) else { return nil }
        self.place = place
        self.address = address
        self.loop = loop
    }

    private static var now: UInt64 { UInt64(max(0, InsightService.seconds) * 1e9) }

    func start() {
        task = Task(executorPreference: loop) { [weak self, loop] in
            while !Task.isCancelled {
                await loop.sleep(for: Self.interval)
                guard !Task.isCancelled, let self else { return }
                await self.export()
            }
        }
    }

    func stop() { task?.cancel() }

    private func export() async {
        let (message, points, leftOut) = MetricPage.request(Array(page().utf8), now: Self.now, started: started)
        counts.leftOut += UInt64(leftOut)
        var pause = Self.pause
        for attempt in 0..<Self.attempts {
            if attempt > 0 {
                counts.retried += 1
                await loop.sleep(for: pause)
                pause *= 2
            }
            guard await post(message) else { continue }
            counts.sent += 1
            counts.points += UInt64(points)
            hasFailed = false
            return
        }
        counts.failed += 1
        if !hasFailed { log.warning("metrics were not taken", ["address": "\(address)"]) }
        hasFailed = true
    }

    private func post(_ body: [UInt8]) async -> Bool {
        let (loop, address) = (loop, address)
        let client = HTTPClient(authority: place.authority, on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                return try await SocketStream.connect(to: address, on: loop, timeout: Self.patience)
            } catch {
                throw HTTPError.connection(error)
            }
        }
        client.headTimeout = Self.patience
        defer { client.close() }
        do throws(HTTPError) {
            var request = HTTPClientRequest(.post, place.path == "/" ? "/v1/metrics" : place.path, body: body)
            do throws(HTTPFieldError) {
                try request.headers.append("content-type", "application/x-protobuf")
            } catch { throw .field(error) }
            let response = try await client.send(request)
            defer { response.close() }
            return (200..<300).contains(response.status)
        } catch {
            log.debug("an export failed", ["error": "\(error)"])
            return false
        }
    }

    /// The exporter's own figures, as a page of metrics.
    var metrics: String {
        let figures: [(name: String, help: String, value: UInt64)] = [
            ("skein_otlp_exports_total", "Exports of metrics that arrived.", counts.sent),
            ("skein_otlp_failed_exports_total", "Exports of metrics that nobody took.", counts.failed),
            ("skein_otlp_retries_total", "Further tries of exports.", counts.retried),
            ("skein_otlp_points_total", "Values in exports that arrived.", counts.points),
            ("skein_otlp_points_left_out_total", "Values that were too many for an export.", counts.leftOut),
        ]
        return figures.map {
            "# HELP \($0.name) \($0.help)\n# TYPE \($0.name) counter\n\($0.name) \($0.value)\n"
        }.joined()
    }
}

/// From a page of metrics in Prometheus' text format to a message of OTLP.
enum MetricPage {
    /// Values at most of one message (ATK-19).
    static let pointsMax = 20_000

    /// The message, how many values are in it, and how many there was no room for.
    ///
    /// - Parameters:
    ///   - now: Nanoseconds since 1970, as `started`, when counting began.
    static func request(
        _ page: [UInt8], now: UInt64, started: UInt64
    ) -> (message: [UInt8], points: Int, leftOut: Int) {
        var types: [String: String] = [:]
        for line in String(decoding: page, as: UTF8.self).split(separator: "\n") where line.hasPrefix("# TYPE ") {
            let words = line.split(separator: " ")
            if words.count == 4 { types[String(words[2])] = String(words[3]) }
        }
        var sums: [String: [NumberDataPoint]] = [:]
        var gauges: [String: [NumberDataPoint]] = [:]
        var histograms: [String: [[Label]: HistogramParts]] = [:]
        var (points, leftOut) = (0, 0)
        var parser = ExpositionParser()
        parser.parse(page) { sample in
            guard points < pointsMax else {
                leftOut += 1
                return
            }
            for (suffix, part) in [("_bucket", HistogramParts.Part.bucket), ("_sum", .sum), ("_count", .count)] {
                let family = String(sample.name.dropLast(suffix.utf8.count))
                // A summary's sum and count are a histogram without bounds: as a gauge they would not be counters.
                guard sample.name.hasSuffix(suffix), ["histogram", "summary"].contains(types[family]) else { continue }
                let labels = sample.labels.filter { $0.name != "le" }.sorted()
                histograms[family, default: [:]][labels, default: HistogramParts()].add(sample, part)
                return
            }
            guard sample.value.isFinite else { return }
            points += 1
            var number = NumberDataPoint()
            number.attributes = sample.labels.map { attribute($0) }
            number.timeUnixNano = Fixed64(rawValue: now)
            number.value = .asDouble(sample.value)
            if types[sample.name] == "counter" {
                number.startTimeUnixNano = Fixed64(rawValue: started)
                sums[sample.name, default: []].append(number)
            } else {
                // A name is one metric: the quantiles of a summary stand beside its sum and count.
                let suffix = types[sample.name] == "summary" ? "_quantile" : ""
                gauges[sample.name + suffix, default: []].append(number)
            }
        }
        var metrics: [String: OTLPMetric] = [:]
        func add(_ name: String, _ data: OTLPMetric.Data) {
            var metric = OTLPMetric()
            metric.name = name
            metric.data = data
            metrics[name] = metric
        }
        for (name, points) in sums {
            var sum = OTLPSum()
            sum.isMonotonic = true
            sum.aggregationTemporality = .cumulative
            sum.dataPoints = points
            add(name, .sum(sum))
        }
        for (name, points) in gauges {
            var gauge = OTLPGauge()
            gauge.dataPoints = points
            add(name, .gauge(gauge))
        }
        for (family, series) in histograms {
            var histogram = OTLPHistogram()
            histogram.aggregationTemporality = .cumulative
            for (labels, parts) in series where points < pointsMax {
                points += 1
                var point = parts.point
                point.attributes = labels.map { attribute($0) }
                point.startTimeUnixNano = Fixed64(rawValue: started)
                point.timeUnixNano = Fixed64(rawValue: now)
                histogram.dataPoints.append(point)
            }
            add(family, .histogram(histogram))
        }
        return (message(metrics), points, leftOut + parser.refused)
    }

    private static func attribute(_ label: Label) -> OTLPKeyValue {
        var value = AnyValue()
        value.value = .stringValue(label.value)
        var attribute = OTLPKeyValue()
        attribute.key = label.name
        attribute.value = value
        return attribute
    }

    private static func message(_ metrics: [String: OTLPMetric]) -> [UInt8] {
        var resource = OTLPResource()
        resource.attributes = [
            attribute(Label("service.name", "skein-control-plane")),
            attribute(Label("host.name", Environment.hostName)),
            attribute(Label("telemetry.sdk.name", "skein")), attribute(Label("telemetry.sdk.language", "swift")),
            attribute(Label("telemetry.sdk.version", Product.version)),
        ]
        var scope = ScopeMetrics()
        scope.metrics = metrics.sorted { $0.key < $1.key }.map(\.value)
        var all = ResourceMetrics()
        all.resource = resource
        all.scopeMetrics = [scope]
        var request = ExportMetricsServiceRequest()
        request.resourceMetrics = [all]
        return request.serialized()
    }
}

/// The lines of one histogram.
private struct HistogramParts {
    enum Part { case bucket, sum, count }

    private var buckets: [(bound: Double, count: Double)] = []
    private var sum = 0.0
    private var count = 0.0

    mutating func add(_ sample: ExpositionParser.Sample, _ part: Part) {
        switch part {
        case .bucket:
            guard let bound = sample.label("le").flatMap({ NumberText.parse($0) }) else { return }
            buckets.append((bound, sample.value))
        case .sum: sum = sample.value
        case .count: count = sample.value
        }
    }

    /// Buckets that are not cumulated; the last takes what is above all bounds.
    var point: HistogramDataPoint {
        func whole(_ value: Double) -> UInt64 { value >= 1 && value < 1e18 ? UInt64(value) : 0 }
        var point = HistogramDataPoint()
        let sorted = buckets.filter { $0.bound.isFinite }.sorted { $0.bound < $1.bound }
        var below: UInt64 = 0
        for bucket in sorted {
            let all = max(below, whole(bucket.count))
            point.explicitBounds.append(bucket.bound)
            point.bucketCounts.append(Fixed64(rawValue: all - below))
            below = all
        }
        let all = max(below, whole(count))
        point.bucketCounts.append(Fixed64(rawValue: all - below))
        point.count = Fixed64(rawValue: all)
        point.sum = sum.isFinite ? sum : 0
        return point
    }
}
