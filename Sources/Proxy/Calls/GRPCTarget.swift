internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// A gRPC service that filters call: a compiled `GrpcService`.
struct GRPCTarget: Sendable {
    let cluster: String
    /// The cluster is made for this service and others that say the same.
    let implicit: ImplicitCluster?
    let authority: String
    var metadata: [CallField]
    /// Nil where the configuration leaves it to the filter.
    let timeout: Duration?
    let retry: Upstream.RetryPolicy?
    let messageBytesMax: Int
    let addsEnvoyHeaders: Bool

    init(
        compiling service: GrpcService?, at path: String, takesFormats: Bool = true, isStream: Bool = false
    ) throws(ConfigurationError) {
        guard let service else { throw ConfigurationError(at: path, "a gRPC service is needed") }
        try FieldCheck.check(
            service,
            reads: ["envoy_grpc", "google_grpc", "initial_metadata", "retry_policy", isStream ? "" : "timeout"],
            at: path)
        let server = try GRPCDestination(of: service, at: path)
        let grpc = server.grpc
        try FieldCheck.check(
            grpc,
            reads: ["cluster_name", "authority", "retry_policy", "max_receive_message_length", "skip_envoy_headers"],
            at: server.path)
        implicit = server.implicit
        cluster = grpc.clusterName
        authority = grpc.authority.isEmpty ? grpc.clusterName : grpc.authority
        var head = RequestHead()
        do throws(HTTPFieldError) {
            try head.setAuthority(Array(authority.utf8).span.bytes)
        } catch {
            throw ConfigurationError(at: server.path + ".authority", "\"\(authority)\" is no authority")
        }
        metadata = try CallField.list(
            service.initialMetadata + server.metadata.map(\.asFormat), at: path + ".initial_metadata")
        if !takesFormats, let index = metadata.firstIndex(where: { $0.value.literal == nil }) {
            throw ConfigurationError(
                at: "\(path).initial_metadata[\(index)].value", "formats are for HTTP filters: there is no request here"
            )
        }
        if let timeout = service.timeout {
            guard timeout >= .zero else { throw ConfigurationError(at: path + ".timeout", "is negative") }
            self.timeout = timeout
        } else {
            timeout = nil
        }
        if let policy = service.retryPolicy ?? grpc.retryPolicy {
            retry = try Upstream.RetryPolicy.ofCall(
                policy, at: path + (service.retryPolicy == nil ? ".envoy_grpc.retry_policy" : ".retry_policy"))
        } else {
            retry = nil
        }
        messageBytesMax = grpc.maxReceiveMessageLength.map { Int($0) } ?? CallLimits.messageBytes
        addsEnvoyHeaders = !grpc.skipEnvoyHeaders
    }

    /// The head of a call.
    func head(_ path: String, stream: HTTPStream?, timeout: Duration?) -> RequestHead? {
        var table = HeaderTable()
        for field in metadata { field.add(to: &table, stream) }
        guard var head = try? GRPCRequest.head(path: path, authority: authority, metadata: table) else { return nil }
        head.setScheme("http")
        head.body = .chunked
        let milliseconds = timeout.map { max(Int(clamping: $0.wholeNanoseconds / 1_000_000), 1) }
        if let milliseconds { try? head.headers.append("grpc-timeout", "\(milliseconds)m") }
        if addsEnvoyHeaders {
            try? head.headers.append("x-envoy-internal", "true")
            if let milliseconds {
                try? head.headers.append("x-envoy-expected-rq-timeout-ms", "\(milliseconds)")
            }
        }
        return head
    }
}

extension HeaderValue {
    /// The same where values are formats.
    fileprivate var asFormat: HeaderValue {
        var field = self
        field.value = value.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
        return field
    }
}
