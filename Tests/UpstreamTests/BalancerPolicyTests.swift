import Serialization
import Testing

@testable import Upstream

@Suite struct BalancerPolicyTests {
    private static let second: UInt64 = 1_000_000_000

    private func counts(
        _ balancer: LoadBalancer, _ rounds: Int, seed: UInt64, now: UInt64 = 0, step: UInt64 = 0,
        _ request: LoadBalancer.Request = .init()
    ) -> [String: Int] {
        var generator = SplitMix64(seed: seed)
        var counts: [String: Int] = [:]
        var request = request
        request.now = now
        for _ in 0..<rounds {
            request.now += step
            guard let host = balancer.choose(request, random: generator.next()) else {
                counts["none", default: 0] += 1
                continue
            }
            counts["\(host.address)", default: 0] += 1
        }
        return counts
    }

    @Test("B-12 a new host gets its minimum share at first, half of it in the middle, all at the end")
    func slowStart() {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancingOptions.slowStart = .init(window: .seconds(100))
        let set = HostSet()
        set.apply(table(endpoints(1)), now: 0)
        set.apply(table(endpoints(2)), now: 1000 * Self.second)
        let balancer = LoadBalancer(config, hostSet: set)
        let early = counts(balancer, 1100, seed: 1, now: 1000 * Self.second)
        #expect(abs((early["10.0.0.2:80"] ?? 0) - 100) <= 2)
        let middle = counts(balancer, 1500, seed: 1, now: 1050 * Self.second)
        #expect(abs((middle["10.0.0.2:80"] ?? 0) - 500) <= 3)
        let late = counts(balancer, 1000, seed: 1, now: 1100 * Self.second)
        #expect(abs((late["10.0.0.2:80"] ?? 0) - 500) <= 3)
    }

    @Test("slow start with aggression 2 grows by the square root; minimum weight holds")
    func aggression() {
        var options = ClusterConfig.BalancingOptions()
        options.slowStart = .init(window: .seconds(100))
        options.slowStart?.aggression = 2
        let weigher = HostWeigher(options, .roundRobin)
        let host = Host(.init(address: .ip("10.0.0.1", port: 1)))
        host.healthySince = 0
        #expect(abs(weigher.weight(of: host, now: 25 * Self.second) - 0.5) < 1e-6)
        #expect(abs(weigher.weight(of: host, now: Self.second / 10) - 0.1) < 1e-6)
        #expect(weigher.weight(of: host, now: 100 * Self.second) == 1)
    }

    @Test("powers and logarithms without a mathematics library are right to nine digits")
    func powers() {
        #expect(abs(Power.raise(2, to: 0.5) - 1.414_213_562_373) < 1e-9)
        #expect(abs(Power.raise(10, to: 3) - 1000) < 1e-6)
        #expect(abs(Power.raise(0.25, to: 0.5) - 0.5) < 1e-9)
    }

    @Test("weighted least request: a busy host gets less than its weight, seed 2")
    func weightedLeastRequest() {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .leastRequest(choiceCount: 2)
        let set = HostSet()
        set.apply(table(endpoints(2, weights: [2, 1])))
        let balancer = LoadBalancer(config, hostSet: set)
        let idle = counts(balancer, 900, seed: 2)
        #expect(abs((idle["10.0.0.1:80"] ?? 0) - 600) <= 3)
        set.hosts[0].activeRequests = 3
        let busy = counts(balancer, 900, seed: 2)
        #expect(abs((busy["10.0.0.1:80"] ?? 0) - 300) <= 5)
    }

    @Test("full scan takes the least busy of all, seed 3")
    func fullScan() {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .leastRequest(choiceCount: 2)
        config.balancingOptions.scansAllHosts = true
        let set = HostSet()
        set.apply(table(endpoints(5)))
        for host in set.hosts { host.activeRequests = 2 }
        set.hosts[3].activeRequests = 1
        let balancer = LoadBalancer(config, hostSet: set)
        #expect(counts(balancer, 50, seed: 3) == ["10.0.0.4:80": 50])
    }

