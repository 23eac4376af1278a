internal import HTTP
public import IO
internal import Identity
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

/// Runs the pods of one node: watches the API, makes networks, volumes and containers, asks probes, writes statuses.
///
/// An actor on one event loop. It decides nothing about a pod's life itself: `PodLifecycle` does, and the agent performs
/// what that says. What blocks (file systems, runc, netlink) runs on a small pool of threads.
public actor NodeAgent {
    let configuration: NodeConfiguration
    let loop: EventLoop
    let api: any APIClient
    let network: any PodNetworking
    nonisolated let runtime: any PodRuntime
    let pool = BlockingPool(name: "skein-node", width: 4)
    let images: ImageStore
    let log = Logger("node")
    let host = HostImage.inspect()
    let cgroups = MachineCgroups.inspect()
    let proxyIsStatic: Bool

    /// The agent's executor is its loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    var records: [String: PodRecord] = [:]
    /// What was wrong with pods that cannot be run at all, so that it is told once.
    var refused: Set<String> = []
    var mirror = ObjectMirror()
    var tasks: [Task<Void, Never>] = []
    var isStopping = false
    var isServing = false
    var mustServeAgain = false
    /// The pods of the cluster as policies see them, by uid.
    var policyPods: [String: PolicyPod] = [:]
    /// Whether everything that policies are made of has been listed once.
    var policiesAreKnown = false
    var policyRevision = 0
    /// What is wrong with policies now, so that it is told once.
    var policyProblems: Set<String> = []
    var isEnforcing = false
    var mustEnforceAgain = false
    var gatewayTarget: String?
    var channel: Socket?
    /// The roots of the mesh; nil while nobody has said.
    var trust: (bundle: TrustBundle, reissue: Int)?
    /// The pods for which a certificate was asked for, by the number of the request.
    var requests: [Int: String] = [:]
    var lastRequest = 0
    var identityTimer: LoopTimer?
    /// Closes the connection to the control plane, so that it is made anew.
    var endChannel: (() -> Void)?
    var dnsSockets: [DNSSocket] = []
    /// Proxies' streams that are carried to a control plane elsewhere.
    var carried: [ObjectIdentifier: (uid: String, stream: any ByteStream)] = [:]
    /// Where this node was when services were served last.
    var servedZone: String?
    /// Connections over which a control plane elsewhere asks this agent.
    var dialed = 0
    /// How many it did not get because there were too many.
    var dialsTurnedAway: UInt64 = 0
    var isLeadingToNodes = false
    var mustLeadToNodes = false
    /// What was said last of nodes that cannot be reached.
    var nodeProblems: [String] = []
    /// Whether directories of released volumes are being removed now.
    var isReclaiming = false
    /// The health-check ports that are served, what each says, and those that somebody else has.
    var healthListeners: [UInt16: SocketListener] = [:]
    var healthAnswers: [UInt16: HealthCheckPorts.Answer] = [:]
    /// The services that have one.
    var healthServices: [String: (port: UInt16, answer: HealthCheckPorts.Answer)] = [:]
    /// What was said last of services that cannot be served as asked.
    var serviceProblems: Set<String> = []
    var healthProblems: Set<UInt16> = []
    /// Who is connected to which of them; kept for good, so that what it has counted never grows less.
    var healthPlaces: [UInt16: ConnectionPlaces] = [:]
    /// Whether the kernel has the service rules that it should have.
    var areServicesServed = true
    /// The Secrets and ConfigMaps that are followed one by one, and those of which it is known whether they are there.
    var followed: [FollowedReference: Task<Void, Never>] = [:]
    var knownReferences: Set<FollowedReference> = []
    var kubelet: SocketListener?
    /// What skein-cni had this agent do, and the last of what the mesh is told of it.
    var meshTurn: Task<Void, Never>?
    var pluginCalls: UInt64 = 0
    /// Commands, attached clients and forwarded connections now.
    var sessions = 0
    /// Those that were refused because there were too many.
    var sessionsRefused = 0

    /// An agent that does nothing yet.
    ///
    /// - Parameter api: the API; over `api.sock` in the run directory when nil.
    public init(
        _ configuration: NodeConfiguration, network: any PodNetworking, api: (any APIClient)? = nil, on loop: EventLoop
    ) throws(WorkloadError) {
        self.configuration = configuration
        self.loop = loop
        self.network = network
        self.api = api ?? APIConnection(socket: configuration.apiSocket, on: loop)
        runtime = try configuration.runtime.make(configuration.layout)
        images = ImageStore(directory: configuration.layout.images)
        proxyIsStatic = configuration.proxyProgram.map(ProgramFile.isStatic) ?? true
        if let program = configuration.proxyProgram, !File.isExecutable(program) {
            throw WorkloadError("ProxyMissing", "\(program) is not an executable file; build skein-proxy first")
        }
    }

    /// Takes over what a former life left, then serves in the background until `stop`.
    public func start() async throws(WorkloadError) {
        let runtime = runtime
        let layout = configuration.layout
        let choice = configuration.runtime
        do throws(SystemError) {
            try await pool.run { () throws(SystemError) in
                try runtime.prepare()
                try choice.write(layout)
                try File.makeDirectory(layout.runDirectory + "/pods", mode: 0o711)
                try File.makeDirectory(layout.secrets, mode: 0o700)
                if try Mount.points(below: layout.secrets).isEmpty {
                    try Mount.temporary(at: layout.secrets, mode: "0700", sizeBytes: 64 << 20)
                }
            }
        } catch { throw WorkloadError("NodeNotReady", "cannot prepare the node's directories", error) }
        await adopt()
        do throws(SystemError) { try serveKubelet() } catch {
            throw WorkloadError("NodeNotReady", "cannot listen on \(configuration.kubeletSocket)", error)
        }
        begin(isLasting: true) { await $0.keepChannel() }
        begin(isLasting: true) { await $0.rotateLogs() }
        begin(isLasting: true) { await $0.collectRecordings() }
        begin(isLasting: true) { await $0.watchEverything() }
        inTurn { await $0.forgetGoneContainers() }
    }

    /// Ends the agent's own work; returns when the containers that were just being started are in the journal.
    ///
    /// Pods go on running, for a later agent to take over.
    public func stop() async {
        isStopping = true
        for task in tasks { task.cancel() }
        tasks = []
        for task in followed.values { task.cancel() }
        followed = [:]
        healthListeners.values.forEach { $0.close() }
        healthListeners = [:]
        kubelet?.close()
        endChannel?()
        endChannel = nil
        channel = nil
        identityTimer?.cancel()
        for record in records.values {
            record.timer?.cancel()
            record.identity?.close()
            for task in record.logTasks.values { task.cancel() }
            for watch in record.watches.values { watch.cancel() }
            record.watches = [:]
        }
        let deadline = MonotonicTime.now + Self.stopTimeout
        while pool.isBusy, MonotonicTime.now < deadline { await loop.sleep(for: .milliseconds(10)) }
        // What waited for the pool writes its journal in the next pass.
        await loop.sleep(for: .milliseconds(1))
    }

    /// The longest that `stop` waits for what is under way, such as a probe's command.
    private static let stopTimeout = Duration.seconds(5)

    /// Runs `body` beside everything else.
    ///
    /// A lasting one is cancelled by `stop`; the others end by themselves.
    func begin(isLasting: Bool = false, _ body: @escaping @Sendable (isolated NodeAgent) async -> Void) {
        let task = Task(executorPreference: loop) { await body(self) }
        if isLasting { tasks.append(task) }
    }

    // MARK: A pod's life

    /// Lets the pod's life take an event, and does what it says.
    func apply(_ event: PodLifecycle.Event, to record: PodRecord) {
        guard !isStopping, !record.isRemoved else { return }
        let before = record.life.memory
        let actions = record.life.on(event, at: .now, wallSeconds: WallClock.now.seconds)
        for action in actions { perform(action, record) }
        // Readiness too: a pod that is taken over must not look unready for the moment until its probe answers.
        if record.life.memory != before { writeJournal(record) }
        schedule(record)
        writeStatus(record)
    }

    private func schedule(_ record: PodRecord) {
        record.timer?.cancel()
        record.timer = nil
        guard !record.isRemoved else { return }
        let deadlines = [record.life.nextDeadline, record.drainDeadline].compactMap(\.self)
        guard let next = deadlines.min() else { return }
        record.timer = loop.schedule(after: next - .now) { self.tick(record) }
    }

    private func tick(_ record: PodRecord) {
        if let deadline = record.drainDeadline, deadline <= .now {
            record.drainDeadline = nil
            log.warning("endpoints not confirmed as drained in time", ["pod": record.pod.fullName])
            apply(.drained, to: record)
        } else {
            apply(.tick, to: record)
        }
    }

    private func perform(_ action: PodLifecycle.Action, _ record: PodRecord) {
        switch action {
        case .start(let name, _): begin { await $0.startContainer(name, record) }
        case .terminate(let name): begin { await $0.terminate(name, record) }
        case .kill(let name):
            if let instance = record.instances[name] { runtime.signal(instance, 9) }
        case .probe(let name, let kind): begin { await $0.ask(kind, of: name, record) }
        case .drainProxy: begin { await $0.drainProxy(record) }
        case .remove: begin { await $0.remove(record) }
        case .record(let reason, let message, let isWarning):
            note(record, reason: reason, message: message, isWarning: isWarning)
        }
    }

    /// Gives a new pod its network and begins its life.
    func prepare(_ record: PodRecord) async {
        guard !record.isPreparing else { return }
        record.isPreparing = true
        defer { record.isPreparing = false }
        await awaitClaims(record)
        var pause = Duration.milliseconds(200)
        while !record.isRemoved, !isStopping, !record.life.isDeleting {
            do throws(WorkloadError) {
                try await connect(record)
                apply(.networkReady, to: record)
                return
            } catch {
                note(record, reason: "FailedCreatePodSandBox", message: error.message, isWarning: true)
                log.error("pod has no network", ["pod": record.pod.fullName, "error": error.message])
                await loop.sleep(for: pause)
                pause = min(pause * 2, .seconds(10))
            }
        }
    }

    private func connect(_ record: PodRecord) async throws(WorkloadError) {
        let pod = record.pod
        if pod.usesHostNetwork {
            record.facts.podIP = configuration.hostAddresses.first ?? ""
            record.facts.podIPs = configuration.hostAddresses
        } else {
            let network = network
            let captures = record.role == .sidecar
            let policies = policyObjects()
            let place = try await pool.run { () throws(WorkloadError) in
                if let policies { network.learn(policies) }
                return try network.attach(pod, captures: captures)
            }
            record.place = place
            record.facts.podIP = place.addresses.first ?? ""
            record.facts.podIPs = place.addresses
        }
        // Deleted meanwhile: `remove` waits for us and takes the network away.
        guard !record.isRemoved else { return }
        if record.role != .none { try openSocket(record) }
        refreshNames()
        writeJournal(record)
        updateGateway()
    }

    /// Removes everything of a pod whose containers have ended, at last the object itself.
    private func remove(_ record: PodRecord) async {
        guard !record.isRemoved else { return }
        record.isRemoved = true
        record.timer?.cancel()
        closeSocket(record)
        // A network that is being made now must not outlive the pod.
        while record.isPreparing, !isStopping { await loop.sleep(for: .milliseconds(10)) }
        let (runtime, network, layout, uid) = (runtime, network, configuration.layout, record.pod.uid)
        let ids = record.instances.values.map(\.id)
        let logs = "\(layout.logs)/\(record.pod.namespace)_\(record.pod.name)_\(uid)"
        let failure = await pool.run { () -> String? in
            let problems =
                ids.compactMap { runtime.remove(id: $0) }
                + [PodRemoval.run(uid: uid, logs: logs, layout: layout, network: network)].compactMap(\.self)
            return problems.isEmpty ? nil : problems.joined(separator: "; ")
        }
        if let failure { log.error("pod not wholly removed", ["pod": record.pod.fullName, "error": failure]) }
        records[uid] = nil
        refreshNames()
        updateGateway()
        followReferences()
        await deleteObject(record)
    }
}
