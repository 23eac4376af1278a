import Testing

@testable import Upstream

@Suite struct OutlierTests {
    private static let second: UInt64 = 1_000_000_000

    private func hosts(_ count: Int) -> HostSet {
        let set = HostSet()
        set.apply(table(endpoints(count)))
        return set
    }

    /// Reports failures until the host is ejected or the count is reached; the number reported.
    @discardableResult
    private func fail(
        _ detector: OutlierDetector, _ host: Host, in set: HostSet, times: Int, status: UInt16 = 500, now: UInt64 = 0
    ) -> OutlierDetector.Detection? {
        var last: OutlierDetector.Detection?
        for _ in 0..<times {
            last = detector.record(.response(status: status), for: host, in: set, now: now, random: 1)
        }
        return last
    }

    @Test("O-2 defaults once on: 5 errors, 10 s, 30 s, 10 %, 300 s")
    func defaults() throws {
        let settings = try #require(try cluster(#"{"name":"c","outlier_detection":{}}"#).outlierDetection)
        #expect(settings == OutlierDetection())
        #expect(settings.consecutive5xx == 5)
        #expect(settings.interval == .seconds(10))
        #expect(settings.baseEjectionTime == .seconds(30))
        #expect(settings.maxEjectionPercent == 10)
        #expect(settings.maxEjectionTime == .seconds(300))
        #expect(try cluster(#"{"name":"c"}"#).outlierDetection == nil, "O-1 off unless configured")
        let long = try cluster(#"{"name":"c","outlier_detection":{"base_ejection_time":"400s"}}"#).outlierDetection
        #expect(long?.maxEjectionTime == .seconds(400))
    }

    @Test("O-2 the fifth 5xx in a row ejects, a success in between starts anew")
    func consecutive() {
        let set = hosts(10)
        let detector = OutlierDetector(OutlierDetection())
        let host = set.hosts[0]
        #expect(fail(detector, host, in: set, times: 4) == nil)
        detector.record(.response(status: 200), for: host, in: set, now: 0, random: 1)
        #expect(fail(detector, host, in: set, times: 4) == nil)
        #expect(host.health == .healthy)
        #expect(
            fail(detector, host, in: set, times: 1)
                == .init(cause: .consecutive5xx, isEjected: true, duration: .seconds(30)))
        #expect(host.health == .unhealthy)
        #expect(set.priorities[0].healthy.count == 9)
        #expect(host.ejectedSince == 0)
    }

