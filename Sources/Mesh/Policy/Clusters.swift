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
        subset: DestinationPolicy.NamedSubset?, caller: CallerPlace, usesOriginalDestination: Bool,
        isForGateway: Bool
    ) -> Cluster {
        var cluster = Cluster()
        cluster.name = name
        cluster.metadata = (subset?.place ?? settings.place ?? service.place("spec.ports")).metadata
        // The names of others say which service it is.
        if service.registry != .kubernetes { ServiceLabels.mark(&cluster, service) }
        cluster.connectTimeout = positive(settings.connectionPool?.connectTimeout) ?? model.config.connectTimeout
        if usesOriginalDestination || settings.loadBalancer?.simple == "PASSTHROUGH" || service.resolution == .none {
            cluster.clusterDiscoveryType = .type(.originalDst)
            cluster.lbPolicy = .clusterProvided
        } else {
            balance(settings.loadBalancer, service, &cluster)
            let assignments = Assignments(
                model: model, service: service, port: port, settings: settings, caller: caller)
            discover(assignments, name: name, labels: subset?.subset.labels, &cluster)
            if assignments.usesWeights {
                var common = cluster.commonLbConfig ?? Cluster.CommonLbConfig()
                common.localityConfigSpecifier = .localityWeightedLbConfig(
                    Cluster.CommonLbConfig.LocalityWeightedLbConfig())
                cluster.commonLbConfig = common
            }
        }
        cluster.circuitBreakers = limits(settings, model.config)
        if let outlier = settings.outlierDetection { eject(outlier, &cluster) }
        cluster.upstreamConnectionOptions = keepalive(settings.connectionPool, model.config)
        transportSocket(
            for: settings, service: service, port: port, subset: subset?.subset.name ?? "", model: model, &cluster)
        protocolOptions(settings, port, service, followsCaller: !isForGateway, &cluster)
        return cluster
    }

    /// A time that Envoy takes: one that is not positive counts as not written, and is reported.
    static func positive(_ duration: Duration?) -> Duration? { duration.flatMap { $0 > .zero ? $0 : nil } }

    /// The cluster that goes where the connection was going.
    static func passthrough(name: String, config: MeshConfig, bindsLocally: Bool) -> Cluster {
        var cluster = Cluster()
        cluster.name = name
        cluster.clusterDiscoveryType = .type(.originalDst)
        cluster.lbPolicy = .clusterProvided
        cluster.connectTimeout = config.connectTimeout
        cluster.circuitBreakers = limits(nil, config)
        if bindsLocally {
            // The capture rules let 127.0.0.6 through to the application (CONTRACT of the node agent).
            var bind = BindConfig()
            var source = SocketAddress()
            source.address = "127.0.0.6"
            source.portSpecifier = .portValue(0)
            bind.sourceAddress = source
            if config.isDualStack {
                source.address = "::6"
                var other = ExtraSourceAddress()
                other.address = source
                bind.extraSourceAddresses = [other]
            }
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
