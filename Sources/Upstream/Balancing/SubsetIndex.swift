internal import Serialization

/// The subsets of one cluster: which hosts have which metadata, and a balancer for each subset in use.
///
/// Membership is found once per endpoint update; a balancer is made when a request first asks for its subset.
struct SubsetIndex {
    private let settings: ClusterConfig.Subsets
    private let hostSet: HostSet
    private let rules: BalancingRules
    private let place: LoadBalancer.Place?
    private var membershipVersion: UInt64?
    private var version: UInt64?
    /// Which hosts (in the order of the groups) are in a subset, by the subset's token.
    private var members: [String: [Int]] = [:]
    private var hostCount = 0
    private var balancers: [String: PriorityBalancer] = [:]
    /// A name that no criteria's token has.
    private static let defaultToken = "\u{3}default"

    init(_ settings: ClusterConfig.Subsets, hostSet: HostSet, rules: BalancingRules, place: LoadBalancer.Place?) {
        self.settings = settings
        self.hostSet = hostSet
        self.place = place
        self.rules = rules
        // Inside a subset places count only where that is asked for.
        if !settings.weighsLocalities, case .weighted = rules.localities { rules.localities = .none }
    }

    mutating func choose(
        _ request: LoadBalancer.Request, whole: PriorityBalancer, _ draws: inout SplitMix64
    ) -> Host? {
        refresh()
        let criteria = request.criteria ?? MetadataCriteria()
        if settings.usesFallbackList, !criteria.alternatives.isEmpty {
            for alternative in criteria.alternatives {
                var members: [String: JSON] = [:]
                for criterion in alternative.criteria { members[criterion.key] = criterion.value }
                var merged = criteria.merged(with: members)
                merged = merged.limited(to: merged.keys) ?? merged
                if let host = chooseOnce(merged, request, whole, &draws, falls: false) { return host }
            }
        }
        return chooseOnce(criteria, request, whole, &draws, falls: true)
    }

    private mutating func chooseOnce(
        _ criteria: MetadataCriteria, _ request: LoadBalancer.Request, _ whole: PriorityBalancer,
        _ draws: inout SplitMix64, falls: Bool
    ) -> Host? {
        if !criteria.criteria.isEmpty {
            let keys = criteria.keys
            let selector = settings.selectors.first { $0.keys == keys }
            if selector != nil, let balancer = balancer(for: criteria.token),
                let host = LoadBalancer.choose(from: balancer, request, &draws)
            {
                rules.notes.add(\.subsets)
                return host
            }
            guard falls else { return nil }
            if let fallback = selector?.fallback {
                if case .keys(let fewer) = fallback {
                    guard let limited = criteria.limited(to: fewer) else { return nil }
                    return chooseOnce(limited, request, whole, &draws, falls: true)
                }
                return chooseFallback(fallback, request, whole, &draws)
            }
        }
        return falls ? chooseFallback(settings.fallback, request, whole, &draws) : nil
    }

    private mutating func chooseFallback(
        _ fallback: ClusterConfig.Subsets.Fallback, _ request: LoadBalancer.Request, _ whole: PriorityBalancer,
        _ draws: inout SplitMix64
    ) -> Host? {
        switch fallback {
        case .none, .keys: break
        case .anyHost:
            rules.notes.add(\.fallbacks)
            return LoadBalancer.choose(from: whole, request, &draws)
        case .defaultSubset:
            if let balancer = balancer(for: Self.defaultToken),
                let host = LoadBalancer.choose(from: balancer, request, &draws)
            {
                rules.notes.add(\.fallbacks)
                return host
            }
        }
        return settings.panicTakesAny ? LoadBalancer.choose(from: whole, request, &draws) : nil
    }

    private mutating func balancer(for token: String) -> PriorityBalancer? {
        if let known = balancers[token] { return known }
        guard let indexes = members[token], !indexes.isEmpty else { return nil }
        var part = [Bool](repeating: false, count: hostCount)
        for index in indexes { part[index] = true }
        let balancer = PriorityBalancer(
            hostSet.selection(of: part, scalesWeights: settings.scalesLocalityWeights), rules, place)
        balancers[token] = balancer
        return balancer
    }

    private mutating func refresh() {
        if version != hostSet.version {
            balancers.removeAll(keepingCapacity: true)
            version = hostSet.version
        }
        guard membershipVersion != hostSet.membershipVersion else { return }
        membershipVersion = hostSet.membershipVersion
        members.removeAll(keepingCapacity: true)
        hostCount = 0
        for host in hostSet.groups.joined().flatMap(\.hosts) {
            let index = hostCount
            hostCount += 1
            let metadata = host.balancingMetadata
            for selector in settings.selectors {
                for token in tokens(metadata, selector.keys[...]) {
                    if selector.isSingleHost, members[token] != nil { continue }
                    members[token, default: []].append(index)
                }
            }
            if settings.defaultSubset.criteria.allSatisfy({ matches(metadata[$0.key], $0.value) }) {
                members[Self.defaultToken, default: []].append(index)
            }
        }
    }

    /// The tokens of the subsets that a host is in, for one selector: one, or several where a list stands for its values.
    private func tokens(_ metadata: [String: JSON], _ keys: ArraySlice<String>) -> [String] {
        guard let key = keys.first else { return [""] }
        guard let value = metadata[key] else { return [] }
        let rest = tokens(metadata, keys.dropFirst())
        var values = [value]
        if settings.listIsAny, case .array(let list) = value { values = list }
        return values.flatMap { value in rest.map { MetadataCriteria.Criterion.token(key, value) + $0 } }
    }

    private func matches(_ value: JSON?, _ wanted: JSON) -> Bool {
        guard let value else { return false }
        if value == wanted { return true }
        if settings.listIsAny, case .array(let list) = value { return list.contains(wanted) }
        return false
    }
}
