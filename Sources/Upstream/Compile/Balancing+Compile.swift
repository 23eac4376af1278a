internal import EnvoyAPI
internal import Serialization

// How hosts are chosen, in the old fields of a cluster (`lb_policy` and what goes with it).
extension ClusterConfig.Settings {
    mutating func takeBalancing(_ message: Cluster, _ path: FieldPath) throws(ConfigurationError) {
        if let policy = message.loadBalancingPolicy {
            // As Envoy: the typed policy counts alone; the old fields beside it are dead.
            if message.lbSubsetConfig != nil {
                throw (path / "lb_subset_config").error("stands beside load_balancing_policy, which takes its place")
            }
            try takePolicies(policy, path / "load_balancing_policy")
        } else {
            try takeLegacyBalancing(message, path)
        }
        if let subsets = message.lbSubsetConfig, message.loadBalancingPolicy == nil, !subsets.subsetSelectors.isEmpty {
            balancingOptions.subsets = try Subsets(compiling: subsets, path / "lb_subset_config")
            if balancing == .clusterProvided {
                throw (path / "lb_subset_config").error("cannot be together with lb_policy CLUSTER_PROVIDED")
            }
        }
        if let common = message.commonLbConfig { try takeCommon(common, path / "common_lb_config") }
        let isProvided = balancing == .clusterProvided
        guard isOriginalDestination == isProvided || (!isOriginalDestination && providesBalancing) else {
            throw (path / "lb_policy").error("CLUSTER_PROVIDED and type ORIGINAL_DST go together only")
        }
    }

    private mutating func takeLegacyBalancing(_ message: Cluster, _ path: FieldPath) throws(ConfigurationError) {
        switch message.lbPolicy {
        case .roundRobin:
            balancing = .roundRobin
            if case .roundRobinLbConfig(let config) = message.lbConfig {
                balancingOptions.slowStart = try SlowStart(
                    config.slowStartConfig, path / "round_robin_lb_config.slow_start_config")
            }
        case .leastRequest:
            guard case .leastRequestLbConfig(let config) = message.lbConfig else {
                balancing = .leastRequest(choiceCount: 2)
                return
            }
            let place = path / "least_request_lb_config"
            balancing = .leastRequest(choiceCount: try Self.choiceCount(config.choiceCount, place / "choice_count"))
            if let bias = config.activeRequestBias {
                balancingOptions.activeRequestBias = try Self.bias(bias, place / "active_request_bias")
            }
            balancingOptions.slowStart = try SlowStart(config.slowStartConfig, place / "slow_start_config")
        case .random: balancing = .random
        case .ringHash:
            guard case .ringHashLbConfig(let config) = message.lbConfig else {
                balancing = .ringHash(minimumSize: 1024, maximumSize: Self.ringSizeMax)
                return
            }
            let place = path / "ring_hash_lb_config"
            switch config.hashFunction {
            case .xxHash: break
            case .murmurHash2: balancingOptions.ringUsesMurmur = true
            case .unrecognized(let number): throw (place / "hash_function").error("\(number) is no hash function")
            }
            balancing = try Self.ring(config.minimumRingSize, config.maximumRingSize, place)
        case .maglev:
            var size: UInt64?
            if case .maglevLbConfig(let config) = message.lbConfig { size = config.tableSize }
            balancing = try Self.maglev(size, path / "maglev_lb_config.table_size")
        case .loadBalancingPolicyConfig:
            throw (path / "load_balancing_policy").error("is missing, and lb_policy names it")
        case .clusterProvided: balancing = .clusterProvided
        case .unrecognized(let number): throw (path / "lb_policy").error("\(number) is no policy")
        }
    }

    static func choiceCount(_ count: UInt32?, _ path: FieldPath) throws(ConfigurationError) -> Int {
        let count = count ?? 2
        guard (2...1000).contains(count) else { throw path.error("\(count) is not in 2...1000") }
        return Int(count)
    }

    static func bias(_ message: RuntimeDouble, _ path: FieldPath) throws(ConfigurationError) -> Double {
        guard message.defaultValue >= 0, message.defaultValue.isFinite else {
            throw (path / "default_value").error("\(message.defaultValue) is not 0 or above")
        }
        return message.defaultValue
    }

