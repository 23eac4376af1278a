internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled `Listener`.
final class ListenerConfig: Sendable {
    let name: String
    let address: IO.SocketAddress
    let bindsToPort: Bool
    let restoresOriginalDestination: Bool
    /// Connections whose original destination is another listener's address go there (`use_original_dst`).
    let handsOff: Bool
    let inspectsHTTP: Bool
    /// Destinations that are not sniffed: an immutable tree of port ranges, asked once for each connection.
    let inspectorDisabled: ListenerFilterChainMatchPredicate?
    let listenerFiltersTimeout: Duration?
    let continuesOnTimeout: Bool
    let isTransparent: Bool
    let backlog: Int32
    let chains: [FilterChainConfig]
    let defaultChain: FilterChainConfig?
    let matcher: FilterChainMatcher
    let accessLogs: [AccessLogConfig]
    let message: Listener

    /// `old`: the same listener's former version, from which unchanged filter chains are taken over as they are.
    init(
        compiling message: Listener, at path: String, context: CompileContext, old: ListenerConfig? = nil
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "name", "address", "filter_chains", "default_filter_chain", "use_original_dst", "listener_filters",
                "listener_filters_timeout", "continue_on_listener_filters_timeout", "transparent", "bind_to_port",
                "deprecated_v1", "access_log", "tcp_backlog_size",
            ], at: path)
        self.message = message
        name = message.name.isEmpty ? path : message.name
        if case .socketAddress(let socket) = message.address?.address, !socket.networkNamespaceFilepath.isEmpty {
            throw ConfigurationError(
                at: path + ".address.socket_address.network_namespace_filepath", "not supported yet")
        }
        address = try IO.SocketAddress(compiling: message.address, at: path + ".address")
        bindsToPort = message.bindToPort ?? message.deprecatedV1?.bindToPort ?? true
        isTransparent = message.transparent ?? false
        backlog = Int32(clamping: message.tcpBacklogSize ?? 4096)
        (restoresOriginalDestination, inspectsHTTP, inspectorDisabled) = try Self.compile(
            message.listenerFilters, at: path + ".listener_filters", usesOriginalDst: message.useOriginalDst ?? false)
        handsOff = message.useOriginalDst ?? false
        let timeout = message.listenerFiltersTimeout ?? .seconds(15)
        listenerFiltersTimeout = timeout > .zero ? timeout : nil
        continuesOnTimeout = message.continueOnListenerFiltersTimeout
        accessLogs = try AccessLogConfig.compile(message.accessLog, at: path + ".access_log")

        var known: [FilterChain: FilterChainConfig] = [:]
        for chain in (old?.chains ?? []) + [old?.defaultChain].compactMap({ $0 }) { known[chain.message] = chain }
        var chains: [FilterChainConfig] = []
        for (index, chain) in message.filterChains.enumerated() {
            if let same = known[chain] {
                chains.append(same)
            } else {
                chains.append(
                    try FilterChainConfig(compiling: chain, at: "\(path).filter_chains[\(index)]", context: context))
            }
        }
        self.chains = chains
        if let chain = message.defaultFilterChain {
            if let same = known[chain] {
                defaultChain = same
            } else {
                defaultChain = try FilterChainConfig(
                    compiling: chain, at: path + ".default_filter_chain", context: context)
            }
        } else {
            defaultChain = nil
        }
        if chains.isEmpty && defaultChain == nil && !(handsOff) {
            throw ConfigurationError(at: path + ".filter_chains", "at least one filter chain is needed")
        }
        matcher = try FilterChainMatcher(message.filterChains.map(\.filterChainMatch), at: path)
    }

    private static func compile(
        _ filters: [ListenerFilter], at path: String, usesOriginalDst: Bool
    ) throws(ConfigurationError) -> (Bool, Bool, ListenerFilterChainMatchPredicate?) {
        var restores = usesOriginalDst
        var inspects = false
        var inspectorDisabled: ListenerFilterChainMatchPredicate?
        for (index, filter) in filters.enumerated() {
            let here = "\(path)[\(index)]"
            guard case .typedConfig(let any) = filter.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            switch any.name {
            case OriginalDst.schema.name:
                guard filter.filterDisabled == nil else {
                    throw ConfigurationError(at: here + ".filter_disabled", "not supported for original_dst")
                }
                restores = true
            case HttpInspector.schema.name:
                inspects = true
                inspectorDisabled = filter.filterDisabled
            default:
                throw ConfigurationError(
                    at: here,
                    "listener filter \(any.typeURL) is not supported yet; supported: original_dst, http_inspector")
            }
        }
        return (restores, inspects, inspectorDisabled)
    }

    /// Whether connections to a port are sniffed.
    func inspectsHTTP(port: UInt16?) -> Bool {
        inspectsHTTP && inspectorDisabled.map { !Self.matches($0, port) } ?? true
    }

    private static func matches(_ predicate: ListenerFilterChainMatchPredicate, _ port: UInt16?) -> Bool {
        switch predicate.rule {
        case .orMatch(let set): set.rules.contains { matches($0, port) }
        case .andMatch(let set): set.rules.allSatisfy { matches($0, port) }
        case .notMatch(let inner): !matches(inner, port)
        case .anyMatch(let any): any
        case .destinationPortRange(let range):
            port.map { Int64($0) >= Int64(range.start) && Int64($0) < Int64(range.end) } ?? false
        case nil: false
        }
    }

    /// Every chain, the default one included.
    var allChains: [FilterChainConfig] { chains + [defaultChain].compactMap { $0 } }
}

/// A compiled filter chain: its last filter is all there is so far.
final class FilterChainConfig: Sendable {
    /// The network filter that serves the connection.
    enum Terminal: Sendable {
        case http(HTTPConnectionManagerConfig)
        case tcp(TCPProxyConfig)
    }

    let name: String
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
        guard let filter = message.filters.first else {
            throw ConfigurationError(at: path + ".filters", "a filter is needed: http_connection_manager or tcp_proxy")
        }
        let here = path + ".filters[0]"
        guard case .typedConfig(let any) = filter.configType else {
            throw ConfigurationError(at: here, "typed_config is needed")
        }
        switch any.name {
        case HttpConnectionManager.schema.name:
            let manager = try HTTPFilters.unpack(any, as: HttpConnectionManager.self, at: here)
            terminal = .http(
                try HTTPConnectionManagerConfig(compiling: manager, at: here + ".typed_config", context: context))
        case TcpProxy.schema.name:
            let proxy = try HTTPFilters.unpack(any, as: TcpProxy.self, at: here)
            terminal = .tcp(try TCPProxyConfig(compiling: proxy, at: here + ".typed_config"))
        default:
            throw ConfigurationError(
                at: here,
                "unknown network filter \(any.typeURL); supported: http_connection_manager, tcp_proxy")
        }
        if message.filters.count > 1 {
            throw ConfigurationError(at: path + ".filters[1]", "a filter behind \(filter.name), which is terminal")
        }
    }

    /// The name of the route configuration it waits for.
    var rdsName: String? {
        if case .http(let manager) = terminal, case .rds(let name) = manager.routes { return name }
        return nil
    }
}
