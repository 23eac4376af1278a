internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// Which server a `GrpcService` means.
struct GRPCDestination {
    /// The cluster and what else calls say.
    var grpc: GrpcService.EnvoyGrpc
    /// The path of the fields in `grpc`.
    var path: String
    /// The cluster, where it was made for the service; whoever uses the server holds it.
    var implicit: ImplicitCluster?
    /// What goes with each call besides `initial_metadata`.
    var metadata: [HeaderValue] = []
    /// What a file says, likewise; it is read anew for each call.
    var token: FileToken?

    /// A metadata entry whose value is in a file (`envoy.grpc_credentials.file_based_metadata`).
    struct FileToken: Hashable, Sendable {
        var name: String
        var prefix: String
        var file: String
    }

    /// The server of a service, `envoy_grpc` or `google_grpc`.
    ///
    /// - Parameter allowsFiles: Calls may read files.
    init(of service: GrpcService, at path: String, allowsFiles: Bool = false) throws(ConfigurationError) {
        switch service.targetSpecifier {
        case .envoyGrpc(let grpc):
            self.grpc = grpc
            self.path = path + ".envoy_grpc"
            guard !grpc.clusterName.isEmpty else {
                throw ConfigurationError(at: self.path + ".cluster_name", "is empty")
            }
        case .googleGrpc(let google): self = try GoogleGRPC(google, at: path + ".google_grpc").server(allowsFiles)
        case nil: throw ConfigurationError(at: path, "envoy_grpc with a cluster_name, or google_grpc, is needed")
        }
    }

    fileprivate init(_ grpc: GrpcService.EnvoyGrpc, _ implicit: ImplicitCluster, at path: String) {
        self.grpc = grpc
        self.implicit = implicit
        self.path = path
    }
}

extension GRPCDestination.FileToken {
    /// More than any token has.
    private static let bytesMax = 65_536

    /// The entry as the file has it now; nil where it cannot be read.
    func read() -> (name: String, value: String)? {
        guard let bytes = try? File.read(file), bytes.count <= Self.bytesMax else { return nil }
        var text = Substring(String(decoding: bytes, as: UTF8.self))
        while text.last?.isWhitespace == true { text.removeLast() }
        return (name, prefix + text)
    }
}

/// A `google_grpc` service: a cluster is made of its target, its credentials and its channel arguments.
private struct GoogleGRPC {
    private let message: GrpcService.GoogleGrpc
    private let path: String
    private let target: GRPCTargetName
    private var cluster = Cluster()
    private var metadata: [HeaderValue] = []
    private var token: GRPCDestination.FileToken?
    private var authority: String
    /// The name that the server's certificate must be good for.
    private var checkedName: String
    private var messageBytesMax: UInt32?
    private var isSecure = false

