public import IO

/// The life of one pod: which container is started, stopped or asked when.
///
/// Pure: events and time come in, actions go out; the node agent performs them. Order (ARCHITECTURE section 4): the
/// sidecar is ready before the first init container and stops after the last container; init containers run one after
/// another; native sidecars among them go on running; the pod's own containers run together.
public struct PodLifecycle: Sendable {
    /// What happened.
    public enum Event: Sendable, Hashable {
        /// The pod has its network; containers can be started.
        case networkReady
        /// The container runs.
        case started(container: String, id: String)
        /// The container could not be started.
        case startFailed(container: String, WorkloadError)
        /// The container's main process has ended.
        case exited(container: String, code: Int, reason: String?, message: String)
        /// A probe was answered.
        case answered(container: String, Probe.Kind, isGood: Bool, message: String)
        /// The pod is being deleted; its endpoints are not yet drained.
        case deletionRequested(graceSeconds: Int)
        /// No new requests come any more: containers may be stopped.
        case drained
        /// Time has passed.
        case tick
    }

    /// What is to be done.
    public enum Action: Sendable, Hashable {
        /// Start the container; answer with `started` or `startFailed`.
        case start(container: String, attempt: Int)
        /// Run the preStop hook, then send SIGTERM; SIGKILL comes as `kill`.
        case terminate(container: String)
        /// Send SIGKILL.
        case kill(container: String)
        /// Ask the probe; answer with `answered`.
        case probe(container: String, Probe.Kind)
        /// Tell the sidecar to stop taking connections.
        case drainProxy
        /// Every container has ended and the pod is to vanish: remove what it had.
        case remove
        /// Something worth an event on the pod.
        case record(reason: String, message: String, isWarning: Bool)
    }

    /// `Pending`, `Running`, … of `status.phase`.
    public enum Phase: String, Sendable, Hashable {
        /// Not all started yet.
        case pending = "Pending"
        /// At least one container runs or will run again.
        case running = "Running"
        /// All ended with 0 and stay so.
        case succeeded = "Succeeded"
        /// All ended, at least one badly, and stay so.
        case failed = "Failed"
    }

    /// First pause between two starts; each further one is twice as long.
    static let backoffFirst = Duration.seconds(10)
    /// The longest pause.
    static let backoffMax = Duration.seconds(300)
    /// Failed starts in a row before an event tells of them.
    private static let failuresUntold = 3
    /// A container that ran this long begins again with the first pause.
    static let backoffReset = Duration.seconds(600)

    let restartPolicy: PodManifest.RestartPolicy
    private(set) var containers: [ContainerRecord]
    private var graceSeconds: Int
    private var hasNetwork = false
    /// Seconds since 1970 of "now", for what people read.
    private var wallSeconds: Int64 = 0
    private(set) var isDeleting = false
    private var isDrained = false
    private var hasDrainedProxy = false
    private var hasBeenRemoved = false
    /// Every init container has done its work in this pod's life; restarts of sidecars do not undo it.
    private(set) var isInitialized = false
    /// Set when an init container failed for good.
    private(set) var hasFailed = false

    /// The life of a pod that has just been assigned to this node.
    public init(_ pod: PodManifest, proxy: ProxyRole) {
        restartPolicy = pod.restartPolicy
        graceSeconds = pod.terminationGraceSeconds
        var records: [ContainerRecord] = []
        if proxy == .sidecar {
            records.append(
                ContainerRecord(
                    name: SidecarPlan.containerName, role: .proxy, probes: [.readiness: SidecarPlan.readinessProbe],
                    preStop: nil))
        }
        for container in pod.initContainers {
            records.append(
                ContainerRecord(
                    name: container.name, role: container.isSidecar ? .sidecar : .initial, probes: container.probes,
                    preStop: container.preStop))
        }
        for container in pod.containers {
            var probes = container.probes
            if proxy == .gateway, container.image == SidecarPlan.image, probes[.readiness] == nil {
                probes[.readiness] = SidecarPlan.readinessProbe
            }
            records.append(
                ContainerRecord(name: container.name, role: .main, probes: probes, preStop: container.preStop))
        }
        containers = records
        for container in pod.ephemeralContainers { add(ephemeral: container.name) }
        for container in pod.initContainers where container.isCaptureInit {
            completeCapture(container.name)
        }
    }

