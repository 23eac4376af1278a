/// The hosts of one cluster on one loop, sorted by priority and health.
public final class HostSet {
    /// What an update did.
    public struct Change {
        /// Hosts that are new.
        public var added: [Host] = []
        /// Hosts that left: their pools drain, their requests finish.
        public var removed: [Host] = []
    }

    /// Hosts of one priority.
    public struct Priority {
        /// All of them.
        public internal(set) var hosts: [Host] = []
        /// Those that are healthy.
        public internal(set) var healthy: [Host] = []
        /// Those that are degraded.
        public internal(set) var degraded: [Host] = []
        /// Their places, in the order of the endpoints.
        var localities: [LocalityHosts] = []

        /// Percent of this priority that counts as available: at most 100, 1.4 times the healthy share by default (B-9).
        func availability(of count: Int, factor: UInt32) -> UInt32 {
            guard !hosts.isEmpty else { return 0 }
            return UInt32(min(100, UInt64(factor) * UInt64(count) / UInt64(hosts.count)))
        }
    }

    struct LocalityHosts {
        var locality: Locality
        var weight: UInt32
        var hosts: [Host] = []
        var healthy: [Host] = []
        var degraded: [Host] = []
    }

    /// The priorities, first choice first.
    ///
    /// There is always one.
    public private(set) var priorities: [Priority] = [Priority()]
    /// Share of the load by priority in percent; healthy and degraded together make 100.
    public private(set) var healthyLoad: [UInt32] = [100]
    /// Share that degraded hosts get.
    public private(set) var degradedLoad: [UInt32] = [0]
    /// Priorities in panic (O-7).
    public private(set) var isInPanic: [Bool] = [false]
    /// Moves when any of the above does; balancers compare it.
    public private(set) var version: UInt64 = 0
    /// Shares of requests to drop.
    public private(set) var drops: [EndpointTable.Drop] = []
    /// B-9, in percent.
    public private(set) var overprovisioningFactor: UInt32 = 140
    /// Below this share of available hosts, in percent, a priority panics; 0 is never (O-7).
    public var panicThresholdPercent: Double {
        didSet { refresh() }
    }
    /// New hosts wait for their first passed active check.
    ///
    /// Switched off, it forgets what checks said: nobody would ever take it back.
    public var startsUnchecked = false {
        didSet { if oldValue, !startsUnchecked { clear(.failedActiveCheck) } }
    }

    private var table = EndpointTable()

    /// No hosts.
    public init(panicThresholdPercent: Double = 50) { self.panicThresholdPercent = panicThresholdPercent }

    /// Every host, priority by priority.
    public var hosts: [Host] { priorities.flatMap(\.hosts) }

    /// Takes over endpoints.
    ///
    /// Hosts whose address stays keep their identity, counters, health and pool.
    ///
    /// Endpoints with names must be resolved before (`EndpointTable.resolved`); those left unresolved are passed over. An
    /// address that stands twice counts once, where it stands first.
    @discardableResult
    public func apply(_ newTable: EndpointTable) -> Change {
        var known: [HostAddress: Host] = [:]
        for host in hosts { known[host.address] = host }
        var change = Change()
        var taken: Set<HostAddress> = []
        let count = Int(newTable.groups.map(\.priority).max() ?? 0) + 1
        var next = [Priority](repeating: Priority(), count: count)
        for group in newTable.groups {
            let priority = Int(group.priority)
            var place = LocalityHosts(locality: group.locality, weight: group.weight ?? 0)
            for endpoint in group.endpoints {
                if case .name = endpoint.address { continue }
                guard taken.insert(endpoint.address).inserted else { continue }
                let host: Host
                if let old = known.removeValue(forKey: endpoint.address) {
                    host = old
                } else {
                    host = Host(endpoint)
                    if startsUnchecked, !endpoint.skipsActiveChecks { host.conditions.insert(.failedActiveCheck) }
                    change.added.append(host)
                }
                host.take(endpoint, locality: group.locality, priority: priority)
                place.hosts.append(host)
                next[priority].hosts.append(host)
            }
            if !place.hosts.isEmpty { next[priority].localities.append(place) }
        }
        for host in hosts where known[host.address] != nil {
            host.conditions.insert(.removed)
            change.removed.append(host)
        }
        table = newTable
        drops = newTable.drops
        overprovisioningFactor = newTable.overprovisioningFactor
        priorities = next
        refresh()
        return change
    }