    init(_ message: GrpcService.GoogleGrpc, at path: String) throws(ConfigurationError) {
        self.message = message
        self.path = path
        try FieldCheck.check(
            message,
            reads: [
                "target_uri", "channel_credentials", "call_credentials", "stat_prefix", "credentials_factory_name",
                "per_stream_buffer_limit_bytes", "channel_args",
            ], at: path)
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "is empty") }
        target = try GRPCTargetName(message.targetUri, at: path + ".target_uri")
        authority = target.authority
        checkedName = target.host
        try takeCredentials()
        try takeArguments()
        try takeCallCredentials()
    }

    func server(_ allowsFiles: Bool) throws(ConfigurationError) -> GRPCDestination {
        if token != nil, !allowsFiles {
            throw ConfigurationError(
                at: path + ".call_credentials",
                "a token in a file is for streams to management servers; elsewhere write it in initial_metadata")
        }
        var grpc = GrpcService.EnvoyGrpc()
        let implicit = try ImplicitClusters.compiling.cluster(makeCluster(), at: path)
        grpc.clusterName = implicit.name
        grpc.authority = authority
        grpc.maxReceiveMessageLength = messageBytesMax
        grpc.skipEnvoyHeaders = true
        var server = GRPCDestination(grpc, implicit, at: path)
        server.metadata = metadata
        server.token = token
        return server
    }

    // MARK: Credentials

    private mutating func takeCredentials() throws(ConfigurationError) {
        let here = path + ".channel_credentials"
        switch message.channelCredentials?.credentialSpecifier {
        case nil: break  // As with Envoy: plain text.
        case .sslCredentials: isSecure = true
        case .localCredentials:
            guard target.isLocal else {
                throw ConfigurationError(
                    at: here + ".local_credentials", "they are for a unix socket or a loopback address")
            }
        case .googleDefault:
            throw ConfigurationError(at: here + ".google_default", "is not supported: no keys of Google's are here")
        }
    }

    private static let pluginName = "envoy.grpc_credentials.file_based_metadata"

    private mutating func takeCallCredentials() throws(ConfigurationError) {
        let factory = message.credentialsFactoryName
        guard ["", "envoy.grpc_credentials.default", Self.pluginName].contains(factory) else {
            throw ConfigurationError(at: path + ".credentials_factory_name", "\(factory) is not supported")
        }
        for (index, credentials) in message.callCredentials.enumerated() {
            let here = "\(path).call_credentials[\(index)]"
            switch credentials.credentialSpecifier {
            case .accessToken(let text):
                guard isSecure else {
                    throw ConfigurationError(
                        at: here + ".access_token", "a token goes by TLS alone: ssl_credentials are needed")
                }
                var field = HeaderValue()
                field.key = "authorization"
                field.value = "Bearer " + text
                metadata.append(field)
            case .fromPlugin(let plugin):
                guard plugin.name == Self.pluginName, factory == Self.pluginName else {
                    throw ConfigurationError(
                        at: here + ".from_plugin",
                        "only \(Self.pluginName), named in credentials_factory_name too, is supported")
                }
                guard token == nil else { throw ConfigurationError(at: here, "there is a token in a file already") }
                guard isSecure || target.isLocal else {
                    throw ConfigurationError(
                        at: here + ".from_plugin",
                        "a token goes by TLS or stays on the machine: ssl_credentials are needed")
                }
                token = try Self.token(plugin, at: here + ".from_plugin.typed_config")
            case nil: throw ConfigurationError(at: here, "access_token or from_plugin is needed")
            case .googleComputeEngine, .googleRefreshToken, .serviceAccountJwtAccess, .googleIam, .stsService:
                throw ConfigurationError(
                    at: here, "only access_token and from_plugin are supported (no credentials of Google's or STS)")
            }
        }
    }

    private static func token(
        _ plugin: GrpcService.GoogleGrpc.CallCredentials.MetadataCredentialsFromPlugin, at path: String
    ) throws(ConfigurationError) -> GRPCDestination.FileToken {
        guard case .typedConfig(let any)? = plugin.configType, any.holds(FileBasedMetadataConfig.self) else {
            throw ConfigurationError(at: path, "a FileBasedMetadataConfig is needed")
        }
        let message = try HTTPFilters.decode(any, as: FileBasedMetadataConfig.self, at: path)
        try FieldCheck.check(message, reads: ["secret_data", "header_key", "header_prefix"], at: path)
        guard case .filename(let file)? = message.secretData?.specifier, !file.isEmpty else {
            throw ConfigurationError(at: path + ".secret_data.filename", "a file is needed")
        }
        var probe = HeaderTable()
        let name = message.headerKey.isEmpty ? "authorization" : message.headerKey
        do throws(HTTPFieldError) {
            try probe.append(name, message.headerPrefix)
        } catch {
            throw ConfigurationError(at: path + ".header_key", "\(name): is no header field")
        }
        return GRPCDestination.FileToken(name: name, prefix: message.headerPrefix, file: file)
    }

    // MARK: Channel arguments

    private mutating func takeArguments() throws(ConfigurationError) {
        var keepAlive = KeepaliveSettings()
        for (name, value) in (message.channelArgs?.args ?? [:]).sorted(by: { $0.key < $1.key }) {
            let here = "\(path).channel_args.args[\(name)]"
            switch name {
            case "grpc.ssl_target_name_override":
                checkedName = try Self.text(value, at: here)
                authority = checkedName
            case "grpc.default_authority": authority = try Self.text(value, at: here)
            case "grpc.max_receive_message_length":
                let bytes = try Self.number(value, at: here)
                messageBytesMax = UInt32(exactly: bytes)
                guard messageBytesMax != nil else { throw ConfigurationError(at: here, "\(bytes) is no length") }
            case "grpc.keepalive_time_ms":
                keepAlive.interval = .milliseconds(max(1000, try Self.number(value, at: here)))
            case "grpc.keepalive_timeout_ms":
                keepAlive.timeout = .milliseconds(max(1000, try Self.number(value, at: here)))
            // It says the same as the lack of a bound on what is always so here.
            case "grpc.keepalive_permit_without_calls", "grpc.http2.max_pings_without_data":
                _ = try Self.number(value, at: here)
            default:
                throw ConfigurationError(
                    at: here,
                    "is not supported; known: grpc.default_authority, grpc.http2.max_pings_without_data, grpc.keepalive_permit_without_calls, grpc.keepalive_time_ms, grpc.keepalive_timeout_ms, grpc.max_receive_message_length, grpc.ssl_target_name_override"
                )
            }
        }
        var http2 = Http2ProtocolOptions()
        if keepAlive.interval != nil {
            keepAlive.timeout = keepAlive.timeout ?? .seconds(20)
            http2.connectionKeepalive = keepAlive
        }
        cluster.http2ProtocolOptions = http2
    }

    private static func text(
        _ value: GrpcService.GoogleGrpc.ChannelArgs.Value, at path: String
    ) throws(ConfigurationError) -> String {
        guard case .stringValue(let text)? = value.valueSpecifier, !text.isEmpty else {
            throw ConfigurationError(at: path, "a string_value is needed")
        }
        return text
    }

    private static func number(
        _ value: GrpcService.GoogleGrpc.ChannelArgs.Value, at path: String
    ) throws(ConfigurationError) -> Int64 {
        guard case .intValue(let number)? = value.valueSpecifier, number >= 0, number <= Int64(Int32.max) else {
            throw ConfigurationError(at: path, "an int_value from 0 on is needed")
        }
        return number
    }

    // MARK: The cluster

    private func makeCluster() -> Cluster {
        var cluster = cluster
        cluster.clusterDiscoveryType = .type(target.isName ? .strictDns : .static)
        cluster.perConnectionBufferLimitBytes = message.perStreamBufferLimitBytes
        var assignment = ClusterLoadAssignment()
        var locality = LocalityLbEndpoints()
        locality.lbEndpoints = target.addresses.map { address in
            var endpoint = Endpoint()
            endpoint.address = address
            var entry = LbEndpoint()
            entry.hostIdentifier = .endpoint(endpoint)
            return entry
        }
        assignment.endpoints = [locality]
        if case .sslCredentials(let credentials)? = message.channelCredentials?.credentialSpecifier {
            var tls = UpstreamTlsContext()
            tls.sni = checkedName
            tls.autoSniSanValidation = true
            var common = CommonTlsContext()
            var validation = CertificateValidationContext()
            if let roots = credentials.rootCerts {
                validation.trustedCa = roots
            } else {
                validation.systemRootCerts = .init()
            }
            common.validationContextType = .validationContext(validation)
            if credentials.certChain != nil || credentials.privateKey != nil {
                var certificate = TlsCertificate()
                certificate.certificateChain = credentials.certChain
                certificate.privateKey = credentials.privateKey
                common.tlsCertificates = [certificate]
            }
            common.alpnProtocols = ["h2"]
            tls.commonTlsContext = common
            var socket = TransportSocket()
            socket.name = "envoy.transport_sockets.tls"
            socket.configType = .typedConfig(AnyMessage(packing: tls))
            cluster.transportSocket = socket
        }
        assignment.clusterName = message.targetUri
        cluster.loadAssignment = assignment
        // Services that say the same share a cluster, and no others.
        cluster.name = "google_grpc:\(message.statPrefix):\(message.targetUri):\(Self.digest(cluster))"
        return cluster
    }

    /// Tells clusters of one target apart; the same in every process (FNV-1a).
    private static func digest(_ cluster: Cluster) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in cluster.serialized() { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return String(hash, radix: 16)
    }
}

