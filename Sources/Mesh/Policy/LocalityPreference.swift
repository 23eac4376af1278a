import KubernetesAPI
import Serialization

/// How the localities of endpoints count for one caller (B-4 to B-8, B-10).
struct LocalityPreference {
    /// Endpoints of one locality and priority.
    struct Group {
        var locality: MeshLocality
        var priority: UInt32 = 0
        var weight: UInt32
        var endpoints: [MeshEndpoint]
    }

    private enum Mode {
        /// They do not.
        case none
        /// By the share that each pattern of localities gets, in percent.
        case distribute([String: Int])
        /// By nearness; `regions` are the failovers that were written.
        case nearness(regions: [(from: String, to: String)])
        /// By region alone: the caller's, then those that it fails over to, then the others.
        case regions([(from: String, to: String)])
        /// By the labels that caller and endpoint have in common.
        case labels([String])
        /// By zone and region, and by node before that.
        case distribution(MeshService.Distribution)
    }

    private let mode: Mode
    private let caller: CallerPlace

    /// B-5: the DestinationRule, then the service's traffic distribution, then the mesh; a setting that is switched off
    /// ends the search.
    ///
    /// B-4: failover needs outlier detection, except that of a traffic distribution.
    init(_ settings: ClusterSettings, service: MeshService, mesh: JSON?, caller: CallerPlace) {
        self.caller = caller
        let ejects = settings.outlierDetection != nil
        if let written = settings.loadBalancer?.zoneAwareSetting {
            mode = Self.mode(written, caller: caller)
        } else if let written = settings.loadBalancer?.localitySetting {
            mode = Self.mode(written, ejects: ejects, caller: caller)
        } else if let distribution = service.distribution {
            mode = .distribution(distribution)
        } else {
            mode = Self.mode(
                DestinationRule.LocalitySetting(json: mesh ?? .object([:])), ejects: ejects, caller: caller)
        }
    }

    private static func mode(
        _ setting: DestinationRule.LocalitySetting, ejects: Bool, caller: CallerPlace
    ) -> Mode {
        guard setting.isEnabled else { return .none }
        if !setting.distribute.isEmpty {
            let rule = setting.distribute.first { matches($0.from, caller.locality) }
            return rule.map { .distribute($0.to) } ?? .none
        }
        guard ejects else { return .none }
        if !setting.failoverPriority.isEmpty { return .labels(setting.failoverPriority) }
        if caller.locality.isEmpty { return .none }
        return .nearness(regions: setting.failover.map { ($0.from, $0.to) })
    }

    /// Zone-aware settings need no outlier detection.
    private static func mode(_ setting: DestinationRule.ZoneAwareSetting, caller: CallerPlace) -> Mode {
        guard setting.isEnabled else { return .none }
        if !setting.failoverPriority.isEmpty { return .labels(setting.failoverPriority) }
        return caller.locality.isEmpty ? .none : .regions(setting.failover.map { ($0.from, $0.to) })
    }

    /// Whether the weights of localities are shares that the proxy must heed.
    var usesWeights: Bool {
        if case .distribute = mode { true } else { false }
    }

    /// Whether the result depends on the caller.
    static func dependsOnCaller(_ settings: ClusterSettings, service: MeshService, mesh: JSON?) -> Bool {
        if service.isNodeLocal { return true }
        if let zones = settings.loadBalancer?.zoneAwareSetting { return zones.isEnabled }
        let written =
            settings.loadBalancer?.localitySetting
            ?? (service.distribution == nil ? DestinationRule.LocalitySetting(json: mesh ?? .object([:])) : nil)
        guard let written else { return true }
        return written.isEnabled && (settings.outlierDetection != nil || !written.distribute.isEmpty)
    }

    /// The endpoints by locality and priority, in that order.
    func groups(_ endpoints: [MeshEndpoint]) -> [Group] {
        if case .distribute(let shares) = mode { return distributed(endpoints, shares) }
        struct Key: Hashable {
            var priority: Int
            var locality: MeshLocality
        }
        var found: [Key: [MeshEndpoint]] = [:]
        for endpoint in endpoints {
            found[Key(priority: priority(endpoint), locality: endpoint.locality), default: []].append(endpoint)
        }
        // B-6: priorities without gaps.
        let present = Set(found.keys.map(\.priority)).sorted()
        let compact = Dictionary(
            present.enumerated().map { ($0.element, UInt32($0.offset)) }, uniquingKeysWith: { first, _ in first })
        return found.sorted { ($0.key.priority, $0.key.locality) < ($1.key.priority, $1.key.locality) }
            .map { key, members in
                Group(
                    locality: key.locality, priority: compact[key.priority] ?? 0, weight: Self.weight(members),
                    endpoints: members)
            }
    }