    /// How the proxy is part of a pod.
    public enum ProxyRole: Sendable, Hashable {
        /// No proxy.
        case none
        /// A sidecar of its own.
        case sidecar
        /// The pod's own container is the proxy.
        case gateway
    }

    private mutating func completeCapture(_ name: String) {
        update(name) {
            $1.state = .terminated(
                .init(
                    id: "", exitCode: 0, reason: "Completed",
                    message: "not run: Skein captures the pod's traffic itself, with the arguments given here",
                    startedAt: 0, finishedAt: 0))
        }
    }

    /// Takes in a container that was added to a pod that runs; one that is known is left as it is.
    public mutating func add(ephemeral name: String) {
        guard !containers.contains(where: { $0.name == name }) else { return }
        containers.append(ContainerRecord(name: name, role: .ephemeral, probes: [:], preStop: nil))
    }

    // MARK: Events

    /// Takes an event and returns what is to be done now.
    public mutating func on(_ event: Event, at now: MonotonicTime, wallSeconds: Int64) -> [Action] {
        self.wallSeconds = wallSeconds
        var actions: [Action] = []
        switch event {
        case .networkReady: hasNetwork = true
        case .tick: break
        case .started(let name, let id):
            update(name) { $0.begin(&$1, id: id, startedAt: wallSeconds, now: now) }
        case .startFailed(let name, let error):
            update(name) { _, record in
                record.state = .waiting(reason: error.reason, message: error.message)
                record.quickEnds += 1
                record.restartAt = now + Self.startRetry(error.reason, failures: record.quickEnds)
                // What is missing at first often comes a moment later; what stays missing is told once.
                guard record.quickEnds == Self.failuresUntold else { return }
                actions.append(.record(reason: "Failed", message: "\(name): \(error.message)", isWarning: true))
            }
        case .exited(let name, let code, let reason, let message):
            update(name) { $0.end(&$1, code: code, reason: reason, message: message, now: now) }
        case .answered(let name, let kind, let isGood, let message):
            actions += answer(name, kind, isGood: isGood, message: message, now: now)
        case .deletionRequested(let seconds):
            isDeleting = true
            graceSeconds = min(graceSeconds, max(0, seconds))
            // What is stopping already gets no more time than a pod that is deleted now.
            for index in containers.indices {
                guard let at = containers[index].killAt else { continue }
                containers[index].killAt = min(at, now + .seconds(graceSeconds))
            }
        case .drained: isDrained = true
        }
        actions += decide(now)
        return actions
    }

    /// Changes one container; `body` sees the rest of the pod as it was before.
    private mutating func change<Result>(_ index: Int, _ body: (Self, inout ContainerRecord) -> Result) -> Result {
        var record = containers[index]
        let result = body(self, &record)
        containers[index] = record
        return result
    }

    private mutating func update(_ name: String, _ body: (Self, inout ContainerRecord) -> Void) {
        guard let index = containers.firstIndex(where: { $0.name == name }) else { return }
        change(index, body)
    }

    private func begin(_ record: inout ContainerRecord, id: String, startedAt: Int64, now: MonotonicTime) {
        record.state = .running(.init(id: id, startedAt: startedAt, since: now))
        record.isStarted = record.probes[.startup] == nil
        record.isReady = record.isStarted && record.probes[.readiness] == nil
        record.restartAt = nil
        record.killAt = nil
        record.isStopping = false
        record.trackers = [:]
        arm(&record, now: now)
    }