/// The target of a gRPC channel (gRPC's naming: `dns:`, `ipv4:`, `ipv6:`, `unix:`; without a scheme it is `dns:`).
struct GRPCTargetName {
    /// Where connections go: names or addresses.
    private(set) var addresses: [Address] = []
    /// `:authority` of calls.
    private(set) var authority = ""
    /// The name that a certificate must be good for.
    private(set) var host = ""
    /// The addresses have names that are to be resolved.
    private(set) var isName = false
    /// Nothing leaves the machine.
    private(set) var isLocal = true
    /// What gRPC assumes.
    private static let standardPort: UInt16 = 443

    init(_ text: String, at path: String) throws(ConfigurationError) {
        guard !text.isEmpty else { throw ConfigurationError(at: path, "is empty") }
        var rest = text[...]
        var scheme = "dns"
        if let colon = text.firstIndex(of: ":") {
            let word = String(text[..<colon])
            let follows = text[text.index(after: colon)...]
            if ["dns", "ipv4", "ipv6", "unix"].contains(word) {
                (scheme, rest) = (word, follows)
            } else if follows.hasPrefix("//") || ["unix-abstract", "vsock", "xds"].contains(word) {
                throw ConfigurationError(at: path, "the scheme \(word) is not supported; known: dns, ipv4, ipv6, unix")
            }
        }
        if rest.hasPrefix("//") {
            // `dns://server/host`: the part between is another name server.
            let authorityPart = rest.dropFirst(2).prefix { $0 != "/" }
            guard authorityPart.isEmpty else {
                throw ConfigurationError(
                    at: path,
                    "a name server inside of the target is not supported: write typed_dns_resolver_config in the bootstrap"
                )
            }
            // The path of a socket keeps its slash.
            rest = rest.dropFirst(scheme == "unix" ? 2 : 3)
        }
        guard !rest.isEmpty else { throw ConfigurationError(at: path, "\"\(text)\" names no server") }
        if scheme == "unix" {
            var pipe = Pipe()
            pipe.path = String(rest)
            var address = Address()
            address.address = .pipe(pipe)
            addresses = [address]
            (authority, host) = ("localhost", "localhost")
            return
        }
        let parts = scheme == "dns" ? [rest] : rest.split(separator: ",", omittingEmptySubsequences: false)
        for part in parts { try add(String(part), scheme, at: path) }
        authority = String(parts.first ?? rest)
    }

