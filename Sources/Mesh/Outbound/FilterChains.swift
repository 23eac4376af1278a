import EnvoyAPI
import Serialization

/// Pieces of listeners that sidecars and gateways share.
enum FilterChains {
    /// A chain with an HTTP connection manager.
    static func http(name: String, match: FilterChainMatch?, manager: HttpConnectionManager, place: Provenance?)
        -> FilterChain
    {
        chain(name, match, FilterNames.connectionManager, AnyMessage(packing: manager), place)
    }

    /// A chain that carries bytes.
    static func tcp(name: String, match: FilterChainMatch?, proxy: TcpProxy, place: Provenance?) -> FilterChain {
        chain(name, match, FilterNames.tcpProxy, AnyMessage(packing: proxy), place)
    }

    private static func chain(
        _ name: String, _ match: FilterChainMatch?, _ filterName: String, _ config: AnyMessage, _ place: Provenance?
    ) -> FilterChain {
        var filter = Filter()
        filter.name = filterName
        filter.configType = .typedConfig(config)
        var chain = FilterChain()
        chain.name = name
        chain.filterChainMatch = match
        chain.filters = [filter]
        chain.metadata = place?.metadata
        return chain
    }

    /// Idle connections of clients end after that time (T-13).
    static let connectionIdleTime = Duration.seconds(3600)
    /// Idle requests end after that time (T-13).
    static let streamIdleTime = Duration.seconds(300)

    /// A TCP proxy to one cluster.
    ///
    /// - Parameter telemetry: What the proxy logs; `nil` means what the mesh configuration says.
    static func tcpProxy(
        _ cluster: String, config: MeshConfig, telemetry: ProxyTelemetry? = nil, side: ProxyTelemetry.Side = .client
    ) -> TcpProxy {
        var proxy = TcpProxy()
        proxy.idleTimeout = connectionIdleTime
        proxy.statPrefix = cluster
        proxy.clusterSpecifier = .cluster(cluster)
        proxy.accessLog = (telemetry ?? ProxyTelemetry(config: config)).accessLogs(side)
        return proxy
    }

    /// What all our connection managers have in common; the routes come on top.
    ///
    /// - Parameter telemetry: What the proxy logs and traces; `nil` means what the mesh configuration says.
    /// - Parameter isEdge: Whether clients are outside of the mesh: their paths are decoded.
    static func manager(
        statPrefix: String, config: MeshConfig, telemetry: ProxyTelemetry? = nil, side: ProxyTelemetry.Side = .client,
        isEdge: Bool = false
    ) -> HttpConnectionManager {
        var manager = HttpConnectionManager()
        manager.statPrefix = statPrefix
        normalizePaths(&manager, config, isEdge: isEdge)
        var common = HttpProtocolOptions()
        common.idleTimeout = connectionIdleTime
        manager.commonHttpProtocolOptions = common
        manager.streamIdleTimeout = streamIdleTime
        let telemetry = telemetry ?? ProxyTelemetry(config: config)
        manager.accessLog = telemetry.accessLogs(side)
        manager.tracing = telemetry.tracing(side)
        var fault = HttpFilter()
        fault.name = FilterNames.fault
        fault.configType = .typedConfig(AnyMessage(packing: HTTPFault()))
        var router = HttpFilter()
        router.name = FilterNames.router
        router.configType = .typedConfig(AnyMessage(packing: Router()))
        var cors = HttpFilter()
        cors.name = FilterNames.cors
        cors.configType = .typedConfig(AnyMessage(packing: Cors()))
        // As with Istio fault and cors stand in inbound chains, too: EnvoyFilters look for them there.
        manager.httpFilters =
            [fault, cors] + (side == .client ? [SniffedUpstreams.filter] : []) + telemetry.metricFilters(side) + [
                router
            ]
        var webSocket = HttpConnectionManager.UpgradeConfig()
        webSocket.upgradeType = "websocket"
        manager.upgradeConfigs = [webSocket]
        return manager
    }

