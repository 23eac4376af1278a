public import HTTP
public import IO
import Serialization
import Store
import Telemetry

/// The registry on sockets: requests, those who wait, and the clocks of checks and sessions.
///
/// `@unchecked Sendable`: belongs to one loop; everything but `init` is called on it.
public final class RegistryServer: @unchecked Sendable {
    /// Whether somebody may do something.
    public typealias Judge = (RegistryWish) -> Bool

    /// Requests without a transport.
    public let router: RegistryRouter
    /// What it speaks for.
    public var state: RegistryState { router.state }
    /// Who shows a token, and what he may do; nil when nobody knows the token.
    public var judge: (_ token: String) -> Judge? = { _ in nil }
    /// Names by which clients may call us in `Host`, besides loopback addresses.
    public var hostNames: Set<String> = []
    /// Whether this server ends sessions: of several over one store, one.
    public var leads: () -> Bool = { true }
    /// Called when services, nodes, checks or intentions have changed.
    public var changed: () -> Void = {}
    let loop: EventLoop
    let log = Logger("registry")
    private let milliseconds: () -> Int64
    private var watches: [StoreWatch] = []
    private var waiters: [UInt64: Waiter] = [:]
    private var nextWaiter: UInt64 = 0
    private var plan = CheckPlan()
    private var checksChanged = true
    private let runner: CheckRunner
    private var clock: Task<Void, Never>?
    private var leadingSince: Int64?
    private var swept: Int64 = 0
    private var random = SystemRandomNumberGenerator()
    /// When the output of a check was last written though its state was the same.
    private var outputs: [StoreKey: Int64] = [:]

    private struct Waiter {
        var topic: Topic
        var continuation: CheckedContinuation<Void, Never>
    }

    /// How long somebody may wait: Consul's.
    static let waitMax: Int64 = 600_000
    /// How long he waits who says nothing.
    static let waitUsual: Int64 = 300_000
    /// How often a request is answered anew because another server wrote first.
    static let attemptsMax = 20
    /// How often (milliseconds) sessions are looked through for those that a server left which ended in the midst of something.
    static let sweepInterval: Int64 = 5_000
    /// Output alone is written so seldom (milliseconds): Consul's `check_update_interval`.
    static let outputInterval: Int64 = 300_000

    /// The registry of a state.
    ///
    /// - Parameter milliseconds: the time since 1970.
    public init(_ state: RegistryState, on loop: EventLoop, milliseconds: @escaping () -> Int64) {
        router = RegistryRouter(state)
        self.loop = loop
        self.milliseconds = milliseconds
        runner = CheckRunner(on: loop)
        router.reported = { [weak self] node, check, moment in
            let key = StoreKey(resource: RegistryState.Table.checks.resource, namespace: node, name: check)
            self?.plan.reported(key, now: moment.milliseconds)
        }
    }

    /// This moment, and sixteen random bytes.
    public func moment() -> RegistryMoment {
        RegistryMoment(
            milliseconds: milliseconds(), random: (0..<16).map { _ in UInt8.random(in: 0 ... .max, using: &random) })
    }

    // MARK: Life

    /// Follows the store and lets the clocks run.
    public func start() {
        openWatches()
        clock = Task(executorPreference: loop) { [weak self] in
            while !Task.isCancelled {
                guard let wait = self?.tick() else { return }
                await self?.loop.sleep(for: .milliseconds(wait))
            }
        }
    }

    /// Stops the clocks; those who wait are answered.
    public func stop() {
        clock?.cancel()
        watches.forEach { $0.cancel() }
        watches = []
        let all = waiters
        waiters = [:]
        for waiter in all.values { waiter.continuation.resume() }
    }

    private func openWatches() {
        watches.forEach { $0.cancel() }
        watches = []
        let loop = loop
        let wake: @Sendable () -> Void = { [weak self] in self?.drain() }
        for table in RegistryState.Table.allCases {
            do throws(StoreError) {
                watches.append(
                    try state.store.watch(table.resource, from: state.store.revision) { loop.execute(wake) })
            } catch {
                log.error("a watch of the registry cannot be opened", ["error": "\(error)"])
            }
        }
    }

