internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The network filter ext_authz as configured.
final class NetworkExtAuthzConfig: NetworkFilterConfig {
    static let namespace = "envoy.filters.network.ext_authz"

    let target: GRPCTarget
    let allowsOnFailure: Bool
    let includesCertificate: Bool
    let includesSession: Bool
    let condition: MetadataCondition?
    let namespaces: [String]
    let labels: [String: String]
    let total: MetricCounter
    let ok: MetricCounter
    let denied: MetricCounter
    let error: MetricCounter
    let failureModeAllowed: MetricCounter
    let closed: MetricCounter
    let disabled: MetricCounter
    let active: MetricGauge

    init(compiling message: NetworkExtAuthz, at path: String, context: CompileContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "stat_prefix", "grpc_service", "failure_mode_allow", "include_peer_certificate",
                "transport_api_version", "filter_enabled_metadata", "bootstrap_metadata_labels_key",
                "include_tls_session", "metadata_context_namespaces",
            ], at: path)
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "is missing") }
        if case .v2 = message.transportApiVersion {
            throw ConfigurationError(at: path + ".transport_api_version", "V2 is gone; use V3")
        }
        target = try GRPCTarget(compiling: message.grpcService, at: path + ".grpc_service", takesFormats: false)
        allowsOnFailure = message.failureModeAllow
        includesCertificate = message.includePeerCertificate
        includesSession = message.includeTlsSession
        condition = try message.filterEnabledMetadata.map { matcher throws(ConfigurationError) in
            try MetadataCondition(compiling: matcher, at: path + ".filter_enabled_metadata")
        }
        namespaces = message.metadataContextNamespaces
        labels = CheckRequestParts.labels(context.node, key: message.bootstrapMetadataLabelsKey)
        let scope = context.metrics.scope("ext_authz", message.statPrefix)
        total = scope.counter("total")
        ok = scope.counter("ok")
        denied = scope.counter("denied")
        error = scope.counter("error")
        failureModeAllowed = scope.counter("failure_mode_allowed")
        closed = scope.counter("cx_closed")
        disabled = scope.counter("disabled")
        active = scope.gauge("active")
    }

    func make(_ worker: Worker) -> any NetworkFilter { NetworkExtAuthzFilter(self, worker: worker) }

    /// What the service is asked about a connection.
    func request(_ connection: ConnectionInfo) -> CheckRequest {
        var attributes = AttributeContext()
        attributes.source = CheckRequestParts.source(
            connection, address: connection.remoteAddress, certificate: includesCertificate)
        attributes.destination = CheckRequestParts.destination(connection, labels: labels)
        attributes.metadataContext = CheckRequestParts.metadata(namespaces) { connection.facts.metadata[$0] }
        if includesSession, let tls = connection.tls {
            var session = AttributeContext.TLSSession()
            session.sni = tls.serverName ?? ""
            attributes.tlsSession = session
        }
        var message = CheckRequest()
        message.attributes = attributes
        return message
    }
}

/// Asks about connections, and closes those that the service does not allow.
///
/// It asks before the terminal filter begins, so that a server that speaks first says nothing to a client that is not
/// allowed; Envoy waits for the client's first byte.
final class NetworkExtAuthzFilter: NetworkFilter {
    private static let path = "/envoy.service.auth.v3.Authorization/Check"
    private static let timeout: Duration = .milliseconds(200)

    private let config: NetworkExtAuthzConfig
    private unowned let worker: Worker

    init(_ config: NetworkExtAuthzConfig, worker: Worker) {
        self.config = config
        self.worker = worker
    }

    func newConnection(_ connection: NetworkConnection) -> NetworkStep {
        let row = worker.index
        if let condition = config.condition,
            !condition.matches(connection.info.facts.metadata[condition.namespace])
        {
            config.disabled.add(row: row)
            return .next
        }
        config.total.add(row: row)
        config.active.add(row: row)
        let started = worker.loop.now
        let question = Question()
        // The call holds filter and connection until it ends, which its timeout makes certain.
        let call = GRPCCall(
            config.target, path: Self.path, message: config.request(connection.info).serialized(), worker: worker,
            stream: nil, timeout: config.target.timeout.map { $0 > .zero ? $0 : nil } ?? Self.timeout
        ) { [self] result in
            config.active.subtract(row: worker.index)
            let verdict: CheckVerdict
            switch result {
            case .success(let bytes):
                verdict = (try? CheckResponse(serialized: bytes)).map { CheckVerdict($0) } ?? .failed
            case .failure: verdict = .failed
            }
            let mayPass = answered(verdict, connection, after: worker.loop.now - started)
            question.verdict = mayPass
            guard question.isAsynchronous else { return }
            if mayPass { connection.resume() }
        }
        call.start()
        question.isAsynchronous = true
        return question.verdict == true ? .next : .stop
    }

    /// Whether the answer came before the filter had said what it does.
    private final class Question {
        var verdict: Bool?
        var isAsynchronous = false
    }

    /// True where the connection may go on; it is closed otherwise.
    private func answered(_ verdict: CheckVerdict, _ connection: NetworkConnection, after time: Duration) -> Bool {
        let row = worker.index
        if verdict.outcome == .ok, case .object(var members)? = verdict.metadata, !members.isEmpty {
            members["ext_authz_duration"] = .integer(Int64(clamping: time.wholeNanoseconds / 1_000_000))
            connection.info.facts.metadata[NetworkExtAuthzConfig.namespace] = .object(members)
        }
        switch verdict.outcome {
        case .ok:
            config.ok.add(row: row)
            return true
        case .denied:
            config.denied.add(row: row)
            config.closed.add(row: row)
            connection.close(details: "ext_authz_denied", flag: .unauthorizedExternalService)
        case .error:
            config.error.add(row: row)
            if config.allowsOnFailure {
                config.failureModeAllowed.add(row: row)
                return true
            }
            config.closed.add(row: row)
            connection.close(details: "ext_authz_error", flag: .unauthorizedExternalService)
        }
        return false
    }
}
