internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled `Listener`.
final class ListenerConfig: Sendable {
    let name: String
    /// Where it listens: `address`, then `additional_addresses`; never empty.
    let addresses: [ListenerAddress]
    /// The first of its addresses, which metrics, logs and tools know it by.
    let address: IO.SocketAddress
    /// The filter of a UDP listener; nil for all others.
    let udp: UDPProxyConfig?
    let bindsToPort: Bool
    /// Its connections come from clusters of this very process (`internal_listener`), and from nowhere else.
    let isInternal: Bool
    /// Connections whose original destination is another listener's address go there (`use_original_dst`).
    let handsOff: Bool
    let filters: ListenerFilters
    let listenerFiltersTimeout: Duration?
    let continuesOnTimeout: Bool
    let isTransparent: Bool
    /// It may bind to an address that no interface has yet (`freebind`).
    let isFreebind: Bool
    /// `ignore_global_conn_limit`.
    let ignoresConnectionLimit: Bool
    let backlog: Int32
    /// `exact_balance`: workers never differ by more than one connection.
    let balancesExactly: Bool
    let chains: [FilterChainConfig]
    let defaultChain: FilterChainConfig?
    let matcher: FilterChainMatcher
    let accessLogs: [AccessLogConfig]
    /// `per_connection_buffer_limit_bytes`.
    let buffers: BufferLimits
    let trafficDirection: TrafficDirection
    /// What metrics carry in place of the address.
    let statPrefix: String?
    /// How many versions before this one took chains over, since all of them were made together.
    ///
    /// Chains that come one after the other lie apart, among what each version was decoded to. So now and then all that nobody uses are made anew, side by
    /// side: 400 that came one by one take 1.25 MiB instead of 1.34 (1.65 instead of 1.97 before free memory was given back).
    let patches: Int
    /// As it was configured, but for the filter chains, which keep their own.
    private let frame: PackedMessage<Listener>

    /// As it was configured.
    var message: Listener {
        var message = frame.message
        message.filterChains = chains.map(\.message)
        message.defaultFilterChain = defaultChain?.message
        return message
    }

