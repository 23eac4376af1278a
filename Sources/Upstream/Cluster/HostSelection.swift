/// Hosts sorted by priority, health and place, and how the load spreads over the priorities.
///
/// Never changes: a change of health makes a new one, and balancers compare identities. There is one for the whole cluster
/// and one for each subset in use.
final class HostSelection {
    let priorities: [HostSet.Priority]
    /// Share of the load by priority in percent; healthy and degraded together make 100.
    let healthyLoad: [UInt32]
    /// Share that degraded hosts get.
    let degradedLoad: [UInt32]
    /// Priorities in panic (O-7).
    let isInPanic: [Bool]
    let rules: Rules

    /// What the spreading goes by.
    struct Rules {
        /// B-9, in percent.
        var overprovisioningFactor: UInt32 = 140
        var panicThresholdPercent: Double = 50
        /// A priority's health is the share of healthy weight in place of that of healthy hosts.
        var countsWeights = false
    }

    private let healthyShares: [UInt32]
    private let degradedShares: [UInt32]

    /// - Parameter groups: By priority: the places with all their hosts.
    init(_ groups: [[HostSet.LocalityHosts]], rules: Rules) {
        self.rules = rules
        let sorted = groups.map { places in
            var priority = HostSet.Priority()
            for place in places {
                var place = place
                // Most often all hosts are healthy: then the lists share their storage.
                if place.hosts.allSatisfy({ $0.health == .healthy }) {
                    place.healthy = place.hosts
                } else {
                    place.healthy = place.hosts.filter { $0.health == .healthy }
                    place.degraded = place.hosts.filter { $0.health == .degraded }
                }
                priority.localities.append(place)
            }
            if places.count == 1 {
                priority.hosts = priority.localities[0].hosts
                priority.healthy = priority.localities[0].healthy
                priority.degraded = priority.localities[0].degraded
            } else {
                priority.hosts = priority.localities.flatMap(\.hosts)
                priority.healthy = priority.localities.flatMap(\.healthy)
                priority.degraded = priority.localities.flatMap(\.degraded)
            }
            return priority
        }
        priorities = sorted.isEmpty ? [HostSet.Priority()] : sorted
        healthyShares = priorities.map { $0.availability(of: $0.healthy, rules) }
        degradedShares = priorities.map { $0.availability(of: $0.degraded, rules) }
        let spread = Self.spread(priorities, healthyShares, degradedShares, rules)
        healthyLoad = spread.healthy
        degradedLoad = spread.degraded
        isInPanic = spread.panic
    }

    /// The loads without some priorities, which were tried already; all when none would be left.
    func loads(avoiding tried: [Int]) -> (healthy: [UInt32], degraded: [UInt32]) {
        guard !tried.isEmpty else { return (healthyLoad, degradedLoad) }
        var healthy = healthyShares
        var degraded = degradedShares
        for index in tried where index < healthy.count {
            healthy[index] = 0
            degraded[index] = 0
        }
        let total = min(100, healthy.reduce(0, +) + degraded.reduce(0, +))
        guard total > 0 else { return (healthyLoad, degradedLoad) }
        return Self.distribute(healthy, degraded, total)
    }

    private static func spread(
        _ priorities: [HostSet.Priority], _ healthy: [UInt32], _ degraded: [UInt32], _ rules: Rules
    ) -> (healthy: [UInt32], degraded: [UInt32], panic: [Bool]) {
        let total = min(100, healthy.reduce(0, +) + degraded.reduce(0, +))
        let none = [UInt32](repeating: 0, count: priorities.count)
        let panic = priorities.map { priority in
            guard rules.panicThresholdPercent > 0, total < 100 else { return false }
            let available = priority.healthy.count + priority.degraded.count
            let count = priority.includedCount
            return count == 0 || Double(available) * 100 < rules.panicThresholdPercent * Double(count)
        }
        if rules.panicThresholdPercent > 0, panic.allSatisfy({ $0 }) {
            // Everything panics: health says nothing any more, the load follows the number of hosts.
            var loads = none
            let count = priorities.reduce(0) { $0 + $1.hosts.count }
            guard count > 0 else {
                loads[0] = 100
                return (loads, none, panic)
            }
            var left: UInt32 = 100
            for index in priorities.indices {
                loads[index] = UInt32(UInt64(priorities[index].hosts.count) * 100 / UInt64(count))
                left -= loads[index]
            }
            if let first = priorities.firstIndex(where: { !$0.hosts.isEmpty }) { loads[first] += left }
            return (loads, none, panic)
        }
        guard total > 0 else {
            var loads = none
            loads[0] = 100
            return (loads, none, panic)
        }
        let loads = distribute(healthy, degraded, total)
        return (loads.healthy, loads.degraded, panic)
    }

    /// Spreads the load over the priorities as Envoy does: what a priority cannot take spills to the next, healthy hosts
    /// before degraded ones.
    private static func distribute(
        _ healthy: [UInt32], _ degraded: [UInt32], _ total: UInt32
    ) -> (healthy: [UInt32], degraded: [UInt32]) {
        var healthyLoad = [UInt32](repeating: 0, count: healthy.count)
        var degradedLoad = healthyLoad
        var left: UInt32 = 100
        for index in healthy.indices {
            healthyLoad[index] = min(left, healthy[index] * 100 / total)
            left -= healthyLoad[index]
        }
        for index in degraded.indices {
            degradedLoad[index] = min(left, degraded[index] * 100 / total)
            left -= degradedLoad[index]
        }
        // Rounding leaves some percent over: they go to the first that has any load.
        if let first = healthyLoad.firstIndex(where: { $0 > 0 }) {
            healthyLoad[first] += left
        } else if let first = degradedLoad.firstIndex(where: { $0 > 0 }) {
            degradedLoad[first] += left
        }
        return (healthyLoad, degradedLoad)
    }
}

extension HostSet.Priority {
    /// Hosts that count as being there.
    var includedCount: Int { hosts.reduce(0) { $0 + ($1.conditions.contains(.excluded) ? 0 : 1) } }

    /// Percent of this priority that counts as available: at most 100, 1.4 times the healthy share by default (B-9).
    func availability(of part: [Host], _ rules: HostSelection.Rules) -> UInt32 {
        if rules.countsWeights {
            let all = hosts.reduce(UInt64(0)) { $0 + ($1.conditions.contains(.excluded) ? 0 : UInt64($1.weight)) }
            guard all > 0 else { return 0 }
            let sum = part.reduce(UInt64(0)) { $0 + UInt64($1.weight) }
            return UInt32(min(100, UInt64(rules.overprovisioningFactor) * sum / all))
        }
        let count = includedCount
        guard count > 0 else { return 0 }
        return UInt32(min(100, UInt64(rules.overprovisioningFactor) * UInt64(part.count) / UInt64(count)))
    }
}
