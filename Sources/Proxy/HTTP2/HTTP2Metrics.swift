internal import HTTP
internal import Telemetry

/// The counters of HTTP/2 codecs: `http2.…` for clients, `cluster.NAME.http2.…` for hosts.
struct HTTP2Metrics: Sendable {
    private let counters: [MetricCounter]

    init(_ scope: MetricScope) { counters = HTTP2Counter.allCases.map { scope.counter("\($0)") } }

    func add(_ counter: HTTP2Counter, row: Int) { counters[counter.rawValue].add(row: row) }
}
