internal import EnvoyAPI
internal import Serialization
internal import Telemetry

/// From the values of metrics to OTLP's messages: which are told, since when they count, and in how many messages.
///
/// Pure. With deltas a value counts from the last message that arrived: what a lost one would have told is in the next one.
struct MetricExport: Sendable {
    /// A value to be told.
    struct Point: Sendable {
        var name: String
        var attributes: [(name: String, value: String)]
        var value: MetricSample.Value

        /// Everything of a process that has been used, under the names that a sink wants.
        ///
        /// - Parameters:
        ///   - prefix: In front of each name.
        ///   - usesExtractedName: Names are without what tags say.
        ///   - emitsAttributes: Tags are attributes.
        static func all(
            of proxy: ProxyServer, prefix: String = "", usesExtractedName: Bool, emitsAttributes: Bool
        ) async -> [Point] {
            var points: [Point] = []
            let stats = proxy.stats
            for sample in await MetricReport.samples(proxy) where sample.isUsed && stats.shows(sample.name.dotted) {
                let (left, tags) = stats.tags.extract(sample.name)
                points.append(
                    Point(
                        name: prefix + (usesExtractedName ? left : sample.name.dotted),
                        attributes: emitsAttributes ? tags.map { ($0.name, $0.value) } : [], value: sample.value))
            }
            for (name, labels, value) in StandardMetricsText.values(proxy.metrics.standard, shows: stats.shows) {
                points.append(
                    Point(
                        name: prefix + name,
                        attributes: labels.sorted { $0.key < $1.key }.filter { !$0.value.isEmpty }.map {
                            ($0.key, $0.value)
                        },
                        value: value))
            }
            return points
        }
    }

    /// What stands for a series.
    struct Key: Hashable, Sendable {
        var name: String
        var attributes: [String]
    }

    /// What of a series has arrived, and until when.
    private struct Told: Sendable {
        var value: MetricSample.Value
        var time: UInt64
    }

    /// One message.
    struct Batch: Sendable {
        var message: [UInt8]
        var points: Int
        fileprivate var told: [Key: MetricSample.Value]
        fileprivate var time: UInt64
    }

    /// Points at most of one export (ATK-19).
    static let pointsMax = 50_000
    /// Points and about so many bytes at most of one message: receivers take 4 MiB by default.
    private static let messagePoints = 4_000
    private static let messageBytes = 1 << 20

    private let config: MetricSinkConfig
    private let resource: [UInt8]
    private var told: [Key: Told] = [:]

    init(_ config: MetricSinkConfig) {
        self.config = config
        resource = config.resource.serialized()
    }

    /// The messages of an export.
    ///
    /// - Parameters:
    ///   - points: The values now.
    ///   - now: Nanoseconds since 1970.
    ///   - started: When counting began.
    /// - Returns: The messages, and how many points there was no room for.
    mutating func batches(_ points: [Point], now: UInt64, started: UInt64) -> (batches: [Batch], leftOut: Int) {
        var batches: [Batch] = []
        var metrics: [String: OTLPMetric] = [:]
        var batch = Batch(message: [], points: 0, told: [:], time: now)
        var bytes = 0
        var seen: Set<Key> = []
        var leftOut = 0
        func close() {
            guard batch.points > 0 else { return }
            batch.message = message(metrics)
            batches.append(batch)
            metrics = [:]
            batch = Batch(message: [], points: 0, told: [:], time: now)
            bytes = 0
        }
        for point in points {
            let key = Key(
                name: point.name, attributes: point.attributes.map { "\($0.name)=\($0.value)" })
            guard seen.count < Self.pointsMax else {
                leftOut += 1
                continue
            }
            guard seen.insert(key).inserted else { continue }
            guard add(point, key, now: now, started: started, to: &metrics) else { continue }
            batch.points += 1
            if isDelta(point.value) { batch.told[key] = point.value }
            bytes += 64 + point.name.utf8.count
            for attribute in point.attributes { bytes += 8 + attribute.name.utf8.count + attribute.value.utf8.count }
            if case .histogram(let snapshot) = point.value { bytes += snapshot.counts.count * 16 }
            let most = min(Self.messagePoints, config.messagePointsMax ?? Self.messagePoints)
            if batch.points >= most || bytes >= Self.messageBytes { close() }
        }
        close()
        // What is not there any more begins anew when it comes back.
        if told.count > seen.count { told = told.filter { seen.contains($0.key) } }
        return (batches, leftOut)
    }

    /// A message has arrived.
    mutating func arrived(_ batch: Batch) {
        for (key, value) in batch.told { told[key] = Told(value: value, time: batch.time) }
    }