    private static func weight(_ members: [MeshEndpoint]) -> UInt32 {
        UInt32(clamping: members.reduce(0) { $0 &+ $1.weight })
    }

    private func priority(_ endpoint: MeshEndpoint) -> Int {
        switch mode {
        case .none, .distribute: return 0
        case .nearness(let regions):
            let (mine, theirs) = (caller.locality, endpoint.locality)
            if mine.region == theirs.region {
                guard mine.zone == theirs.zone else { return 2 }
                return mine.subzone == theirs.subzone ? 0 : 1
            }
            let target = regions.first { $0.from == mine.region }?.to
            return target == nil || target == theirs.region ? 3 : 4
        case .regions(let regions):
            let (mine, theirs) = (caller.locality.region, endpoint.locality.region)
            if mine == theirs { return 0 }
            return regions.first { $0.from == mine }?.to == theirs ? 1 : 2
        case .labels(let names):
            // B-7: what matches counts only as long as everything before it did.
            let common = names.prefix { name in
                let (mine, theirs) = values(name, endpoint)
                return mine == theirs
            }
            return names.count - common.count
        case .distribution(let wanted):
            if wanted == .sameNode, !caller.node.isEmpty, endpoint.node == caller.node { return 0 }
            if caller.locality.isEmpty { return 3 }
            let (mine, theirs) = (caller.locality, endpoint.locality)
            guard mine.region == theirs.region else { return 3 }
            return mine.zone == theirs.zone ? 1 : 2
        }
    }

    /// The caller's and the endpoint's value of a label; `name=value` says the caller's.
    private func values(_ name: String, _ endpoint: MeshEndpoint) -> (String, String) {
        let parts = name.split(separator: "=", maxSplits: 1).map(String.init)
        let label = parts.first ?? name
        let theirs = Self.value(
            label, labels: endpoint.labels, locality: endpoint.locality, node: endpoint.node, network: endpoint.network)
        if parts.count > 1 { return (parts[1], theirs) }
        let mine = Self.value(label, labels: caller.labels, locality: caller.locality, node: caller.node, network: "")
        return (mine, theirs)
    }

    private static func value(
        _ label: String, labels: [String: String], locality: MeshLocality, node: String, network: String
    ) -> String {
        switch label {
        case "topology.kubernetes.io/region": locality.region
        case "topology.kubernetes.io/zone": locality.zone
        case "topology.istio.io/subzone": locality.subzone
        case "topology.istio.io/network": network
        case "kubernetes.io/hostname": node
        default: labels[label] ?? ""
        }
    }

    /// B-8: each pattern's share goes to the localities that it fits best, by their number of endpoints; the others get
    /// nothing.
    private func distributed(_ endpoints: [MeshEndpoint], _ shares: [String: Int]) -> [Group] {
        let byLocality = Dictionary(grouping: endpoints, by: \.locality)
        let patterns = shares.keys.sorted { ($0.count, $1) > ($1.count, $0) }
        var members: [String: [MeshLocality]] = [:]
        for locality in byLocality.keys {
            guard let pattern = patterns.first(where: { Self.matches($0, locality) }) else { continue }
            members[pattern, default: []].append(locality)
        }
        var groups: [Group] = []
        for (pattern, localities) in members {
            let share = min(max(shares[pattern] ?? 0, 0), 100)
            guard share > 0 else { continue }
            let total = localities.reduce(0) { $0 + (byLocality[$1]?.count ?? 0) }
            for locality in localities {
                let endpoints = byLocality[locality] ?? []
                // In hundredths of a percent, so that small parts are not lost.
                let weight = share * 100 * endpoints.count / max(total, 1)
                groups.append(
                    Group(locality: locality, weight: UInt32(clamping: max(weight, 1)), endpoints: endpoints))
            }
        }
        return groups.sorted { $0.locality < $1.locality }
    }

    /// Whether `region/zone/subzone` with `*` for anything covers a locality; what is left out is anything, too.
    static func matches(_ pattern: String, _ locality: MeshLocality) -> Bool {
        let parts = pattern.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let values = [locality.region, locality.zone, locality.subzone]
        for (index, value) in values.enumerated() {
            guard index < parts.count else { return true }
            if parts[index] == "*" { continue }
            if parts[index] != value { return false }
        }
        return true
    }
}
