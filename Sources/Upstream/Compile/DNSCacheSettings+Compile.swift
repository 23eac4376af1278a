public import EnvoyAPI

extension DNSCacheSettings {
    /// Compiles `dns_cache_config`.
    public init(compiling message: DnsCacheConfig, at path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }

    init(compiling message: DnsCacheConfig, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "name dns_lookup_family dns_refresh_rate dns_min_refresh_rate host_ttl max_hosts dns_failure_refresh_rate dns_cache_circuit_breaker preresolve_hostnames dns_query_timeout use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config"
        )
        guard !message.name.isEmpty else { throw (path / "name").error("is empty") }
        self.init(name: message.name)
        resolver = try .compile(
            typed: message.typedDnsResolverConfig, config: message.dnsResolutionConfig,
            usesTCP: message.useTcpForDnsLookups, at: path.text)
        family = try ClusterConfig.DNSFamily(compiling: message.dnsLookupFamily, path / "dns_lookup_family")
        refreshRate = try Self.interval(message.dnsRefreshRate, refreshRate, path / "dns_refresh_rate")
        shortestRefresh = try Self.interval(
            message.dnsMinRefreshRate, shortestRefresh, path / "dns_min_refresh_rate")
        hostTTL = try Self.interval(message.hostTtl, hostTTL, path / "host_ttl")
        if let count = message.maxHosts {
            guard count > 0 else { throw (path / "max_hosts").error("must be above 0") }
            hostsMax = Int(count)
        }
        if let breaker = message.dnsCacheCircuitBreaker {
            try FieldCheck.check(breaker, path / "dns_cache_circuit_breaker", handles: "max_pending_requests")
            if let count = breaker.maxPendingRequests { pendingMax = Int(count) }
        }
        queryTimeout = try .checkedLimit(message.dnsQueryTimeout, default: queryTimeout, path / "dns_query_timeout")
        if let rate = message.dnsFailureRefreshRate {
            failureBackOff = try BackOff(compiling: rate, path / "dns_failure_refresh_rate")
        }
        preresolved = try Self.preresolved(message.preresolveHostnames, path / "preresolve_hostnames")
    }

    /// What stands for `sub_clusters_config`: a cache of the cluster's own, and every address of a name gets requests.
    init(subClusters message: SubClustersConfig, of cluster: Cluster, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(message, path, handles: "lb_policy max_sub_clusters sub_cluster_ttl preresolve_clusters")
        self.init(name: "sub_clusters." + cluster.name)
        // Errors in it are told with the cluster's own path, of which this is none.
        resolver = try .compile(
            typed: cluster.typedDnsResolverConfig, config: cluster.dnsResolutionConfig, servers: cluster.dnsResolvers,
            usesTCP: cluster.useTcpForDnsLookups, at: "")
        family = try ClusterConfig.DNSFamily(compiling: cluster.dnsLookupFamily, FieldPath("dns_lookup_family"))
        refreshRate = try Self.interval(cluster.dnsRefreshRate, refreshRate, FieldPath("dns_refresh_rate"))
        hostTTL = try Self.interval(message.subClusterTtl, hostTTL, path / "sub_cluster_ttl")
        if let count = message.maxSubClusters {
            guard count > 0 else { throw (path / "max_sub_clusters").error("must be above 0") }
            hostsMax = Int(count)
        }
        switch message.lbPolicy {
        case .roundRobin: spreading = .roundRobin
        case .leastRequest: spreading = .leastRequest
        case .random: spreading = .random
        default: throw (path / "lb_policy").error("must be ROUND_ROBIN, LEAST_REQUEST or RANDOM")
        }
        preresolved = try Self.preresolved(message.preresolveClusters, path / "preresolve_clusters")
    }

    private static func preresolved(
        _ addresses: [SocketAddress], _ path: FieldPath
    ) throws(ConfigurationError) -> [String] {
        var names: [String] = []
        for (index, address) in addresses.enumerated() {
            let place = path[index]
            try FieldCheck.check(address, place, handles: "protocol address port_value")
            guard case .portValue(let port) = address.portSpecifier, port > 0, port < 65_536, !address.address.isEmpty
            else { throw place.error("needs an address and a port") }
            names.append("\(address.address):\(port)")
        }
        return names
    }

    private static func interval(
        _ value: Duration?, _ fallback: Duration, _ path: FieldPath
    ) throws(ConfigurationError) -> Duration {
        guard let value else { return fallback }
        guard value >= .milliseconds(1) else { throw path.error("is below 1 ms") }
        return value
    }
}

extension ClusterConfig.DNSFamily {
    init(compiling family: Cluster.DnsLookupFamily, _ path: FieldPath) throws(ConfigurationError) {
        switch family {
        case .auto: self = .auto
        case .v4Only: self = .v4Only
        case .v6Only: self = .v6Only
        case .v4Preferred: self = .v4Preferred
        case .all: self = .all
        case .unrecognized(let number): throw path.error("\(number) is no family")
        }
    }
}

extension BackOff {
    /// Compiles a refresh rate after failures.
    init(compiling rate: Cluster.RefreshRate, _ path: FieldPath) throws(ConfigurationError) {
        guard let base = rate.baseInterval, base >= .milliseconds(1) else {
            throw (path / "base_interval").error("must be there and at least 1 ms")
        }
        self.init(base: base, limit: rate.maxInterval)
        guard limit >= base else { throw (path / "max_interval").error("is below base_interval") }
    }
}