    /// Liveness and readiness are asked from the moment the startup probe has succeeded.
    private func arm(_ record: inout ContainerRecord, now: MonotonicTime) {
        let kinds: [Probe.Kind] = record.isStarted ? [.liveness, .readiness] : [.startup]
        for kind in kinds {
            if let probe = record.probes[kind] { record.trackers[kind] = ProbeTracker(probe, kind: kind, start: now) }
        }
    }

    private func end(_ record: inout ContainerRecord, code: Int, reason: String?, message: String, now: MonotonicTime) {
        guard record.isActive else { return }
        var ended = ContainerState.Terminated(
            id: "", exitCode: code, reason: reason ?? (code == 0 ? "Completed" : "Error"), message: message,
            startedAt: wallSeconds, finishedAt: wallSeconds)
        if case .running(let running) = record.state {
            ended.id = running.id
            ended.startedAt = running.startedAt
            if now - running.since >= Self.backoffReset { record.quickEnds = 0 }
        }
        record.state = .terminated(ended)
        record.trackers = [:]
        record.isReady = false
        record.isStarted = false
        record.killAt = nil
        record.isStopping = false
        guard restarts(record, after: code) else { return }
        // The first restart is immediate, as in Kubernetes: a process that was killed once is back at once.
        let pause = Self.backoff(ends: record.quickEnds)
        record.quickEnds += 1
        record.restartAt = now + pause
    }

    /// The pause before the start that follows `ends` quick ends.
    static func backoff(ends: Int) -> Duration {
        guard ends > 0 else { return .zero }
        return min(backoffMax, backoffFirst * (1 << min(ends - 1, 10)))
    }

    /// A start that failed for something which may come (a ConfigMap, an image) is tried again soon.
    private static func startRetry(_ reason: String, failures: Int) -> Duration {
        switch reason {
        case "CreateContainerConfigError": failures < 20 ? .milliseconds(200) : .seconds(2)
        case "ErrImageNeverPull": .seconds(2)
        default: min(backoffMax, max(.seconds(1), backoff(ends: failures)))
        }
    }

    private func restarts(_ record: ContainerRecord, after code: Int) -> Bool {
        guard !isDeleting, !isFinishing else { return false }
        switch record.role {
        case .proxy, .sidecar: return true
        case .ephemeral: return false
        case .initial: return code != 0 && restartPolicy != .never
        case .main:
            switch restartPolicy {
            case .always: return true
            case .onFailure: return code != 0
            case .never: return false
            }
        }
    }

    private mutating func answer(
        _ name: String, _ kind: Probe.Kind, isGood: Bool, message: String, now: MonotonicTime
    ) -> [Action] {
        var actions: [Action] = []
        update(name) { pod, record in
            guard record.isRunning, record.trackers[kind] != nil else { return }  // An answer from a run that is over.
            guard let verdict = record.trackers[kind]?.answer(isGood: isGood, at: now) else { return }
            switch (kind, verdict) {
            case (.startup, .good):
                record.isStarted = true
                record.isReady = record.probes[.readiness] == nil
                record.trackers = [:]
                pod.arm(&record, now: now)
            case (.readiness, .good): record.isReady = true
            case (.readiness, .bad):
                record.isReady = false
                actions.append(
                    .record(reason: "Unhealthy", message: "Readiness probe failed: \(message)", isWarning: true))
            case (.liveness, .bad), (.startup, .bad):
                guard !record.isStopping, !pod.isDeleting else { return }
                let word = kind == .liveness ? "Liveness" : "Startup"
                actions.append(
                    .record(reason: "Unhealthy", message: "\(word) probe failed: \(message)", isWarning: true))
                actions.append(
                    .record(reason: "Killing", message: "Container \(name) will be restarted", isWarning: false))
                actions += pod.stop(&record, now: now)
            case (.liveness, .good): break
            }
        }
        return actions
    }

    private func stop(_ record: inout ContainerRecord, now: MonotonicTime) -> [Action] {
        guard record.isRunning, !record.isStopping else { return [] }
        record.isStopping = true
        record.killAt = now + .seconds(graceSeconds)
        return graceSeconds == 0 ? [.kill(container: record.name)] : [.terminate(container: record.name)]
    }

