internal import EnvoyAPI
internal import Serialization
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
    /// nil for plain text.
    let transport: DownstreamTransport?
    let message: FilterChain

    init(compiling message: FilterChain, at path: String, context: CompileContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "filter_chain_match", "filters", "name", "transport_socket", "transport_socket_connect_timeout",
            ], at: path)
        transport = try DownstreamTransport.compile(message, at: path, context: context)
        self.message = message
        name = message.name
        var filters: [any NetworkFilterConfig] = []
        var terminal: Terminal?
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

    /// Its HTTP filters whose configuration is discovered.
    var discoveredFilters: [DiscoveredFilterConfig] {
        guard case .http(let manager) = terminal else { return [] }
        return manager.filters.compactMap { $0 as? DiscoveredFilterConfig }
    }
}
