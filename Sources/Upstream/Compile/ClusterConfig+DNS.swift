internal import EnvoyAPI
internal import Serialization

// Clusters whose kind is an extension of Envoy's, where a type says the same.
extension Cluster {
    /// Kinds without settings, by the names of their extensions.
    private static let types: [String: DiscoveryType] = [
        "envoy.cluster.static": .static, "envoy.cluster.eds": .eds, "envoy.cluster.original_dst": .originalDst,
        "envoy.cluster.strict_dns": .strictDns, "envoy.cluster.logical_dns": .logicalDns,
    ]

    /// The cluster with a type in place of its `cluster_type`, where there is one for it: `envoy.clusters.dns` is STRICT_DNS, or LOGICAL_DNS with
    /// `all_addresses_in_single_endpoint`.
    func withType(_ root: FieldPath) throws(ConfigurationError) -> Cluster {
        guard case .clusterType(let custom) = clusterDiscoveryType else { return self }
        var cluster = self
        guard let any = custom.typedConfig, !any.name.isEmpty else {
            guard let type = Self.types[custom.name] else { return self }
            cluster.clusterDiscoveryType = .type(type)
            return cluster
        }
        guard any.holds(DnsCluster.self) else { return self }
        let path = root / "cluster_type.typed_config"
        let settings = try Unpacked.message(any, as: DnsCluster.self, path)
        try FieldCheck.check(
            settings, path,
            handles:
                "dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_jitter typed_dns_resolver_config dns_lookup_family all_addresses_in_single_endpoint"
        )
        if let typed = settings.typedDnsResolverConfig {
            // For the path of what is wrong; the cluster is compiled with it below.
            _ = try ResolverSettings.compile(typed: typed, config: nil, at: path.text)
            cluster.typedDnsResolverConfig = typed
        }
        for (field, isSet) in [
            ("dns_refresh_rate", dnsRefreshRate != nil), ("dns_failure_refresh_rate", dnsFailureRefreshRate != nil),
            ("dns_jitter", dnsJitter != nil), ("respect_dns_ttl", respectDnsTtl),
        ] where isSet {
            throw (root / field).error("stands beside cluster_type, which has it too: write it there")
        }
        cluster.clusterDiscoveryType = .type(settings.allAddressesInSingleEndpoint ? .logicalDns : .strictDns)
        cluster.dnsRefreshRate = settings.dnsRefreshRate
        cluster.respectDnsTtl = settings.respectDnsTtl
        cluster.dnsJitter = settings.dnsJitter
        if let rate = settings.dnsFailureRefreshRate {
            var copy = Cluster.RefreshRate()
            copy.baseInterval = rate.baseInterval
            copy.maxInterval = rate.maxInterval
            cluster.dnsFailureRefreshRate = copy
        }
        switch settings.dnsLookupFamily {
        case .unspecified, .auto: cluster.dnsLookupFamily = .auto
        case .v4Only: cluster.dnsLookupFamily = .v4Only
        case .v6Only: cluster.dnsLookupFamily = .v6Only
        case .v4Preferred: cluster.dnsLookupFamily = .v4Preferred
        case .all: cluster.dnsLookupFamily = .all
        case .unrecognized(let number): throw (path / "dns_lookup_family").error("\(number) is no family")
        }
        return cluster
    }
}
