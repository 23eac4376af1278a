import EnvoyAPI
import KubernetesAPI
import Serialization

/// Makes Envoy clusters.
enum Clusters {
    /// "Unlimited" for Istio's circuit breakers (T-9).
    static let unlimited = UInt32.max

    /// The cluster of a service port or one of its subsets.
    static func outbound(
        name: String, settings: ClusterSettings, config: MeshConfig, place: Provenance, usesOriginalDestination: Bool
    ) -> Cluster {
        var cluster = Cluster()
        cluster.name = name
        cluster.metadata = place.metadata
        cluster.connectTimeout = settings.connectionPool?.connectTimeout ?? config.connectTimeout
        if usesOriginalDestination || settings.loadBalancer?.simple == "PASSTHROUGH" {
            cluster.clusterDiscoveryType = .type(.originalDst)
            cluster.lbPolicy = .clusterProvided
        } else {
            cluster.clusterDiscoveryType = .type(.eds)
            var eds = Cluster.EdsClusterConfig()
            eds.edsConfig = ConfigSources.ads
            eds.serviceName = name
            cluster.edsClusterConfig = eds
            cluster.lbPolicy = balancing(settings.loadBalancer?.simple ?? "")
        }
        cluster.circuitBreakers = limits(settings.connectionPool)
        if let outlier = settings.outlierDetection { eject(outlier, &cluster) }
        cluster.upstreamConnectionOptions = keepalive(settings.connectionPool)
        protocolOptions(settings.connectionPool, &cluster)
        return cluster
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
