import Serialization
import Testing

@testable import Insight

/// A mesh whose pages are read every ten seconds, as the control plane reads them, and watched by the rules that are shipped.
struct WatchedMesh {
    /// What happens in ten seconds, and what is so.
    struct State {
        /// Requests of `client` to `web`: good ones, those that fail, and those of the good that take two seconds.
        var good = 1000.0
        var failing = 0.0
        var slow = 0.0
        /// Requests that found no healthy host, and those that a circuit breaker turned away.
        var unhealthy = 0.0
        var overflowing = 0.0
        var ejected = 0.0
        var answers = true
        var certificateLeft = 60.0
        var restarts = 0.0
        var refusing = 0.0
        var unsettled = 0.0
        var names = 100.0
        var lostNames = 0.0
        /// Of 16 GiB.
        var memoryLeft = 8.0
        /// Of the processors' time.
        var busy = 0.3
        var addresses = 20.0
        var skew = 0.01
    }

    static let cluster = "outbound|80||web.shop.svc.cluster.local"
    static let pod = ObservedPod(namespace: "shop", name: "client-1", workload: "client")

    var store = SeriesStore()
    var collector = Collector()
    var book = AlertBook()
    var tick: Int64 = 170_000_000
    var state = State()
    private var sums = State()
    private var uptime = 3600.0
    private var cpu = (busy: 0.0, idle: 0.0)
    /// How often each alert began to fire, and to be over.
    var fired: [String: Int] = [:]
    var resolved: [String: Int] = [:]
    private var firing: Set<Labels> = []

    init() throws {
        book.use([try RuleFile(yaml: DefaultRules.text, file: "skein-rules.yaml")])
        sums = State(
            good: 0, names: 0)
        // The first page is what is counted from.
        step()
    }

    private var page: String {
        func line(_ name: String, _ value: Double, _ labels: String = "") -> String {
            "envoy_cluster_\(name){\(labels)envoy_cluster_name=\"\(Self.cluster)\"} \(Int(value))\n"
        }
        let all = sums.good + sums.failing
        return "envoy_server_uptime \(Int(uptime))\nenvoy_server_first_cert_left_percent \(state.certificateLeft)\n"
            + line("upstream_rq", sums.good, "envoy_response_code=\"200\",")
            + line("upstream_rq", sums.failing, "envoy_response_code=\"503\",")
            + line("upstream_rq_time_bucket", all - sums.slow, "le=\"10\",")
            + line("upstream_rq_time_bucket", all, "le=\"2500\",")
            + line("upstream_rq_time_bucket", all, "le=\"+Inf\",")
            + line("upstream_rq_time_sum", 5 * all + 2000 * sums.slow)
            + line("upstream_cx_none_healthy", sums.unhealthy)
            + line("upstream_rq_pending_overflow", sums.overflowing)
            + line("membership_total", 2) + line("membership_healthy", 2 - state.ejected)
            + line("outlier_detection_ejections_active", state.ejected)
    }

    /// Ten seconds, and a look at everything.
    mutating func step() {
        tick += 1
        uptime += 10
        sums.good += state.good
        sums.failing += state.failing
        sums.slow += state.slow
        sums.unhealthy += state.unhealthy
        sums.overflowing += state.overflowing
        sums.names += state.names
        sums.lostNames += state.lostNames
        sums.restarts += state.restarts
        cpu.busy += 4000 * state.busy
        cpu.idle += 4000 * (1 - state.busy)
        collector.begin(tick: tick)
        collector.take(state.answers ? ProxyPage(Array(page.utf8)) : nil, of: Self.pod, sinceLast: 10)
        collector.setCounter(
            Labels("skein_pod_restarts_total", ["namespace": "shop", "pod": "client-1", "workload": "client"]),
            sums.restarts)
        let own = """
            skein_control_proxies_refusing \(Int(state.refusing))
            skein_control_proxies_unsettled \(Int(state.unsettled))
            skein_dns_queries_total \(Int(sums.names))
            skein_dns_failures_total \(Int(sums.lostNames))

            """
        collector.take(page: Array(own.utf8), job: "control-plane")
        let now = Double(tick * Insight.step)
        let usage: JSON = [
            "addresses": ["used": .number(state.addresses), "size": 253], "time": .number(now - state.skew),
        ]
        collector.take(NodeFigure.read(usage, now: now), node: "n1")
        collector.takeNode(
            "n1", stat: "cpu  \(Int(cpu.busy)) 0 0 \(Int(cpu.idle)) 0 0 0 0 0 0\ncpu0 1 1 1 1\n",
            memory: "MemTotal: 16777216 kB\nMemFree: 100 kB\nMemAvailable: \(Int(state.memoryLeft * 1_048_576)) kB\n",
            processors: 4)
        collector.finish(into: &store)
        book.take(AlertBook.ask(book.expressions, store, at: tick * 10_000), at: tick * 10_000)
        let current = Set(book.alerts.filter { $0.state == .firing }.map(\.labels))
        for labels in current.subtracting(firing) { fired[labels["alertname"], default: 0] += 1 }
        for labels in firing.subtracting(current) { resolved[labels["alertname"], default: 0] += 1 }
        firing = current
    }

