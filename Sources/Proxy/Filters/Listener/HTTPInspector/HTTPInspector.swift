internal import Telemetry

/// The listener filter http_inspector as configured.
struct HTTPInspectorConfig: ListenerFilterConfig {
    func make(_ listener: ListenerRuntime) -> (any ListenerFilter)? {
        // Nobody asks: looking would only delay the connection.
        guard listener.config.matcher.usesApplicationProtocol else { return nil }
        return HTTPInspector(
            metrics: listener.worker.metrics.group("http_inspector", HTTPInspectorCell.self),
            row: listener.worker.index)
    }
}

/// The counters of all HTTP inspectors.
enum HTTPInspectorCell: Int, MetricCell {
    case read_error, http10_found, http11_found, http2_found, http_not_found
}

/// Looks for HTTP in the first bytes of a connection.
final class HTTPInspector: ListenerFilter {
    private let metrics: MetricGroup<HTTPInspectorCell>
    private let row: Int

    init(metrics: MetricGroup<HTTPInspectorCell>, row: Int) {
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
            metrics.add(version == "http/1.0" ? .http10_found : .http11_found, row: row)
            info.facts.applicationProtocols = [version]
        case .http2:
            metrics.add(.http2_found, row: row)
            info.facts.applicationProtocols = ["h2c"]
        case .other: metrics.add(.http_not_found, row: row)
        }
        return .next
    }
}
