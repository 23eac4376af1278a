internal import EnvoyAPI
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// The transport sockets of a cluster: one for all hosts, or by what their metadata says.
final class UpstreamTransport: ClusterTransport {
    /// One transport socket.
    struct Socket: Sendable {
        var name = ""
        /// nil is plain text.
        var context: TransportContext?
        var serverName = ""
        var usesHostName = false
        /// The certificate must be good for the name sent as SNI.
        var checksServerName = false
        /// What connections begin with; nil is nothing.
        var preface: ProxyProtocolUpstream?
        /// What connections to internal listeners bring along.
        var passed: [Passed] = []
    }

    private struct Match: Sendable {
        /// What the endpoint's `envoy.transport_socket_match` must hold.
        var wanted: [String: JSON]
        var socket: Socket
    }

    private let matches: [Match]
    private let fallback: Socket
    static let metadataNamespace = "envoy.transport_socket_match"

    /// Compiles a cluster's transport sockets; nil when all is plain text.
    static func compile(
        _ message: Cluster, config: ClusterConfig, at path: String, context: CompileContext
    ) throws(ConfigurationError) -> UpstreamTransport? {
        let protocols: [String] =
            switch config.codec {
            case .http1: []
            case .http2: ["h2"]
            default: ["h2", "http/1.1"]
            }
        var matches: [Match] = []
        for (index, match) in message.transportSocketMatches.enumerated() {
            let here = "\(path).transport_socket_matches[\(index)]"
            guard let socket = match.transportSocket else {
                throw ConfigurationError(at: here + ".transport_socket", "it is needed")
            }
            var wanted: [String: JSON] = [:]
            if case .object(let members) = match.match ?? .object([:]) { wanted = members }
            matches.append(
                Match(
                    wanted: wanted,
                    socket: try compile(
                        socket, name: match.name, protocols, at: here + ".transport_socket", context: context)))
        }
        let fallback =
            try message.transportSocket.map { socket throws(ConfigurationError) in
                try compile(socket, name: "default", protocols, at: path + ".transport_socket", context: context)
            } ?? Socket(name: "default")
        let sockets = matches.map(\.socket) + [fallback]
        if config.serverNames.areChecked, sockets.contains(where: { $0.context?.verifiesPeers == false }) {
            throw ConfigurationError(
                at: path + ".transport_socket", "auto_san_validation needs a validation_context with trusted_ca")
        }
        if config.codec == .automatic, sockets.contains(where: { $0.context == nil }) {
            throw ConfigurationError(
                at: path + ".transport_socket", "auto_config chooses by ALPN: every transport socket must be tls")
        }
        if sockets.allSatisfy({ $0.context == nil && $0.preface == nil && $0.passed.isEmpty }) { return nil }
        var hasher = Hasher()
        hasher.combine(message.transportSocket)
        hasher.combine(message.transportSocketMatches)
        return UpstreamTransport(matches, fallback, hasher.finalize())
    }

    private init(_ matches: [Match], _ fallback: Socket, _ fingerprint: Int) {
        self.fingerprint = fingerprint
        self.matches = matches
        self.fallback = fallback
        hasPrefaces = fallback.preface != nil || matches.contains { $0.socket.preface != nil }
    }

    /// Differs where what is configured differs.
    let fingerprint: Int
    /// Whether connections to some host begin with a header.
    let hasPrefaces: Bool

    private static func compile(
        _ socket: TransportSocket, name: String, _ protocols: [String], at path: String, context: CompileContext
    ) throws(ConfigurationError) -> Socket {
        guard case .typedConfig(let any) = socket.configType else {
            guard socket.name == "envoy.transport_sockets.raw_buffer" else {
                throw ConfigurationError(at: path + ".typed_config", "it is needed")
            }
            return Socket(name: name)
        }
        switch any.name {
        case RawBuffer.schema.name: return Socket(name: name)
        case UpstreamTlsContext.schema.name:
            let message = try HTTPFilters.unpack(any, as: UpstreamTlsContext.self, at: path)
            return Socket(
                name: name,
                context: try TransportContext(
                    .upstream(message, applicationProtocols: protocols), at: path + ".typed_config",
                    secrets: context.secrets),
                serverName: message.sni, usesHostName: message.autoHostSni,
                checksServerName: message.autoSniSanValidation)
        case ProxyProtocolUpstreamTransport.schema.name:
            let message = try HTTPFilters.unpack(any, as: ProxyProtocolUpstreamTransport.self, at: path)
            let here = path + ".typed_config"
            try FieldCheck.check(message, reads: ["config", "transport_socket"], at: here)
            guard let inner = message.transportSocket else {
                throw ConfigurationError(at: here + ".transport_socket", "it is needed")
            }
            var socket = try compile(inner, name: name, protocols, at: here + ".transport_socket", context: context)
            guard socket.preface == nil else {
                throw ConfigurationError(at: here + ".transport_socket", "a connection begins with one header")
            }
            socket.preface = try ProxyProtocolUpstream(compiling: message.config, at: here + ".config")
            return socket
        case InternalUpstreamTransport.schema.name:
            let message = try HTTPFilters.unpack(any, as: InternalUpstreamTransport.self, at: path)
            let here = path + ".typed_config"
            guard let inner = message.transportSocket else {
                throw ConfigurationError(at: here + ".transport_socket", "it is needed")
            }
            var socket = try compile(inner, name: name, protocols, at: here + ".transport_socket", context: context)
            for (index, source) in message.passthroughMetadata.enumerated() {
                let place = "\(here).passthrough_metadata[\(index)]"
                guard !source.name.isEmpty else {
                    throw ConfigurationError(at: place + ".name", "a name is needed")
                }
                switch source.kind?.kind {
                case .host: socket.passed.append(Passed(isOfHost: true, name: source.name))
                case .cluster: socket.passed.append(Passed(isOfHost: false, name: source.name))
                case .request, .route, nil:
                    throw ConfigurationError(at: place + ".kind", "host or cluster; a connection belongs to no request")
                }
            }
            return socket
        default:
            throw ConfigurationError(
                at: path,
                "transport socket \(any.typeURL) is not supported; supported: raw_buffer, tls, upstream_proxy_protocol, internal_upstream"
            )
        }
    }