    // MARK: Adoption

    /// What survives the agent, besides the containers themselves.
    struct Memory: Sendable, Hashable {
        struct Container: Sendable, Hashable {
            var state: ContainerState
            var last: ContainerState.Terminated?
            var restartCount: Int
            var isStarted: Bool
            var isReady: Bool
        }
        var containers: [String: Container] = [:]
        var isInitialized = false
        var hasFailed = false
        var isDeleting = false
        var isDrained = false
    }

    /// What a later life of the agent needs to go on.
    var memory: Memory {
        var memory = Memory(
            isInitialized: isInitialized, hasFailed: hasFailed, isDeleting: isDeleting, isDrained: isDrained)
        for record in containers {
            memory.containers[record.name] = .init(
                state: record.state, last: record.last, restartCount: record.restartCount,
                isStarted: record.isStarted, isReady: record.isReady)
        }
        return memory
    }

    /// Goes on where a former life ended: what was ready stays ready until a probe says otherwise.
    ///
    /// The pod has its network. What was being started then is started anew.
    mutating func restore(_ memory: Memory, at now: MonotonicTime) {
        hasNetwork = true
        isInitialized = memory.isInitialized
        hasFailed = memory.hasFailed
        isDeleting = memory.isDeleting
        isDrained = memory.isDrained
        for index in containers.indices {
            guard let old = memory.containers[containers[index].name] else { continue }
            containers[index].restartCount = old.restartCount
            containers[index].last = old.last
            switch old.state {
            case .waiting, .starting: break
            case .terminated(let end):
                containers[index].state = old.state
                if restarts(containers[index], after: end.exitCode) { containers[index].restartAt = now }
            case .running(let running):
                change(index) { pod, record in
                    pod.begin(&record, id: running.id, startedAt: running.startedAt, now: now)
                    record.isStarted = old.isStarted
                    record.isReady = old.isReady
                    record.trackers = [:]
                    pod.arm(&record, now: now)
                }
            }
        }
    }

    // MARK: Decisions

    /// Whether the pod's own containers have all ended and none comes again.
    private var isFinishing: Bool {
        if hasFailed { return true }
        let main = containers.filter { $0.role == .main }
        return isInitialized && main.allSatisfy { $0.terminated != nil && $0.restartAt == nil }
    }

    private mutating func decide(_ now: MonotonicTime) -> [Action] {
        var actions: [Action] = []
        if isDeleting {
            actions += stopAll(now)
        } else if isFinishing {
            actions += stopRest(now)
        } else if hasNetwork {
            actions += startNext(now)
        }
        actions += askDue(now)
        for index in containers.indices {
            if let at = containers[index].killAt, at <= now, containers[index].isRunning {
                containers[index].killAt = now + .seconds(5)  // Asked again should the kernel have been busy.
                actions.append(.kill(container: containers[index].name))
            }
        }
        return actions
    }

    private mutating func startNext(_ now: MonotonicTime) -> [Action] {
        var actions: [Action] = []
        // Those with which somebody looks into a pod that does not come up do not wait for the others.
        for index in containers.indices where containers[index].role == .ephemeral {
            if containers[index].terminated == nil { actions += startIfDue(index, now) }
        }
        for index in containers.indices {
            let role = containers[index].role
            if role == .main {
                actions += startIfDue(index, now)
                continue
            }
            switch role {
            case .initial where containers[index].terminated?.exitCode == 0: continue
            case .initial where isInitialized: continue
            case .initial:
                if containers[index].terminated != nil, restartPolicy == .never {
                    hasFailed = true
                    return actions + stopRest(now)
                }
                return actions + startIfDue(index, now)
            case .proxy, .sidecar:
                actions += startIfDue(index, now)
                let isUp = role == .proxy ? containers[index].isReady : containers[index].isStarted
                guard isInitialized || containers[index].isRunning && isUp else { return actions }
            case .main, .ephemeral: break
            }
        }
        isInitialized = true
        return actions
    }

