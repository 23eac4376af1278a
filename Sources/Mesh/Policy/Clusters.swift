import EnvoyAPI
import KubernetesAPI
import Serialization

/// Makes Envoy clusters.
enum Clusters {
    /// "Unlimited" for Istio's circuit breakers (T-9).
    static let unlimited = UInt32.max

    /// The cluster of a service port or one of its subsets.
    static func outbound(
        name: String, service: MeshService, port: MeshService.Port, settings: ClusterSettings, model: MeshModel,
        subset: DestinationPolicy.NamedSubset?, usesOriginalDestination: Bool
    ) -> Cluster {
        var cluster = Cluster()
        cluster.name = name
        cluster.metadata = (subset?.place ?? service.place("spec.ports")).metadata
        cluster.connectTimeout = settings.connectionPool?.connectTimeout ?? model.config.connectTimeout
        cluster.lbPolicy = balancing(settings.loadBalancer?.simple ?? "")
        if usesOriginalDestination || settings.loadBalancer?.simple == "PASSTHROUGH" || service.resolution == .none {
            cluster.clusterDiscoveryType = .type(.originalDst)
            cluster.lbPolicy = .clusterProvided
        } else {
            discover(name, service, port, subset, model, &cluster)
        }
        cluster.circuitBreakers = limits(settings.connectionPool)
        if let outlier = settings.outlierDetection { eject(outlier, &cluster) }
        cluster.upstreamConnectionOptions = keepalive(settings.connectionPool)
        protocolOptions(settings.connectionPool, &cluster)
        return cluster
    }

