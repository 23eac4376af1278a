internal import EnvoyAPI
public import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The proxy: a control loop on the thread that calls `run`, and a worker loop for each processor.
///
/// `@unchecked Sendable`: everything but the workers belongs to the control loop and is touched on it alone.
public final class ProxyServer: @unchecked Sendable {
    private static let log = Logger("proxy")

    /// The state that `/server_info` and `/ready` tell.
    enum State: String {
        case preInitializing = "PRE_INITIALIZING"
        case initializing = "INITIALIZING"
        case live = "LIVE"
        case draining = "DRAINING"
    }

    let options: Options
    let bootstrap: BootstrapConfig
    let loop: EventLoop
    let workers: [WorkerHandle]
    let metrics: MetricSet
    let store: ConfigurationStore
    let stats: StatsConfiguration
    let started = MonotonicTime.now
    private(set) var state = State.preInitializing
    private(set) var failsHealthCheck = false
    private var admin: AdminServer?
    private var ads: ADSClient?
    private var signals: SignalSource?
    private var isStopping = false
    private var exitStatus: Int32 = 0
    private var release: LoopTimer?
    private var onLive: [@Sendable () -> Void] = []

    /// Reads, decodes, checks and compiles; nothing runs yet.
    public init(_ options: Options) throws(ProxyError) {
        self.options = options
        do throws(ConfigurationError) {
            bootstrap = try BootstrapConfig(options)
        } catch {
            throw ProxyError(options.configPath, error)
        }
        do throws(SystemError) {
            loop = try EventLoop()
            let count = options.concurrency ?? Environment.processorCount
            let metrics = MetricSet(workers: count)
            self.metrics = metrics
            var workers: [WorkerHandle] = []
            for index in 0..<count {
                workers.append(try WorkerHandle(index: index, metrics: metrics, drainTime: options.drainTime))
            }
            self.workers = workers
        } catch {
            throw ProxyError("\(error)")
        }
        stats = bootstrap.stats
        metrics.registry.setBuckets { [stats] name in stats.bounds(of: name) }
        var context = bootstrap.context
        context.metrics = metrics
        store = ConfigurationStore(loop: loop, workers: workers, metrics: metrics, context: context)
    }

    /// Checks a bootstrap as far as it can be checked without running; the answer is the ignored fields in use.
    public static func validate(_ options: Options) throws(ProxyError) -> [String] {
        do throws(ConfigurationError) {
            let bootstrap = try BootstrapConfig(options)
            let resources = bootstrap.message.staticResources
            var names: Set<String> = []
            for (index, cluster) in (resources?.clusters ?? []).enumerated() {
                let path = "static_resources.clusters[\(index)]"
                let config = try bootstrap.context.cluster(cluster, at: path)
                try bootstrap.context.checkCodec(config, at: path)
                guard names.insert(config.name).inserted else {
                    throw ConfigurationError(at: path + ".name", "\"\(config.name)\" is there twice")
                }
            }
            for (index, listener) in (resources?.listeners ?? []).enumerated() {
                _ = try ListenerConfig(
                    compiling: listener, at: "static_resources.listeners[\(index)]", context: bootstrap.context)
            }
            return IgnoredFieldReport.inUse(bootstrap.message)
        } catch {
            throw ProxyError(options.configPath, error)
        }
    }

    /// Starts what the bootstrap says.
    ///
    /// Call it before `run`, on the same thread.
    public func start() throws(ProxyError) {
        Signals.ignorePipe()
        let (descriptors, before) = Environment.raiseDescriptorLimit()
        if descriptors < Limits.descriptorsWanted {
            // Two per request at work; what is missing shows as connections that wait.
            Self.log.warning("few file descriptors", ["limit": "\(descriptors)", "before": "\(before)"])
        }
        do throws(ConfigurationError) {
            let resources = bootstrap.message.staticResources
            store.onChange = { [weak self] in self?.changed() }
            bootstrap.secrets.onChange = { [weak self] in self?.changed() }
            bootstrap.secrets.start(on: loop)
            try store.setStatic(clusters: resources?.clusters ?? [], at: "static_resources.clusters")
            try store.setStatic(listeners: resources?.listeners ?? [], at: "static_resources.listeners")
            if let address = bootstrap.admin {
                admin = try AdminServer(self, address: address)
                if let path = options.adminAddressPath, let bound = admin?.address {
                    do throws(SystemError) {
                        try File.write(path, Array("\(bound)".utf8))
                    } catch {
                        throw ConfigurationError(at: "--admin-address-path", "\(error)")
                    }
                }
            }
            if let source = bootstrap.ads {
                let session = ADSSession(
                    node: bootstrap.node, store: store, wantsClusters: bootstrap.wantsClusters,
                    wantsListeners: bootstrap.wantsListeners)
                session.onChange = { [weak self] in self?.changed() }
                let client = try ADSClient(loop: loop, store: store, source: source, session: session)
                ads = client
                client.start()
            }
        } catch {
            throw ProxyError(options.configPath, error)
        }
        state = .initializing
        changed()
    }