    @Test("reported weights: a host that can do twice as much gets twice as much, after the blackout")
    func reportedWeights() throws {
        let settings = ClusterConfig.ReportedWeights()
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .reportedWeights(settings)
        let set = HostSet()
        set.apply(table(endpoints(3)))
        let balancer = LoadBalancer(config, hostSet: set)
        func report(_ utilization: Double, at now: UInt64, of host: Host) throws {
            let text = Array("TEXT application_utilization=\(utilization), rps_fractional=100, eps=0".utf8)
            let report = LoadReport(header: text.span)
            host.take(try #require(report), settings, now: now)
        }
        for second in [10, 15, 21] as [UInt64] {
            try report(0.4, at: second * Self.second, of: set.hosts[0])
            try report(0.8, at: second * Self.second, of: set.hosts[1])
        }
        let early = counts(balancer, 300, seed: 4, now: 12 * Self.second)
        #expect((early["10.0.0.1:80"] ?? 0) == 100)
        // The third has no report and gets the middle weight, that of the first here.
        let late = counts(balancer, 1000, seed: 4, now: 22 * Self.second, step: 1_000_000)
        #expect(abs((late["10.0.0.1:80"] ?? 0) - 400) <= 8)
        #expect(abs((late["10.0.0.2:80"] ?? 0) - 200) <= 8)
    }

    @Test("load reports are read as text, JSON and protobuf; errors and unknown forms are refused")
    func loadReports() throws {
        func read(_ text: String) -> LoadReport? {
            let bytes = Array(text.utf8)
            return LoadReport(header: bytes.span)
        }
        let text = try #require(read("TEXT cpu_utilization=0.7,named_metrics.queue=3"))
        #expect(text.cpuUtilization == 0.7 && text.value(of: "named_metrics.queue") == 3)
        let json = try #require(read(#"JSON {"cpuUtilization":0.5,"named_metrics":{"queue":4}}"#))
        #expect(json.cpuUtilization == 0.5 && json.value(of: "named_metrics.queue") == 4)
        // cpu_utilization 0.5, named_metrics {"a": 1.0}
        let bytes: [UInt8] = [
            0x09, 0, 0, 0, 0, 0, 0, 0xE0, 0x3F, 0x42, 0x0C, 0x0A, 1, 0x61, 0x11, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F,
        ]
        let binary = try #require(read("BIN " + Base64.encode(bytes)))
        #expect(binary.cpuUtilization == 0.5 && binary.value(of: "named_metrics.a") == 1)
        #expect(read("nonsense") == nil)
        #expect(read("BIN CQAA") == nil)
        #expect(read("TEXT cpu_utilization=x") == nil)
        #expect(read("TEXT cpu_utilization=-1")?.cpuUtilization == 0)
    }

    @Test("peak EWMA: a slow host gets little, and is tried again when its peak has faded, seed 5")
    func peakEWMA() {
        let settings = ClusterConfig.PeakEWMA()
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .peakEWMA(settings)
        let set = HostSet()
        set.apply(table(endpoints(4)))
        let now = 1000 * Self.second
        for host in set.hosts { host.latency.record(.milliseconds(5), now: now, decay: settings.decayTime) }
        set.hosts[0].latency.record(.seconds(2), now: now, decay: settings.decayTime)
        let counts = counts(LoadBalancer(config, hostSet: set), 16_000, seed: 5, now: now)
        #expect(isNear(counts["10.0.0.1:80"] ?? 0, share: 1.0 / 16, of: 16_000))
        #expect(set.hosts[0].latency.estimate(now: now + 100 * Self.second, decay: settings.decayTime) < 5_000_000)
    }

    @Test("least bytes: a host with much under way gets 1/n² of the requests, seed 6")
    func leastBytes() {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .leastBytes(choiceCount: 2)
        let set = HostSet()
        set.apply(table(endpoints(4)))
        set.hosts[0].bytesInFlight = 1 << 20
        let counts = counts(LoadBalancer(config, hostSet: set), 16_000, seed: 6)
        #expect(isNear(counts["10.0.0.1:80"] ?? 0, share: 1.0 / 16, of: 16_000))
    }

    private func place(_ region: String, _ zone: String, _ base: Int, _ count: Int, weight: UInt32 = 1)
        -> EndpointTable.Group
    {
        var group = endpoints(count, base: base)
        group.locality = Locality(region: region, zone: zone)
        group.weight = weight
        return group
    }

    @Test("nearest: the own zone first, the region when it fails, by connect time inside, seed 7")
    func nearest() {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .nearest
        let set = HostSet(panicThresholdPercent: 0)
        set.apply(table(place("r", "a", 0, 2), place("r", "b", 1, 2), place("s", "c", 2, 2)))
        let here = LoadBalancer.Place(locality: Locality(region: "r", zone: "a"))
        let balancer = LoadBalancer(config, hostSet: set, place: here)
        for host in set.hosts { host.connectTime.record(.milliseconds(1), now: 1, decay: Nearness.decay) }
        set.hosts[0].connectTime.record(.milliseconds(3), now: 1, decay: Nearness.decay)
        let near = counts(balancer, 4000, seed: 7)
        #expect(Set(near.keys) == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(isNear(near["10.0.0.1:80"] ?? 0, share: 0.25, of: 4000))
        for host in set.hosts.prefix(2) { set.set(.ejected, of: host, to: true) }
        #expect(Set(counts(balancer, 400, seed: 7).keys) == ["10.0.1.1:80", "10.0.1.2:80"])
        set.set(.ejected, of: set.hosts[0], to: false)
        // Half of the own zone is well: it takes 70 %.
        #expect(isNear(counts(balancer, 4000, seed: 7)["10.0.0.1:80"] ?? 0, share: 0.7, of: 4000))
    }

    @Test("zone aware: a zone with its share of hosts keeps all, one with less keeps its part, seed 8")
    func zoneAware() {
        let config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        let proxies = HostSet()
        proxies.apply(table(place("r", "a", 10, 2), place("r", "b", 11, 2)))
        let set = HostSet()
        set.apply(table(place("r", "a", 0, 4), place("r", "b", 1, 4)))
        let here = LoadBalancer.Place(locality: Locality(region: "r", zone: "a"), localCluster: proxies)
        let balancer = LoadBalancer(config, hostSet: set, place: here)
        func own(_ counts: [String: Int]) -> Int {
            counts.reduce(0) { $0 + ($1.key.hasPrefix("10.0.0.") ? $1.value : 0) }
        }
        #expect(own(counts(balancer, 1000, seed: 8)) == 1000)
        // A quarter of the hosts, half of the proxies: half of the requests stay.
        set.apply(table(place("r", "a", 0, 2), place("r", "b", 1, 6)))
        #expect(isNear(own(counts(balancer, 4000, seed: 8)), share: 0.5, of: 4000))
        // Below the minimum size zones do not count.
        set.apply(table(place("r", "a", 0, 1), place("r", "b", 1, 3)))
        #expect(isNear(own(counts(balancer, 4000, seed: 8)), share: 0.25, of: 4000))
    }

    @Test("hashing with bounded load: a hot key spills over, and all keys stay where they may")
    func boundedLoad() {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .maglev(tableSize: 65537)
        config.balancingOptions.hashBalanceFactor = 125
        let set = HostSet()
        set.apply(table(endpoints(4)))
        let balancer = LoadBalancer(config, hostSet: set)
        var request = LoadBalancer.Request()
        request.hash = 42
        for _ in 0..<100 { balancer.choose(request, random: 1)?.activeRequests += 1 }
        #expect(set.hosts.allSatisfy { $0.activeRequests <= 33 })
    }

    @Test("a refused host gives way to the next point of the ring, always the same one")
    func hashAttempts() {
        var config = ClusterConfig(name: "c", discovery: .staticEndpoints)
        config.balancing = .ringHash(minimumSize: 1024, maximumSize: 4096)
        let set = HostSet()
        set.apply(table(endpoints(3)))
        let balancer = LoadBalancer(config, hostSet: set)
        var request = LoadBalancer.Request()
        request.hash = 7
        let first = balancer.choose(request, random: 1)
        request.avoiding = [first].compactMap { $0 }
        request.attemptsMax = 20
        let second = balancer.choose(request, random: 1)
        #expect(second !== first)
        #expect(balancer.choose(request, random: 99) === second)
    }

    @Test("MurmurHash2 and xxHash give the published values")
    func hashes() {
        let empty: [UInt8] = []
        #expect(Hash.xxh64(empty.span) == 0xEF46_DB37_51D8_E999)
        #expect(Hash.xxh64("10.0.0.1:80_0") == Hash.xxh64("10.0.0.1:80_0"))
        // std::hash<std::string> of libstdc++ (64 bits).
        let a = Array("a".utf8)
        #expect(Hash.murmur2(a.span) == 4_993_892_634_952_068_459)
        let longer = Array("hello world".utf8)
        #expect(Hash.murmur2(longer.span) == 5_577_293_430_985_752_569)
    }

    @Test("hosts named by the request come first; canaries and metadata are avoided")
    func overrides() {
        let set = HostSet()
        var group = endpoints(3)
        group.endpoints[1].metadata = ["envoy.lb": ["canary": true, "stage": "b"]]
        set.apply(table(group))
        let balancer = LoadBalancer(ClusterConfig(name: "c", discovery: .staticEndpoints), hostSet: set)
        var request = LoadBalancer.Request()
        request.overrides = [.ip("10.0.0.3", port: 80)]
        #expect(counts(balancer, 10, seed: 1, request) == ["10.0.0.3:80": 10])
        set.set(.ejected, of: set.hosts[2], to: true)
        #expect(counts(balancer, 10, seed: 1, request)["10.0.0.3:80"] == nil)
        request.overrideIsStrict = true
        #expect(counts(balancer, 10, seed: 1, request) == ["none": 10])
        request = .init()
        request.avoidsCanaries = true
        request.attemptsMax = 50
        #expect(counts(balancer, 20, seed: 1, request) == ["10.0.0.1:80": 20])
        request.avoidsCanaries = false
        request.avoidedMetadata = MetadataCriteria(["stage": "b"])
        #expect(counts(balancer, 20, seed: 1, request) == ["10.0.0.1:80": 20])
    }

    @Test("priorities tried before are left out, until all were tried")
    func priorityRetry() {
        let set = HostSet()
        set.apply(table(endpoints(2, priority: 0), endpoints(2, priority: 1)))
        let balancer = LoadBalancer(ClusterConfig(name: "c", discovery: .staticEndpoints), hostSet: set)
        var request = LoadBalancer.Request()
        #expect(counts(balancer, 20, seed: 1, request).keys.allSatisfy { $0.hasPrefix("10.0.") })
        request.avoidedPriorities = [0]
        #expect(counts(balancer, 20, seed: 1, request).keys.allSatisfy { $0.hasPrefix("10.1.") })
        request.avoidedPriorities = [0, 1]
        #expect(counts(balancer, 20, seed: 1, request).keys.allSatisfy { $0.hasPrefix("10.0.") })
    }
}