    /// Takes note of what has changed.
    func drain() {
        var topics: Set<Topic> = []
        var isLost = watches.isEmpty
        for watch in watches {
            if watch.isLost { isLost = true }
            for event in watch.take() {
                let touched = state.topics(of: event)
                state.index.note(touched, at: event.object.revision)
                topics.formUnion(touched)
            }
        }
        if isLost {
            openWatches()
            state.index.forget(at: state.store.revision)
            checksChanged = true
            wakeAll()
            changed()
            return
        }
        guard !topics.isEmpty else { return }
        if topics.contains(.checks) { checksChanged = true }
        for (id, waiter) in waiters where RegistryIndex.wakes(waiter.topic, topics) { wake(id) }
        if !topics.isDisjoint(with: [.services, .nodes, .checks, .intentions]) { changed() }
    }

    private func wake(_ id: UInt64) { waiters.removeValue(forKey: id)?.continuation.resume() }

    private func wakeAll() { for id in waiters.keys.sorted() { wake(id) } }

    /// How many requests wait for a change.
    public var waiting: Int { waiters.count }

    // MARK: Clocks

    /// Does what is due; the milliseconds until it is to be called again.
    private func tick() -> Int64 {
        let moment = moment()
        drain()
        let isLeading = leads()
        if !isLeading { leadingSince = nil }
        if isLeading, leadingSince == nil { leadingSince = moment.milliseconds }
        if let since = leadingSince {
            attempt("sessions") { () throws(RegistryError) in
                try state.endExpired(since: since, moment)
                try state.forgetDelays(moment)
                guard moment.milliseconds - swept >= Self.sweepInterval else { return }
                swept = moment.milliseconds
                try state.endBroken(moment)
            }
        }
        if checksChanged {
            checksChanged = false
            plan.follow(state.rows(.checks, of: state.settings.node), now: moment.milliseconds, random: &random)
        }
        for due in plan.due(now: moment.milliseconds, runningMax: state.limits.runningChecks) { handle(due, moment) }
        let wait = (plan.next ?? .max) - moment.milliseconds
        return min(max(wait, 20), 500)
    }

    private func attempt(_ what: String, _ body: () throws(RegistryError) -> Void) {
        do throws(RegistryError) { try body() } catch {
            state.counters.failedWrites.add()
            log.error("the registry's \(what) cannot be written", ["error": error.text])
        }
    }

    private func row(_ key: StoreKey) -> Row? { state.store.get(key).map(Row.init) }

    private func handle(_ due: CheckPlan.Due, _ moment: RegistryMoment) {
        switch due {
        case .run(let key, let definition):
            state.counters.checksRun.add()
            Task(executorPreference: loop) { [weak self, runner] in
                let outcome = await runner.run(definition)
                self?.finished(key, outcome)
            }
        case .expire(let key):
            guard let row = row(key) else { return }
            attempt("checks") { () throws(RegistryError) in
                try state.set(row, status: "critical", output: "TTL expired", moment)
            }
        case .remove(let key):
            guard let row = row(key) else { return }
            let id = row.text("ServiceID")
            log.warning(
                "an instance was critical for too long and is removed", ["service": id, "check": row.text("CheckID")])
            state.counters.removedInstances.add()
            attempt("services") { () throws(RegistryError) in
                try state.deregister(service: id, node: row.text("Node"), moment)
            }
        }
    }

    private func finished(_ key: StoreKey, _ outcome: CheckOutcome) {
        let moment = moment()
        guard let status = plan.finished(key, outcome.status, now: moment.milliseconds), let row = row(key) else {
            return
        }
        let isSame = row.text("Status") == status
        if isSame, row.text("Output") == outcome.output { return }
        // What is said anew each time must not be written each time.
        if isSame, !row.text("Output").isEmpty, let last = outputs[key],
            moment.milliseconds - last < Self.outputInterval
        {
            return
        }
        if outputs.count > 2 * state.limits.checks { outputs = [:] }
        outputs[key] = moment.milliseconds
        attempt("checks") { () throws(RegistryError) in
            try state.set(row, status: status, output: outcome.output, moment)
        }
    }

    // MARK: Requests

