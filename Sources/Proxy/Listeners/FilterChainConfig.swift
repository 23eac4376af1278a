internal import EnvoyAPI
internal import Serialization
internal import Synchronization
internal import Upstream

/// A compiled filter chain: filters that may refuse a connection, and the one that serves it.
final class FilterChainConfig: Sendable {
    /// The network filter that serves the connection.
    enum Terminal: Sendable {
        case http(HTTPConnectionManagerConfig)
        case tcp(TCPProxyConfig)
        case echo
        case directResponse([UInt8])
    }

    let name: String
    /// The filters before the terminal one, in their order.
    let filters: [any NetworkFilterConfig]
    let terminal: Terminal
    /// Which of Istio's standard metrics are told of connections; nil for none.
    let standard: StandardSettings?
    /// nil for plain text.
    let transport: DownstreamTransport?
    /// As it was configured: a mesh's outbound listener has a chain for each service that speaks TCP.
    let packed: PackedMessage<FilterChain>
    var message: FilterChain { packed.message }
    let transportSocket: TransportSocket?
    /// What the listener lets its connections keep.
    let buffers: BufferLimits
    /// Whether a connection has put it to work on some loop.
    private let isAtWork = Atomic(false)

    /// It is at work on some loop from now on.
    func putToWork() { isAtWork.store(true, ordering: .relaxed) }

    init(
        compiling message: FilterChain, packed: PackedMessage<FilterChain>, at path: String, context: CompileContext
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "filter_chain_match", "filters", "name", "transport_socket", "transport_socket_connect_timeout",
            ], at: path)
        transport = try DownstreamTransport.compile(message, at: path, context: context)
        self.packed = packed
        buffers = context.buffers
        transportSocket = message.transportSocket
        // A copy of its own: the text lies among what was decoded with it, which would be held in memory by it, page for page.
        name = String(decoding: Array(message.name.utf8), as: UTF8.self)
        var filters: [any NetworkFilterConfig] = []
        var terminal: Terminal?
        var standard: StandardSettings?
        for (index, filter) in message.filters.enumerated() {
            let here = "\(path).filters[\(index)]"
            guard case .typedConfig(let any) = filter.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            if terminal != nil {
                throw ConfigurationError(
                    at: here, "a filter behind \(message.filters[index - 1].name), which is terminal")
            }
            if let found = try Self.terminal(any, at: here, context: context) {
                terminal = found
            } else if any.name == IstioStatsConfig.schema.name {
                standard = try StandardSettings(
                    compiling: HTTPFilters.unpack(any, as: IstioStatsConfig.self, at: here),
                    at: here + ".typed_config", context: context)
            } else {
                filters.append(try NetworkFilters.compile(any, at: here, context: context))
            }
        }
        guard let terminal else {
            throw ConfigurationError(
                at: path + ".filters",
                "the last filter must serve the connection: http_connection_manager, tcp_proxy, echo or direct_response"
            )
        }
        self.filters = filters
        self.terminal = terminal
        self.standard = standard
    }

    private static func terminal(
        _ any: AnyMessage, at here: String, context: CompileContext
    ) throws(ConfigurationError) -> Terminal? {
        switch any.name {
        case HttpConnectionManager.schema.name:
            let manager = try HTTPFilters.unpack(any, as: HttpConnectionManager.self, at: here)
            return .http(
                try HTTPConnectionManagerConfig(compiling: manager, at: here + ".typed_config", context: context))
        case TcpProxy.schema.name:
            let proxy = try HTTPFilters.unpack(any, as: TcpProxy.self, at: here)
            return .tcp(try TCPProxyConfig(compiling: proxy, at: here + ".typed_config", context: context))
        case Echo.schema.name: return .echo
        case NetworkDirectResponse.schema.name:
            let message = try HTTPFilters.unpack(any, as: NetworkDirectResponse.self, at: here)
            return .directResponse(try DirectResponse.bytes(message.response, at: here + ".typed_config.response"))
        default: return nil
        }
    }

    /// Whether it can be compiled anew without anybody noticing: it only carries bytes and has had no connection yet.
    var isIdle: Bool {
        guard case .tcp = terminal, filters.isEmpty, transport == nil else { return false }
        return !isAtWork.load(ordering: .relaxed)
    }

    /// The connection manager, if that is what serves.
    var manager: HTTPConnectionManagerConfig? {
        if case .http(let manager) = terminal { return manager }
        return nil
    }

    /// The names of the route configurations it waits for; those of discovered scopes are the store's.
    var rdsNames: [String] {
        guard case .http(let manager) = terminal else { return [] }
        switch manager.routes {
        case .inline: return []
        case .rds(let name): return [name]
        case .scoped(let scoping):
            guard case .inline(let scopes) = scoping.source else { return [] }
            return scopes.compactMap(\.routesName)
        }
    }

    /// Where its scopes are discovered; nil: nowhere.
    var scopesSource: DiscoverySource? {
        guard case .http(let manager) = terminal, case .scoped(let scoping) = manager.routes,
            case .discovered(let source) = scoping.source
        else { return nil }
        return source
    }

    /// The keys that its HTTP filters fetch.
    var remoteKeySets: [RemoteKeySet] {
        guard case .http(let manager) = terminal else { return [] }
        return manager.allFilters.compactMap { $0 as? JWTAuthnFilterConfig }.flatMap { filter in
            filter.issuers.values.compactMap { provider in
                guard case .remote(let keys) = provider.keys else { return nil }
                return keys
            }
        }
    }

    /// Its HTTP filters whose configuration is discovered.
    var discoveredFilters: [DiscoveredFilterConfig] {
        guard case .http(let manager) = terminal else { return [] }
        return manager.allFilters.compactMap { $0 as? DiscoveredFilterConfig }
    }
}
