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
    let collectors: CollectorHub
    let started = MonotonicTime.now
    let startedAt = WallClock.now
    private(set) var state = State.preInitializing
    private(set) var failsHealthCheck = false
    private var admin: AdminServer?
    private(set) var discovery: Discovery?
    private var loadReporter: LoadReportSession?
    private var sinks: [MetricSink] = []
    private var statsdSinks: [StatsdSink] = []
    private var serviceSinks: [MetricsServiceSink] = []
    let runtimeLayers: RuntimeLayers
    let overload: OverloadState
    private(set) var overloadMonitor: OverloadMonitor?
    private var signals: SignalSource?
    private var restart: HotRestartServer?
    private var isStopping = false
    private var exitStatus: Int32 = 0
    private var release: LoopTimer?
    private var releaseAfterPage: LoopTimer?
    private var onLive: [@Sendable () -> Void] = []

    /// Reads, decodes, checks and compiles; nothing runs yet.
    public init(_ options: Options) throws(ProxyError) {
        self.options = options
        do throws(ConfigurationError) {
            bootstrap = try ImplicitClusters().compiling { () throws(ConfigurationError) in
                try BootstrapConfig(options)
            }
        } catch {
            throw ProxyError(options.configPath, error)
        }
        let count = options.concurrency ?? Environment.processorCount
        let metrics = MetricSet(workers: count)
        self.metrics = metrics
        let overload = OverloadState(bootstrap.overload, metrics: metrics)
        self.overload = overload
        let layers = RuntimeLayers(bootstrap.runtimeLayers, serviceCluster: bootstrap.node.cluster)
        runtimeLayers = layers
        do throws(SystemError) {
            loop = try EventLoop()
            var workers: [WorkerHandle] = []
            for index in 0..<count {
                workers.append(
                    try WorkerHandle(
                        index: index, metrics: metrics, drainTime: options.drainTime, overload: overload))
            }
            self.workers = workers
            if count > 1 {
                let peers = workers.map { WorkerPeer($0) }
                for worker in workers { worker.send { $0.peers = peers } }
            }
        } catch {
            throw ProxyError("\(error)")
        }
        if options.fileFlushInterval != nil || options.fileFlushBytes != nil {
            for worker in workers {
                worker.send { worker in
                    if let interval = options.fileFlushInterval { worker.accessLog.interval = interval }
                    if let bytes = options.fileFlushBytes { worker.accessLog.batchBytes = bytes }
                }
            }
        }
        for worker in workers { worker.send { [resolver = bootstrap.resolver] in $0.resolvers.standard = resolver } }
        if let format = bootstrap.logFormat, options.logFormat == nil { Logger.setFormat(format) }
        stats = bootstrap.stats
        metrics.registry.setBuckets { [stats] name in stats.bounds(of: name) }
        var context = bootstrap.context
        context.metrics = metrics
        collectors = CollectorHub(loop: loop, row: metrics.controlRow)
        context.collectors = collectors
        context.node = bootstrap.node
        if let first = workers.first { context.onFirstWorker = { [weak first] in first?.send($0) } }
        var recorder = Recorder.Settings(
            interval: options.recorderSample, size: options.recorderSize, key: Environment.randomBytes(32))
        if let cluster = options.recorderCluster {
            recorder.export = RecorderExport(
                cluster: cluster, node: bootstrap.node, metrics: metrics, hub: collectors)
        }
        for worker in workers {
            worker.send { [recorder, count = workers.count] in
                $0.recorder.configure(recorder, loops: count, row: $0.index)
            }
        }
        store = ConfigurationStore(
            loop: loop, workers: workers, metrics: metrics, context: context, runtime: layers.runtime)
        store.resolvers.standard = bootstrap.resolver
    }

    /// Checks a bootstrap as far as it can be checked without running; the answer is the ignored fields in use.
    public static func validate(_ options: Options) throws(ProxyError) -> [String] {
        let collector = IgnoredFieldCollector()
        do throws(ConfigurationError) {
            let bootstrap = try collector.collecting { () throws(ConfigurationError) in
                try ImplicitClusters().compiling { () throws(ConfigurationError) in
                    let bootstrap = try BootstrapConfig(options)
                    try check(bootstrap, options)
                    return bootstrap
                }
            }
            let flags = options.ignored.map { "\($0): ignored: it says nothing to skein-proxy" }
            return collector.report + IgnoredFieldReport.inUse(bootstrap.message()) + flags
        } catch {
            throw ProxyError(options.configPath, error)
        }
    }

    /// What services that name their servers themselves say of TLS, for one.
    private static func checkImplicit(_ bootstrap: BootstrapConfig) throws(ConfigurationError) {
        for cluster in bootstrap.implicitClusters.living.values {
            _ = try bootstrap.context.cluster(cluster.message, at: cluster.path)
        }
    }

    /// The recorder's collector must be there, unless clusters are discovered.
    private static func checkRecorder(
        _ options: Options, _ bootstrap: BootstrapConfig, _ clusters: Set<String>
    ) throws(ConfigurationError) {
        guard let name = options.recorderCluster, bootstrap.clusters == nil, !clusters.contains(name) else { return }
        throw ConfigurationError(
            at: "--recorder-als-cluster", "there is no cluster \"\(name)\" in static_resources.clusters")
    }

    private static func check(_ bootstrap: BootstrapConfig, _ options: Options) throws(ConfigurationError) {
        _ = try RuntimeLayers(bootstrap.runtimeLayers, serviceCluster: "").wants(hasADS: bootstrap.ads != nil)
        let resources = bootstrap.message().staticResources
        var names: Set<String> = []
        for (index, cluster) in (resources?.clusters ?? []).enumerated() {
            let path = "static_resources.clusters[\(index)]"
            let config = try bootstrap.context.cluster(cluster, at: path)
            if case .eds = config.discovery {
                try bootstrap.context.checkSource(
                    cluster.edsClusterConfig?.edsConfig, at: path + ".eds_cluster_config.eds_config")
            }
            guard names.insert(config.name).inserted else {
                throw ConfigurationError(at: path + ".name", "\"\(config.name)\" is there twice")
            }
        }
        for (source, path) in bootstrap.grpcSources
        where source.implicit == nil && !names.contains(source.clusterName) {
            throw ConfigurationError(
                at: path + ".grpc_services[0].envoy_grpc.cluster_name",
                "there is no cluster \"\(source.clusterName)\" in static_resources.clusters")
        }
        try checkRecorder(options, bootstrap, names)
        for (index, listener) in (resources?.listeners ?? []).enumerated() {
            let listener = try ListenerConfig(
                compiling: listener, at: "static_resources.listeners[\(index)]", context: bootstrap.context)
            // While the listener holds its clusters.
            try withExtendedLifetime(listener) { () throws(ConfigurationError) in try checkImplicit(bootstrap) }
        }
        try checkImplicit(bootstrap)
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
            let resources = bootstrap.takeResources()
            store.onChange = { [weak self] in self?.changed() }
            let demand = HostDemand(store, loop: loop)
            let clusterAsker = ClusterAsker(store, loop: loop)
            let workloads = WorkloadAsker(store, loop: loop)
            metrics.standard.directory.onNew { workloads.ask() }
            for worker in workers {
                worker.send {
                    $0.askForHost = { demand.ask($0, ofRoutes: $1, worker: worker.index) }
                    $0.askForCluster = { clusterAsker.ask($0, from: $1, worker: worker.index) }
                }
            }
            try inherit()
            store.runtimeChanged = { [weak self] name, values in self?.runtimeLayers.set(rtds: name, values) }
            try runtimeLayers.start(on: loop)
            store.extraWants = Set(try runtimeLayers.wants(hasADS: bootstrap.ads != nil))
            bootstrap.secrets.onChange = { [weak self] in self?.changed() }
            bootstrap.secrets.onTrustLost = { [workers] contexts in
                for worker in workers { worker.send { $0.retireConnections(of: contexts) } }
            }
            bootstrap.secrets.start(on: loop)
            try store.setStatic(clusters: resources?.clusters ?? [], at: "static_resources.clusters")
            try Self.checkRecorder(options, bootstrap, Set(store.clusters.keys))
            try store.setStatic(listeners: resources?.listeners ?? [], at: "static_resources.listeners")
            if let config = bootstrap.admin {
                admin = try AdminServer(self, config: config, inherited: store.inherited.takeAdmin())
                if config.isExposed {
                    Self.log.warning("the admin server is open to other machines", ["address": "\(config.address)"])
                }
                if let path = options.adminAddressPath, let bound = admin?.address {
                    do throws(SystemError) {
                        try File.write(path, Array("\(bound)".utf8))
                    } catch {
                        throw ConfigurationError(at: "--admin-address-path", "\(error)")
                    }
                }
            }
            if let config = bootstrap.overload {
                let monitor = OverloadMonitor(config, state: overload, loop: loop)
                monitor.resetStreams = { [workers] share in
                    for worker in workers { worker.send { $0.resetExpensive(share: share) } }
                }
                overloadMonitor = monitor
                monitor.start()
            }
            let discovery = try Discovery(loop: loop, store: store, bootstrap: bootstrap)
            discovery.onChange = { [weak self] in self?.changed() }
            self.discovery = discovery
            discovery.start()
            loadReporter = LoadReportSession.start(self)
            sinks = bootstrap.sinks.map { MetricSink($0, interval: bootstrap.flushInterval, self) }
            for sink in sinks { sink.start() }
            statsdSinks = bootstrap.statsdSinks.map { StatsdSink($0, interval: bootstrap.flushInterval, self) }
            for sink in statsdSinks { sink.start() }
            serviceSinks = bootstrap.serviceSinks.map {
                MetricsServiceSink($0, interval: bootstrap.flushInterval, self)
            }
            for sink in serviceSinks { sink.start() }
        } catch {
            throw ProxyError(options.configPath, error)
        }
        collectors.cluster = { [store] name in store.clusters[name]?.config }
        collectors.addresses = { [store] name in
            (store.endpoints[name]?.groups ?? []).flatMap(\.endpoints).compactMap { IO.SocketAddress($0.address) }
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
            signals = try SignalSource([Signals.terminate, Signals.interrupt, Signals.user1], on: loop) {
                [weak self] signal in
                guard let self else { return }
                if signal == Signals.user1 { return self.reopenLogs() }
                if self.isStopping { Environment.exit(0) }
                self.stop()
            }
        } catch {
            throw ProxyError("\(error)")
        }
    }

    /// Log files may have been moved away: what comes now goes to new ones (SIGUSR1, `/reopen_logs`).
    func reopenLogs() {
        for worker in workers { worker.send { $0.accessLog.reopen() } }
    }

    // MARK: State

    /// Whatever changed may have been the last thing that was missing.
    func changed() {
        discovery?.subscribe()
        releaseLater()
        guard state == .initializing, store.isWarm, discovery?.isInitialised ?? true else { return }
        guard bootstrap.secrets.isWarm || discovery?.hasWaitedForSecrets ?? false else { return }
        state = .live
        store.inherited.finish(parentShutdownTime: options.parentShutdownTime)
        Self.log.info("live", ["listeners": "\(store.listeners.count)", "clusters": "\(store.clusters.count)"])
        let bodies = onLive
        onLive = []
        for body in bodies { body() }
    }

    /// Decoding and compiling touch most of the program once, and leave behind much free memory: neither shall count as ours for ever.
    ///
    /// So does the first request of each kind. What serves comes back at once, some sixty page faults; so it is done again and again, each
    /// time after twice as long, in the end every ten seconds.
    private func releaseLater(after delay: Duration = .milliseconds(200), isAfterChange: Bool = true) {
        release?.cancel()
        release = loop.schedule(after: delay) { [weak self] in
            Environment.releaseProgramPages()
            if isAfterChange { Environment.returnFreeMemory() }
            self?.releaseLater(after: min(delay * 2, .seconds(10)), isAfterChange: false)
        }
    }

    /// Pages for people and collectors touch code that serving does not: with one every ten seconds it would always be ours.
    func pageServed() {
        guard releaseAfterPage == nil else { return }
        releaseAfterPage = loop.schedule(after: .milliseconds(200)) { [weak self] in
            self?.releaseAfterPage = nil
            Environment.releaseProgramPages()
        }
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

    // MARK: Hot restart

    /// Takes the sockets of the process before, and waits for the one after.
    private func inherit() throws(ConfigurationError) {
        guard !options.disablesHotRestart, options.enablesHotRestart else { return }
        do throws(SystemError) {
            if options.restartEpoch > 0 { store.inherited = try InheritedSockets(options) }
        } catch {
            throw ConfigurationError(
                at: "--restart-epoch", "there is no process with epoch \(options.restartEpoch - 1): \(error)")
        }
        do throws(SystemError) {
            restart = try HotRestartServer(self, options)
        } catch {
            Self.log.warning("no other process can take over: \(error)")
        }
    }

    func duplicateAdminSocket() -> Socket? { admin?.duplicateSocket() }

    /// Another process serves in our place: what is under way ends, at the latest after that time.
    func replaced(shutdownTime: Duration) {
        admin?.close()
        stop(within: shutdownTime)
    }

    // MARK: Ending

    /// `/drain_listeners`: gracefully, responses say `connection: close` for the drain time before the sockets close.
    ///
    /// `staysOpen`: they say so, and the sockets stay.
    func drainListeners(gracefully: Bool, inboundOnly: Bool = false, staysOpen: Bool = false) {
        let names: Set<String>? =
            inboundOnly
            ? Set(store.listeners.filter { $0.value.config.trafficDirection == .inbound }.keys) : nil
        guard gracefully else {
            return endHandOvers { worker in
                worker.drain(listeners: names)
                worker.keepsConnections = false
            }
        }
        for worker in workers { worker.send { $0.drainGracefully(listeners: names) } }
        guard !staysOpen else { return }
        loop.schedule(after: options.drainTime) { [weak self] in
            for worker in self?.workers ?? [] { worker.send { $0.drain(listeners: names) } }
        }
    }

    /// Stops accepting, lets connections finish for the drain time, then ends `run`.
    ///
    /// From any thread.
    public func shutDown() { loop.execute { [self] in stop() } }

    func stop(within time: Duration? = nil) {
        guard !isStopping else { return }
        isStopping = true
        state = .draining
        let time = time ?? options.drainTime
        Self.log.info("draining", ["for_at_most": "\(time)"])
        restart?.close()
        let deadline = loop.now + time
        endHandOvers {
            $0.drainAll()
        } then: { [self] in
            watchDrain(until: deadline)
        }
    }

    /// Runs `body` on every loop as `[WorkerHandle].endHandOvers` does.
    private func endHandOvers(
        _ body: @escaping @Sendable (Worker) -> Void, then: @escaping @Sendable () -> Void = {}
    ) {
        Task(executorPreference: loop) { [self] in
            await workers.endHandOvers(body)
            then()
        }
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
        discovery?.stop()
        loadReporter?.stop()
        overloadMonitor?.stop()
        for worker in workers { _ = await worker.ask { $0.accessLog.flush() } }
        for sink in sinks { await sink.finish() }
        sinks = []
        for sink in statsdSinks { await sink.finish() }
        statsdSinks = []
        for sink in serviceSinks { await sink.finish() }
        serviceSinks = []
        await collectors.finish()
        for worker in workers { worker.loop.stop() }
        admin?.close()
        loop.stop()
    }

    /// `/quitquitquit`: at once.
    func quit() {
        isStopping = true
        restart?.close()
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