    /// Serves until `stop`, or the second of two signals; the answer is the exit status.
    public func run() -> Int32 {
        loop.run()
        return exitStatus
    }

    /// Drains at SIGTERM and SIGINT.
    ///
    /// The signals must be blocked in all threads before.
    public func handleSignals() throws(ProxyError) {
        do throws(SystemError) {
            signals = try SignalSource([Signals.terminate, Signals.interrupt], on: loop) { [weak self] _ in
                guard let self else { return }
                if self.isStopping { Environment.exit(0) }
                self.stop()
            }
        } catch {
            throw ProxyError("\(error)")
        }
    }

    // MARK: State

    /// Whatever changed may have been the last thing that was missing.
    func changed() {
        ads?.session.subscribe()
        releaseLater()
        guard state == .initializing, store.isWarm, bootstrap.secrets.isWarm, ads?.session.isInitialised ?? true else {
            return
        }
        state = .live
        Self.log.info("live", ["listeners": "\(store.listeners.count)", "clusters": "\(store.clusters.count)"])
        let bodies = onLive
        onLive = []
        for body in bodies { body() }
    }

    /// Decoding and compiling touch most of the program once; what they touched shall not count as ours for ever.
    private func releaseLater() {
        release?.cancel()
        release = loop.schedule(after: .milliseconds(200)) { Environment.releaseProgramPages() }
    }

    /// Runs when the proxy is live, or now when it is.
    func whenLive(_ body: @escaping @Sendable () -> Void) {
        if state == .live { body() } else { onLive.append(body) }
    }

    var isReady: Bool { state == .live && !failsHealthCheck }

    func setHealthCheck(fails: Bool) {
        failsHealthCheck = fails
        for worker in workers { worker.send { $0.failsHealthCheck = fails } }
        if fails, state == .live { state = .draining }
        if !fails, state == .draining, !isStopping { state = .live }
    }

    // MARK: Ending

    /// `/drain_listeners`: gracefully, responses say `connection: close` for the drain time before the sockets close.
    func drainListeners(gracefully: Bool) {
        if gracefully {
            for worker in workers { worker.send { $0.drainGracefully() } }
            loop.schedule(after: options.drainTime) { [weak self] in
                for worker in self?.workers ?? [] { worker.send { $0.drainAll() } }
            }
        } else {
            for worker in workers { worker.send { $0.drainAll() } }
        }
    }

    /// Stops accepting, lets connections finish for the drain time, then ends `run`.
    ///
    /// From any thread.
    public func shutDown() { loop.execute { [self] in stop() } }

    func stop() {
        guard !isStopping else { return }
        isStopping = true
        state = .draining
        Self.log.info("draining", ["for_at_most": "\(options.drainTime)"])
        for worker in workers { worker.send { $0.drainAll() } }
        let deadline = loop.now + options.drainTime
        watchDrain(until: deadline)
    }

    private func watchDrain(until deadline: MonotonicTime) {
        Task(executorPreference: loop) { [self] in
            var active = 0
            for worker in workers { active += await worker.ask { $0.activeConnections } ?? 0 }
            if active == 0 || loop.now >= deadline {
                if active > 0 { Self.log.warning("connections are cut off", ["count": "\(active)"]) }
                await finish()
            } else {
                loop.schedule(after: .milliseconds(50)) { [self] in watchDrain(until: deadline) }
            }
        }
    }

    private func finish() async {
        ads?.stop()
        for worker in workers { _ = await worker.ask { $0.accessLog.flush() } }
        for worker in workers { worker.loop.stop() }
        admin?.close()
        loop.stop()
    }

    /// `/quitquitquit`: at once.
    func quit() {
        isStopping = true
        Task(executorPreference: loop) { [self] in await finish() }
    }

    // MARK: For tests and tools

    /// Calls the closure on the control loop when everything that is configured is complete.
    public func notifyWhenLive(_ body: @escaping @Sendable () -> Void) { whenLive(body) }

    /// The addresses that listeners are bound to, by name.
    ///
    /// On the control loop, or before `run`.
    public var listenerAddresses: [String: IO.SocketAddress] { store.boundAddresses }

    /// The admin server's address.
    ///
    /// On the control loop, or before `run`.
    public var adminAddress: IO.SocketAddress? { admin?.address }
}

/// Why the proxy does not start.
public struct ProxyError: Error, Sendable, CustomStringConvertible {
    /// The file and the field's path, what is wrong, and what to do.
    public let description: String

    init(_ description: String) { self.description = description }

    init(_ file: String?, _ error: ConfigurationError) {
        let text = error.description
        description = file.map { text.hasPrefix($0) ? text : "\($0): \(text)" } ?? text
    }
}
