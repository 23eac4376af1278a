internal import EnvoyAPI
internal import Telemetry
internal import Upstream

/// The listener filter tls_inspector as configured.
struct TLSInspectorConfig: ListenerFilterConfig {
    let helloBytesMax: Int
    /// Something that looks like TLS and cannot be read ends the connection: some chain asks for TLS, and the
    /// connection must not land in one for plain text (ATK-27).
    let refusesUndecided: Bool
    let metrics: TLSInspectorMetrics

    init(refusesUndecided: Bool, metrics: MetricSet) {
        self.metrics = TLSInspectorMetrics(metrics.scope("tls_inspector"))
        helloBytesMax = ClientHelloParser.standardLimit
        self.refusesUndecided = refusesUndecided
    }

    init(compiling message: TlsInspector, at path: String, refusesUndecided: Bool, metrics: MetricSet)
        throws(ConfigurationError)
    {
        self.metrics = TLSInspectorMetrics(metrics.scope("tls_inspector"))
        try FieldCheck.check(
            message,
            reads: [
                "enable_ja3_fingerprinting", "enable_ja4_fingerprinting",
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

    func make(_ listener: ListenerRuntime) -> (any ConnectionInspector)? {
        TLSInspector(self, row: listener.worker.index)
    }
}

/// The counters of all TLS inspectors.
struct TLSInspectorMetrics: Sendable {
    let clientHelloTooLarge: MetricCounter
    let tlsFound: MetricCounter
    let tlsNotFound: MetricCounter
    let alpnFound: MetricCounter
    let alpnNotFound: MetricCounter
    let sniFound: MetricCounter
    let sniNotFound: MetricCounter

    init(_ scope: MetricScope) {
        clientHelloTooLarge = scope.counter("client_hello_too_large")
        tlsFound = scope.counter("tls_found")
        tlsNotFound = scope.counter("tls_not_found")
        alpnFound = scope.counter("alpn_found")
        alpnNotFound = scope.counter("alpn_not_found")
        sniFound = scope.counter("sni_found")
        sniNotFound = scope.counter("sni_not_found")
    }
}

/// Looks for a ClientHello in the first bytes of a connection.
final class TLSInspector: ConnectionInspector {
    private let config: TLSInspectorConfig
    private let metrics: TLSInspectorMetrics
    private let row: Int
    private var parser: ClientHelloParser

    init(_ config: TLSInspectorConfig, row: Int) {
        self.config = config
        metrics = config.metrics
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
            metrics.tlsNotFound.add(row: row)
            return .next
        case .malformed: return undecided()
        case .tooLarge:
            metrics.clientHelloTooLarge.add(row: row)
            return .close("client_hello_too_large")
        case .hello(let hello):
            metrics.tlsFound.add(row: row)
            info.facts.transportProtocol = "tls"
            if hello.serverName.isEmpty {
                metrics.sniNotFound.add(row: row)
            } else {
                metrics.sniFound.add(row: row)
                info.facts.serverName = hello.serverName
            }
            if hello.applicationProtocols.isEmpty {
                metrics.alpnNotFound.add(row: row)
            } else {
                metrics.alpnFound.add(row: row)
                info.facts.applicationProtocols = hello.applicationProtocols
            }
            return .next
        }
    }

    private func undecided() -> ListenerFilterStep {
        metrics.tlsNotFound.add(row: row)
        return config.refusesUndecided ? .close("tls_inspector_undecided") : .next
    }
}
