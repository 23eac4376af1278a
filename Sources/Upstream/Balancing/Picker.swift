/// One policy over one list of hosts.
final class Picker {
    private enum Policy {
        case inTurn(Schedule)
        case weighted(Schedule, HostWeigher)
        case reported(Schedule, ReportedWeights, HostWeigher)
        case leastRequest(WeightedDraw, choiceCount: Int)
        case leastRequestOfAll([Host])
        case leastBytes(WeightedDraw, choiceCount: Int)
        case peakEWMA(WeightedDraw, ClusterConfig.PeakEWMA)
        case byChance(WeightedDraw)
        case byHash(HashTable, [Host], balanceFactor: UInt32?)

    }

    private let policy: Policy
    /// The host, where there is but one: every policy comes to it.
    private let only: Host?

    init(_ rules: BalancingRules, _ hosts: [Host], shares: [Double]?, now: UInt64, random: UInt64) {
        only = hosts.count == 1 ? hosts.first : nil
        let options = rules.options
        switch rules.policy {
        case .roundRobin, .clusterProvided:
            policy =
                rules.weigher.isStarting(hosts, now: now)
                ? .weighted(Schedule(hosts, random: random) { rules.weigher.weight(of: $0, now: now) }, rules.weigher)
                : .inTurn(Schedule(hosts, random: random))
        case .leastRequest(let choiceCount):
            // Different weights need the schedule: two random choices cannot keep to weights and to load at once.
            if Schedule.hasEqualWeights(hosts), !rules.weigher.isStarting(hosts, now: now) {
                policy =
                    options.scansAllHosts
                    ? .leastRequestOfAll(hosts) : .leastRequest(WeightedDraw(hosts), choiceCount: choiceCount)
            } else {
                policy = .weighted(
                    Schedule(hosts, random: random) { rules.weigher.weight(of: $0, now: now) }, rules.weigher)
            }
        case .random, .nearest: policy = .byChance(WeightedDraw(hosts))
        case .reportedWeights(let settings):
            let weights = ReportedWeights(settings)
            weights.update(hosts, now: now)
            policy = .reported(
                Schedule(hosts, random: random) { weights.weight(of: $0) * rules.weigher.share(of: $0, now: now) },
                weights, rules.weigher)
        case .peakEWMA(let settings): policy = .peakEWMA(WeightedDraw(hosts), settings)
        case .leastBytes(let choiceCount): policy = .leastBytes(WeightedDraw(hosts), choiceCount: choiceCount)
        case .ringHash(let minimum, let maximum):
            policy = .byHash(
                HashTable(
                    ring: hosts, shares: shares, minimumSize: minimum, maximumSize: maximum,
                    hashesHostnames: rules.hashesHostnames, usesMurmur: options.ringUsesMurmur), hosts,
                balanceFactor: options.hashBalanceFactor)
        case .maglev(let size):
            policy = .byHash(
                HashTable(maglev: hosts, shares: shares, size: size, hashesHostnames: rules.hashesHostnames), hosts,
                balanceFactor: options.hashBalanceFactor)
        }
    }

    func pick(_ hash: UInt64?, _ attempt: Int, _ now: UInt64, _ draws: inout SplitMix64) -> Host? {
        if let only { return only }
        switch policy {
        case .inTurn(let schedule): return schedule.next()
        case .weighted(let schedule, let weigher): return schedule.next { weigher.weight(of: $0, now: now) }
        case .reported(let schedule, let weights, let weigher):
            func weight(_ host: Host) -> Double { weights.weight(of: host) * weigher.share(of: host, now: now) }
            if weights.update(schedule.hosts, now: now) { schedule.fill(draws.next(), weight) }
            return schedule.next(weight)
        case .leastRequest(let draw, let choiceCount):
            guard var best = draw.draw(&draws) else { return nil }
            for _ in 1..<max(choiceCount, 1) {
                guard let other = draw.draw(&draws) else { break }
                if other.activeRequests < best.activeRequests { best = other }
            }
            return best
        case .leastRequestOfAll(let hosts): return Self.leastBusy(hosts, &draws)
        case .leastBytes(let draw, let choiceCount):
            guard var best = draw.draw(&draws) else { return nil }
            for _ in 1..<max(choiceCount, 1) {
                guard let other = draw.draw(&draws) else { break }
                // Without bytes under way the number of requests decides: a request's bytes come after its choice.
                if (other.bytesInFlight, other.activeRequests) < (best.bytesInFlight, best.activeRequests) {
                    best = other
                }
            }
            return best
        case .peakEWMA(let draw, let settings):
            guard var best = draw.draw(&draws) else { return nil }
            var bestCost = best.peakCost(settings, now: now)
            for _ in 1..<max(settings.choiceCount, 1) {
                guard let other = draw.draw(&draws) else { break }
                let cost = other.peakCost(settings, now: now)
                if cost < bestCost {
                    best = other
                    bestCost = cost
                }
            }
            return best
        case .byChance(let draw): return draw.draw(&draws)
        case .byHash(let table, let hosts, let balanceFactor):
            let hash = hash ?? draws.next()
            guard let host = table.host(for: hash, attempt: attempt) else { return nil }
            guard let balanceFactor else { return host }
            return Self.bounded(host, hosts, factor: balanceFactor, hash: hash)
        }
    }

    private static func leastBusy(_ hosts: [Host], _ draws: inout SplitMix64) -> Host? {
        var best: Host?
        var ties: UInt64 = 0
        for host in hosts {
            if let current = best, host.activeRequests > current.activeRequests { continue }
            if let current = best, host.activeRequests == current.activeRequests {
                // Reservoir sampling: each of the least busy has the same chance.
                ties += 1
                if draws.next(below: ties) == 0 { best = host }
            } else {
                best = host
                ties = 1
            }
        }
        return best
    }

    /// Consistent hashing with bounded loads (Mirrokni and others, 2016): a host above its bound gives way to others, in an
    /// order that the hash decides.
    private static func bounded(_ first: Host, _ hosts: [Host], factor: UInt32, hash: UInt64) -> Host {
        let weights = hosts.reduce(0.0) { $0 + Double($1.weight) }
        let active = hosts.reduce(0.0) { $0 + Double($1.activeRequests) } + 1
        func load(_ host: Host) -> Double {
            let slots = (active * Double(factor) / 100 * Double(host.weight) / weights).rounded(.up)
            return Double(host.activeRequests) / max(slots, 1)
        }
        if load(first) < 1 { return first }
        var order = SplitMix64(seed: hash)
        var best = first
        var bestLoad = load(first)
        var others = hosts
        var left = others.count
        while left > 0 {
            let index = Int(order.next(below: UInt64(left)))
            let host = others[index]
            left -= 1
            others.swapAt(index, left)
            let own = load(host)
            if own < 1 { return host }
            if own < bestLoad {
                best = host
                bestLoad = own
            }
        }
        return best
    }
}

extension Host {
    /// Expected time until a further request would be answered, per unit of weight.
    fileprivate func peakCost(_ settings: ClusterConfig.PeakEWMA, now: UInt64) -> Double {
        let busy = Double(activeRequests)
        let latency = self.latency.estimate(now: now, decay: settings.decayTime)
        // Nothing known and busy: a penalty keeps the others from falling upon it all at once.
        if !self.latency.isKnown, busy > 0 { return Double(settings.initialLatency.nanosecondsClamped) * busy }
        return latency * (busy + 1)
    }
}
