internal import EnvoyAPI
internal import Telemetry
internal import Upstream

/// The listener filter tls_inspector as configured.
struct TLSInspectorConfig: ListenerFilterConfig {
    let helloBytesMax: Int
    /// Something that looks like TLS and cannot be read ends the connection: some chain asks for TLS, and the
    /// connection must not land in one for plain text (ATK-27).
    let refusesUndecided: Bool

    init(refusesUndecided: Bool) {
        helloBytesMax = ClientHelloParser.standardLimit
        self.refusesUndecided = refusesUndecided
    }

    init(compiling message: TlsInspector, at path: String, refusesUndecided: Bool) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "enable_ja3_fingerprinting", "enable_ja4_fingerprinting",
                // A buffer of the pool holds 16 KiB from the start.
                "initial_read_buffer_size",
                "close_connection_on_client_hello_parsing_errors", "max_client_hello_size",
            ], at: path)
        for (name, value) in [
            ("enable_ja3_fingerprinting", message.enableJa3Fingerprinting),
            ("enable_ja4_fingerprinting", message.enableJa4Fingerprinting),
        ] where value == true {
            throw ConfigurationError(at: "\(path).\(name)", "fingerprints are not computed; remove the field")
        }
        let limit = message.maxClientHelloSize ?? UInt32(ClientHelloParser.standardLimit)
        guard limit > 0, limit <= UInt32(ClientHelloParser.standardLimit) else {
            throw ConfigurationError(at: path + ".max_client_hello_size", "\(limit) is not in 1 to 65536")
        }
        helloBytesMax = Int(limit)
        self.refusesUndecided = refusesUndecided || message.closeConnectionOnClientHelloParsingErrors
    }

    func make(_ listener: ListenerRuntime) -> (any ListenerFilter)? {
        TLSInspector(
            self, metrics: listener.worker.metrics.group("tls_inspector", TLSInspectorCell.self),
            row: listener.worker.index)
    }
}

/// The counters of all TLS inspectors.
enum TLSInspectorCell: Int, MetricCell {
    case client_hello_too_large, tls_found, tls_not_found, alpn_found, alpn_not_found, sni_found, sni_not_found
}

/// Looks for a ClientHello in the first bytes of a connection.
final class TLSInspector: ListenerFilter {
    private let config: TLSInspectorConfig
    private let metrics: MetricGroup<TLSInspectorCell>
    private let row: Int
    private var parser: ClientHelloParser

    init(_ config: TLSInspectorConfig, metrics: MetricGroup<TLSInspectorCell>, row: Int) {
        self.config = config
        self.metrics = metrics
        self.row = row
        parser = ClientHelloParser(limit: config.helloBytesMax)
    }

    func inspect(
        _ bytes: UnsafeRawBufferPointer, _ info: inout ConnectionInfo, isLast: Bool, consumed: inout Int
    ) -> ListenerFilterStep {
        switch parser.parse(bytes) {
        case .undecided:
            guard isLast, !bytes.isEmpty else { return .more }
            return undecided()
        case .notTLS:
            metrics.add(.tls_not_found, row: row)
            return .next
        case .malformed: return undecided()
        case .tooLarge:
            metrics.add(.client_hello_too_large, row: row)
            return .close("client_hello_too_large")
        case .hello(let hello):
            metrics.add(.tls_found, row: row)
            info.facts.transportProtocol = "tls"
            if hello.serverName.isEmpty {
                metrics.add(.sni_not_found, row: row)
            } else {
                metrics.add(.sni_found, row: row)
                info.facts.serverName = hello.serverName
            }
            if hello.applicationProtocols.isEmpty {
                metrics.add(.alpn_not_found, row: row)
            } else {
                metrics.add(.alpn_found, row: row)
                info.facts.applicationProtocols = hello.applicationProtocols
            }
            return .next
        }
    }

    private func undecided() -> ListenerFilterStep {
        metrics.add(.tls_not_found, row: row)
        return config.refusesUndecided ? .close("tls_inspector_undecided") : .next
    }
}
