import Testing

@testable import Upstream

/// Each balancer with 1, 2, 3 and 1,000 hosts, while hosts come, go, fail and recover.
@Suite struct BalancerChurnTests {
    static let policies: [ClusterConfig.Balancing] = [
        .roundRobin, .leastRequest(choiceCount: 2), .random, .ringHash(minimumSize: 1024, maximumSize: 8192),
        .maglev(tableSize: 5003), .reportedWeights(.init()), .peakEWMA(.init()), .leastBytes(choiceCount: 2), .nearest,
    ]

    private func balancer(_ policy: ClusterConfig.Balancing, _ hosts: HostSet) -> LoadBalancer {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = policy
        config.panicThresholdPercent = 0
        return LoadBalancer(config, hostSet: hosts)
    }

    private func group(_ names: [Int]) -> EndpointTable {
        var group = EndpointTable.Group(
            endpoints: names.map { .init(address: .ip("10.1.\($0 / 250).\($0 % 250 + 1)", port: 80)) })
        group.weight = 1
        return table(group)
    }

    @Test(
        "hosts come, go and fail, seed 11: only present healthy hosts are chosen", arguments: policies, [1, 2, 3, 1000])
    func churn(policy: ClusterConfig.Balancing, count: Int) {
        var generator = SplitMix64(seed: 11)
        let set = HostSet(panicThresholdPercent: 0)
        let balancer = balancer(policy, set)
        var present = Array(0..<count)
        var now: UInt64 = 1_000_000_000
        let rounds = count == 1000 ? 2 : 12
        for round in 0..<rounds {
            set.apply(group(present), now: now)
            // About a third of the hosts fail.
            for host in set.hosts { set.set(.ejected, of: host, to: generator.next(below: 3) == 0, now: now) }
            let usable = set.hosts.filter { $0.health == .healthy }
            for _ in 0..<(count == 1000 ? 100 : 30) {
                now += 1_000_000
                var request = LoadBalancer.Request()
                request.hash = generator.next()
                request.now = now
                let host = balancer.choose(request, random: generator.next())
                if usable.isEmpty {
                    #expect(host == nil)
                } else {
                    #expect(host.map { one in usable.contains { $0 === one } } ?? false, "round \(round)")
                }
            }
            // A tenth of the hosts (at least one) is replaced.
            for _ in 0..<max(count / 10, 1) {
                present[Int(generator.next(below: UInt64(present.count)))] =
                    count + Int(generator.next(below: 100_000)) % 60_000
            }
        }
    }

    @Test("equal hosts get equal shares, seed 12", arguments: policies, [1, 2, 3, 1000])
    func evenShares(policy: ClusterConfig.Balancing, count: Int) {
        var generator = SplitMix64(seed: 12)
        let set = HostSet()
        set.apply(group(Array(0..<count)), now: 1)
        let balancer = balancer(policy, set)
        let rounds = count == 1000 ? 10_000 : count * 200
        var counts: [ObjectIdentifier: Int] = [:]
        var busy: [Host] = []
        var now: UInt64 = 1_000_000_000
        for _ in 0..<rounds {
            now += 10_000
            var request = LoadBalancer.Request()
            request.hash = generator.next()
            request.now = now
            guard let host = balancer.choose(request, random: generator.next()) else { continue }
            counts[ObjectIdentifier(host), default: 0] += 1
            // The last few requests are still under way.
            host.activeRequests += 1
            busy.append(host)
            if busy.count > 3 { busy.removeFirst().activeRequests -= 1 }
        }
        #expect(counts.values.reduce(0, +) == rounds)
        let bounds: ClosedRange<Int>
        switch policy {
        // A ring with one point per host is uneven by nature: a share follows an exponential distribution.
        case .ringHash: bounds = count == 1000 ? 0...200 : 100...300
        default: bounds = count == 1000 ? 1...40 : 120...290
        }
        for (_, one) in counts { #expect(bounds.contains(one), "\(one) of \(rounds)") }
        if case .ringHash = policy {} else { #expect(counts.count == count) }
    }

    @Test("1 to 3 hosts, one leaves: hashing moves only its keys, seed 13", arguments: [2, 3, 1000])
    func keysStay(count: Int) {
        for policy: ClusterConfig.Balancing in [
            .ringHash(minimumSize: 1024, maximumSize: 8192), .maglev(tableSize: 20_011),
        ] {
            var generator = SplitMix64(seed: 13)
            let set = HostSet(panicThresholdPercent: 0)
            set.apply(group(Array(0..<count)))
            let balancer = balancer(policy, set)
            var request = LoadBalancer.Request()
            let keys = (0..<(count == 1000 ? 300 : 1000)).map { _ in generator.next() }
            func places() -> [HostAddress?] {
                keys.map { key in
                    request.hash = key
                    return balancer.choose(request, random: 0)?.address
                }
            }
            let before = places()
            set.set(.ejected, of: set.hosts[0], to: true)
            let after = places()
            let gone = set.hosts[0].address
            let moved = zip(before, after).filter { $0 != $1 && $0 != gone }.count
            // A ring of few hosts also gets more points for each that stays.
            #expect(moved < 150)
            #expect(!after.contains(gone))
        }
    }
}