    /// Steps until something is so; false when it is not within so many.
    mutating func run(_ steps: Int, until isThere: (WatchedMesh) -> Bool = { _ in false }) -> Bool {
        for _ in 0..<steps {
            step()
            if isThere(self) { return true }
        }
        return false
    }
}

@Suite("Each rule that is shipped")
struct DefaultRuleTests {
    /// A rule, what makes it fire, and what else may fire of the same cause.
    struct Cause: Sendable, CustomTestStringConvertible {
        var rule: String
        var change: @Sendable (inout WatchedMesh.State) -> Void
        var others: Set<String> = []
        var testDescription: String { rule }
    }

    static let causes: [Cause] = [
        Cause(rule: "ErrorBudgetBurnsFast", change: { $0.failing = 50 }, others: ["ErrorBudgetBurnsSlowly"]),
        Cause(rule: "ErrorBudgetBurnsSlowly", change: { $0.failing = 10 }),
        Cause(rule: "LatencyIsHigh", change: { $0.slow = 30 }),
        Cause(rule: "NoHealthyUpstream", change: { $0.unhealthy = 5 }),
        Cause(rule: "EndpointsEjected", change: { $0.ejected = 1 }),
        Cause(rule: "CircuitBreakerIsOpen", change: { $0.overflowing = 5 }),
        Cause(rule: "ConfigurationRefused", change: { $0.refusing = 1 }),
        Cause(rule: "ProxiesNotConverged", change: { $0.unsettled = 2 }),
        Cause(rule: "ProxyIsSilent", change: { $0.answers = false }),
        Cause(rule: "CertificateIsNotRenewed", change: { $0.certificateLeft = 19 }),
        Cause(rule: "NamesAreNotFound", change: { $0.lostNames = 10 }),
        Cause(rule: "PodRestartsAgainAndAgain", change: { $0.restarts = 1 }),
        Cause(rule: "NodeIsShortOfMemory", change: { $0.memoryLeft = 0.5 }),
        Cause(rule: "NodeIsShortOfProcessor", change: { $0.busy = 0.98 }),
        Cause(rule: "AddressesRunOut", change: { $0.addresses = 240 }),
        Cause(rule: "ClockIsWrong", change: { $0.skew = -3 }),
    ]

    @Test("fires once for its cause, alone, and is over when the cause is", arguments: causes)
    func fires(_ cause: Cause) throws {
        var mesh = try WatchedMesh()
        #expect(!mesh.run(12) { !$0.fired.isEmpty }, "nothing is wrong yet: \(mesh.fired)")
        cause.change(&mesh.state)
        // The longest time of a rule is 15 minutes, over rates of 5 minutes.
        #expect(mesh.run(150) { $0.fired[cause.rule] != nil }, "it does not fire")
        _ = mesh.run(6)
        let alert = try #require(mesh.book.alerts.first { $0.labels["alertname"] == cause.rule })
        #expect(alert.annotations["summary"]?.isEmpty == false && alert.annotations["action"]?.isEmpty == false)
        mesh.state = WatchedMesh.State()
        // The longest window of a rule's second condition is 30 minutes.
        #expect(mesh.run(200) { $0.resolved[cause.rule] != nil }, "it does not end")
        _ = mesh.run(6)
        #expect(mesh.fired[cause.rule] == 1 && mesh.resolved[cause.rule] == 1)
        #expect(Set(mesh.fired.keys).subtracting(cause.others) == [cause.rule])
    }

    @Test("is among the causes above")
    func all() throws {
        let file = try RuleFile(yaml: DefaultRules.text, file: "skein-rules.yaml")
        #expect(Set(file.groups.flatMap(\.rules).map(\.alert)) == Set(Self.causes.map(\.rule)))
    }
}
