internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream
internal import XDS

/// Everything that is discovered: which resources are wanted from where follows from the configuration in force.
///
/// Order as Envoy's: clusters, their endpoints, and only then listeners and their routes (P-7).
final class Discovery {
    private static let log = Logger("xds")

    /// A stream or file: the aggregated one has all types, any other a single one.
    private struct Key: Hashable {
        var source: DiscoverySource
        var typeURL: String?
    }

    /// Updates of one type.
    struct Statistics: Sendable {
        var attempts: UInt64 = 0
        var successes: UInt64 = 0
        var rejections: UInt64 = 0
        var failures: UInt64 = 0
        var version = ""
        /// When the last update was accepted, in milliseconds since 1970; nil: none was.
        var accepted: Int64?
        /// Why the last update was refused; nil: it was not.
        var problem: String?
    }

    private let loop: EventLoop
    private let store: ConfigurationStore
    private let bootstrap: BootstrapConfig
    private var sessions: [Key: DiscoverySession] = [:]
    private var streams: [Key: ManagementStream] = [:]
    private var files: [Key: FileDiscovery] = [:]
    private(set) var statistics: [String: Statistics] = [:]
    private lazy var counts = DiscoveryCounts(store)
    private var hasClusters = false
    private var hasListeners = false
    private var wantsListenersNow = false
    private var seenGeneration = -1
    private var isStarted = false
    /// After that the proxy is live without them; what needs them does not serve.
    private(set) var hasWaitedForSecrets = false
    private var isSubscribing = false
    /// What was accepted last, on disk, for a start without the management server.
    private let lastGood: LastGoodConfiguration?
    /// Called when something has been applied.
    var onChange: () -> Void = {}

    init(loop: EventLoop, store: ConfigurationStore, bootstrap: BootstrapConfig) throws(ConfigurationError) {
        self.loop = loop
        self.store = store
        self.bootstrap = bootstrap
        lastGood = bootstrap.ads?.isDelta == true ? LastGoodConfiguration(bootstrap.node, on: loop) : nil
        for (source, path) in bootstrap.grpcSources {
            guard store.clusters[source.clusterName] != nil else {
                throw ConfigurationError(
                    at: path + ".grpc_services[0].envoy_grpc.cluster_name",
                    "there is no cluster \"\(source.clusterName)\" in static_resources.clusters")
            }
        }
    }

    /// Whether the first clusters and listeners have arrived, or were waited for long enough.
    var isInitialised: Bool {
        (hasClusters || bootstrap.clusters == nil) && (hasListeners || bootstrap.listeners == nil)
    }

    func start() {
        isStarted = true
        if let source = bootstrap.clusters {
            giveUp(after: source.timeout, "clusters") { discovery in
                if discovery.hasClusters { return false }
                discovery.hasClusters = true
                return true
            }
        }
        giveUp(after: DiscoverySource.initialFetchTimeout, "secrets") { [store] discovery in
            discovery.hasWaitedForSecrets = true
            return !store.context.secrets.isWarm
        }
        subscribe()
        guard let lastGood else { return }
        lastGood.demanded = { [store] in (Array(store.clusterDemand.names), Array(store.hostDemand.names)) }
        loop.schedule(after: LastGoodConfiguration.patience) { [weak self] in
            guard let self, let session = sessions[Key(source: .ads, typeURL: nil)], !session.hasReceived else {
                return
            }
            let updates = lastGood.read()
            guard !updates.isEmpty else { return }
            Self.log.warning("the management server does not answer: going on with the configuration that was kept")
            session.restore(updates)
            store.adoptDemand(clusters: lastGood.kept[0], hosts: lastGood.kept[1])
        }
    }

    private func giveUp(after timeout: Duration?, _ what: String, _ body: @escaping (Discovery) -> Bool) {
        guard let timeout else { return }
        loop.schedule(after: timeout) { [weak self] in
            guard let self, body(self) else { return }
            Self.log.warning("no \(what) arrived in time")
            self.subscribe()
            self.onChange()
        }
    }

    func stop() {
        for stream in streams.values { stream.stop() }
        for file in files.values { file.stop() }
    }

    /// Asks for what the configuration needs now.
    ///
    /// Reading a file can change that at once: then once more.
    func subscribe() {
        guard isStarted, !isSubscribing else { return }
        isSubscribing = true
        while follow() {}
        isSubscribing = false
    }

