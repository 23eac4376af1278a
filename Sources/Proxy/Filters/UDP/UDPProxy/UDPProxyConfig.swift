internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// A compiled `UdpProxyConfig`, the filter of a UDP listener.
final class UDPProxyConfig: Sendable {
    /// How a session's cluster is found.
    private enum Routing: Sendable {
        case cluster(String)
        case matcher(MatchTree<NetworkMatchInput, String>)
    }

    /// What hosts are spread by, where the balancer hashes.
    enum HashPolicy: Sendable {
        case sourceIP
        case key(UInt64)
    }

    let statPrefix: String
    private let routing: Routing
    let idleTimeout: Duration
    let hashPolicies: [HashPolicy]
    /// Each datagram chooses its host; otherwise the first of a session does.
    let balancesEachDatagram: Bool
    /// Longer datagrams are dropped on their way to the host, and on their way back.
    let downstreamBytesMax: Int
    let upstreamBytesMax: Int
    let accessLogs: [AccessLogConfig]
    let accessLogInterval: Duration?
    let proxyAccessLogs: [AccessLogConfig]
    let metrics: UDPMetrics

    /// Envoy's default, and a usual link's.
    private static let datagramBytes: UInt64 = 1500
    private static let longestDatagram: UInt64 = 65_535
    static let idleTimeout: Duration = .seconds(60)

    init(
        compiling message: UdpProxyConfig, listener: UdpListenerConfig?, at path: String, context: CompileContext
    ) throws(ConfigurationError) {
        guard message.sessionFilters.isEmpty else {
            throw ConfigurationError(
                at: path + ".session_filters",
                "not supported: http_capsule is for tunnels, and dynamic_forward_proxy takes its host from filter state that no session filter sets"
            )
        }
        try FieldCheck.check(
            message,
            reads: [
                "stat_prefix", "cluster", "matcher", "idle_timeout", "hash_policies", "upstream_socket_config",
                "use_per_packet_load_balancing", "access_log", "access_log_options", "proxy_access_log",
            ], at: path)
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "it is needed") }
        statPrefix = message.statPrefix
        switch message.routeSpecifier {
        case .cluster(let name):
            guard !name.isEmpty else { throw ConfigurationError(at: path + ".cluster", "a name is needed") }
            routing = .cluster(name)
        case .matcher(let matcher):
            routing = try Self.routing(matcher, at: path + ".matcher")
        case nil: throw ConfigurationError(at: path, "a destination is needed: matcher or cluster")
        }
        if let timeout = message.idleTimeout {
            guard timeout > .zero else { throw ConfigurationError(at: path + ".idle_timeout", "must be above 0") }
            idleTimeout = timeout
        } else {
            idleTimeout = Self.idleTimeout
        }
        var policies: [HashPolicy] = []
        for (index, policy) in message.hashPolicies.enumerated() {
            let here = "\(path).hash_policies[\(index)]"
            switch policy.policySpecifier {
            case .sourceIp(true): policies.append(.sourceIP)
            case .key(let key) where !key.isEmpty: policies.append(.key(Self.hash(Array(key.utf8))))
            default: throw ConfigurationError(at: here, "source_ip: true or a key is needed")
            }
        }
        hashPolicies = policies
        balancesEachDatagram = message.usePerPacketLoadBalancing
        // What a host answers is taken as it comes, unless a limit is set.
        upstreamBytesMax = try Self.size(
            message.upstreamSocketConfig, default: Self.longestDatagram, at: path + ".upstream_socket_config")
        let socket = "udp_listener_config"
        if let listener {
            try FieldCheck.check(listener, reads: ["downstream_socket_config"], at: socket)
        }
        downstreamBytesMax = try Self.size(
            listener?.downstreamSocketConfig, default: Self.datagramBytes, at: socket + ".downstream_socket_config")
        accessLogs = try AccessLogConfig.compile(message.accessLog, at: path + ".access_log", context: context)
        if let options = message.accessLogOptions {
            try FieldCheck.check(
                options, reads: ["access_log_flush_interval"], at: path + ".access_log_options")
        }
        accessLogInterval = message.accessLogOptions?.accessLogFlushInterval
        guard accessLogInterval.map({ $0 >= .milliseconds(1) }) ?? true else {
            throw ConfigurationError(at: path + ".access_log_options.access_log_flush_interval", "is below 1 ms")
        }
        proxyAccessLogs = try AccessLogConfig.compile(
            message.proxyAccessLog, at: path + ".proxy_access_log", context: context)
        metrics = UDPMetrics(context.metrics.scope("udp", message.statPrefix))
    }

    private static func size(
        _ config: UdpSocketConfig?, default fallback: UInt64, at path: String
    ) throws(ConfigurationError) -> Int {
        guard let config else { return Int(fallback) }
        try FieldCheck.check(config, reads: ["max_rx_datagram_size"], at: path)
        let size = config.maxRxDatagramSize ?? fallback
        guard size > 0, size < 65_536 else {
            throw ConfigurationError(at: path + ".max_rx_datagram_size", "must be between 1 and 65535")
        }
        return Int(size)
    }

    private static func routing(_ matcher: Matcher, at path: String) throws(ConfigurationError) -> Routing {
        // What stands for everything needs no tree.
        if matcher.matcherType == nil, case .action(let action)? = matcher.onNoMatch?.onMatch,
            let any = action.typedConfig
        {
            return .cluster(try cluster(any, path + ".on_no_match.action.typed_config"))
        }
        return .matcher(
            try MatchTree(compiling: matcher, at: path) { (any, here) throws(ConfigurationError) in
                switch NetworkMatchInput(typeName: any.name) {
                case .sourceIP?: return .sourceIP
                case .sourcePort?: return .sourcePort
                case .destinationIP?: return .destinationIP
                case .destinationPort?: return .destinationPort
                default: throw ConfigurationError(at: here, "unknown input \(any.typeURL) of a UDP session")
                }
            } action: { (any, here) throws(ConfigurationError) in
                try cluster(any, here)
            })
    }

    private static func cluster(_ any: AnyMessage, _ path: String) throws(ConfigurationError) -> String {
        guard any.name == UdpRoute.schema.name else {
            throw ConfigurationError(at: path, "unknown action \(any.typeURL); supported: udp_proxy.v3.Route")
        }
        let route = try HTTPFilters.unpack(any, as: UdpRoute.self, at: path)
        guard !route.cluster.isEmpty else { throw ConfigurationError(at: path + ".cluster", "a name is needed") }
        return route.cluster
    }

    /// The cluster for datagrams between two addresses; nil is none.
    func cluster(from source: IO.SocketAddress, to destination: IO.SocketAddress) -> String? {
        switch routing {
        case .cluster(let name): return name
        case .matcher(let tree):
            let connection = FilterChainMatcher.Connection(
                destination: destination, source: source, directSource: source)
            return tree.find { $0.value(of: connection) }
        }
    }

    /// What the balancer hashes; nil: nothing.
    func hash(_ source: IO.SocketAddress) -> UInt64? {
        for policy in hashPolicies {
            switch policy {
            case .sourceIP: if let address = source.address { return Self.hash(address.bytes) }
            case .key(let hash): return hash
            }
        }
        return nil
    }

    private static func hash(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}

