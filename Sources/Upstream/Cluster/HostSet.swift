internal import Serialization

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
    }

    struct LocalityHosts {
        var locality: Locality
        var weight: UInt32
        var hosts: [Host] = []
        var healthy: [Host] = []
        var degraded: [Host] = []
    }

    /// The hosts as they may be chosen now; a new one with each change.
    private(set) var selection: HostSelection

    /// The priorities, first choice first.
    ///
    /// There is always one.
    public var priorities: [Priority] { selection.priorities }
    /// Share of the load by priority in percent; healthy and degraded together make 100.
    public var healthyLoad: [UInt32] { selection.healthyLoad }
    /// Share that degraded hosts get.
    public var degradedLoad: [UInt32] { selection.degradedLoad }
    /// Priorities in panic (O-7).
    public var isInPanic: [Bool] { selection.isInPanic }
    /// Moves when any of the above does; balancers compare it.
    public private(set) var version: UInt64 = 0
    /// Moves when the hosts, their metadata or places change.
    private(set) var membershipVersion: UInt64 = 0
    /// Shares of requests to drop.
    public private(set) var drops: [EndpointTable.Drop] = []
    /// Requests that `drop` dropped, by category.
    public private(set) var dropped: [String: UInt64] = [:]
    private var rules: HostSelection.Rules
    /// By priority: all places with all their hosts.
    private(set) var groups: [[LocalityHosts]] = [[]]
    private var byAddress: [HostAddress: Host] = [:]

    /// Below this share of available hosts, in percent, a priority panics; 0 is never (O-7).
    public var panicThresholdPercent: Double {
        get { rules.panicThresholdPercent }
        set {
            guard newValue != rules.panicThresholdPercent else { return }
            rules.panicThresholdPercent = newValue
            refresh()
        }
    }
    /// B-9, in percent.
    public var overprovisioningFactor: UInt32 { rules.overprovisioningFactor }
    /// New hosts wait for their first passed active check.
    ///
    /// Switched off, it forgets what checks said: nobody would ever take it back.
    public var startsUnchecked = false {
        didSet { if oldValue, !startsUnchecked { clear([.failedActiveCheck, .unchecked, .degradedByCheck]) } }
    }

    /// What outlier detection knows of the hosts; the one that all loops share, where several have these hosts.
    public var outlierLedger = OutlierLedger()

    /// No hosts.
    public init(panicThresholdPercent: Double = 50) {
        rules = HostSelection.Rules(panicThresholdPercent: panicThresholdPercent)
        selection = HostSelection([[]], rules: rules)
    }

    /// Percent of the whole load that these hosts can take: of all priorities together, at most 100.
    public var availability: UInt32 { selection.availability }

    /// Every host, priority by priority.
    public var hosts: [Host] {
        selection.priorities.count == 1 ? selection.priorities[0].hosts : selection.priorities.flatMap(\.hosts)
    }

    /// How many hosts there are.
    public var count: Int { byAddress.count }

    /// The host at an address.
    public func host(at address: HostAddress) -> Host? { byAddress[address] }

    /// Takes over endpoints.
    ///
    /// Hosts whose address stays keep their identity, counters, health and pool.
    ///
    /// Endpoints with names must be resolved before (`EndpointTable.resolved`); those left unresolved are passed over. An
    /// address that stands twice counts once, where it stands first.
    /// - Parameter now: Nanoseconds of a monotonic clock, from which slow start counts.
    @discardableResult
    public func apply(_ newTable: EndpointTable, now: UInt64 = 0) -> Change {
        var known = byAddress
        var change = Change()
        var taken: [HostAddress: Host] = [:]
        taken.reserveCapacity(known.count)
        let count = Int(newTable.groups.map(\.priority).max() ?? 0) + 1
        var next = [[LocalityHosts]](repeating: [], count: count)
        for group in newTable.groups {
            let priority = Int(group.priority)
            var place = LocalityHosts(locality: group.locality, weight: group.weight ?? 0)
            place.hosts.reserveCapacity(group.endpoints.count)
            for endpoint in group.endpoints {
                if case .name = endpoint.address { continue }
                guard taken[endpoint.address] == nil else { continue }
                let host: Host
                if let old = known.removeValue(forKey: endpoint.address) {
                    host = old
                } else {
                    host = Host(endpoint)
                    if startsUnchecked, !endpoint.skipsActiveChecks {
                        host.conditions.insert([.failedActiveCheck, .unchecked])
                    } else {
                        host.healthySince = now
                    }
                    change.added.append(host)
                }
                taken[endpoint.address] = host
                host.take(endpoint, locality: group.locality, priority: priority)
                place.hosts.append(host)
            }
            if !place.hosts.isEmpty { next[priority].append(place) }
        }
        for host in hosts where known[host.address] != nil {
            host.conditions.insert(.removed)
            change.removed.append(host)
        }
        drops = newTable.drops
        rules.overprovisioningFactor = newTable.overprovisioningFactor
        rules.countsWeights = newTable.countsWeights
        groups = next
        byAddress = taken
        membershipVersion &+= 1
        refresh()
        return change
    }

    /// Sets or clears a condition of a host; the lists and loads follow.
    ///
    /// - Parameter now: When the host is found healthy; slow start counts from it. Nil leaves that time.
    public func set(_ condition: Host.Conditions, of host: Host, to isOn: Bool, now: UInt64? = nil) {
        let before = host.health
        let wasExcluded = host.conditions.contains(.excluded)
        if isOn { host.conditions.formUnion(condition) } else { host.conditions.subtract(condition) }
        guard host.health != before || wasExcluded != host.conditions.contains(.excluded) else { return }
        if before == .unhealthy, host.health != .unhealthy, let now { host.healthySince = now }
        refresh()
    }

    /// Takes a condition from all hosts: its source is gone (`ejected` when outlier detection is switched off).
    public func clear(_ condition: Host.Conditions) {
        for host in hosts { host.conditions.subtract(condition) }
        refresh()
    }

    /// Whether a request is dropped before any balancing (`drop_overloads`); the answer is the category.
    public func drop(random: UInt64) -> String? {
        var draws = SplitMix64(seed: random)
        for drop in drops where drop.share.includes(random: draws.next()) {
            dropped[drop.category, default: 0] &+= 1
            return drop.category
        }
        return nil
    }

    /// A part of the hosts as they may be chosen now.
    ///
    /// - Parameter scalesWeights: A place's weight shrinks with the share of its hosts that are in the part.
    func selection(of part: [Bool], scalesWeights: Bool) -> HostSelection {
        var index = 0
        let groups = groups.map { places in
            places.compactMap { place -> LocalityHosts? in
                var chosen = place
                chosen.hosts = []
                for host in place.hosts {
                    if part[index] { chosen.hosts.append(host) }
                    index += 1
                }
                guard !chosen.hosts.isEmpty else { return nil }
                if scalesWeights, place.weight > 0 {
                    let scaled = UInt64(place.weight) * UInt64(chosen.hosts.count) / UInt64(place.hosts.count)
                    chosen.weight = UInt32(max(scaled, 1))
                }
                return chosen
            }
        }
        return HostSelection(groups, rules: rules)
    }

    private func refresh() {
        selection = HostSelection(groups, rules: rules)
        version &+= 1
    }
}

extension Host {
    func take(_ newEndpoint: EndpointTable.Endpoint, locality newLocality: Locality, priority newPriority: Int) {
        endpoint = newEndpoint
        isCanary = newEndpoint.metadata?["envoy.lb"]?["canary"]?.bool ?? false
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