    /// Sets or clears a condition of a host; the lists and loads follow.
    public func set(_ condition: Host.Conditions, of host: Host, to isOn: Bool) {
        let before = host.health
        if isOn { host.conditions.insert(condition) } else { host.conditions.remove(condition) }
        if host.health != before { refresh() }
    }

    /// Takes a condition from all hosts: its source is gone (`ejected` when outlier detection is switched off).
    public func clear(_ condition: Host.Conditions) {
        for host in hosts { host.conditions.remove(condition) }
        refresh()
    }

    /// Whether a request is dropped before any balancing (`drop_overloads`); the answer is the category.
    public func drop(random: UInt64) -> String? {
        var draws = SplitMix64(seed: random)
        for drop in drops where drop.share.includes(random: draws.next()) { return drop.category }
        return nil
    }

    private func refresh() {
        for index in priorities.indices {
            priorities[index].healthy = priorities[index].hosts.filter { $0.health == .healthy }
            priorities[index].degraded = priorities[index].hosts.filter { $0.health == .degraded }
            for place in priorities[index].localities.indices {
                let hosts = priorities[index].localities[place].hosts
                priorities[index].localities[place].healthy = hosts.filter { $0.health == .healthy }
                priorities[index].localities[place].degraded = hosts.filter { $0.health == .degraded }
            }
        }
        distribute()
        version &+= 1
    }

    /// Spreads the load over the priorities as Envoy does: what a priority cannot take spills to the next, healthy hosts
    /// before degraded ones; panic only when all together cannot take 100 %.
    private func distribute() {
        let healthy = priorities.map { $0.availability(of: $0.healthy.count, factor: overprovisioningFactor) }
        let degraded = priorities.map { $0.availability(of: $0.degraded.count, factor: overprovisioningFactor) }
        let total = min(100, healthy.reduce(0, +) + degraded.reduce(0, +))
        let none = [UInt32](repeating: 0, count: priorities.count)
        healthyLoad = none
        degradedLoad = none
        isInPanic = priorities.map { priority in
            guard panicThresholdPercent > 0, total < 100 else { return false }
            let available = priority.healthy.count + priority.degraded.count
            return priority.hosts.isEmpty
                || Double(available) * 100 < panicThresholdPercent * Double(priority.hosts.count)
        }
        if panicThresholdPercent > 0, isInPanic.allSatisfy({ $0 }) {
            // Everything panics: health says nothing any more, the load follows the number of hosts.
            let count = priorities.reduce(0) { $0 + $1.hosts.count }
            guard count > 0 else {
                healthyLoad[0] = 100
                return
            }
            var left: UInt32 = 100
            for index in priorities.indices {
                healthyLoad[index] = UInt32(UInt64(priorities[index].hosts.count) * 100 / UInt64(count))
                left -= healthyLoad[index]
            }
            if let first = priorities.firstIndex(where: { !$0.hosts.isEmpty }) { healthyLoad[first] += left }
            return
        }
        guard total > 0 else {
            healthyLoad[0] = 100
            return
        }
        var left: UInt32 = 100
        for index in priorities.indices {
            healthyLoad[index] = min(left, healthy[index] * 100 / total)
            left -= healthyLoad[index]
        }
        for index in priorities.indices {
            degradedLoad[index] = min(left, degraded[index] * 100 / total)
            left -= degradedLoad[index]
        }
        // Rounding leaves some percent over: they go to the first that has any load.
        if let first = healthyLoad.firstIndex(where: { $0 > 0 }) {
            healthyLoad[first] += left
        } else if let first = degradedLoad.firstIndex(where: { $0 > 0 }) {
            degradedLoad[first] += left
        }
    }
}

extension Host {
    func take(_ newEndpoint: EndpointTable.Endpoint, locality newLocality: Locality, priority newPriority: Int) {
        endpoint = newEndpoint
        locality = newLocality
        priority = newPriority
        conditions.subtract([.endpointUnhealthy, .draining, .degraded, .removed])
        switch newEndpoint.health {
        case .healthy: break
        case .unhealthy: conditions.insert(.endpointUnhealthy)
        case .draining: conditions.insert(.draining)
        case .degraded: conditions.insert(.degraded)
        }
    }
}