/// The counters of one `stat_prefix`.
struct UDPMetrics: Sendable {
    let active: MetricGauge
    let total: MetricCounter
    let noRoute: MetricCounter
    let idleTimeout: MetricCounter
    let receivedBytes: MetricCounter
    let receivedDatagrams: MetricCounter
    let receiveErrors: MetricCounter
    let sentBytes: MetricCounter
    let sentDatagrams: MetricCounter
    let sendErrors: MetricCounter

    init(_ scope: MetricScope) {
        active = scope.gauge("downstream_sess_active")
        total = scope.counter("downstream_sess_total")
        noRoute = scope.counter("downstream_sess_no_route")
        idleTimeout = scope.counter("idle_timeout")
        receivedBytes = scope.counter("downstream_sess_rx_bytes")
        receivedDatagrams = scope.counter("downstream_sess_rx_datagrams")
        receiveErrors = scope.counter("downstream_sess_rx_errors")
        sentBytes = scope.counter("downstream_sess_tx_bytes")
        sentDatagrams = scope.counter("downstream_sess_tx_datagrams")
        sendErrors = scope.counter("downstream_sess_tx_errors")
    }
}

/// What sessions count at their cluster.
struct UDPClusterMetrics: Sendable {
    let receivedDatagrams: MetricCounter
    let droppedDatagrams: MetricCounter
    let receiveErrors: MetricCounter
    let sentDatagrams: MetricCounter
    let sendErrors: MetricCounter

    init(_ scope: MetricScope) {
        receivedDatagrams = scope.counter("sess_rx_datagrams")
        droppedDatagrams = scope.counter("sess_rx_datagrams_dropped")
        receiveErrors = scope.counter("sess_rx_errors")
        sentDatagrams = scope.counter("sess_tx_datagrams")
        sendErrors = scope.counter("sess_tx_errors")
    }
}
