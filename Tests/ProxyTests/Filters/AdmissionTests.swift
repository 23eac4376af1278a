import IO
import Testing

@testable import Proxy

@Suite("Filters: admission_control, adaptive_concurrency")
struct AdmissionTests {
    private static let rules = AdmissionWindow.Rules(
        aggression: 1, successThreshold: 0.95, rateThreshold: 0, probabilityMax: 0.8)

    @Test("the chance of a refusal follows the failures of the window, up to a bound")
    func probability() {
        let start = MonotonicTime.now
        var window = AdmissionWindow(window: .seconds(10))
        let nothing = window.probability(Self.rules, at: start)
        #expect(nothing == 0)
        for _ in 0..<100 { window.record(isSuccess: true, at: start) }
        let good = window.probability(Self.rules, at: start)
        #expect(good == 0)
        for _ in 0..<100 { window.record(isSuccess: false, at: start + .seconds(5)) }
        let half = window.probability(Self.rules, at: start + .seconds(5))
        #expect(half > 0.46 && half < 0.48)
        var bold = Self.rules
        bold.aggression = 2
        let bent = window.probability(bold, at: start + .seconds(5))
        #expect(abs(bent - half.squareRoot()) < 1e-9)
        let refuses = (0..<10_000).filter { number in
            var copy = window
            return copy.refuses(Self.rules, at: start + .seconds(5), random: UInt64(number))
        }
        #expect(abs(Double(refuses.count) / 10_000 - half) < 0.001)
        // The good ones leave the window, all that is left has failed.
        let late = window.probability(Self.rules, at: start + .seconds(10))
        #expect(late == 0.8)
        let over = window.probability(Self.rules, at: start + .seconds(15))
        #expect(over == 0)
        #expect(window.requests == 0)
    }

    @Test("few requests a second are never refused")
    func rate() {
        let start = MonotonicTime.now
        var window = AdmissionWindow(window: .seconds(30))
        for second in 0..<10 {
            for _ in 0..<20 { window.record(isSuccess: false, at: start + .seconds(second)) }
        }
        var rules = Self.rules
        rules.rateThreshold = 23
        let few = window.probability(rules, at: start + .seconds(9))
        #expect(few == 0)
        rules.rateThreshold = 22
        let enough = window.probability(rules, at: start + .seconds(9))
        #expect(enough == 0.8)
    }

    @Test("powers between 0 and 1")
    func powers() {
        #expect(abs(AdmissionWindow.power(0.25, 0.5) - 0.5) < 1e-12)
        #expect(abs(AdmissionWindow.power(0.001, 1.0 / 3) - 0.1) < 1e-9)
        #expect(AdmissionWindow.power(0, 0.5) == 0)
    }

    @Test("failures of the upstream close the door: 503 with Envoy's counters")
    func running() async throws {
        let config = FilterScene.any(
            "envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
            """
            success_criteria: {}, aggression: { default_value: 1000, runtime_key: a }, \
            max_rejection_probability: { default_value: { value: 100 }, runtime_key: m }
            """)
        try await FilterScene.run(
            [("admission", config)],
            answer: { _, _ in
                "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 500)
            var refused = 0
            for _ in 0..<20 where try await scene.client.get("/").status == 503 { refused += 1 }
            #expect(refused >= 18)
            #expect(try await scene.stat("http.ingress.admission_control.rq_rejected") == refused)
            #expect(try await scene.stat("http.ingress.admission_control.rq_failure") == 21 - refused)
        }
    }

    private func controller(_ change: (inout GradientController.Settings) -> Void = { _ in }, at now: MonotonicTime)
        -> GradientController
    {
        var settings = GradientController.Settings()
        settings.measureCount = 5
        settings.jitter = 0
        change(&settings)
        return GradientController(settings, at: now)
    }

    /// `count` requests one after the other, each taking `time`; the answer is the time afterwards.
    private func serve(
        _ controller: inout GradientController, _ count: Int, _ time: Duration, from start: MonotonicTime
    ) -> MonotonicTime {
        var now = start
        for _ in 0..<count {
            guard controller.admit(at: now) else { continue }
            let began = now
            now = now + time
            controller.record(began: began, at: now, random: 0)
        }
        return now
    }

    @Test("the least time is measured with few requests, then the limit grows while the upstream is as fast")
    func gradient() {
        let start = MonotonicTime.now
        var controller = controller(at: start)
        #expect(controller.figures.isMeasuring && controller.limit == 3)
        let admitted = (0..<5).map { _ in controller.admit(at: start) }
        #expect(admitted == [true, true, true, false, false])
        for _ in 0..<3 { controller.cancel() }
        var now = serve(&controller, 5, .milliseconds(10), from: start)
        #expect(!controller.figures.isMeasuring)
        #expect(controller.figures.leastMilliseconds == 10)
        now = serve(&controller, 200, .milliseconds(10), from: now)
        let grown = controller.limit
        #expect(grown > 10)
        // Four times slower: the limit falls, by a half for each window at most.
        now = serve(&controller, 10, .milliseconds(40), from: now)
        #expect(controller.limit < grown)
        #expect(controller.outstanding == 0)
    }

    @Test("the limit stays between its bounds, and is measured anew after the interval")
    func bounds() {
        let start = MonotonicTime.now
        var controller = controller({ $0.limitMax = 8 }, at: start)
        var now = serve(&controller, 2000, .milliseconds(5), from: start)
        #expect(controller.limit == 8)
        now = serve(&controller, 1, .milliseconds(5), from: now + .seconds(60))
        #expect(controller.figures.isMeasuring)
        _ = serve(&controller, 5, .milliseconds(20), from: now)
        #expect(controller.figures.leastMilliseconds == 20)
        #expect(controller.limit == 8)
    }

    @Test("beyond the limit: 503 with Envoy's text, until a request has ended")
    func blocked() async throws {
        let config = FilterScene.any(
            "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
            """
            gradient_controller_config: { concurrency_limit_params: { concurrency_update_interval: 0.1s }, \
            min_rtt_calc_params: { interval: 60s, min_concurrency: 1 } }
            """)
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                // Never whole: the client leaves first.
                _ = try await wire.read(until: "go")
                try await wire.write(ScriptedUpstream.ok("late"))
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        filters: FilterScene.entries([("adaptive", config)]), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]), admin: true))
            defer { proxy.stop() }
            let first = try await Wire.connect(to: proxy.address, on: loop)
            let second = try await Wire.connect(to: proxy.address, on: loop)
            try await first.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12")
            try await until("the upstream has a connection") { upstream.connections > 0 }
            let refused = try await second.get("/")
            #expect(refused.status == 503)
            #expect(refused.body == "reached concurrency limit")
            first.close()
        }
    }
}
