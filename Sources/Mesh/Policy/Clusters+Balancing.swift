import EnvoyAPI
import KubernetesAPI
import Serialization

extension Clusters {
    /// The ring's size at least, unless it is said (B-2).
    static let minimumRingSize: UInt64 = 1024
    /// What a new endpoint gets at least, in percent, unless it is said (B-12).
    static let warmupMinimumPercent = 10.0

    /// How endpoints are chosen (B-1, B-2, B-11, B-12, S-10).
    static func balance(
        _ written: DestinationRule.LoadBalancer?, _ service: MeshService, _ cluster: inout Cluster
    ) {
        if let written = written?.backendUtilization {
            cluster.loadBalancingPolicy = utilization(written)
            return
        }
        let simple = written?.simple ?? ""
        if let hash = written?.consistentHash {
            consistentHash(hash, &cluster)
            return
        }
        if service.sessionAffinitySeconds != nil, simple.isEmpty || simple == "UNSPECIFIED" {
            // S-10: by the client's address; the routes have the other half.
            consistentHash(DestinationRule.ConsistentHash(json: [:]), &cluster)
            return
        }
        let start = written?.warmup.flatMap(slowStart)
        switch simple {
        case "ROUND_ROBIN":
            cluster.lbPolicy = .roundRobin
            if let start {
                var config = Cluster.RoundRobinLbConfig()
                config.slowStartConfig = start
                cluster.lbConfig = .roundRobinLbConfig(config)
            }
        case "RANDOM": cluster.lbPolicy = .random
        default:
            cluster.lbPolicy = .leastRequest
            if let start {
                var config = Cluster.LeastRequestLbConfig()
                config.slowStartConfig = start
                cluster.lbConfig = .leastRequestLbConfig(config)
            }
        }
    }

    /// The largest ring that Envoy makes.
    static let maximumRingSize: UInt64 = 8_388_608
    /// The largest table that Maglev's algorithm makes in Envoy.
    static let maximumTableSize = 5_000_011

    /// Whether Maglev's algorithm can work with a table of that size: a prime number.
    static func isTableSize(_ size: Int) -> Bool {
        guard (2...maximumTableSize).contains(size) else { return false }
        var divisor = 2
        while divisor * divisor <= size {
            if size % divisor == 0 { return false }
            divisor += 1
        }
        return true
    }

    private static func consistentHash(_ written: DestinationRule.ConsistentHash, _ cluster: inout Cluster) {
        if written.usesMaglev {
            cluster.lbPolicy = .maglev
            if let size = written.tableSize, isTableSize(size) {
                var config = Cluster.MaglevLbConfig()
                config.tableSize = UInt64(size)
                cluster.lbConfig = .maglevLbConfig(config)
            }
            return
        }
        cluster.lbPolicy = .ringHash
        var config = Cluster.RingHashLbConfig()
        config.minimumRingSize =
            written.minimumRingSize.flatMap { $0 > 0 ? min(UInt64($0), maximumRingSize) : nil } ?? minimumRingSize
        cluster.lbConfig = .ringHashLbConfig(config)
    }

    /// Weights follow what endpoints report of themselves (ORCA).
    private static func utilization(_ written: DestinationRule.BackendUtilization) -> LoadBalancingPolicy {
        var config = ClientSideWeightedRoundRobinPolicy()
        config.blackoutPeriod = written.stabilization
        config.weightExpirationPeriod = written.expiration
        config.weightUpdatePeriod = written.update
        config.errorUtilizationPenalty = written.errorPenaltyPercent.map { Float(max($0, 0)) / 100 }
        config.metricNamesForComputingUtilization = written.metricNames
        var named = TypedExtensionConfig()
        named.name = "envoy.load_balancing_policies.client_side_weighted_round_robin"
        named.typedConfig = AnyMessage(packing: config)
        var policy = LoadBalancingPolicy.Policy()
        policy.typedExtensionConfig = named
        var balancing = LoadBalancingPolicy()
        balancing.policies = [policy]
        return balancing
    }

    private static func slowStart(_ written: DestinationRule.Warmup) -> Cluster.SlowStartConfig? {
        guard let duration = written.duration, duration > .zero else { return nil }
        var config = Cluster.SlowStartConfig()
        config.slowStartWindow = duration
        var aggression = RuntimeDouble()
        aggression.defaultValue = max(written.aggression ?? 1, 1)
        aggression.runtimeKey = "upstream.slow_start.aggression"
        config.aggression = aggression
        var percent = Percent()
        percent.value = min(max(written.minimumPercent ?? warmupMinimumPercent, 0), 100)
        config.minWeightPercent = percent
        return config
    }
}
