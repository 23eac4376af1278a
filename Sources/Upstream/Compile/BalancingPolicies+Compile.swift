internal import EnvoyAPI
internal import Serialization

// How hosts are chosen, in the new field of a cluster (`load_balancing_policy`).
extension ClusterConfig.Settings {
    /// Takes the first policy of the list that is known here (as Envoy: unknown ones are passed over).
    mutating func takePolicies(_ message: LoadBalancingPolicy, _ path: FieldPath) throws(ConfigurationError) {
        for (index, policy) in message.policies.enumerated() {
            let place = (path / "policies")[index] / "typed_extension_config"
            guard let config = policy.typedExtensionConfig, let any = config.typedConfig else {
                throw place.error("is missing")
            }
            if try takePolicy(any, place / "typed_config") { return }
        }
        let names = message.policies.compactMap { $0.typedExtensionConfig?.typedConfig?.name }
        throw (path / "policies").unsupported(names.isEmpty ? "is empty" : names.joined(separator: ", "))
    }

    private func unpack<M: Message>(
        _ any: AnyMessage, as type: M.Type, _ path: FieldPath
    ) throws(ConfigurationError) -> M {
        do throws(MessageError) {
            return try any.unpack(as: type)
        } catch {
            throw ConfigurationError(at: error.path.isEmpty ? path.text : (path / error.path).text, error.problem)
        }
    }

    private mutating func takePolicy(_ any: AnyMessage, _ path: FieldPath) throws(ConfigurationError) -> Bool {
        if any.holds(RoundRobinPolicy.self) {
            let policy = try unpack(any, as: RoundRobinPolicy.self, path)
            balancing = .roundRobin
            balancingOptions.slowStart = try SlowStart(policy.slowStartConfig, path / "slow_start_config")
            try takeLocalities(policy.localityLbConfig, path / "locality_lb_config")
        } else if any.holds(LeastRequestPolicy.self) {
            let policy = try unpack(any, as: LeastRequestPolicy.self, path)
            balancing = .leastRequest(choiceCount: try Self.choiceCount(policy.choiceCount, path / "choice_count"))
            if let bias = policy.activeRequestBias {
                balancingOptions.activeRequestBias = try Self.bias(bias, path / "active_request_bias")
            }
            balancingOptions.slowStart = try SlowStart(policy.slowStartConfig, path / "slow_start_config")
            switch policy.selectionMethod {
            case .nChoices: balancingOptions.scansAllHosts = policy.enableFullScan ?? false
            case .fullScan: balancingOptions.scansAllHosts = true
            case .unrecognized(let number): throw (path / "selection_method").error("\(number) is no method")
            }
            try takeLocalities(policy.localityLbConfig, path / "locality_lb_config")
        } else if any.holds(RandomPolicy.self) {
            let policy = try unpack(any, as: RandomPolicy.self, path)
            balancing = .random
            try takeLocalities(policy.localityLbConfig, path / "locality_lb_config")
        } else if any.holds(RingHashPolicy.self) {
            try takeRing(try unpack(any, as: RingHashPolicy.self, path), path)
        } else if any.holds(MaglevPolicy.self) {
            let policy = try unpack(any, as: MaglevPolicy.self, path)
            balancing = try Self.maglev(policy.tableSize, path / "table_size")
            try takeHashing(policy.consistentHashingLbConfig, path / "consistent_hashing_lb_config")
            if policy.localityWeightedLbConfig != nil { localityBalancing = .weighted }
        } else if any.holds(SubsetPolicy.self) {
            let policy = try unpack(any, as: SubsetPolicy.self, path)
            guard let inner = policy.subsetLbPolicy else { throw (path / "subset_lb_policy").error("is missing") }
            try takePolicies(inner, path / "subset_lb_policy")
            balancingOptions.subsets = try Subsets(compiling: policy, path)
        } else if any.holds(WrrLocalityPolicy.self) {
            let policy = try unpack(any, as: WrrLocalityPolicy.self, path)
            guard let inner = policy.endpointPickingPolicy else {
                throw (path / "endpoint_picking_policy").error("is missing")
            }
            try takePolicies(inner, path / "endpoint_picking_policy")
            localityBalancing = .weighted
        } else if any.holds(OverrideHostPolicy.self) {
            try takeOverride(try unpack(any, as: OverrideHostPolicy.self, path), path)
        } else if any.holds(ClientSideWeightedRoundRobinPolicy.self) {
            try takeReported(try unpack(any, as: ClientSideWeightedRoundRobinPolicy.self, path), path)
        } else if any.holds(ClusterProvidedPolicy.self) {
            balancing = .clusterProvided
        } else {
            return try takeOwnPolicy(any, path)
        }
        return true
    }