    @Test("O-3 gateway errors are 502 to 504 and off by default")
    func gateway() {
        let set = hosts(10)
        var settings = OutlierDetection()
        settings.consecutiveGatewayFailure = 2
        let off = OutlierDetector(settings)
        #expect(
            fail(off, set.hosts[0], in: set, times: 2, status: 503)
                == .init(cause: .consecutiveGatewayFailure, isEjected: false, duration: .zero))
        settings.enforcingConsecutiveGatewayFailure = 100
        let detector = OutlierDetector(settings)
        #expect(fail(detector, set.hosts[1], in: set, times: 2, status: 500) == nil)
        #expect(fail(detector, set.hosts[2], in: set, times: 2, status: 504)?.isEjected == true)
    }

    @Test("O-4 each ejection is one base time longer, up to the limit; quiet sweeps shorten it")
    func growth() {
        let set = hosts(10)
        let detector = OutlierDetector(OutlierDetection())
        let host = set.hosts[0]
        var now: UInt64 = 0
        for expected in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            #expect(fail(detector, host, in: set, times: 5, now: now)?.duration == .seconds(expected))
            now += UInt64(expected) * Self.second - 1
            #expect(detector.sweep(set, now: now, random: 0).returned.isEmpty)
            now += 1
            #expect(detector.sweep(set, now: now, random: 0).returned.count == 1)
            #expect(host.health == .healthy)
        }
        for _ in 0..<8 { _ = detector.sweep(set, now: now, random: 0) }
        #expect(fail(detector, host, in: set, times: 5, now: now)?.duration == .seconds(90))
    }

    @Test(
        "O-5 the share of ejected hosts never exceeds the limit, also for the first",
        arguments: [
            (1, 10, false, 0), (2, 10, false, 0), (3, 10, false, 0), (9, 10, false, 0), (10, 10, false, 1),
            (19, 10, false, 1), (20, 10, false, 2), (1, 100, false, 1), (2, 50, false, 1), (3, 50, false, 1),
            (3, 34, false, 1), (1, 10, true, 1), (2, 10, true, 1), (3, 0, true, 1), (3, 0, false, 0),
            (10, 100, false, 10),
        ])
    func ratio(count: Int, percent: UInt32, always: Bool, ejected: Int) {
        let set = hosts(count)
        var settings = OutlierDetection()
        settings.maxEjectionPercent = percent
        settings.alwaysEjectsOneHost = always
        let detector = OutlierDetector(settings)
        for host in set.hosts { fail(detector, host, in: set, times: 5) }
        #expect(set.hosts.count { $0.conditions.contains(.ejected) } == ejected)
    }

    @Test("O-6 success rates eject who is far below the others, and 0 switches that off")
    func successRate() {
        func ejected(_ enforcing: UInt32) -> [Bool] {
            let set = hosts(10)
            var settings = OutlierDetection()
            settings.consecutive5xx = 0
            settings.enforcingSuccessRate = enforcing
            let detector = OutlierDetector(settings)
            for (index, host) in set.hosts.enumerated() {
                for number in 0..<100 {
                    let isBad = index == 3 ? number % 2 == 0 : number == 0
                    detector.record(.response(status: isBad ? 500 : 200), for: host, in: set, now: 0, random: 1)
                }
            }
            let sweep = detector.sweep(set, now: Self.second, random: 2)
            #expect(sweep.detections.map(\.detection.cause) == (enforcing > 0 ? [.successRate] : []))
            return set.hosts.map { $0.conditions.contains(.ejected) }
        }
        #expect(ejected(100) == (0..<10).map { $0 == 3 })
        #expect(ejected(0) == (0..<10).map { _ in false })
    }

    @Test("failure percentage ejects from its threshold on, given hosts and volume")
    func failurePercentage() {
        let set = hosts(10)
        var settings = OutlierDetection()
        settings.consecutive5xx = 0
        settings.enforcingSuccessRate = 0
        settings.enforcingFailurePercentage = 100
        settings.failurePercentageThreshold = 50
        let detector = OutlierDetector(settings)
        for (index, host) in set.hosts.enumerated() {
            for number in 0..<50 {
                let isBad = index == 0 ? number < 25 : index == 1 && number < 24
                detector.record(.response(status: isBad ? 500 : 200), for: host, in: set, now: 0, random: 1)
            }
        }
        #expect(detector.sweep(set, now: 1, random: 1).detections.map { "\($0.host.address)" } == ["10.0.0.1:80"])
        #expect(detector.sweep(set, now: 2, random: 1).detections.isEmpty, "counts start anew with each sweep")
    }

    @Test("O-8 configured statuses replace the 5xx class")
    func statuses() {
        let set = hosts(10)
        var settings = OutlierDetection()
        settings.errorStatuses = [429...429, 503...503]
        let detector = OutlierDetector(settings)
        #expect(fail(detector, set.hosts[0], in: set, times: 9, status: 500) == nil)
        #expect(fail(detector, set.hosts[0], in: set, times: 5, status: 429)?.isEjected == true)
    }

    @Test("O-9 our own failures count as 5xx unless they are split off")
    func localOrigin() {
        let set = hosts(20)
        let together = OutlierDetector(OutlierDetection())
        let first = set.hosts[0]
        fail(together, first, in: set, times: 3)
        together.record(.localOriginFailure, for: first, in: set, now: 0, random: 1)
        #expect(together.record(.localOriginFailure, for: first, in: set, now: 0, random: 1)?.isEjected == true)
        var settings = OutlierDetection()
        settings.splitsLocalOriginErrors = true
        let split = OutlierDetector(settings)
        let second = set.hosts[1]
        fail(split, second, in: set, times: 4)
        for _ in 0..<4 { split.record(.localOriginFailure, for: second, in: set, now: 0, random: 1) }
        #expect(second.health == .healthy)
        split.record(.localOriginSuccess, for: second, in: set, now: 0, random: 1)
        for _ in 0..<4 { split.record(.localOriginFailure, for: second, in: set, now: 0, random: 1) }
        #expect(
            split.record(.localOriginFailure, for: second, in: set, now: 0, random: 1)?.cause
                == .consecutiveLocalOriginFailure)
    }

    @Test("an ejected host is not ejected again, and comes back with clean counts")
    func onceOnly() {
        let set = hosts(10)
        let detector = OutlierDetector(OutlierDetection())
        let host = set.hosts[0]
        fail(detector, host, in: set, times: 5)
        #expect(fail(detector, host, in: set, times: 20) == nil)
        _ = detector.sweep(set, now: 30 * Self.second, random: 0)
        #expect(host.health == .healthy)
        #expect(fail(detector, host, in: set, times: 4) == nil)
    }

    @Test("a passed active check ends an ejection when the settings say so")
    func activeCheck() {
        let set = hosts(10)
        var detector = OutlierDetector(OutlierDetection())
        fail(detector, set.hosts[0], in: set, times: 5)
        detector.settings.successfulActiveCheckUnejects = false
        #expect(!detector.activeCheckPassed(set.hosts[0], in: set))
        detector.settings.successfulActiveCheckUnejects = true
        #expect(detector.activeCheckPassed(set.hosts[0], in: set))
        #expect(set.hosts[0].health == .healthy)
    }

    @Test("O-2 loops count together: a threshold is that of the process, and an ejection is seen by all")
    func shared() {
        let ledger = OutlierLedger()
        let loops = (0..<3).map { _ in
            let set = hosts(10)
            set.outlierLedger = ledger
            return set
        }
        let detector = OutlierDetector(OutlierDetection())
        for number in 0..<4 {
            let set = loops[number % 3]
            #expect(detector.record(.response(status: 500), for: set.hosts[2], in: set, now: 0, random: 1) == nil)
        }
        let last = detector.record(.response(status: 500), for: loops[1].hosts[2], in: loops[1], now: 7, random: 1)
        #expect(last?.isEjected == true)
        #expect(loops[0].hosts[2].health == .healthy)
        #expect(OutlierDetector.follow(loops[0].hosts[2], in: loops[0]))
        #expect(!OutlierDetector.follow(loops[0].hosts[2], in: loops[0]))
        #expect(loops[0].hosts[2].health == .unhealthy && loops[0].hosts[2].ejectedSince == 7)
        // Ten hosts and 10 %: no second one, whoever asks.
        #expect(fail(detector, loops[2].hosts[0], in: loops[2], times: 5)?.isOverflow == true)
        // One loop looks at the clock.
        #expect(
            detector.sweep(loops[0], now: 31 * Self.second, random: 1).returned.map(\.address) == [
                loops[0].hosts[2].address
            ])
        #expect(!OutlierDetector.follow(loops[1].hosts[2], in: loops[1]))
        #expect(loops[1].hosts[2].health == .healthy)
        // Who leaves while ejected is counted out once.
        fail(detector, loops[2].hosts[4], in: loops[2], times: 5)
        for set in loops { _ = OutlierDetector.follow(set.hosts[4], in: set) }
        #expect(loops.map { ledger.forget($0.hosts[4]) } == [true, false, false])
        #expect(fail(detector, loops[0].hosts[0], in: loops[0], times: 5)?.isEjected == true)
    }

    @Test("rows of failures from many threads eject once for each threshold")
    func concurrent() async {
        let ledger = OutlierLedger()
        var wanted = OutlierDetection()
        wanted.consecutive5xx = 100
        let settings = wanted
        let detections = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    let set = HostSet()
                    set.apply(table(endpoints(10)))
                    set.outlierLedger = ledger
                    let detector = OutlierDetector(settings)
                    var count = 0
                    for _ in 0..<1000 {
                        let detection = detector.record(
                            .response(status: 500), for: set.hosts[0], in: set, now: 0, random: 1)
                        if detection?.isEjected == true { count += 1 }
                    }
                    return count
                }
            }
            return await group.reduce(0, +)
        }
        #expect(detections == 1)
    }

    @Test("absurd times do not overflow")
    func absurd() {
        let set = hosts(10)
        var settings = OutlierDetection()
        settings.baseEjectionTime = .seconds(Int64.max)
        settings.maxEjectionTime = .seconds(Int64.max)
        settings.maxEjectionTimeJitter = .seconds(Int64.max)
        let detector = OutlierDetector(settings)
        #expect(fail(detector, set.hosts[0], in: set, times: 5, now: .max - 1)?.isEjected == true)
    }
}

