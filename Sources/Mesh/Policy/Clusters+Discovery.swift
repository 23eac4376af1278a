import EnvoyAPI
import Serialization

extension Clusters {
    /// How the endpoints are found (S-14, S-19).
    static func discover(
        _ assignments: Assignments, name: String, labels: [String: String]?, _ cluster: inout Cluster
    ) {
        switch assignments.service.resolution {
        case .fixed, .none:
            cluster.clusterDiscoveryType = .type(.eds)
            var eds = Cluster.EdsClusterConfig()
            eds.edsConfig = ConfigSources.ads
            eds.serviceName = name
            cluster.edsClusterConfig = eds
        case .dns, .dnsRoundRobin:
            let isRoundRobin = assignments.service.resolution == .dnsRoundRobin
            cluster.clusterDiscoveryType = .type(isRoundRobin ? .logicalDns : .strictDns)
            cluster.dnsRefreshRate = dnsRefreshRate
            cluster.respectDnsTtl = true
            cluster.dnsFailureRefreshRate = dnsFailureRefreshRate
            var assignment = assignments.assignment(name: name, labels: labels)
            if isRoundRobin, var locality = assignment.endpoints.first {
                // Envoy takes exactly one name here; further ones are reported by the analysis.
                locality.lbEndpoints = Array(locality.lbEndpoints.prefix(1))
                assignment.endpoints = [locality]
            }
            cluster.loadAssignment = assignment
        case .dynamicDNS:
            var config = DynamicForwardProxyCluster()
            config.clusterImplementationSpecifier = .dnsCacheConfig(dynamicNames)
            var type = Cluster.CustomClusterType()
            type.name = "envoy.clusters.dynamic_forward_proxy"
            type.typedConfig = AnyMessage(packing: config)
            cluster.clusterDiscoveryType = .clusterType(type)
            cluster.lbPolicy = .clusterProvided
        }
    }

    /// How often names are resolved anew when their records do not say (S-19).
    static let dnsRefreshRate = Duration.seconds(60)

    /// S-19: a name that could not be resolved is asked for again soon, and at least once a minute.
    static var dnsFailureRefreshRate: Cluster.RefreshRate {
        var rate = Cluster.RefreshRate()
        rate.baseInterval = .seconds(5)
        rate.maxInterval = dnsRefreshRate
        return rate
    }

    /// The names that requests ask for: the cluster and the HTTP filter must have the same cache (`DYNAMIC_DNS`).
    static var dynamicNames: DnsCacheConfig {
        var cache = DnsCacheConfig()
        cache.name = "dynamic_dns"
        cache.dnsRefreshRate = dnsRefreshRate
        cache.dnsFailureRefreshRate = dnsFailureRefreshRate
        return cache
    }

    /// The HTTP filter that resolves them before the router asks for a connection.
    static var dynamicNamesFilter: HttpFilter {
        var config = DynamicForwardProxyFilter()
        config.implementationSpecifier = .dnsCacheConfig(dynamicNames)
        var filter = HttpFilter()
        filter.name = "envoy.filters.http.dynamic_forward_proxy"
        filter.configType = .typedConfig(AnyMessage(packing: config))
        return filter
    }
}