    /// policy, routing and the application see one path.
    private static func normalizePaths(_ manager: inout HttpConnectionManager, _ config: MeshConfig, isEdge: Bool) {
        let unless: MeshConfig.PathNormalization =
            isEdge && config.decodesGatewayPaths ? .decodeAndMergeSlashes : .base
        let wanted = config.pathNormalization ?? unless
        manager.normalizePath = wanted != .none
        manager.mergeSlashes = wanted == .mergeSlashes || wanted == .decodeAndMergeSlashes
        if wanted == .decodeAndMergeSlashes { manager.pathWithEscapedSlashesAction = .unescapeAndForward }
    }

    /// Routes that come over the stream under that name.
    static func rds(_ name: String) -> HttpConnectionManager.RouteSpecifier {
        var rds = Rds()
        rds.configSource = ConfigSources.ads
        rds.routeConfigName = name
        return .rds(rds)
    }

    /// The filter that finds out where a captured connection was going.
    static var originalDestination: ListenerFilter {
        var filter = ListenerFilter()
        filter.name = FilterNames.originalDestination
        filter.configType = .typedConfig(AnyMessage(packing: OriginalDst()))
        return filter
    }

    /// The filter that looks for TLS in the first bytes, but for connections to those ports.
    static func tlsInspector(except ports: Set<Int>) -> ListenerFilter {
        var filter = ListenerFilter()
        filter.name = FilterNames.tlsInspector
        filter.configType = .typedConfig(AnyMessage(packing: TlsInspector()))
        if !ports.isEmpty { filter.filterDisabled = anyPort(ports) }
        return filter
    }

    /// The filter that looks for HTTP in the first bytes, for connections to those ports only: no other connection may
    /// wait for bytes of its client.
    static func httpInspector(ports: Set<Int>) -> ListenerFilter {
        inspector(FilterNames.httpInspector, HttpInspector(), ports)
    }

    /// The filter that looks for a ClientHello and its server name, for connections to those ports only.
    static func tlsInspector(ports: Set<Int>) -> ListenerFilter {
        inspector(FilterNames.tlsInspector, TlsInspector(), ports)
    }

    /// a client that says nothing is not waited for; its bytes are carried as they are.
    static func limitSniffing(_ listener: inout Listener, _ config: MeshConfig) {
        listener.listenerFiltersTimeout = config.waitsForClients ? .zero : config.detectionTimeout
        listener.continueOnListenerFiltersTimeout = true
    }

    private static func inspector(_ name: String, _ message: some Message, _ ports: Set<Int>) -> ListenerFilter {
        var filter = ListenerFilter()
        filter.name = name
        filter.configType = .typedConfig(AnyMessage(packing: message))
        filter.filterDisabled = predicate(.notMatch(anyPort(ports)))
        return filter
    }

    private static func anyPort(_ ports: Set<Int>) -> ListenerFilterChainMatchPredicate {
        let rules = ports.sorted().map { port -> ListenerFilterChainMatchPredicate in
            var range = Int32Range()
            range.start = Int32(clamping: port)
            range.end = Int32(clamping: port + 1)
            return predicate(.destinationPortRange(range))
        }
        if let only = rules.first, rules.count == 1 { return only }
        var set = ListenerFilterChainMatchPredicate.MatchSet()
        set.rules = rules
        return predicate(.orMatch(set))
    }

    private static func predicate(_ rule: ListenerFilterChainMatchPredicate.Rule) -> ListenerFilterChainMatchPredicate {
        var predicate = ListenerFilterChainMatchPredicate()
        predicate.rule = rule
        return predicate
    }

    /// A match on port and, when given, addresses and sniffed protocols.
    static func match(port: Int, addresses: [String] = [], isHTTP: Bool = false) -> FilterChainMatch {
        var match = FilterChainMatch()
        match.destinationPort = UInt32(clamping: port)
        match.prefixRanges = addresses.map(Addresses.prefix)
        if isHTTP { match.applicationProtocols = ["http/1.1", "http/1.0", "h2c"] }
        return match
    }
}