    static func ring(
        _ minimumSize: UInt64?, _ maximumSize: UInt64?, _ path: FieldPath
    ) throws(ConfigurationError) -> Balancing {
        let minimum = minimumSize ?? 1024
        let maximum = maximumSize ?? UInt64(ringSizeMax)
        guard minimum <= UInt64(ringSizeMax) else {
            throw (path / "minimum_ring_size").error("\(minimum) is above \(ringSizeMax)")
        }
        guard maximum <= UInt64(ringSizeMax) else {
            throw (path / "maximum_ring_size").error("\(maximum) is above \(ringSizeMax)")
        }
        guard minimum <= maximum else {
            throw (path / "minimum_ring_size").error("\(minimum) is above maximum_ring_size \(maximum)")
        }
        return .ringHash(minimumSize: Int(minimum), maximumSize: Int(maximum))
    }

    static func maglev(_ size: UInt64?, _ path: FieldPath) throws(ConfigurationError) -> Balancing {
        guard let size else { return .maglev(tableSize: 65537) }
        guard size <= 5_000_011 else { throw path.error("\(size) is above 5000011") }
        guard isPrime(size) else { throw path.error("\(size) is no prime number") }
        return .maglev(tableSize: Int(size))
    }

    /// Envoy's limit for rings: 8 Mi entries.
    static let ringSizeMax = 8_388_608

    private static func isPrime(_ number: UInt64) -> Bool {
        guard number > 3 else { return number > 1 }
        var divisor: UInt64 = 2
        while divisor * divisor <= number {
            if number % divisor == 0 { return false }
            divisor += 1
        }
        return true
    }

    private mutating func takeCommon(
        _ message: Cluster.CommonLbConfig, _ path: FieldPath
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config consistent_hashing_lb_config override_host_status close_connections_on_host_set_change"
        )
        if let threshold = message.healthyPanicThreshold {
            guard threshold.value >= 0, threshold.value <= 100 else {
                throw (path / "healthy_panic_threshold.value").error("\(threshold.value) is not in 0...100")
            }
            panicThresholdPercent = threshold.value
        }
        closesConnectionsOnHostSetChange = message.closeConnectionsOnHostSetChange
        switch message.localityConfigSpecifier {
        case nil: break
        case .localityWeightedLbConfig: localityBalancing = .weighted
        case .zoneAwareLbConfig(let config):
            let place = path / "zone_aware_lb_config"
            try FieldCheck.check(config, place, handles: "routing_enabled min_cluster_size fail_traffic_on_panic")
            var zones = ZoneAware()
            if let percent = config.routingEnabled {
                zones.enabledPercent = try Self.percent(percent, place / "routing_enabled")
            }
            if let size = config.minClusterSize { zones.clusterSizeMin = size }
            localityBalancing = .zoneAware(zones)
            failsInPanic = config.failTrafficOnPanic
        }
        if let config = message.consistentHashingLbConfig {
            let place = path / "consistent_hashing_lb_config"
            hashesHostnames = config.useHostnameForHashing
            try takeBalanceFactor(config.hashBalanceFactor, place / "hash_balance_factor")
        }
        if let statuses = message.overrideHostStatus {
            balancingOptions.overrideHealths = []
            for status in statuses.statuses {
                switch status {
                case .unknown, .healthy: balancingOptions.overrideHealths.insert(.healthy)
                case .unhealthy, .timeout: balancingOptions.overrideHealths.insert(.unhealthy)
                case .draining: balancingOptions.overrideHealths.insert(.draining)
                case .degraded: balancingOptions.overrideHealths.insert(.degraded)
                case .unrecognized(let number):
                    throw (path / "override_host_status").error("\(number) is no health status")
                }
            }
        }
    }

    static func percent(_ message: Percent, _ path: FieldPath) throws(ConfigurationError) -> Double {
        guard message.value >= 0, message.value <= 100 else {
            throw (path / "value").error("\(message.value) is not in 0...100")
        }
        return message.value
    }

    mutating func takeBalanceFactor(_ factor: UInt32?, _ path: FieldPath) throws(ConfigurationError) {
        guard let factor, factor > 0 else { return }
        guard factor >= 100 else { throw path.error("\(factor) is below 100") }
        balancingOptions.hashBalanceFactor = factor
    }
}