@Suite struct HealthCheckTests {
    private func config(_ more: String = "") throws -> HealthCheckConfig {
        try cluster(
            #"{"name":"c","health_checks":[{"timeout":"1s","interval":"5s","unhealthy_threshold":2,"healthy_threshold":3,"http_health_check":{"path":"/h"}\#(more)}]}"#
        ).healthChecks[0]
    }

    @Test("the first pass of all makes a host healthy, later it takes the threshold")
    func thresholds() throws {
        let config = try config()
        var state = HealthCheckState()
        #expect(!state.isHealthy)
        #expect(state.record(.passed, config) == .becameHealthy)
        #expect(state.record(.failed, config) == .none)
        #expect(state.record(.passed, config) == .none)
        #expect(state.record(.failed, config) == .none)
        #expect(state.record(.failed, config) == .becameUnhealthy)
        #expect(state.record(.passed, config) == .none)
        #expect(state.record(.passed, config) == .none)
        #expect(state.record(.passed, config) == .becameHealthy)
    }

    @Test("an unexpected status makes a host unhealthy at once")
    func refused() throws {
        let config = try config()
        var state = HealthCheckState()
        _ = state.record(.passed, config)
        #expect(state.record(.refused, config) == .becameUnhealthy)
        #expect(state.record(.refused, config) == .none)
    }