    /// Policies that Envoy has not, or has among its contributed extensions only.
    private mutating func takeOwnPolicy(_ any: AnyMessage, _ path: FieldPath) throws(ConfigurationError) -> Bool {
        if any.holds(PeakEwmaPolicy.self) {
            let policy = try unpack(any, as: PeakEwmaPolicy.self, path)
            try FieldCheck.check(policy, path, handles: "decay_time default_rtt")
            var settings = PeakEWMA()
            settings.decayTime = try Self.positive(policy.decayTime, settings.decayTime, path / "decay_time")
            settings.initialLatency = try Self.positive(
                policy.defaultRtt, settings.initialLatency, path / "default_rtt")
            balancing = .peakEWMA(settings)
        } else if any.holds(LeastBytesInFlightPolicy.self) {
            let policy = try unpack(any, as: LeastBytesInFlightPolicy.self, path)
            balancing = .leastBytes(choiceCount: try Self.choiceCount(policy.choiceCount, path / "choice_count"))
            try takeLocalities(policy.localityLbConfig, path / "locality_lb_config")
        } else if any.holds(NearestPolicy.self) {
            try FieldCheck.check(try unpack(any, as: NearestPolicy.self, path), path, handles: "")
            balancing = .nearest
        } else {
            return false
        }
        return true
    }

    private static func positive(
        _ duration: Duration?, _ fallback: Duration, _ path: FieldPath
    ) throws(ConfigurationError) -> Duration {
        let value = try Duration.checked(duration, default: fallback, path)
        guard value > .zero else { throw path.error("must be above 0") }
        return value
    }

    private mutating func takeLocalities(
        _ message: LocalityLbConfig?, _ path: FieldPath
    ) throws(ConfigurationError) {
        switch message?.localityConfigSpecifier {
        case nil: break
        case .localityWeightedLbConfig: localityBalancing = .weighted
        case .zoneAwareLbConfig(let config):
            let place = path / "zone_aware_lb_config"
            try FieldCheck.check(
                config, place,
                handles:
                    "routing_enabled min_cluster_size fail_traffic_on_panic force_locality_direct_routing force_local_zone locality_basis"
            )
            var zones = ZoneAware()
            if let share = config.routingEnabled {
                zones.enabledPercent = try Self.percent(share, place / "routing_enabled")
            }
            if let size = config.minClusterSize { zones.clusterSizeMin = size }
            if config.forceLocalityDirectRouting { zones.forcedLocalHostsMin = 1 }
            if let force = config.forceLocalZone { zones.forcedLocalHostsMin = force.minSize ?? 1 }
            guard config.localityBasis == .healthyHostsNum else {
                throw (place / "locality_basis").unsupported("only HEALTHY_HOSTS_NUM")
            }
            localityBalancing = .zoneAware(zones)
            failsInPanic = config.failTrafficOnPanic
        }
    }

    private mutating func takeHashing(
        _ message: ConsistentHashingLbConfig?, _ path: FieldPath
    ) throws(ConfigurationError) {
        guard let message else { return }
        try FieldCheck.check(message, path, handles: "use_hostname_for_hashing hash_balance_factor hash_policy")
        hashesHostnames = message.useHostnameForHashing
        try takeBalanceFactor(message.hashBalanceFactor, path / "hash_balance_factor")
        for (index, policy) in message.hashPolicy.enumerated() {
            hashPolicies.append(try HashPolicy(compiling: policy, (path / "hash_policy")[index]))
        }
    }

    private mutating func takeRing(_ policy: RingHashPolicy, _ path: FieldPath) throws(ConfigurationError) {
        balancing = try Self.ring(policy.minimumRingSize, policy.maximumRingSize, path)
        switch policy.hashFunction {
        case .defaultHash, .xxHash: break
        case .murmurHash2: balancingOptions.ringUsesMurmur = true
        case .unrecognized(let number): throw (path / "hash_function").error("\(number) is no hash function")
        }
        hashesHostnames = policy.useHostnameForHashing
        try takeBalanceFactor(policy.hashBalanceFactor, path / "hash_balance_factor")
        try takeHashing(policy.consistentHashingLbConfig, path / "consistent_hashing_lb_config")
        if policy.localityWeightedLbConfig != nil { localityBalancing = .weighted }
    }

