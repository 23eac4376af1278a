/// Chooses among the hosts of one selection: a priority, a place, a host.
///
/// What it builds for a list of hosts (heap, ring, table) is built at first use and lives as long as the selection.
final class PriorityBalancer {
    /// Which list of hosts a picker works on.
    struct PickerKey: Hashable {
        enum Kind { case healthy, degraded, all }
        var priority: Int
        /// -1 is all places together.
        var locality: Int
        var kind: Kind
    }

    let selection: HostSelection
    private let rules: BalancingRules
    private let place: LoadBalancer.Place?
    private var pickers: [PickerKey: Picker] = [:]
    /// The picker of the usual case, without a look-up: healthy hosts of the first priority.
    private var usual: Picker?
    private var weights: [PickerKey: LocalityWeights] = [:]
    private var zone: ZoneRouting?
    private var nearness: [PickerKey: Nearness] = [:]

    init(_ selection: HostSelection, _ rules: BalancingRules, _ place: LoadBalancer.Place?) {
        self.selection = selection
        self.rules = rules
        self.place = place
    }

    /// - Parameter attempt: How often this choice was refused already: hashing goes on to the next host then.
    func choose(_ request: LoadBalancer.Request, attempt: Int, _ draws: inout SplitMix64) -> Host? {
        let isHashing = rules.isHashing
        let hash = isHashing ? request.hash ?? draws.next() : nil
        guard let (priority, isDegraded) = choosePriority(request, hash, &draws) else { return nil }
        var key = PickerKey(priority: priority, locality: -1, kind: isDegraded ? .degraded : .healthy)
        if selection.isInPanic[priority] {
            rules.notes.add(\.panics)
            if rules.failsInPanic { return nil }
            key.kind = .all
        }
        if !isHashing {
            switch rules.localities {
            case .none: break
            case .weighted: if key.kind != .all { key.locality = chooseLocality(key, &draws) }
            case .zoneAware(let settings):
                if key.kind == .healthy, priority == 0 { key.locality = chooseZone(settings, &draws) }
            }
            if rules.isNearest, key.kind != .all { return chooseNearest(key, request, &draws) }
        }
        if priority == 0, key.locality < 0, key.kind == .healthy {
            if let usual { return usual.pick(hash, attempt, request.now, &draws) }
            let picker = makePicker(key, request.now, &draws)
            usual = picker
            return picker.pick(hash, attempt, request.now, &draws)
        }
        if let picker = pickers[key] { return picker.pick(hash, attempt, request.now, &draws) }
        let picker = makePicker(key, request.now, &draws)
        pickers[key] = picker
        return picker.pick(hash, attempt, request.now, &draws)
    }

    private func makePicker(_ key: PickerKey, _ now: UInt64, _ draws: inout SplitMix64) -> Picker {
        var shares: [Double]?
        switch rules.policy {
        case .ringHash, .maglev:
            if case .weighted = rules.localities, key.kind != .all { shares = sharesByLocality(key) }
        default: break
        }
        return Picker(rules, hosts(key), shares: shares, now: now, random: draws.next())
    }

    private func choosePriority(
        _ request: LoadBalancer.Request, _ hash: UInt64?, _ draws: inout SplitMix64
    ) -> (Int, isDegraded: Bool)? {
        if request.wishesForNothing || request.avoidedPriorities.isEmpty, selection.healthyLoad[0] == 100 {
            return (0, false)
        }
        let loads = selection.loads(avoiding: request.avoidedPriorities)
        // Under hashing the priority follows the hash too, or a key would wander between priorities.
        var point = UInt32((hash.map { $0 % 100 }) ?? draws.next(below: 100))
        for (index, load) in loads.healthy.enumerated() {
            if point < load { return (index, false) }
            point -= load
        }
        for (index, load) in loads.degraded.enumerated() {
            if point < load { return (index, true) }
            point -= load
        }
        return nil
    }

    // MARK: Places

    private func chooseLocality(_ key: PickerKey, _ draws: inout SplitMix64) -> Int {
        if let known = weights[key] { return known.draw(&draws) }
        let made = LocalityWeights(
            selection.priorities[key.priority].localities, isDegraded: key.kind == .degraded,
            factor: selection.rules.overprovisioningFactor)
        weights[key] = made
        return made.draw(&draws)
    }

    private func chooseZone(_ settings: ClusterConfig.ZoneAware, _ draws: inout SplitMix64) -> Int {
        guard let place, let local = place.localCluster else { return -1 }
        if zone?.localSelection !== local.selection {
            zone = ZoneRouting(settings, own: place.locality, local: local.selection, upstream: selection)
        }
        return zone?.draw(settings, &draws) ?? -1
    }

    private func chooseNearest(
        _ key: PickerKey, _ request: LoadBalancer.Request, _ draws: inout SplitMix64
    ) -> Host? {
        let near: Nearness
        if let known = nearness[key] {
            near = known
        } else {
            near = Nearness(
                selection.priorities[key.priority], from: place?.locality ?? Locality(),
                isDegraded: key.kind == .degraded, factor: selection.rules.overprovisioningFactor)
            nearness[key] = near
        }
        return near.pick(now: request.now, &draws)
    }

    /// For each host of the key its share of everything, by the weights of places and of hosts inside them (as Envoy).
    private func sharesByLocality(_ key: PickerKey) -> [Double]? {
        let places = selection.priorities[key.priority].localities
        let total = places.reduce(0.0) { $0 + Double($1.weight) }
        guard total > 0 else { return nil }
        return places.flatMap { place -> [Double] in
            let hosts = key.kind == .degraded ? place.degraded : place.healthy
            let sum = hosts.reduce(0.0) { $0 + Double($1.weight) }
            return hosts.map { Double(place.weight) / total * Double($0.weight) / sum }
        }
    }

    private func hosts(_ key: PickerKey) -> [Host] {
        let priority = selection.priorities[key.priority]
        if key.locality >= 0, key.locality < priority.localities.count {
            let place = priority.localities[key.locality]
            switch key.kind {
            case .healthy: return place.healthy
            case .degraded: return place.degraded
            case .all: return place.hosts
            }
        }
        switch key.kind {
        case .healthy: return priority.healthy
        case .degraded: return priority.degraded
        case .all: return priority.hosts
        }
    }
}

/// Places by their weight times their availability (B-9).
struct LocalityWeights {
    private let cumulative: [UInt64]

    init(_ places: [HostSet.LocalityHosts], isDegraded: Bool, factor: UInt32) {
        var sum: UInt64 = 0
        cumulative = places.map { place in
            let available = isDegraded ? place.degraded.count : place.healthy.count
            let share = min(10_000, UInt64(available) * UInt64(factor) * 100 / UInt64(max(place.hosts.count, 1)))
            sum += UInt64(place.weight) * share
            return sum
        }
    }

    /// The index of a place; -1 when none has any weight.
    func draw(_ draws: inout SplitMix64) -> Int {
        guard let total = cumulative.last, total > 0 else { return -1 }
        let point = draws.next(below: total)
        var low = 0
        var high = cumulative.count - 1
        while low < high {
            let middle = (low + high) / 2
            if point < cumulative[middle] { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