    @Test("a host that fails its first check needs the whole threshold")
    func failsFirst() throws {
        let config = try config()
        var state = HealthCheckState()
        #expect(state.record(.failed, config) == .becameUnhealthy)
        #expect(state.record(.passed, config) == .none)
        #expect(state.record(.passed, config) == .none)
        #expect(state.record(.passed, config) == .becameHealthy)
    }

    @Test("intervals by health, edge and traffic")
    func intervals() throws {
        let config = try config(
            #","no_traffic_interval":"60s","no_traffic_healthy_interval":"30s","unhealthy_interval":"2s","unhealthy_edge_interval":"1s","healthy_edge_interval":"3s""#
        )
        var state = HealthCheckState()
        func wait(_ traffic: Bool = true) -> Duration { state.nextWait(config, hasTraffic: traffic, random: 0) }
        #expect(wait(false) == .seconds(60))
        _ = state.record(.passed, config)
        #expect(wait() == .seconds(5))
        #expect(wait(false) == .seconds(30))
        _ = state.record(.failed, config)
        #expect(wait() == .seconds(1))
        _ = state.record(.failed, config)
        #expect(wait() == .seconds(2))
        _ = state.record(.passed, config)
        #expect(wait() == .seconds(3))
    }

    @Test("jitter stays in its bounds, seed 21")
    func jitter() throws {
        let config = try config(#","interval_jitter":"1s","interval_jitter_percent":20,"initial_jitter":"4s""#)
        var state = HealthCheckState()
        _ = state.record(.passed, config)
        var generator = SplitMix64(seed: 21)
        for _ in 0..<1000 {
            let wait = state.nextWait(config, hasTraffic: true, random: generator.next())
            #expect(wait >= .seconds(5) && wait < .seconds(7))
            let first = HealthCheckState.firstWait(config, random: generator.next())
            #expect(first >= .zero && first < .seconds(4))
        }
    }
}