    private mutating func add(_ text: String, _ scheme: String, at path: String) throws(ConfigurationError) {
        var name = text[...]
        var port = Self.standardPort
        let isBare = IPAddress(text)?.isV6 == true
        if !isBare, let colon = text.lastIndex(of: ":"), text[colon...].allSatisfy({ $0 != "]" }) {
            guard let number = UInt16(text[text.index(after: colon)...]), number > 0 else {
                throw ConfigurationError(at: path, "\"\(text)\" has no port from 1 to 65535")
            }
            port = number
            name = text[..<colon]
        }
        if name.first == "[", name.last == "]" { name = name.dropFirst().dropLast() }
        let ip = IPAddress(String(name))
        guard !name.isEmpty, scheme == "dns" || ip?.isV6 == (scheme == "ipv6") else {
            throw ConfigurationError(at: path, "\"\(text)\" is no address of \(scheme)")
        }
        if let ip { isLocal = isLocal && ip.isLoopback } else { (isName, isLocal) = (true, false) }
        if host.isEmpty { host = String(name) }
        var socket = EnvoyAPI.SocketAddress()
        socket.address = String(name)
        socket.portSpecifier = .portValue(UInt32(port))
        var address = Address()
        address.address = .socketAddress(socket)
        addresses.append(address)
    }
}
