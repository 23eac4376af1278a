internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled `TcpProxy`.
final class TCPProxyConfig: Sendable {
    /// The filter state object that names the cluster (sni_cluster, set_filter_state).
    static let clusterKey = "envoy.tcp_proxy.cluster"

    /// What connections are spread by.
    enum HashPolicy: Sendable {
        case sourceIP
        case filterState(String)

        /// Nil where the connection has no such thing.
        func hash(_ info: ConnectionInfo) -> UInt64? {
            switch self {
            case .sourceIP: info.remoteAddress.address.map { Self.fnv($0.bytes) }
            case .filterState(let key): info.facts.filterState[key].map { Self.fnv(Array($0.utf8)) }
            }
        }

        private static func fnv(_ bytes: [UInt8]) -> UInt64 {
            bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
        }
    }

    let statPrefix: String
    /// Clusters with the sum of the weights up to each.
    let clusters: [(name: String, cumulativeWeight: UInt64)]
    let idleTimeout: Duration?
    let maxConnectAttempts: Int
    /// What the host is chosen by where the balancer hashes; the first that has a value counts.
    let hashPolicies: [HashPolicy]
    let maxDuration: Duration?
    let accessLogs: [AccessLogConfig]
    let logOptions: TCPLogOptions
    /// What may wait for the client.
    let buffers: BufferLimits
    /// Connections travel inside HTTP requests; nil: as they are.
    let tunneling: TCPTunneling?
    /// From where a cluster is asked for that is not there; nil: from nowhere.
    let onDemand: OnDemandClusters?

    /// How long a connection waits for a cluster where nothing is said.
    private static let onDemandTimeout: Duration = .seconds(60)

    init(compiling message: TcpProxy, at path: String, context: CompileContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "stat_prefix", "cluster", "weighted_clusters", "idle_timeout", "max_connect_attempts",
                "max_downstream_connection_duration", "access_log", "access_log_options", "access_log_flush_interval",
                "flush_access_log_on_connected", "hash_policy", "tunneling_config",
                "on_demand",
            ], at: path)
        var statPrefix = message.statPrefix
        switch message.clusterSpecifier {
        case .cluster(let name):
            guard !name.isEmpty else { throw ConfigurationError(at: path + ".cluster", "a name is needed") }
            clusters = [(name, 1)]
            // A mesh names its metrics after the cluster: one text for both.
            if statPrefix == name { statPrefix = name }
        case .weightedClusters(let weighted):
            var sum: UInt64 = 0
            var clusters: [(name: String, cumulativeWeight: UInt64)] = []
            for cluster in weighted.clusters {
                sum += UInt64(cluster.weight)
                clusters.append((cluster.name, sum))
            }
            guard sum > 0 else {
                throw ConfigurationError(at: path + ".weighted_clusters", "at least one cluster needs a weight above 0")
            }
            self.clusters = clusters
        case nil:
            throw ConfigurationError(at: path, "a destination is needed: cluster or weighted_clusters")
        }
        if let timeout = message.idleTimeout {
            idleTimeout = timeout > .zero ? timeout : nil
        } else {
            idleTimeout = .seconds(3600)
        }
        var policies: [HashPolicy] = []
        for (index, policy) in message.hashPolicy.enumerated() {
            switch policy.policySpecifier {
            case .sourceIp: policies.append(.sourceIP)
            case .filterState(let state): policies.append(.filterState(state.key))
            case nil:
                throw ConfigurationError(at: "\(path).hash_policy[\(index)]", "source_ip or filter_state is needed")
            }
        }
        hashPolicies = policies
        self.statPrefix = statPrefix
        buffers = context.buffers
        maxConnectAttempts = Int(message.maxConnectAttempts ?? 1)
        maxDuration = message.maxDownstreamConnectionDuration
        tunneling = try message.tunnelingConfig.map { (config) throws(ConfigurationError) in
            try TCPTunneling(compiling: config, at: path + ".tunneling_config")
        }
        onDemand = try message.onDemand.flatMap { (demand) throws(ConfigurationError) in
            // Without a source it says nothing.
            guard demand.odcdsConfig != nil || !demand.resourcesLocator.isEmpty else { return nil }
            return try OnDemandClusters(
                demand.odcdsConfig, locator: demand.resourcesLocator, timeout: demand.timeout,
                default: Self.onDemandTimeout, sourceField: "odcds_config", at: path + ".on_demand", context: context)
        }
        logOptions = try TCPLogOptions(compiling: message, at: path)
        accessLogs = try AccessLogConfig.compile(message.accessLog, at: path + ".access_log", context: context)
    }

    /// The cluster for a draw.
    func cluster(random: UInt64) -> String {
        guard let total = clusters.last?.cumulativeWeight else { return "" }
        let point = total.multipliedFullWidth(by: random).high
        return clusters.first { point < $0.cumulativeWeight }?.name ?? ""
    }
}
