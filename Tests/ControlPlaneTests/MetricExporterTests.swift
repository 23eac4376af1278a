import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import ControlPlane

@Suite("The control plane's metrics by OTLP")
struct MetricExporterTests {
    private static let page = """
        # HELP a_total Counted.
        # TYPE a_total counter
        a_total{kind="x"} 5
        a_total{kind="y"} 7
        # TYPE level gauge
        level 2.5
        # TYPE seconds histogram
        seconds_bucket{path="/",le="0.1"} 3
        seconds_bucket{path="/",le="1"} 5
        seconds_bucket{path="/",le="+Inf"} 6
        seconds_sum{path="/"} 4.5
        seconds_count{path="/"} 6
        # TYPE answer_seconds summary
        answer_seconds{quantile="0.5"} 0.25
        answer_seconds_sum 12.5
        answer_seconds_count 40
        strange NaN

        """

    @Test("a page becomes sums, gauges and histograms, with when they began")
    func conversion() throws {
        let (bytes, points, leftOut) = MetricPage.request(Array(Self.page.utf8), now: 50, started: 20)
        #expect(points == 6 && leftOut == 0)
        let message = try ExportMetricsServiceRequest(serialized: bytes)
        let resource = try #require(message.resourceMetrics.first)
        #expect(resource.resource?.attributes.contains { $0.key == "service.name" } == true)
        let metrics = Dictionary(uniqueKeysWithValues: resource.scopeMetrics.flatMap(\.metrics).map { ($0.name, $0) })
        #expect(metrics.keys.sorted() == ["a_total", "answer_seconds", "answer_seconds_quantile", "level", "seconds"])
        guard case .sum(let sum)? = metrics["a_total"]?.data, case .gauge(let gauge)? = metrics["level"]?.data,
            case .histogram(let histogram)? = metrics["seconds"]?.data
        else {
            Issue.record("other kinds")
            return
        }
        #expect(sum.isMonotonic && sum.aggregationTemporality == .cumulative && sum.dataPoints.count == 2)
        #expect(
            sum.dataPoints.first?.startTimeUnixNano.rawValue == 20 && sum.dataPoints.first?.timeUnixNano.rawValue == 50)
        #expect(gauge.dataPoints.first?.value == .asDouble(2.5))
        let point = try #require(histogram.dataPoints.first)
        #expect(point.explicitBounds == [0.1, 1] && point.bucketCounts.map(\.rawValue) == [3, 2, 1])
        #expect(point.count.rawValue == 6 && point.sum == 4.5 && point.attributes.map(\.key) == ["path"])
        guard case .histogram(let summary)? = metrics["answer_seconds"]?.data, let whole = summary.dataPoints.first
        else {
            Issue.record("a summary's sum and count are cumulative")
            return
        }
        #expect(summary.aggregationTemporality == .cumulative && whole.explicitBounds == [])
        #expect(whole.count.rawValue == 40 && whole.sum == 12.5 && whole.bucketCounts.map(\.rawValue) == [40])
    }

    @Test("ATK-19 a page of any size makes a bounded message; what is left out is counted")
    func bounds() {
        var page = "# TYPE g gauge\n"
        for number in 0..<MetricPage.pointsMax + 50 { page += "g{n=\"\(number)\"} 1\n" }
        let made = MetricPage.request(Array(page.utf8), now: 1, started: 1)
        #expect(made.points == MetricPage.pointsMax && made.leftOut == 50)
    }

    @Test("a URL that is none is refused")
    func addresses() throws {
        let loop = try EventLoop()
        for url in ["", "https://127.0.0.1:4318", "http://name:4318", "127.0.0.1:4318"] {
            #expect(MetricExporter(url, on: loop) == nil, "\(url)")
        }
        #expect(MetricExporter("http://127.0.0.1:4318", on: loop) != nil)
    }
}
