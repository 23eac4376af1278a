import Testing

@testable import Upstream

@Suite struct HostSetTests {
    @Test("hosts keep their identity, counters and conditions while their address stays")
    func identity() {
        let set = HostSet()
        let first = set.apply(table(endpoints(3)))
        #expect(first.added.count == 3)
        let host = set.hosts[1]
        host.statistics.requestsTotal = 7
        set.set(.ejected, of: host, to: true)
        var update = endpoints(2, weights: [1, 5])
        update.locality.zone = "z2"
        let change = set.apply(table(update))
        #expect(change.added.isEmpty)
        #expect(change.removed.map(\.address.description) == ["10.0.0.3:80"])
        #expect(set.hosts[1] === host)
        #expect(host.statistics.requestsTotal == 7)
        #expect(host.weight == 5)
        #expect(host.locality.zone == "z2")
        #expect(host.health == .unhealthy)
        #expect(change.removed[0].conditions.contains(.removed))
    }

    @Test("S-12 an address that stands twice counts once")
    func duplicates() {
        let set = HostSet()
        set.apply(table(endpoints(2), endpoints(2)))
        #expect(set.hosts.count == 2)
    }

    @Test("the control plane's health words, and their change back")
    func health() {
        var group = endpoints(4)
        group.endpoints[1].health = .unhealthy
        group.endpoints[2].health = .draining
        group.endpoints[3].health = .degraded
        let set = HostSet()
        set.apply(table(group))
        #expect(set.hosts.map(\.health) == [.healthy, .unhealthy, .unhealthy, .degraded])
        #expect(set.priorities[0].healthy.count == 1)
        #expect(set.priorities[0].degraded.count == 1)
        set.apply(table(endpoints(4)))
        #expect(set.hosts.allSatisfy { $0.health == .healthy })
    }

    @Test("new hosts wait for their first check when the cluster has active checks")
    func unchecked() {
        let set = HostSet()
        set.startsUnchecked = true
        set.apply(table(endpoints(2)))
        #expect(set.priorities[0].healthy.isEmpty)
        set.set(.failedActiveCheck, of: set.hosts[0], to: false)
        #expect(set.priorities[0].healthy.count == 1)
        set.apply(table(endpoints(2)))
        #expect(set.priorities[0].healthy.count == 1)
        var exempt = endpoints(3)
        exempt.endpoints[2].skipsActiveChecks = true
        set.apply(table(exempt))
        #expect(set.priorities[0].healthy.count == 2)
        set.startsUnchecked = false
        #expect(set.priorities[0].healthy.count == 3, "without checks nobody would take their word back")
    }

    @Test("O-1 hosts come back when outlier detection is switched off")
    func clear() {
        let set = HostSet()
        set.apply(table(endpoints(2)))
        for host in set.hosts { set.set(.ejected, of: host, to: true) }
        set.clear(.ejected)
        #expect(set.priorities[0].healthy.count == 2)
    }

    /// Priorities with so many healthy hosts of ten each.
    private func set(healthy: [Int], degraded: [Int] = [], panic: Double = 50) -> HostSet {
        let set = HostSet(panicThresholdPercent: panic)
        var groups: [EndpointTable.Group] = []
        for (priority, count) in healthy.enumerated() {
            var group = endpoints(10, priority: UInt32(priority))
            let half = priority < degraded.count ? degraded[priority] : 0
            for index in 0..<10 where index >= count {
                group.endpoints[index].health = index < count + half ? .degraded : .unhealthy
            }
            groups.append(group)
        }
        var all = EndpointTable()
        all.groups = groups
        set.apply(all)
        return set
    }

    @Test(
        "B-9 a priority is full until fewer than 72 % of its hosts are healthy, then load spills over",
        arguments: [
            ([10, 10], [100, 0]), ([8, 10], [100, 0]), ([7, 10], [98, 2]), ([5, 10], [70, 30]), ([1, 10], [14, 86]),
            ([0, 10], [0, 100]), ([5, 5], [70, 30]), ([5, 2, 10], [70, 28, 2]), ([2, 2], [50, 50]),
            ([4, 2], [67, 33]),
        ])
    func spill(healthy: [Int], loads: [UInt32]) {
        #expect(set(healthy: healthy, panic: 0).healthyLoad == loads)
    }

    @Test("B-9 degraded hosts take what the healthy ones of all priorities cannot")
    func degradedLoad() {
        let set = set(healthy: [5, 0], degraded: [5, 0], panic: 0)
        #expect(set.healthyLoad == [70, 0])
        #expect(set.degradedLoad == [30, 0])
        let full = self.set(healthy: [8, 10], degraded: [2, 0], panic: 0)
        #expect(full.healthyLoad == [100, 0])
        #expect(full.degradedLoad == [0, 0])
    }

    @Test("O-7 below 50 % a priority panics, unless others together can take everything")
    func panic() {
        #expect(set(healthy: [4]).isInPanic == [true])
        #expect(set(healthy: [5]).isInPanic == [false])
        #expect(set(healthy: [4, 10]).isInPanic == [false, false])
        #expect(set(healthy: [4, 1]).isInPanic == [true, true])
        #expect(set(healthy: [0]).isInPanic == [true])
    }