    private mutating func startIfDue(_ index: Int, _ now: MonotonicTime) -> [Action] {
        let record = containers[index]
        switch record.state {
        case .running, .starting: return []
        case .terminated(let end):
            guard let at = record.restartAt else { return [] }
            guard at <= now else {
                containers[index].last = end
                containers[index].state = .waiting(
                    reason: "CrashLoopBackOff",
                    message: "back-off \((at - now).components.seconds + 1)s restarting failed container=\(record.name)"
                )
                return [
                    .record(
                        reason: "BackOff", message: "Back-off restarting failed container \(record.name)",
                        isWarning: true)
                ]
            }
            containers[index].last = end
        case .waiting:
            if let at = record.restartAt, at > now { return [] }
        }
        if containers[index].last != nil { containers[index].restartCount += 1 }
        containers[index].state = .starting
        containers[index].restartAt = nil
        return [.start(container: record.name, attempt: containers[index].restartCount)]
    }

    private mutating func askDue(_ now: MonotonicTime) -> [Action] {
        var actions: [Action] = []
        for index in containers.indices where containers[index].isRunning && !containers[index].isStopping {
            for kind in Probe.Kind.allCases {
                guard let due = containers[index].trackers[kind]?.due, due <= now else { continue }
                containers[index].trackers[kind]?.take()
                actions.append(.probe(container: containers[index].name, kind))
            }
        }
        return actions
    }

    /// A pod that is being deleted: own containers first, then native sidecars from the last to the first, then ours.
    private mutating func stopAll(_ now: MonotonicTime) -> [Action] {
        guard isDrained else { return [] }
        var actions: [Action] = []
        if !hasDrainedProxy, containers.contains(where: { $0.role == .proxy && $0.isRunning }) {
            hasDrainedProxy = true
            actions.append(.drainProxy)
        }
        for index in containers.indices where [.main, .initial, .ephemeral].contains(containers[index].role) {
            actions += change(index) { $0.stop(&$1, now: now) }
        }
        guard !containers.contains(where: { [.main, .initial, .ephemeral].contains($0.role) && $0.isActive }) else {
            return actions
        }
        actions += stopRest(now)
        if !hasBeenRemoved, !containers.contains(where: \.isActive) {
            hasBeenRemoved = true
            actions.append(.remove)
        }
        return actions
    }

    /// Stops native sidecars in reverse order and the proxy after them.
    private mutating func stopRest(_ now: MonotonicTime) -> [Action] {
        guard
            let index = containers.lastIndex(where: { [.proxy, .sidecar, .ephemeral].contains($0.role) && $0.isActive })
        else {
            return []
        }
        return change(index) { $0.stop(&$1, now: now) }
    }

    // MARK: Questions

    /// When `tick` is wanted next, if nothing else happens before.
    public var nextDeadline: MonotonicTime? {
        var deadlines: [MonotonicTime] = []
        for record in containers {
            if let at = record.restartAt, !isDeleting { deadlines.append(at) }
            if let at = record.killAt { deadlines.append(at) }
            if record.isRunning, !record.isStopping { deadlines += record.trackers.values.compactMap(\.due) }
        }
        return deadlines.min()
    }

    /// The pod's phase.
    public var phase: Phase {
        if hasFailed { return .failed }
        guard isInitialized else { return .pending }
        let main = containers.filter { $0.role == .main }
        if isFinishing { return main.allSatisfy { $0.terminated?.exitCode == 0 } ? .succeeded : .failed }
        return main.contains { $0.isRunning || $0.terminated != nil || $0.last != nil } ? .running : .pending
    }

    /// Whether the pod takes part in serving: all its containers, the sidecar included, are ready.
    public var isReady: Bool {
        isInitialized && !isDeleting && !isFinishing
            && containers.allSatisfy { $0.role == .initial || $0.role == .ephemeral || $0.isReady }
    }
}