    /// How the endpoints are found (S-14, S-19).
    private static func discover(
        _ name: String, _ service: MeshService, _ port: MeshService.Port, _ subset: DestinationPolicy.NamedSubset?,
        _ model: MeshModel, _ cluster: inout Cluster
    ) {
        switch service.resolution {
        case .fixed, .none:
            cluster.clusterDiscoveryType = .type(.eds)
            var eds = Cluster.EdsClusterConfig()
            eds.edsConfig = ConfigSources.ads
            eds.serviceName = name
            cluster.edsClusterConfig = eds
        case .dns, .dnsRoundRobin:
            let isRoundRobin = service.resolution == .dnsRoundRobin
            cluster.clusterDiscoveryType = .type(isRoundRobin ? .logicalDns : .strictDns)
            cluster.dnsRefreshRate = dnsRefreshRate
            cluster.respectDnsTtl = true
            cluster.dnsFailureRefreshRate = dnsFailureRefreshRate
            var assignment = Assignments.assignment(
                name: name, service: service, port: port, labels: subset?.subset.labels, model: model)
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

    /// The cluster that goes where the connection was going.
    static func passthrough(name: String, config: MeshConfig, bindsLocally: Bool) -> Cluster {
        var cluster = Cluster()
        cluster.name = name
        cluster.clusterDiscoveryType = .type(.originalDst)
        cluster.lbPolicy = .clusterProvided
        cluster.connectTimeout = config.connectTimeout
        cluster.circuitBreakers = limits(nil)
        if bindsLocally {
            // The capture rules let 127.0.0.6 through to the application (CONTRACT of the node agent).
            var bind = BindConfig()
            var source = SocketAddress()
            source.address = "127.0.0.6"
            source.portSpecifier = .portValue(0)
            bind.sourceAddress = source
            cluster.upstreamBindConfig = bind
        }
        return cluster
    }

    /// The cluster without hosts.
    static var blackHole: Cluster {
        var cluster = Cluster()
        cluster.name = ClusterNames.blackHole
        cluster.clusterDiscoveryType = .type(.static)
        cluster.connectTimeout = .seconds(1)
        return cluster
    }

    /// B-1, B-11: least request unless something else is asked for.
    private static func balancing(_ simple: String) -> Cluster.LbPolicy {
        switch simple {
        case "ROUND_ROBIN": .roundRobin
        case "RANDOM": .random
        default: .leastRequest
        }
    }

    /// T-9, T-10: unlimited unless a positive number is written.
    private static func limits(_ pool: DestinationRule.ConnectionPool?) -> CircuitBreakers {
        func limit(_ value: Int?) -> UInt32 { value.flatMap { $0 > 0 ? UInt32(clamping: $0) : nil } ?? unlimited }
        var thresholds = CircuitBreakers.Thresholds()
        thresholds.maxConnections = limit(pool?.maxConnections)
        thresholds.maxPendingRequests = limit(pool?.http1MaxPendingRequests)
        thresholds.maxRequests = limit(pool?.http2MaxRequests)
        thresholds.maxRetries = limit(pool?.maxRetries)
        var breakers = CircuitBreakers()
        breakers.thresholds = [thresholds]
        return breakers
    }

    /// Section O: Istio's defaults, and no panic as soon as ejection is on (O-7).
    private static func eject(_ written: DestinationRule.OutlierDetection, _ cluster: inout Cluster) {
        var outlier = OutlierDetection()
        outlier.consecutive5xx = written.consecutive5xxErrors.map { UInt32(clamping: $0) }
        if written.consecutive5xxErrors == 0 { outlier.enforcingConsecutive5xx = 0 }
        if let gateway = written.consecutiveGatewayErrors, gateway > 0 {  // O-3: off by default
            outlier.consecutiveGatewayFailure = UInt32(clamping: gateway)
            outlier.enforcingConsecutiveGatewayFailure = 100
        } else {
            outlier.enforcingConsecutiveGatewayFailure = 0
        }
        outlier.interval = written.interval
        outlier.baseEjectionTime = written.baseEjectionTime
        outlier.maxEjectionPercent = written.maxEjectionPercent.map { UInt32(clamping: $0) }
        outlier.enforcingSuccessRate = 0  // O-6
        if written.splitExternalLocalOriginErrors {
            outlier.splitExternalLocalOriginErrors = true
            outlier.consecutiveLocalOriginFailure = written.consecutiveLocalOriginFailures.map { UInt32(clamping: $0) }
        }
        cluster.outlierDetection = outlier
        var common = Cluster.CommonLbConfig()
        var panic = Percent()
        panic.value = Double(min(max(written.minHealthPercent, 0), 100))
        common.healthyPanicThreshold = panic
        cluster.commonLbConfig = common
    }

    private static func keepalive(_ pool: DestinationRule.ConnectionPool?) -> UpstreamConnectionOptions? {
        guard let written = pool?.tcpKeepalive else { return nil }
        var keepalive = TcpKeepalive()
        keepalive.keepaliveProbes = written["probes"]?.int.map { UInt32(clamping: $0) }
        let view = KubernetesObject(json: written)
        keepalive.keepaliveTime = view.duration("time").map { UInt32(clamping: $0.components.seconds) }
        keepalive.keepaliveInterval = view.duration("interval").map { UInt32(clamping: $0.components.seconds) }
        var options = UpstreamConnectionOptions()
        options.tcpKeepalive = keepalive
        return options
    }

    private static func protocolOptions(_ pool: DestinationRule.ConnectionPool?, _ cluster: inout Cluster) {
        let requests = pool?.maxRequestsPerConnection.flatMap { $0 > 0 ? UInt32(clamping: $0) : nil }
        guard requests != nil || pool?.idleTimeout != nil else { return }
        var common = EnvoyAPI.HttpProtocolOptions()
        common.maxRequestsPerConnection = requests
        common.idleTimeout = pool?.idleTimeout
        var options = UpstreamHttpProtocolOptions()
        options.commonHttpProtocolOptions = common
        var explicit = UpstreamHttpProtocolOptions.ExplicitHttpConfig()
        explicit.protocolConfig = .httpProtocolOptions(Http1ProtocolOptions())
        options.upstreamProtocolOptions = .explicitHttpConfig(explicit)
        cluster.typedExtensionProtocolOptions["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"] =
            AnyMessage(packing: options)
    }
}

/// The names of clusters that belong to no service.
enum ClusterNames {
    static let passthrough = "PassthroughCluster"
    static let blackHole = "BlackHoleCluster"
    static let inboundPassthrough = "InboundPassthroughCluster"
}

/// Where proxies get what a message refers to.
enum ConfigSources {
    /// The stream that delivered the message.
    static var ads: ConfigSource {
        var source = ConfigSource()
        source.configSourceSpecifier = .ads(AggregatedConfigSource())
        source.resourceApiVersion = .v3
        return source
    }
}