    @Test("O-7 a threshold of 0 is no panic: all hosts down means none is chosen")
    func noPanic() {
        let set = set(healthy: [0], panic: 0)
        #expect(set.isInPanic == [false])
        let balancer = LoadBalancer(ClusterConfig(name: "c", discovery: .staticEndpoints), hostSet: set)
        #expect(balancer.choose(random: 1) == nil)
    }

    @Test("O-7 when everything panics, load follows the number of hosts and goes to all of them, seed 5")
    func totalPanic() {
        let set = HostSet()
        var first = endpoints(3, priority: 0)
        var second = endpoints(1, priority: 1)
        for index in first.endpoints.indices { first.endpoints[index].health = .unhealthy }
        second.endpoints[0].health = .unhealthy
        set.apply(table(first, second))
        #expect(set.healthyLoad == [75, 25])
        let balancer = LoadBalancer(ClusterConfig(name: "c", discovery: .staticEndpoints), hostSet: set)
        var generator = SplitMix64(seed: 5)
        var seen: Set<HostAddress> = []
        for _ in 0..<200 { if let host = balancer.choose(random: generator.next()) { seen.insert(host.address) } }
        #expect(seen.count == 4)
    }

    @Test("fail_traffic_on_panic gives no host in panic")
    func failInPanic() {
        let set = set(healthy: [4])
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.failsInPanic = true
        #expect(LoadBalancer(config, hostSet: set).choose(random: 1) == nil)
    }

    @Test("no hosts at all: none is chosen, whatever the policy")
    func empty() {
        for balancing: ClusterConfig.Balancing in [
            .roundRobin, .leastRequest(choiceCount: 2), .random, .ringHash(minimumSize: 10, maximumSize: 20),
            .maglev(tableSize: 13), .clusterProvided,
        ] {
            var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
            config.balancing = balancing
            let set = HostSet()
            #expect(LoadBalancer(config, hostSet: set).choose(random: 9) == nil)
            set.apply(EndpointTable())
            var request = LoadBalancer.Request()
            request.hash = 4
            #expect(LoadBalancer(config, hostSet: set).choose(request, random: 9) == nil)
        }
    }

    @Test("names give way to the addresses they resolve to")
    func names() {
        var table = EndpointTable()
        var endpoint = EndpointTable.Endpoint(address: .name("db.example", port: 5432))
        endpoint.weight = 3
        table.groups = [
            EndpointTable.Group(endpoints: [endpoint, .init(address: .ip("10.0.0.9", port: 1)), endpoint])
        ]
        #expect(table.names == [.name("db.example", port: 5432)])
        let set = HostSet()
        set.apply(table)
        #expect(set.hosts.count == 1)
        set.apply(table.resolved(["db.example": ["10.0.0.1", "fd00::1"]]))
        #expect(set.hosts.map(\.address.description) == ["10.0.0.1:5432", "[fd00::1]:5432", "10.0.0.9:1"])
        #expect(set.hosts[0].endpoint.hostname == "db.example")
        #expect(set.hosts[0].weight == 3)
        let logical = table.resolved(["db.example": ["10.0.0.1", "fd00::1"]], onlyFirst: true)
        #expect(logical.groups[0].endpoints.count == 3)
        set.apply(table.resolved([:]))
        #expect(set.hosts.count == 1)
    }

    @Test("drop_overloads takes its share, seed 6")
    func drops() throws {
        var endpoints = table(endpoints(1))
        endpoints.drops = [.init(category: "shed", share: Fraction(numerator: 30, denominator: 100))]
        let set = HostSet()
        set.apply(endpoints)
        var generator = SplitMix64(seed: 6)
        let dropped = (0..<10_000).count { _ in set.drop(random: generator.next()) == "shed" }
        #expect(isNear(dropped, share: 0.3, of: 10_000))
    }

    @Test(
        "what is an IP address",
        arguments: [
            ("10.0.0.1", true), ("255.255.255.255", true), ("256.0.0.1", false), ("1.2.3", false), ("01.2.3.4", false),
            ("1.2.3.4.5", false), ("a.b", false), ("", false), ("::", true), ("::1", true), ("fd00::1", true),
            ("1:2:3:4:5:6:7:8", true), ("1:2:3:4:5:6:7", false), ("1::2::3", false), ("::ffff:1.2.3.4", true),
            ("1:2:3:4:5:6:7::", true), ("::2:3:4:5:6:7:8", true), ("1:2:3:4:5:6:7:8:9", false), (":1", false),
            ("1:", false),
            ("12345::", false), ("g::", false), (":::", false), ("1.2.3.4::", false), ("fe80::1%eth0", false),
        ])
    func addresses(text: String, isAddress: Bool) {
        #expect(HostAddress.isIPAddress(text) == isAddress)
    }
}