    /// `old`: the same listener's former version, from which unchanged filter chains are taken over as they are.
    init(
        compiling message: Listener, at path: String, context: CompileContext, old: ListenerConfig? = nil
    ) throws(ConfigurationError) {
        var context = context
        context.isEgress = message.trafficDirection == .outbound
        context.isIngress = message.trafficDirection == .inbound
        buffers = BufferLimits(
            listener: message.perConnectionBufferLimitBytes, usesEnvoyDefaults: context.usesEnvoyDefaults)
        context.buffers = buffers
        try FieldCheck.check(
            message,
            reads: [
                "name", "address", "filter_chains", "filter_chain_matcher", "default_filter_chain", "use_original_dst",
                "listener_filters",
                "listener_filters_timeout", "continue_on_listener_filters_timeout", "transparent", "bind_to_port",
                "deprecated_v1", "access_log", "tcp_backlog_size", "ignore_global_conn_limit", "freebind",
                "connection_balance_config", "udp_listener_config", "socket_options", "stat_prefix",
                "per_connection_buffer_limit_bytes", "internal_listener", "additional_addresses",
            ], at: path)
        trafficDirection = message.trafficDirection
        statPrefix = message.statPrefix.isEmpty ? nil : message.statPrefix
        var bare = message
        bare.filterChains = []
        bare.defaultFilterChain = nil
        frame = PackedMessage(bare)
        switch message.connectionBalanceConfig?.balanceType {
        case nil: balancesExactly = false
        case .exactBalance: balancesExactly = true
        case .extendBalance:
            throw ConfigurationError(
                at: path + ".connection_balance_config.extend_balance", "not supported; exact_balance is")
        }
        name = message.name.isEmpty ? path : message.name
        isInternal = try Self.isInternal(message, at: path)
        udp = try Self.udpProxy(message, at: path, context: context)
        let options = try Self.socketOptions(
            message.socketOptions, isDatagram: udp != nil, at: path + ".socket_options")
        let first = try ListenerAddress(
            compiling: message.address, as: isInternal ? .unix("envoy://\(message.name)/") : nil, options: options,
            at: path + ".address")
        address = first.address
        addresses = try [first] + ListenerAddress.additional(message, options: options, at: path)
        bindsToPort = !isInternal && message.bindToPort ?? message.deprecatedV1?.bindToPort ?? true
        isTransparent = message.transparent ?? false
        isFreebind = message.freebind ?? false
        ignoresConnectionLimit = message.ignoreGlobalConnLimit
        backlog = Int32(clamping: message.tcpBacklogSize ?? 4096)
        handsOff = message.useOriginalDst ?? false
        let timeout = message.listenerFiltersTimeout ?? .seconds(15)
        listenerFiltersTimeout = timeout > .zero ? timeout : nil
        continuesOnTimeout = message.continueOnListenerFiltersTimeout
        accessLogs = try AccessLogConfig.compile(message.accessLog, at: path + ".access_log", context: context)

        var known: [PackedMessage<FilterChain>: FilterChainConfig] = [:]
        // What a chain was compiled with holds for its connections, so with another bound it is another chain.
        let before = old?.buffers == buffers ? old?.allChains ?? [] : []
        let mayStay = (old?.patches ?? 0) < Limits.listenerPatches || before.count <= Limits.chainsAtWorkAtOnce
        patches = mayStay ? (old.map { $0.patches + 1 } ?? 0) : 0
        for chain in before where mayStay || !chain.isIdle { known[chain.packed] = chain }
        func compiled(_ chain: FilterChain, _ path: String) throws(ConfigurationError) -> FilterChainConfig {
            let packed = PackedMessage(chain)
            if let same = known[packed] { return same }
            return try FilterChainConfig(compiling: chain, packed: packed, at: path, context: context)
        }
        var chains: [FilterChainConfig] = []
        for (index, chain) in message.filterChains.enumerated() {
            chains.append(try compiled(chain, "\(path).filter_chains[\(index)]"))
        }
        self.chains = chains
        if let chain = message.defaultFilterChain {
            defaultChain = try compiled(chain, path + ".default_filter_chain")
        } else {
            defaultChain = nil
        }
        if chains.isEmpty && defaultChain == nil && !handsOff && udp == nil {
            throw ConfigurationError(at: path + ".filter_chains", "at least one filter chain is needed")
        }
        if let tree = message.filterChainMatcher {
            // The tree is told one network namespace for all connections.
            for (index, other) in addresses.dropFirst().enumerated() where other.namespacePath != first.namespacePath {
                throw ConfigurationError(
                    at: "\(path).additional_addresses[\(index)].address.socket_address.network_namespace_filepath",
                    "with filter_chain_matcher all addresses of a listener are in one network namespace")
            }
            matcher = FilterChainMatcher(
                try Self.compile(tree, message.filterChains, namespace: first.namespacePath ?? "", at: path))
        } else {
            matcher = try FilterChainMatcher(message.filterChains.map(\.filterChainMatch), at: path)
        }
        filters = try ListenerFilters(
            udp == nil ? message.listenerFilters : [], at: path + ".listener_filters",
            usesOriginalDst: message.useOriginalDst ?? false,
            matcher: matcher, metrics: context.metrics)
    }

    private static func isInternal(_ message: Listener, at path: String) throws(ConfigurationError) -> Bool {
        var isInternal = false
        if case .internalListener? = message.listenerSpecifier { isInternal = true }
        if case .envoyInternalAddress(let address)? = message.address?.address {
            isInternal = true
            guard case .serverListenerName(let name)? = address.addressNameSpecifier, name == message.name else {
                throw ConfigurationError(
                    at: path + ".address.envoy_internal_address.server_listener_name",
                    "is the listener's own name, \"\(message.name)\"")
            }
        } else if isInternal, message.address != nil {
            throw ConfigurationError(at: path + ".address", "an internal listener has none")
        }
        guard isInternal else { return false }
        guard !message.name.isEmpty else {
            throw ConfigurationError(at: path + ".name", "an internal listener is found by its name")
        }
        let others: [(String, Bool)] = [
            ("socket_options", !message.socketOptions.isEmpty), ("bind_to_port", message.bindToPort != nil),
            ("transparent", message.transparent != nil), ("freebind", message.freebind != nil),
            ("tcp_backlog_size", message.tcpBacklogSize != nil),
            ("use_original_dst", message.useOriginalDst == true),
            ("connection_balance_config", message.connectionBalanceConfig != nil),
            ("udp_listener_config", message.udpListenerConfig != nil),
            ("additional_addresses", !message.additionalAddresses.isEmpty),
        ]
        for (field, isSet) in others where isSet {
            throw ConfigurationError(at: "\(path).\(field)", "an internal listener has no socket")
        }
        return true
    }