    private func isDelta(_ value: MetricSample.Value) -> Bool {
        switch value {
        case .counter: config.sendsCounterDeltas
        case .histogram: config.sendsHistogramDeltas
        default: false
        }
    }

    /// Whether there is something to tell.
    private func add(
        _ point: Point, _ key: Key, now: UInt64, started: UInt64, to metrics: inout [String: OTLPMetric]
    ) -> Bool {
        let before = isDelta(point.value) ? told[key] : nil
        let begin = Fixed64(rawValue: before?.time ?? started)
        let attributes = point.attributes.map { OTLPKeyValue($0.name, $0.value) }
        switch point.value {
        case .text: return false
        case .gauge(let value):
            var number = NumberDataPoint()
            number.attributes = attributes
            number.timeUnixNano = Fixed64(rawValue: now)
            number.value = .asInt(Fixed64(rawValue: UInt64(bitPattern: value)))
            metrics[point.name, default: OTLPMetric(named: point.name)].append(gauge: number)
        case .counter(let value):
            var old: UInt64 = 0
            if case .counter(let known)? = before?.value { old = known }
            // Counted anew after a reset: then all of it is new.
            let grown = isDelta(point.value) ? (value >= old ? value - old : value) : value
            guard !isDelta(point.value) || grown > 0 else { return false }
            var number = NumberDataPoint()
            number.attributes = attributes
            number.startTimeUnixNano = begin
            number.timeUnixNano = Fixed64(rawValue: now)
            number.value = .asInt(Fixed64(rawValue: min(grown, UInt64(Int64.max))))
            metrics[point.name, default: OTLPMetric(named: point.name)].append(sum: number, temporality(point.value))
        case .histogram(let value):
            var snapshot = value
            if isDelta(point.value), case .histogram(let old)? = before?.value { snapshot = value.grown(since: old) }
            guard !isDelta(point.value) || snapshot.count > 0 else { return false }
            var number = HistogramDataPoint()
            number.attributes = attributes
            number.startTimeUnixNano = begin
            number.timeUnixNano = Fixed64(rawValue: now)
            number.count = Fixed64(rawValue: snapshot.count)
            number.sum = snapshot.sum
            number.explicitBounds = snapshot.bounds
            number.bucketCounts = snapshot.counts.map { Fixed64(rawValue: $0) }
            metrics[point.name, default: OTLPMetric(named: point.name)].append(
                histogram: number, temporality(point.value))
        }
        return true
    }

    private func temporality(_ value: MetricSample.Value) -> AggregationTemporality {
        isDelta(value) ? .delta : .cumulative
    }

    private func message(_ metrics: [String: OTLPMetric]) -> [UInt8] {
        var scope = ScopeMetrics()
        scope.scope = InstrumentationScope()
        scope.scope?.name = "skein-proxy"
        scope.scope?.version = Product.version
        scope.metrics = metrics.sorted { $0.key < $1.key }.map(\.value)
        var all: [UInt8] = []
        ProtobufParts.field(1, resource, to: &all)
        ProtobufParts.field(2, scope.serialized(), to: &all)
        var request: [UInt8] = []
        ProtobufParts.field(1, all, to: &request)
        return request
    }
}

extension HistogramSnapshot {
    /// What has come since an earlier look at the same distribution; all of it where that has been reset meanwhile.
    func grown(since old: HistogramSnapshot) -> HistogramSnapshot {
        guard bounds == old.bounds, counts.count == old.counts.count, zip(counts, old.counts).allSatisfy({ $0 >= $1 })
        else { return self }
        return HistogramSnapshot(
            bounds: bounds, counts: zip(counts, old.counts).map { $0 - $1 }, sum: max(0, sum - old.sum))
    }
}

// What is there is taken out while it grows: what two hold is copied with each point.
extension OTLPMetric {
    fileprivate init(named name: String) {
        self.init()
        self.name = name
    }

    fileprivate mutating func append(gauge point: NumberDataPoint) {
        var gauge = OTLPGauge()
        if case .gauge(let known)? = data { gauge = known }
        data = nil
        gauge.dataPoints.append(point)
        data = .gauge(gauge)
    }

    fileprivate mutating func append(sum point: NumberDataPoint, _ temporality: AggregationTemporality) {
        var sum = OTLPSum()
        if case .sum(let known)? = data { sum = known }
        data = nil
        sum.isMonotonic = true
        sum.aggregationTemporality = temporality
        sum.dataPoints.append(point)
        data = .sum(sum)
    }

    fileprivate mutating func append(histogram point: HistogramDataPoint, _ temporality: AggregationTemporality) {
        var histogram = OTLPHistogram()
        if case .histogram(let known)? = data { histogram = known }
        data = nil
        histogram.aggregationTemporality = temporality
        histogram.dataPoints.append(point)
        data = .histogram(histogram)
    }
}