    /// Bounds of the servers in front of this.
    public var httpLimits: HTTPServer.Limits {
        var limits = HTTPServer.Limits()
        limits.bodyBytes = state.limits.bodyBytes
        let counter = state.counters.largeBodies
        limits.tooLarge = { limit in
            counter.add()
            return HTTPResponse(
                status: 413,
                text: "Request body too large, max size: \(limit) bytes. "
                    + "See https://www.consul.io/docs/agent/options.html#kv_max_value_size.")
        }
        return limits
    }

    /// Answers one request.
    ///
    /// - Parameter judge: what a caller may do whom the socket tells; nil: the token decides.
    public func handle(_ request: HTTPRequest, judge known: Judge? = nil, checksHost: Bool) async -> HTTPResponse {
        state.counters.requests.add()
        do throws(RegistryError) {
            if checksHost, !isOurs(request.head.authorityText) {
                throw RegistryError(403, "Host \(request.head.authorityText) is not served here")
            }
            guard request.path.hasPrefix("/v1/") else { throw RegistryError(404, "404 page not found") }
            let judge: Judge
            if let known {
                judge = known
            } else if Self.isPublic(request) {
                judge = { $0 == RegistryWish("get", "registrations") }
            } else {
                judge = try caller(request)
            }
            var wanted = RegistryRequest(
                request.method, String(request.path.dropFirst("/v1/".count)), query: request.queryItems, may: judge)
            do throws(HTTPError) { wanted.body = try await request.body.collect() } catch {
                throw .bad("the body cannot be read: \(error)")
            }
            return response(try await settled(wanted), wanted)
        } catch {
            return response(.refusal(error), nil)
        }
    }

    /// What Consul's clients ask without a token, and what tells nothing: the datacenter, and where this server is.
    private static func isPublic(_ request: HTTPRequest) -> Bool {
        request.method == "GET"
            && ["/v1/catalog/datacenters", "/v1/status/leader", "/v1/status/peers"].contains(request.path)
    }

    private func caller(_ request: HTTPRequest) throws(RegistryError) -> Judge {
        let headers = request.head.headers
        var token = headers["x-consul-token"]
        if token == nil, let field = headers["authorization"], field.lowercased().hasPrefix("bearer ") {
            token = String(field.dropFirst(7))
        }
        guard let token, !token.isEmpty else {
            throw RegistryError(
                403, "Permission denied: anonymous token: send one in X-Consul-Token or Authorization: Bearer")
        }
        guard let judge = judge(token) else { throw RegistryError(403, "ACL not found") }
        return judge
    }

    /// Whether `Host` names us; a browser that was lured to a foreign name pointing here says that name.
    private func isOurs(_ authority: String) -> Bool {
        var host = authority[...]
        if let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") { host = host[..<colon] }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return ["localhost", "127.0.0.1", "::1"].contains(host) || hostNames.contains(String(host))
    }

    /// The answer when everything it tells of is safe, and, for one who waits, when there is something new.
    private func settled(_ request: RegistryRequest) async throws(RegistryError) -> RegistryAnswer {
        let wanted = request.method == "GET" ? try request.number("index") ?? 0 : 0
        var wait = Self.waitUsual
        if let text = request.value("wait"), !text.isEmpty {
            guard let time = GoDuration.milliseconds(text) else { throw .bad("Invalid wait time") }
            wait = min(time, Self.waitMax)
        }
        let deadline = loop.now + .milliseconds(wait)
        while true {
            let answer = try await once(request)
            guard wanted > 0, let index = answer.index, index <= wanted, let topic = answer.topic,
                loop.now < deadline, !Task.isCancelled
            else { return answer }
            guard waiters.count < state.limits.watchers else {
                state.counters.refusedWatchers.add()
                throw RegistryError(429, "too many requests wait for changes: at most \(state.limits.watchers)")
            }
            await change(of: topic, until: deadline)
        }
    }