    /// A socket for one of the listener's addresses, in the calling thread's network namespace.
    ///
    /// - Parameter address: Where to bind: that address, with the port that was chosen for it.
    func openSocket(_ one: ListenerAddress, on address: IO.SocketAddress) throws(SystemError) -> Socket {
        let options = one.options(on: address)
        if udp != nil {
            return try Socket.datagram(
                on: address, reusePort: true, acceptsIPv4: one.acceptsIPv4, freebind: isFreebind, options: options)
        }
        return try Socket.listen(
            on: address, reusePort: true, backlog: backlog, transparent: isTransparent, acceptsIPv4: one.acceptsIPv4,
            freebind: isFreebind, options: options)
    }

    /// The one filter of a UDP listener; nil for all others.
    private static func udpProxy(
        _ message: Listener, at path: String, context: CompileContext
    ) throws(ConfigurationError) -> UDPProxyConfig? {
        guard case .socketAddress(let socket)? = message.address?.address, case .udp = socket.protocol else {
            guard message.udpListenerConfig == nil else {
                throw ConfigurationError(at: path + ".udp_listener_config", "the address is none of UDP")
            }
            return nil
        }
        guard message.filterChains.isEmpty, message.defaultFilterChain == nil else {
            throw ConfigurationError(
                at: path + ".filter_chains", "a UDP listener has none: its filters are listener_filters")
        }
        guard message.bindToPort ?? true else {
            throw ConfigurationError(at: path + ".bind_to_port", "a UDP listener needs its port")
        }
        guard message.additionalAddresses.isEmpty else {
            throw ConfigurationError(at: path + ".additional_addresses", "a UDP listener has one address")
        }
        guard message.listenerFilters.count == 1, let filter = message.listenerFilters.first else {
            throw ConfigurationError(at: path + ".listener_filters", "a UDP listener has one filter: udp_proxy")
        }
        let here = path + ".listener_filters[0]"
        guard case .typedConfig(let any) = filter.configType else {
            throw ConfigurationError(at: here, "typed_config is needed")
        }
        guard any.name == UdpProxyConfig.schema.name else {
            throw ConfigurationError(at: here, "unknown UDP filter \(any.typeURL); supported: udp_proxy")
        }
        return try UDPProxyConfig(
            compiling: HTTPFilters.unpack(any, as: UdpProxyConfig.self, at: here), listener: message.udpListenerConfig,
            at: here + ".typed_config", context: context)
    }

    private static func compile(
        _ tree: Matcher, _ chains: [FilterChain], namespace: String, at path: String
    ) throws(ConfigurationError) -> FilterChainTree {
        var names: Set<String> = []
        for (index, chain) in chains.enumerated() {
            let here = "\(path).filter_chains[\(index)]"
            guard chain.filterChainMatch == nil else {
                throw ConfigurationError(
                    at: here + ".filter_chain_match", "filter_chain_matcher chooses the chain; remove the field")
            }
            guard !chain.name.isEmpty, names.insert(chain.name).inserted else {
                throw ConfigurationError(
                    at: here + ".name", "filter_chain_matcher needs a name of its own for each chain")
            }
        }
        return try FilterChainTree(
            compiling: tree, chains: chains.map(\.name), namespace: namespace, at: path + ".filter_chain_matcher")
    }

    /// The chain that serves a connection; nil when none does.
    func chain(for connection: FilterChainMatcher.Connection) -> FilterChainConfig? {
        matcher.find(connection).map { chains[$0] } ?? defaultChain
    }

    /// Whether connections that mean an address are for this listener (`use_original_dst` of another): exactly, or as one of all addresses.
    func takes(_ destination: IO.SocketAddress) -> (isExact: Bool, isWildcard: Bool) {
        if addresses.count == 1 { return addresses[0].takes(destination) }
        let all = addresses.map { $0.takes(destination) }
        return (all.contains(where: \.isExact), all.contains(where: \.isWildcard))
    }

    /// Every chain, the default one included.
    var allChains: [FilterChainConfig] { chains + [defaultChain].compactMap { $0 } }
}