    private mutating func takeOverride(_ policy: OverrideHostPolicy, _ path: FieldPath) throws(ConfigurationError) {
        guard let inner = policy.fallbackPolicy else { throw (path / "fallback_policy").error("is missing") }
        guard !policy.overrideHostSources.isEmpty else { throw (path / "override_host_sources").error("is empty") }
        try takePolicies(inner, path / "fallback_policy")
        for (index, source) in policy.overrideHostSources.enumerated() {
            let place = (path / "override_host_sources")[index]
            if let key = source.metadata {
                guard source.header.isEmpty else { throw place.error("has header and metadata; set one") }
                balancingOptions.overrideSources.append(
                    .metadata(namespace: key.key, path: try Self.segments(key, place / "metadata")))
            } else {
                guard !source.header.isEmpty else { throw place.error("has no source: set header or metadata") }
                balancingOptions.overrideSources.append(.header(HeaderName(source.header)))
            }
        }
    }

    static func segments(_ key: MetadataKey, _ path: FieldPath) throws(ConfigurationError) -> [String] {
        guard !key.key.isEmpty else { throw (path / "key").error("is empty") }
        var result: [String] = []
        for (index, segment) in key.path.enumerated() {
            guard case .key(let name)? = segment.segment, !name.isEmpty else {
                throw ((path / "path")[index] / "key").error("is empty")
            }
            result.append(name)
        }
        return result
    }

    private mutating func takeReported(
        _ policy: ClientSideWeightedRoundRobinPolicy, _ path: FieldPath
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            policy, path,
            handles:
                "enable_oob_load_report oob_reporting_period blackout_period weight_expiration_period weight_update_period error_utilization_penalty metric_names_for_computing_utilization slow_start_config oob_reporting_config"
        )
        var settings = ReportedWeights()
        settings.blackoutPeriod = try .checked(
            policy.blackoutPeriod, default: settings.blackoutPeriod, path / "blackout_period")
        settings.expirationPeriod = try .checked(
            policy.weightExpirationPeriod, default: settings.expirationPeriod, path / "weight_expiration_period")
        settings.updatePeriod = max(
            try .checked(policy.weightUpdatePeriod, default: settings.updatePeriod, path / "weight_update_period"),
            .milliseconds(100))
        if let penalty = policy.errorUtilizationPenalty {
            guard penalty >= 0, penalty.isFinite else {
                throw (path / "error_utilization_penalty").error("\(penalty) is not 0 or above")
            }
            settings.errorPenalty = Double(penalty)
        }
        settings.metricNames = policy.metricNamesForComputingUtilization
        let outOfBand = try ReportedWeights.OutOfBand(compiling: policy, path)
        if policy.enableOobLoadReport == true { settings.outOfBand = outOfBand }
        balancing = .reportedWeights(settings)
        balancingOptions.slowStart = try SlowStart(policy.slowStartConfig, path / "slow_start_config")
    }
}

extension ClusterConfig.ReportedWeights.OutOfBand {
    /// What the policy says of streams for reports, whether they are switched on or not.
    init(compiling policy: ClientSideWeightedRoundRobinPolicy, _ path: FieldPath) throws(ConfigurationError) {
        self.init()
        let period = try Duration.checked(
            policy.oobReportingPeriod, default: self.period, path / "oob_reporting_period")
        // As in Envoy: zero is the default.
        if period > .zero { self.period = period }
        guard let message = policy.oobReportingConfig else { return }
        let place = path / "oob_reporting_config"
        try FieldCheck.check(message, place, handles: "port_value authority transport_socket_match_criteria")
        guard let port = UInt16(exactly: message.portValue) else {
            throw (place / "port_value").error("\(message.portValue) is above 65535")
        }
        self.port = port == 0 ? nil : port
        guard message.authority.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw (place / "authority").error("\"\(message.authority)\" is no authority")
        }
        authority = message.authority
        socketCriteria = message.transportSocketMatchCriteria
    }
}

extension ClusterConfig.SlowStart {
    init?(_ message: EnvoyAPI.SlowStartConfig?, _ path: FieldPath) throws(ConfigurationError) {
        guard let message else { return nil }
        try self.init(
            window: message.slowStartWindow, aggression: message.aggression, minimum: message.minWeightPercent, path)
    }
}

extension ClusterConfig.Subsets {
    init(compiling message: SubsetPolicy, _ path: FieldPath) throws(ConfigurationError) {
        // The same message as the old one, under another name: fields and numbers are those of `lb_subset_config`.
        var copy = message
        copy.subsetLbPolicy = nil
        copy.allowRedundantKeys = false
        let old: Cluster.LbSubsetConfig
        do throws(MessageError) {
            old = try Cluster.LbSubsetConfig(serialized: copy.serialized())
        } catch {
            throw ConfigurationError(at: error.path.isEmpty ? path.text : (path / error.path).text, error.problem)
        }
        try self.init(compiling: old, path)
    }
}
