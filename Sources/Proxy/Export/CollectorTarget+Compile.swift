internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

extension CollectorTarget {
    /// A collector that speaks gRPC.
    init(
        compiling service: GrpcService?, transport: Transport, at path: String
    ) throws(ConfigurationError) {
        guard let service else { throw ConfigurationError(at: path, "a gRPC service is needed") }
        try FieldCheck.check(service, reads: ["envoy_grpc", "google_grpc", "timeout", "initial_metadata"], at: path)
        let server = try GRPCDestination(of: service, at: path)
        let grpc = server.grpc
        try FieldCheck.check(grpc, reads: ["cluster_name", "authority", "skip_envoy_headers"], at: server.path)
        self.init(
            cluster: grpc.clusterName, authority: grpc.authority.isEmpty ? grpc.clusterName : grpc.authority,
            transport: transport)
        implicit = server.implicit
        for (index, field) in (service.initialMetadata + server.metadata).enumerated() {
            try add(field, at: "\(path).initial_metadata[\(index)]")
        }
        if let timeout = service.timeout, timeout > .zero { self.timeout = timeout }
    }

    /// A collector that takes POSTs.
    init(
        compiling service: HttpService, contentType: String, at path: String
    ) throws(ConfigurationError) {
        try FieldCheck.check(service, reads: ["http_uri", "request_headers_to_add"], at: path)
        guard let uri = service.httpUri, case .cluster(let cluster) = uri.httpUpstreamType, !cluster.isEmpty else {
            throw ConfigurationError(at: path + ".http_uri.cluster", "a cluster is needed")
        }
        let (authority, route) = Self.split(uri.uri)
        self.init(
            cluster: cluster, authority: authority.isEmpty ? cluster : authority,
            transport: .http(path: route, contentType: contentType))
        if let timeout = uri.timeout, timeout > .zero { self.timeout = timeout }
        for (index, option) in service.requestHeadersToAdd.enumerated() {
            guard let field = option.header else { continue }
            try add(field, at: "\(path).request_headers_to_add[\(index)].header")
        }
    }

    private mutating func add(_ field: HeaderValue, at path: String) throws(ConfigurationError) {
        var probe = HeaderTable()
        do throws(HTTPFieldError) {
            try probe.append(field.key, field.value)
        } catch {
            throw ConfigurationError(at: path, "\(field.key): is no header field")
        }
        headers.append(HeaderField(name: field.key, value: field.value))
    }

    /// `http://host:4318/v1/traces` as authority and path.
    static func split(_ uri: String) -> (authority: String, path: String) {
        var rest = uri[...]
        if let scheme = uri.firstRange(of: "://") { rest = uri[scheme.upperBound...] }
        guard let slash = rest.firstIndex(of: "/") else { return (String(rest), "/") }
        return (String(rest[..<slash]), String(rest[slash...]))
    }
}

extension String {
    /// Where a text first occurs.
    func firstRange(of text: String) -> Range<String.Index>? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
            index = self.index(after: index)
        }
        return nil
    }
}

/// Messages that are put together from parts which are encoded already.
enum ProtobufParts {
    /// A field that holds a message or a text.
    static func field(_ number: UInt8, _ content: [UInt8], to bytes: inout [UInt8]) {
        bytes.append(number << 3 | 2)
        var count = UInt64(content.count)
        while count >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: count) | 0x80)
            count >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: count))
        bytes += content
    }
}