extension ClusterConfig.SlowStart {
    init?(_ message: Cluster.SlowStartConfig?, _ path: FieldPath) throws(ConfigurationError) {
        guard let message else { return nil }
        try self.init(
            window: message.slowStartWindow, aggression: message.aggression, minimum: message.minWeightPercent, path)
    }

    init(
        window: Duration?, aggression: RuntimeDouble?, minimum: Percent?, _ path: FieldPath
    ) throws(ConfigurationError) {
        guard let window, window > .zero else {
            throw (path / "slow_start_window").error("must be there and above 0")
        }
        self.init(window: window)
        if let aggression {
            guard aggression.defaultValue > 0, aggression.defaultValue.isFinite else {
                throw (path / "aggression.default_value").error("\(aggression.defaultValue) is not above 0")
            }
            self.aggression = aggression.defaultValue
        }
        if let minimum { minimumShare = try ClusterConfig.Settings.percent(minimum, path / "min_weight_percent") / 100 }
    }
}

extension ClusterConfig.Subsets {
    init(compiling message: Cluster.LbSubsetConfig, _ path: FieldPath) throws(ConfigurationError) {
        self.init()
        switch message.fallbackPolicy {
        case .noFallback: fallback = .none
        case .anyEndpoint: fallback = .anyHost
        case .defaultSubset: fallback = .defaultSubset
        case .unrecognized(let number): throw (path / "fallback_policy").error("\(number) is no fallback policy")
        }
        if case .object(let members) = message.defaultSubset { defaultSubset = MetadataCriteria(members) }
        for (index, selector) in message.subsetSelectors.enumerated() {
            let place = (path / "subset_selectors")[index]
            var chosen: Fallback?
            switch selector.fallbackPolicy {
            case .notDefined: break
            case .noFallback: chosen = Fallback.none
            case .anyEndpoint: chosen = .anyHost
            case .defaultSubset: chosen = .defaultSubset
            case .keysSubset: chosen = .keys(selector.fallbackKeysSubset.sorted())
            case .unrecognized(let number): throw (place / "fallback_policy").error("\(number) is no fallback policy")
            }
            try add(
                keys: selector.keys, isSingleHost: selector.singleHostPerSubset, fallback: chosen,
                fallbackKeys: selector.fallbackKeysSubset, place)
        }
        guard !message.scaleLocalityWeight || message.localityWeightAware else {
            throw (path / "scale_locality_weight").error("has a meaning only with locality_weight_aware")
        }
        weighsLocalities = message.localityWeightAware
        scalesLocalityWeights = message.scaleLocalityWeight
        panicTakesAny = message.panicModeAny
        listIsAny = message.listAsAny
        switch message.metadataFallbackPolicy {
        case .metadataNoFallback: break
        case .fallbackList: usesFallbackList = true
        case .unrecognized(let number):
            throw (path / "metadata_fallback_policy").error("\(number) is no fallback policy")
        }
    }

    mutating func add(
        keys: [String], isSingleHost: Bool, fallback: Fallback?, fallbackKeys: [String], _ path: FieldPath
    ) throws(ConfigurationError) {
        guard !keys.isEmpty else { throw (path / "keys").error("is empty") }
        let sorted = Set(keys).sorted()
        if isSingleHost, sorted.count != 1 { throw (path / "single_host_per_subset").error("needs exactly one key") }
        if case .keys(let fewer)? = fallback {
            guard !fewer.isEmpty, fewer.count < sorted.count, fewer.allSatisfy(sorted.contains) else {
                throw (path / "fallback_keys_subset").error("must be some of keys, not all and not none")
            }
        } else if !fallbackKeys.isEmpty {
            throw (path / "fallback_keys_subset").error("has a meaning only with fallback_policy KEYS_SUBSET")
        }
        guard !selectors.contains(where: { $0.keys == sorted }) else {
            throw (path / "keys").error("\(sorted.joined(separator: ", ")): another selector has these keys already")
        }
        selectors.append(Selector(keys: sorted, isSingleHost: isSingleHost, fallback: fallback))
    }
}