    /// One step; false when nothing has changed since the last.
    private func follow() -> Bool {
        let listenersMayCome =
            bootstrap.listeners != nil && (hasClusters || bootstrap.clusters == nil)
            && (hasListeners || wantsListenersNow || store.clustersAreWarm)
        guard store.wantsGeneration != seenGeneration || listenersMayCome != wantsListenersNow else { return false }
        seenGeneration = store.wantsGeneration
        var wanted: [Key: [String: DeltaClient.Interest]] = [:]
        func key(_ source: DiscoverySource, _ typeURL: String) -> Key {
            Key(source: source, typeURL: source == .ads ? nil : typeURL)
        }
        if let source = bootstrap.clusters { wanted[key(source.source, Cluster.typeURL)] = [Cluster.typeURL: .all] }
        for (source, types) in store.wanted() {
            for (typeURL, names) in types {
                let interest: DeltaClient.Interest = names.contains("*") ? .all : .names(names)
                let here = key(source, typeURL)
                // Clusters on demand come beside all those that CDS has.
                wanted[here, default: [:]][typeURL] = wanted[here]?[typeURL]?.union(interest) ?? interest
            }
        }
        if let source = bootstrap.listeners, listenersMayCome {
            wanted[key(source.source, Listener.typeURL), default: [:]][Listener.typeURL] = .all
            if !wantsListenersNow {
                wantsListenersNow = true
                giveUp(after: source.timeout, "listeners") { discovery in
                    if discovery.hasListeners { return false }
                    discovery.hasListeners = true
                    return true
                }
            }
        }
        for (key, interests) in wanted where interests.values.contains(where: { $0 != .names([]) }) {
            open(key)
            sessions[key]?.want(interests)
            if let typeURL = key.typeURL, let interest = interests[typeURL] { files[key]?.want(interest) }
        }
        for key in Array(sessions.keys) where wanted[key] == nil {
            if key.typeURL == nil {
                sessions[key]?.want([:])
            } else {
                sessions[key] = nil
                streams.removeValue(forKey: key)?.stop()
            }
        }
        for key in Array(files.keys) where wanted[key] == nil { files.removeValue(forKey: key)?.stop() }
        return true
    }

    /// Opens the stream or file behind a key, once.
    private func open(_ key: Key) {
        guard sessions[key] == nil, files[key] == nil else { return }
        var grpc: DiscoverySource.GRPCSource?
        switch key.source {
        case .ads: grpc = bootstrap.ads
        case .grpc(let source): grpc = source
        case .file(let source):
            guard let typeURL = key.typeURL else { return }
            let file = FileDiscovery(source, typeURL: typeURL) { [weak self] update in
                self?.apply(update) ?? ResourceApplier.Outcome()
            } failed: { [weak self] problem in
                self?.statistics[typeURL, default: Statistics()].failures += 1
                self?.counts.failed(typeURL)
                Self.log.warning("a file is not read; what was before stays", ["why": problem])
            }
            files[key] = file
            return file.start(on: loop)
        }
        guard let grpc else { return }
        let path: String
        if let typeURL = key.typeURL {
            guard let single = DiscoveryMethod.single(typeURL, isDelta: grpc.isDelta) else {
                return Self.log.error("there is no discovery service for this type", ["type": typeURL])
            }
            path = single
        } else {
            path = DiscoveryMethod.aggregated(isDelta: grpc.isDelta)
        }
        let isAggregated = key.typeURL == nil
        let session = DiscoverySession(node: bootstrap.node, isDelta: grpc.isDelta) { [weak self] update in
            guard let self else { return ResourceApplier.Outcome() }
            let outcome = self.apply(update)
            if isAggregated { self.lastGood?.note(update, applied: outcome.applied) }
            return outcome
        }
        let stream = ManagementStream(loop: loop, store: store, source: grpc, path: path, session: session)
        sessions[key] = session
        if isAggregated { lastGood?.wanted = { [weak session] type in session?.known(type) } }
        streams[key] = stream
        stream.start()
    }

    /// Whether there is a management server at all.
    var hasStreams: Bool { !streams.isEmpty }

    /// Whether a stream to a management server is open.
    var isConnected: Bool { streams.values.contains(where: \.isConnected) }

    /// When the last stream ended, in milliseconds since 1970; nil: one is open, or none ever was.
    var lostSince: Int64? { isConnected ? nil : streams.values.compactMap(\.lost).max() }

    private func apply(_ update: DeltaClient.Update) -> ResourceApplier.Outcome {
        let outcome = ResourceApplier(store: store).apply(update)
        counts.count(update, outcome)
        var count = statistics[update.typeURL] ?? Statistics()
        count.attempts += 1
        if outcome.problems.isEmpty {
            count.successes += 1
            count.accepted = WallClock.milliseconds
            count.problem = nil
            count.version = update.resources.last?.version ?? count.version
        } else {
            count.rejections += 1
            count.problem = outcome.problems.joined(separator: "; ")
            Self.log.warning(
                "update refused", ["type": update.typeURL, "why": outcome.problems.joined(separator: "; ")])
        }
        statistics[update.typeURL] = count
        if update.typeURL == Cluster.typeURL { hasClusters = true }
        if update.typeURL == Listener.typeURL { hasListeners = true }
        // What follows from the update is asked for before it is acknowledged.
        subscribe()
        onChange()
        return outcome
    }
}