    private func once(_ request: RegistryRequest) async throws(RegistryError) -> RegistryAnswer {
        let store = state.store
        let reads = request.method == "GET"
        do throws(StoreError) {
            if store.isShared, !request.has("stale") { try await store.refreshed() }
            var failure = StoreError.overtaken
            for _ in 0..<Self.attemptsMax {
                drain()
                let answer = router.answer(request, moment())
                // Before anything is awaited: later it could not be told that what the answer tells of was taken back.
                let settlement = try store.settlement()
                do throws(StoreError) {
                    try await settlement?.wait()
                    return answer
                } catch {
                    failure = error
                    guard reads || error == .overtaken else { throw error }
                    try await store.refreshed()
                }
            }
            throw failure
        } catch {
            throw RegistryError(error)
        }
    }

    /// Waits for a change, the deadline or the client's end.
    private func change(of topic: Topic, until deadline: MonotonicTime) async {
        nextWaiter += 1
        let id = nextWaiter
        let timer = loop.schedule(after: deadline - loop.now) { [weak self] in self?.wake(id) }
        defer { timer.cancel() }
        let loop = loop
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume() }
                waiters[id] = Waiter(topic: topic, continuation: continuation)
            }
        } onCancel: {
            loop.execute { [weak self] in self?.wake(id) }
        }
    }

    private func response(_ answer: RegistryAnswer, _ request: RegistryRequest?) -> HTTPResponse {
        if answer.status == 403 { state.counters.denied.add() }
        var head = ResponseHead(status: answer.status)
        func add(_ name: String, _ value: String) {
            // Names and values are ours: they hold nothing forbidden.
            try? head.headers.append(name, value)
        }
        if let index = answer.index {
            add("x-consul-index", String(index))
            add("x-consul-knownleader", "true")
            add("x-consul-lastcontact", "0")
        }
        if answer.status == 405 { add("allow", "GET,PUT,POST,DELETE") }
        switch answer.body {
        case .json(let json):
            add("content-type", "application/json")
            return HTTPResponse(
                head, .bytes(request?.has("pretty") == true ? Array((json.pretty + "\n").utf8) : json.bytes))
        case .bytes(let bytes):
            add("content-type", "application/octet-stream")
            add("x-content-type-options", "nosniff")
            add("content-security-policy", "sandbox")
            return HTTPResponse(head, .bytes(bytes))
        case .text(let text):
            add("content-type", "text/plain; charset=utf-8")
            return HTTPResponse(head, .bytes(Array(text.utf8)))
        }
    }

    // MARK: Metrics

    /// Its figures, in Prometheus' text format.
    public var metrics: String {
        let counters = state.counters
        let counted: [(name: String, help: String, value: UInt64)] = [
            ("requests", "Requests.", counters.requests.value),
            ("denied", "Requests refused because nobody may do that.", counters.denied.value),
            ("large_bodies", "Bodies that were too large.", counters.largeBodies.value),
            ("refused_watchers", "Requests refused because too many waited.", counters.refusedWatchers.value),
            ("checks_run", "Checks made.", counters.checksRun.value),
            ("ended_sessions", "Sessions that were not ended by their holders.", counters.endedSessions.value),
            (
                "removed_instances", "Instances removed because they were critical for too long.",
                counters.removedInstances.value
            ),
            ("failed_writes", "Writes of the registry's own that failed.", counters.failedWrites.value),
        ]
        var text = ""
        for counter in counted {
            text += "# HELP skein_registry_\(counter.name)_total \(counter.help)\n"
            text += "# TYPE skein_registry_\(counter.name)_total counter\n"
            text += "skein_registry_\(counter.name)_total \(counter.value)\n"
        }
        text += "# HELP skein_registry_limit_refusals_total What was refused at a limit.\n"
        text += "# TYPE skein_registry_limit_refusals_total counter\n"
        for (name, count) in counters.refused.sorted(by: { $0.key < $1.key }) {
            text += "skein_registry_limit_refusals_total{limit=\"\(name)\"} \(count)\n"
        }
        text += "# HELP skein_registry_objects Objects of the registry.\n# TYPE skein_registry_objects gauge\n"
        for (kind, count) in state.counts { text += "skein_registry_objects{kind=\"\(kind)\"} \(count)\n" }
        text += "# HELP skein_registry_watchers Requests that wait for a change.\n"
        return text + "# TYPE skein_registry_watchers gauge\nskein_registry_watchers \(waiters.count)\n"
    }
}
