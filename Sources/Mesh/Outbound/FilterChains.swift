import EnvoyAPI
import Serialization

/// Pieces of listeners that sidecars and gateways share.
enum FilterChains {
    /// How long the first bytes are waited for before a connection counts as "not HTTP".
    static let sniffingTime = Duration.milliseconds(100)

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

    /// A TCP proxy to one cluster.
    static func tcpProxy(_ cluster: String, config: MeshConfig) -> TcpProxy {
        var proxy = TcpProxy()
        proxy.statPrefix = cluster
        proxy.clusterSpecifier = .cluster(cluster)
        proxy.accessLog = AccessLogs.logs(config)
        return proxy
    }

    /// What all our connection managers have in common; the routes come on top.
    static func manager(statPrefix: String, config: MeshConfig) -> HttpConnectionManager {
        var manager = HttpConnectionManager()
        manager.statPrefix = statPrefix
        manager.normalizePath = true
        manager.accessLog = AccessLogs.logs(config)
        var fault = HttpFilter()
        fault.name = FilterNames.fault
        fault.configType = .typedConfig(AnyMessage(packing: HTTPFault()))
        var router = HttpFilter()
        router.name = FilterNames.router
        router.configType = .typedConfig(AnyMessage(packing: Router()))
        manager.httpFilters = [fault, router]
        var webSocket = HttpConnectionManager.UpgradeConfig()
        webSocket.upgradeType = "websocket"
        manager.upgradeConfigs = [webSocket]
        return manager
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
        var filter = ListenerFilter()
        filter.name = FilterNames.httpInspector
        filter.configType = .typedConfig(AnyMessage(packing: HttpInspector()))
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
        if isHTTP { match.applicationProtocols = ["http/1.1", "http/1.0"] }
        return match
    }
}

/// Access logs as the mesh configuration wants them.
enum AccessLogs {
    static func logs(_ config: MeshConfig) -> [AccessLog] {
        guard !config.accessLogFile.isEmpty else { return [] }
        var file = FileAccessLog()
        file.path = config.accessLogFile
        if config.logsJSON {
            var format = SubstitutionFormatString()
            format.format = .jsonFormat([
                "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%",
                "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%",
                "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
                "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
                "authority": "%REQ(:AUTHORITY)%", "upstream_host": "%UPSTREAM_HOST%",
                "upstream_cluster": "%UPSTREAM_CLUSTER%", "route_name": "%ROUTE_NAME%",
            ])
            file.accessLogFormat = .logFormat(format)
        } else if !config.accessLogFormat.isEmpty {
            var format = SubstitutionFormatString()
            var source = DataSource()
            source.specifier = .inlineString(config.accessLogFormat)
            format.format = .textFormatSource(source)
            file.accessLogFormat = .logFormat(format)
        }
        var log = AccessLog()
        log.name = "envoy.access_loggers.file"
        log.configType = .typedConfig(AnyMessage(packing: file))
        return [log]
    }
}
