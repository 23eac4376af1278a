/// Chooses hosts of one cluster on one loop.
///
/// It first draws a priority by its load, then (when balancing is locality-weighted) a locality, then a host by the policy.
public final class LoadBalancer {
    /// What a choice may look at besides chance.
    public struct Request {
        /// Hash of the request for ring hash and Maglev; nil makes them choose by chance (B-3).
        public var hash: UInt64?
        /// Hosts that were tried already; they are chosen again only after `attemptsMax` other draws.
        public var avoiding: [Host] = []
        /// How often to draw again for a host that is not avoided.
        public var attemptsMax = 0

        /// Nothing special.
        public init() {}
    }

    /// The hosts it chooses from.
    public let hostSet: HostSet
    private let balancing: ClusterConfig.Balancing
    private let isLocalityWeighted: Bool
    private let failsInPanic: Bool
    private let hashesHostnames: Bool
    private var version: UInt64?
    private var pickers: [PickerKey: Picker] = [:]
    /// The picker of the usual case, without a look-up: healthy hosts of the first priority.
    private var usual: Picker?

    /// Which list of hosts a picker works on.
    private struct PickerKey: Hashable {
        enum Kind { case healthy, degraded, all }
        var priority: Int
        var locality: Int
        var kind: Kind
    }

    /// A balancer for a cluster.
    public init(_ config: ClusterConfig, hostSet: HostSet) {
        self.hostSet = hostSet
        balancing = config.balancing
        isLocalityWeighted = config.isLocalityWeighted
        failsInPanic = config.failsInPanic
        hashesHostnames = config.hashesHostnames
    }

    /// The host for a request; nil is 503, flag UH.
    ///
    /// - Parameter random: One draw; every choice inside comes from it.
    public func choose(_ request: Request = Request(), random: UInt64) -> Host? {
        if version != hostSet.version {
            pickers.removeAll(keepingCapacity: true)
            usual = nil
            version = hostSet.version
        }
        var draws = SplitMix64(seed: random)
        var host = chooseOnce(request, &draws)
        var attempts = 0
        while let candidate = host, attempts < request.attemptsMax,
            request.avoiding.contains(where: { $0 === candidate })
        {
            attempts += 1
            // A hash gives the same host each time, so a retry under ring hash stays (T-7).
            host = chooseOnce(request, &draws)
        }
        return host
    }

    private func chooseOnce(_ request: Request, _ draws: inout SplitMix64) -> Host? {
        guard let (priority, isDegraded) = choosePriority(request.hash, &draws) else { return nil }
        let kind: PickerKey.Kind
        if hostSet.isInPanic[priority] {
            if failsInPanic { return nil }
            kind = .all
        } else {
            kind = isDegraded ? .degraded : .healthy
        }
        var locality = -1
        if isLocalityWeighted, kind != .all { locality = chooseLocality(priority, kind, request.hash, &draws) }
        if priority == 0, locality < 0, kind == .healthy {
            let picker =
                usual
                ?? Picker(
                    balancing, hostSet.priorities[0].healthy, hashesHostnames: hashesHostnames, random: draws.next())
            usual = picker
            return picker.pick(request.hash, &draws)
        }
        let key = PickerKey(priority: priority, locality: locality, kind: kind)
        if pickers[key] == nil {
            pickers[key] = Picker(
                balancing, hosts(key), hashesHostnames: hashesHostnames, random: draws.next())
        }
        return pickers[key]?.pick(request.hash, &draws)
    }

    private func choosePriority(_ hash: UInt64?, _ draws: inout SplitMix64) -> (Int, isDegraded: Bool)? {
        if hostSet.healthyLoad[0] == 100 { return (0, false) }
        // Under hashing the priority follows the hash too, or a key would wander between priorities.
        var point = UInt32((hash.map { $0 % 100 }) ?? draws.next(below: 100))
        for (index, load) in hostSet.healthyLoad.enumerated() {
            if point < load { return (index, false) }
            point -= load
        }
        for (index, load) in hostSet.degradedLoad.enumerated() {
            if point < load { return (index, true) }
            point -= load
        }
        return nil
    }

    /// The index of a locality, drawn by its weight times its availability (B-9); -1 when none has any.
    private func chooseLocality(
        _ priority: Int, _ kind: PickerKey.Kind, _ hash: UInt64?, _ draws: inout SplitMix64
    ) -> Int {
        let places = hostSet.priorities[priority].localities
        func effectiveWeight(_ place: HostSet.LocalityHosts) -> UInt64 {
            let available = kind == .degraded ? place.degraded.count : place.healthy.count
            let share = min(
                10_000,
                UInt64(available) * UInt64(hostSet.overprovisioningFactor) * 100 / UInt64(max(place.hosts.count, 1)))
            return UInt64(place.weight) * share
        }
        let total = places.reduce(0) { $0 + effectiveWeight($1) }
        guard total > 0 else { return -1 }
        var point: UInt64
        if let hash {
            // A key stays in its locality. Mixed first, so that the place on the ring inside it says nothing about it.
            var mixed = SplitMix64(seed: hash)
            point = mixed.next(below: total)
        } else {
            point = draws.next(below: total)
        }
        for (index, place) in places.enumerated() {
            let weight = effectiveWeight(place)
            if point < weight { return index }
            point -= weight
        }
        return -1
    }

    private func hosts(_ key: PickerKey) -> [Host] {
        let priority = hostSet.priorities[key.priority]
        if key.locality >= 0 {
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

/// One policy over one list of hosts.
enum Picker {
    case inTurn(Schedule)
    case leastRequest(WeightedDraw, choiceCount: Int)
    case byChance(WeightedDraw)
    case byHash(HashTable, orElse: WeightedDraw)

    init(_ balancing: ClusterConfig.Balancing, _ hosts: [Host], hashesHostnames: Bool, random: UInt64) {
        switch balancing {
        case .roundRobin, .clusterProvided: self = .inTurn(Schedule(hosts, random: random))
        case .leastRequest(let choiceCount): self = .leastRequest(WeightedDraw(hosts), choiceCount: choiceCount)
        case .random: self = .byChance(WeightedDraw(hosts))
        case .ringHash(let minimum, let maximum):
            self = .byHash(
                HashTable(ring: hosts, minimumSize: minimum, maximumSize: maximum, hashesHostnames: hashesHostnames),
                orElse: WeightedDraw(hosts))
        case .maglev(let size):
            self = .byHash(
                HashTable(maglev: hosts, size: size, hashesHostnames: hashesHostnames), orElse: WeightedDraw(hosts))
        }
    }

    func pick(_ hash: UInt64?, _ draws: inout SplitMix64) -> Host? {
        switch self {
        case .inTurn(let schedule): return schedule.next()
        case .leastRequest(let draw, let choiceCount):
            guard var best = draw.draw(&draws) else { return nil }
            for _ in 1..<max(choiceCount, 1) {
                guard let other = draw.draw(&draws) else { break }
                if other.activeRequests < best.activeRequests { best = other }
            }
            return best
        case .byChance(let draw): return draw.draw(&draws)
        case .byHash(let table, let draw):
            guard let hash else { return draw.draw(&draws) }
            return table.host(for: hash)
        }
    }
}
