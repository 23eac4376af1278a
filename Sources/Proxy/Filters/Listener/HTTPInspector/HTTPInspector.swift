internal import Telemetry

/// The listener filter http_inspector as configured.
struct HTTPInspectorConfig: ListenerFilterConfig {
    let metrics: HTTPInspectorMetrics

    init(metrics: MetricSet) { self.metrics = HTTPInspectorMetrics(metrics.scope("http_inspector")) }

    func make(_ listener: ListenerRuntime) -> (any ConnectionInspector)? {
        // Nobody asks: looking would only delay the connection.
        guard listener.config.matcher.usesApplicationProtocol else { return nil }
        return HTTPInspector(metrics: metrics, row: listener.worker.index)
    }
}

/// The counters of all HTTP inspectors.
struct HTTPInspectorMetrics: Sendable {
    let readError: MetricCounter
    let http10Found: MetricCounter
    let http11Found: MetricCounter
    let http2Found: MetricCounter
    let httpNotFound: MetricCounter

    init(_ scope: MetricScope) {
        readError = scope.counter("read_error")
        http10Found = scope.counter("http10_found")
        http11Found = scope.counter("http11_found")
        http2Found = scope.counter("http2_found")
        httpNotFound = scope.counter("http_not_found")
    }
}

/// Looks for HTTP in the first bytes of a connection.
final class HTTPInspector: ConnectionInspector {
    private let metrics: HTTPInspectorMetrics
    private let row: Int

    init(metrics: HTTPInspectorMetrics, row: Int) {
        self.metrics = metrics
        self.row = row
    }

    func inspect(
        _ bytes: UnsafeRawBufferPointer, _ info: inout ConnectionInfo, isLast: Bool, consumed: inout Int
    ) -> ListenerFilterStep {
        if info.facts.transportProtocol == "tls" { return .next }
        switch HTTPSniffer.look(bytes) {
        case .undecided: return .more
        case .http1(let version):
            (version == "http/1.0" ? metrics.http10Found : metrics.http11Found).add(row: row)
            info.facts.applicationProtocols = [version]
        case .http2:
            metrics.http2Found.add(row: row)
            info.facts.applicationProtocols = ["h2c"]
        case .other: metrics.httpNotFound.add(row: row)
        }
        return .next
    }
}