    /// The transport socket for a host.
    func socket(for host: Host) -> Socket { socket(metadata: host.endpoint.metadata) }

    /// The transport socket for an endpoint with such metadata.
    func socket(metadata: JSON?) -> Socket {
        guard !matches.isEmpty else { return fallback }
        var labels: [String: JSON] = [:]
        if case .object(let namespaces) = metadata ?? .null,
            case .object(let members) = namespaces[Self.metadataNamespace] ?? .null
        {
            labels = members
        }
        for match in matches where match.wanted.allSatisfy({ labels[$0.key] == $0.value }) { return match.socket }
        return fallback
    }

    /// Contexts, for readiness.
    var contexts: [TransportContext] { (matches.map(\.socket) + [fallback]).compactMap(\.context) }
}

extension UpstreamTransport.Socket {
    /// An engine for a new connection to a host; nil for plain text.
    ///
    /// - Parameters:
    ///   - wanted: the name that follows the request.
    ///   - isChecked: the certificate must be good for that name.
    ///   - protocols: the ALPN names that follow the request, separated by commas.
    func begin(
        _ host: Host, pool: BlockPool, serverName wanted: String? = nil, isChecked: Bool = false,
        offering protocols: String? = nil
    ) throws(TLSError) -> TLSTransport? {
        guard let context else { return nil }
        guard let current = context.current else { throw TLSError("TLS", context.problem) }
        let offered = protocols?.split(separator: ",").map(String.init)
        // A session belongs to the protocol that was agreed on with it.
        let session = protocols.map { "|\($0)" } ?? ""
        if let wanted {
            // An address is no SNI (RFC 6066 §3), but may be checked.
            let isAddress = IPAddress(wanted) != nil
            let engine = try TLSEngine(
                current, serverName: isChecked ? wanted : nil, indicates: isChecked || isAddress ? nil : wanted,
                sessionKey: "\(wanted)|\(host.address)\(session)", applicationProtocols: offered)
            return log(TLSTransport(engine, pool: pool), context, host)
        }
        let name = usesHostName && !host.endpoint.hostname.isEmpty ? host.endpoint.hostname : serverName
        let sni: String? = name.isEmpty ? nil : name
        let engine = try TLSEngine(
            current, serverName: checksServerName ? sni : nil, indicates: checksServerName ? nil : sni,
            sessionKey: "\(name)|\(host.address)\(session)", applicationProtocols: offered)
        return log(TLSTransport(engine, pool: pool), context, host)
    }

    private func log(_ tls: TLSTransport, _ context: TransportContext, _ host: Host) -> TLSTransport {
        tls.engine.logsKeys = context.logsKeys(local: nil, remote: IO.SocketAddress(host.address))
        return tls
    }
}

extension CompileContext {
    /// Compiles a cluster with its transport sockets.
    func cluster(_ message: Cluster, at path: String) throws(ConfigurationError) -> ClusterConfig {
        var message = message
        if message.upstreamBindConfig == nil { message.upstreamBindConfig = bindConfig }
        var config = try ClusterConfig(compiling: message, path: path)
        if case .dynamicForwardProxy(_, let isInsecureAllowed) = config.discovery, message.transportSocket != nil {
            // Who is meant by a name must be who answers.
            config.serverNames.followRequests = true
            config.serverNames.areChecked = !isInsecureAllowed || config.serverNames.areChecked
        }
        for (name, any) in message.typedExtensionProtocolOptions.sorted(by: { $0.key < $1.key })
        where any.holds(UpstreamHttpProtocolOptions.self) {
            let place = "\(path.isEmpty ? "" : path + ".")typed_extension_protocol_options[\(name)]"
            let options = try HTTPFilters.decode(any, as: UpstreamHttpProtocolOptions.self, at: place)
            config.httpFilters = try UpstreamFilterChain(
                compiling: options.httpFilters, at: place + ".http_filters", statPrefix: config.observedName,
                isOfCluster: true, context: self)
        }
        config.transport = try UpstreamTransport.compile(message, config: config, at: path, context: self)
        return config
    }
}
