internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// What is configured now: decoded, checked and compiled, and from where it came.
///
/// Lives on the control loop. Changes come from the bootstrap and from ADS; what is complete goes to the workers as one
/// immutable `Tables`. A cluster is complete with its endpoints, a listener with its routes (P-7); what does not arrive
/// within the initial fetch timeout is served without.
final class ConfigurationStore {
    /// One resource in force.
    struct Entry<Config> {
        var config: Config
        var version: String
        var isStatic: Bool
        /// Complete: the workers have it.
        var isWarm: Bool
        /// What it needs from a management server or file.
        var wants: [Want] = []
        var updated: (seconds: Int64, nanoseconds: Int32)
    }

    /// A resource that another one needs.
    struct Want: Hashable, Sendable {
        var source: DiscoverySource
        var typeURL: String
        var name: String
    }

    private static let log = Logger("config")

    let context: CompileContext
    /// What compiled resources take their runtime keys from.
    let runtime: Runtime
    let loop: EventLoop
    let workers: [WorkerHandle]
    let metrics: MetricSet
    private let counts: StoreMetrics
    private(set) var clusters: [String: Entry<ClusterConfig>] = [:]
    private(set) var listeners: [String: Entry<ListenerConfig>] = [:]
    private(set) var routes: [String: Entry<CompiledRoutes>] = [:]
    /// By EDS name (of EDS clusters), or by cluster name (of all others).
    private(set) var endpoints: [String: EndpointTable] = [:]
    private(set) var endpointVersions: [String: String] = [:]
    /// The clusters that have their endpoints under a name.
    private var clustersByEndpoints: [String: Set<String>] = [:]
    /// The clusters whose endpoints have come or gone since the workers were told, and whether one of them was not complete before.
    private var changedEndpoints: (clusters: Set<String>, isNew: Bool) = ([], false)
    /// How often tables were made for the workers.
    private(set) var publications = 0
    private(set) var clusterMessages: [String: PackedMessage<Cluster>] = [:]
    /// The names of the bootstrap's own, in its order.
    private(set) var staticClusters: [String] = []
    private(set) var staticListeners: [String] = []
    private(set) var endpointMessages: [String: ClusterLoadAssignment] = [:]
    private var discoveries: [String: NameDiscovery] = [:]
    private var healthCheckers: [String: HealthChecker] = [:]
    var reportStreams: [String: HostReportStreams] = [:]
    /// The names of clusters that were made for services which name their servers themselves.
    var implicitClusters: Set<String> = []
    /// How names of clusters are looked up.
    let resolvers: ResolverSet
    /// Asked after each change: subscriptions follow what is configured.
    var onChange: () -> Void = {}
    /// Counts changes of what is wanted: endpoints that come and go change nothing there.
    private(set) var wantsGeneration = 0
    /// What was refused last, by type and name; the last good one stays in force.
    var failures: [String: [String: ResourceFailure]] = [:]
    /// The messages of route configurations as they came, and the virtual hosts that VHDS added.
    var routeMessages: [String: RouteConfiguration] = [:]
    var discoveredHosts: [String: [String: EnvoyAPI.VirtualHost]] = [:]
    /// Of virtual hosts of VHDS, by the name of the resource: all names that they answer, `ROUTES/domain`.
    var hostAliases: [String: Set<String>] = [:]
    /// Virtual hosts that requests asked for, `ROUTES/authority`.
    var hostDemand = ClusterDemand(max: Limits.demandedHostsMax)
    /// Clusters that requests asked for.
    var clusterDemand = ClusterDemand()
    var isSweepingDemand = false
    /// What SRDS has said, by name, and whether it has said anything.
    var scopes: [String: ScopedRouting.Scope] = [:]
    var hasScopes = false
    /// What ECDS has said, by name.
    var extensions: [String: TypedExtensionConfig] = [:]
    /// Sockets of the process that this one replaces.
    var inherited = InheritedSockets()
    /// Told what RTDS says of a layer.
    var runtimeChanged: (_ name: String, _ values: JSON?) -> Void = { _, _ in }
    /// What something else than clusters, listeners and routes wants.
    var extraWants: Set<Want> = [] { didSet { wantsGeneration += 1 } }

    func wantsChanged() { wantsGeneration += 1 }

    init(
        loop: EventLoop, workers: [WorkerHandle], metrics: MetricSet, context: CompileContext, runtime: Runtime
    ) {
        self.runtime = runtime
        self.loop = loop
        self.workers = workers
        self.metrics = metrics
        counts = StoreMetrics(metrics)
        self.context = context
        resolvers = ResolverSet(on: loop)
    }

    // MARK: Clusters

    /// Compiles all first, so that a refusal changes nothing.
    func setStatic(clusters messages: [Cluster], at path: String) throws(ConfigurationError) {
        var configs: [ClusterConfig] = []
        for (index, message) in messages.enumerated() {
            configs.append(try compile(message, at: "\(path)[\(index)]"))
        }
        for (index, config) in configs.enumerated() {
            guard clusters[config.name] == nil else {
                throw ConfigurationError(at: "\(path)[\(index)].name", "\"\(config.name)\" is there twice")
            }
            set(config, message: messages[index], version: "", isStatic: true)
        }
        staticClusters = configs.map(\.name)
        publish()
    }

    /// Compiles a cluster without putting it in force.
    func compile(_ message: Cluster, at path: String) throws(ConfigurationError) -> ClusterConfig {
        try compiling { () throws(ConfigurationError) in
            let config = try context.cluster(message, at: path)
            if case .eds = config.discovery {
                try context.checkSource(
                    message.edsClusterConfig?.edsConfig, at: path + ".eds_cluster_config.eds_config")
            }
            return config
        }
    }

    func set(_ config: ClusterConfig, message: Cluster, version: String, isStatic: Bool = false) {
        let name = config.name
        clusterMessages[name] = PackedMessage(message)
        let wasWarm = clusters[name]?.isWarm ?? false
        counts.count(clusters[name] == nil ? counts.clusterAdded : counts.clusterModified)
        if let old = clusters[name] { forgetEndpoints(of: old.config) }
        clustersByEndpoints[key(of: config), default: []].insert(name)
        clusters[name] = Entry(
            config: config, version: version, isStatic: isStatic, isWarm: wasWarm, wants: wants(of: message),
            updated: WallClock.now)
        failures[Cluster.typeURL]?[name] = nil
        clusterDemand.came(name)
        wantsChanged()
        discoveries.removeValue(forKey: name)?.cancel()
        switch config.discovery {
        case .staticEndpoints:
            endpoints[name] = config.endpoints ?? EndpointTable()
            clusters[name]?.isWarm = true
        case .originalDestination, .aggregate, .dynamicForwardProxy: clusters[name]?.isWarm = true
        case .eds(let service):
            let key = service.isEmpty ? name : service
            if endpoints[key] != nil {
                clusters[name]?.isWarm = true
            } else if !wasWarm {
                warmLater(DiscoverySource.initialFetchTimeout(message.edsClusterConfig?.edsConfig)) { store in
                    guard store.clusters[name]?.isWarm == false else { return }
                    Self.log.warning("no endpoints arrived in time", ["cluster": name])
                    store.clusters[name]?.isWarm = true
                }
            }
        case .strictDNS, .logicalDNS:
            let discovery = NameDiscovery(config, loop: loop, resolver: resolvers.resolver(config.resolver)) {
                [weak self] table in
                guard let self, self.clusters[name] != nil else { return }
                self.endpoints[name] = table
                let wasWarm = self.clusters[name]?.isWarm ?? false
                self.clusters[name]?.isWarm = true
                self.endpointsChanged(ofCluster: name, wasWarm: wasWarm)
                self.publishEndpoints()
            }
            discoveries[name] = discovery
            discovery.start()
        }
        updateHealthChecks(name)
        updateReportStreams(name)
    }

    func removeCluster(_ name: String) {
        if clusters[name]?.isStatic == false { forgetCluster(name) }
    }

    /// Nobody calls the service any more that the cluster was made for.
    func removeImplicitCluster(_ name: String) { forgetCluster(name) }

    private func forgetCluster(_ name: String) {
        guard let entry = clusters.removeValue(forKey: name) else { return }
        counts.count(counts.clusterRemoved)
        clusterMessages[name] = nil
        wantsChanged()
        discoveries.removeValue(forKey: name)?.cancel()
        healthCheckers.removeValue(forKey: name)?.cancel()
        updateReportStreams(name)
        forgetEndpoints(of: entry.config)
        let key = key(of: entry.config)
        if !isDiscovered(key) {
            endpoints[key] = nil
            endpointMessages[key] = nil
            endpointVersions[key] = nil
        }
    }

    private func warmLater(_ timeout: Duration?, _ body: @escaping (ConfigurationStore) -> Void) {
        guard let timeout else { return }
        loop.schedule(after: timeout) { [weak self] in
            guard let self else { return }
            body(self)
            self.publish()
        }
    }

    /// The name under which `endpoints` has a cluster's.
    func key(of config: ClusterConfig) -> String {
        if case .eds(let service) = config.discovery, !service.isEmpty { return service }
        return config.name
    }

    // MARK: Endpoints

    /// Whether EDS is asked for that name.
    private func isDiscovered(_ name: String) -> Bool {
        (clustersByEndpoints[name] ?? []).contains { cluster in
            if case .eds? = clusters[cluster]?.config.discovery { true } else { false }
        }
    }

    private func forgetEndpoints(of config: ClusterConfig) {
        let key = key(of: config)
        clustersByEndpoints[key]?.remove(config.name)
        if clustersByEndpoints[key]?.isEmpty == true { clustersByEndpoints[key] = nil }
    }

    /// Takes endpoints; the workers get them with `publishEndpoints`, those of one update together.
    func set(_ table: EndpointTable, message: ClusterLoadAssignment, name: String, version: String) {
        endpoints[name] = table
        failures[ClusterLoadAssignment.typeURL]?[name] = nil
        endpointMessages[name] = message
        endpointVersions[name] = version
        for cluster in clustersByEndpoints[name] ?? [] {
            let wasWarm = clusters[cluster]?.isWarm ?? false
            clusters[cluster]?.isWarm = true
            endpointsChanged(ofCluster: cluster, wasWarm: wasWarm)
        }
    }

    func removeEndpoints(_ name: String) {
        endpointMessages[name] = nil
        endpointVersions[name] = nil
        endpoints[name] = isDiscovered(name) ? EndpointTable() : nil
        changedEndpoints.isNew = true
    }

    private func endpointsChanged(ofCluster name: String, wasWarm: Bool) {
        updateHealthChecks(name)
        updateReportStreams(name)
        changedEndpoints.clusters.insert(name)
        if !wasWarm { changedEndpoints.isNew = true }
    }

    /// The light path: the endpoints of some clusters, everything else as it is (X-6: at once).
    func publishEndpoints() {
        let changed = changedEndpoints
        guard !changed.isNew else { return publish() }
        guard !changed.clusters.isEmpty else { return }
        changedEndpoints = ([], false)
        let tables = makeTables()
        for name in changed.clusters { countMembership(of: name, tables) }
        published = tables
        for worker in workers { worker.send { $0.publish(tables, endpointsOf: changed.clusters) } }
        onChange()
    }

    // MARK: Active health checks

    private func updateHealthChecks(_ name: String) {
        guard let entry = clusters[name], let check = entry.config.healthChecks.first else {
            healthCheckers.removeValue(forKey: name)?.cancel()
            return
        }
        let checker: HealthChecker
        if let known = healthCheckers[name] {
            checker = known
        } else {
            let counters = metrics.cluster(name)
            checker = HealthChecker(
                cluster: name, loop: loop, hasTraffic: { counters.value(.upstream_cx_total) > 0 },
                passiveFailures: { counters.value(.health_check_passive_failure) },
                count: { [workers] cell in workers.first?.send { counters.add(cell, row: $0.index) } },
                reportDegraded: { [workers] address, isDegraded in
                    for worker in workers {
                        worker.send { $0.setDegraded(cluster: name, address: address, isDegraded: isDegraded) }
                    }
                }
            ) { [workers] address, isHealthy in
                for worker in workers {
                    worker.send { $0.setHealth(cluster: name, address: address, isHealthy: isHealthy) }
                }
            }
            healthCheckers[name] = checker
        }
        checker.update(check, of: entry.config, endpoints: endpoints[key(of: entry.config)] ?? EndpointTable())
    }

    // MARK: Routes

    func set(_ compiled: CompiledRoutes, name: String, version: String) {
        routes[name] = Entry(
            config: compiled, version: version, isStatic: false, isWarm: true,
            wants: wants(of: routeMessages[name] ?? compiled.message), updated: WallClock.now)
        failures[RouteConfiguration.typeURL]?[name] = nil
        wantsChanged()
        warmComplete()
    }

    func removeRoutes(_ name: String) {
        routes[name] = nil
        routeMessages[name] = nil
        forgetHosts(of: name)
        wantsChanged()
    }

    /// Listeners that waited for the last thing that came begin to serve.
    func warmComplete() {
        for (listener, entry) in listeners where !entry.isWarm && isComplete(entry.config) { warm(listener) }
    }

    // MARK: Listeners

    func setStatic(listeners messages: [Listener], at path: String) throws(ConfigurationError) {
        for (index, message) in messages.enumerated() {
            let here = "\(path)[\(index)]"
            let config = try compile(message, at: here)
            guard listeners[config.name] == nil else {
                throw ConfigurationError(at: here + ".name", "\"\(config.name)\" is there twice")
            }
            try set(config, at: here, version: "", isStatic: true)
            staticListeners.append(config.name)
        }
    }

    func compile(_ message: Listener, at path: String) throws(ConfigurationError) -> ListenerConfig {
        try compiling { () throws(ConfigurationError) in
            try ListenerConfig(compiling: message, at: path, context: context, old: listeners[message.name]?.config)
        }
    }

    /// Puts a listener in force: binds its address now, serves when its routes are there.
    func set(
        _ config: ListenerConfig, at path: String, version: String, isStatic: Bool = false
    ) throws(ConfigurationError) {
        let name = config.name
        let old = listeners[name]
        giveExtensions(to: config)
        let keepsSocket =
            old.map {
                $0.config.addresses == config.addresses && $0.config.bindsToPort == config.bindsToPort
                    && ($0.config.udp == nil) == (config.udp == nil)
                    && $0.config.isTransparent == config.isTransparent && $0.config.isFreebind == config.isFreebind
            } ?? false
        if !keepsSocket {
            let sockets: [[Int32]]
            do throws(ConfigurationError) {
                sockets = try bind(config, at: path)
            } catch {
                counts.count(counts.listenerCreateFailure, workers.count)
                throw error
            }
            counts.count(counts.listenerCreateSuccess, workers.count)
            closeBound(name)
            boundSockets[name] = sockets
        }
        counts.count(old == nil ? counts.listenerAdded : counts.listenerModified)
        if keepsSocket { counts.count(counts.listenerInPlace) }
        let goesOn = keepsSocket && (old?.isWarm ?? false) && !awaitsRoutes(config, after: old?.config)
        listeners[name] = Entry(
            config: config, version: version, isStatic: isStatic, isWarm: goesOn,
            wants: wants(of: config), updated: WallClock.now)
        failures[Listener.typeURL]?[name] = nil
        wantsChanged()
        if listeners[name]?.isWarm == true {
            // In place; what served goes on where routes of new chains are still on their way (P-7).
            for worker in workers { worker.send { $0.publish(config, sockets: []) } }
        } else if isComplete(config) {
            warm(name)
        } else {
            // The longest of the timeouts; nil is "for ever".
            let timeouts =
                config.allChains.compactMap(\.manager).filter { $0.rdsSource != nil }.map(\.rdsTimeout)
                + config.allChains.flatMap(\.discoveredFilters).map(\.timeout)
            let longest = timeouts.contains(nil) ? nil : timeouts.compactMap { $0 }.max()
            warmLater(longest) { store in
                guard store.listeners[name]?.isWarm == false else { return }
                Self.log.warning("no routes or filters arrived in time", ["listener": name])
                for filter in config.allChains.flatMap(\.discoveredFilters) { filter.giveUpWaiting() }
                store.warm(name)
            }
        }
    }

    /// Whether chains ask for routes that are not there yet, and that the listener has not asked for before.
    private func awaitsRoutes(_ config: ListenerConfig, after old: ListenerConfig?) -> Bool {
        let asked = Set((old?.allChains ?? []).flatMap(\.rdsNames))
        return config.allChains.contains { chain in
            chain.rdsNames.contains { routes[$0] == nil && !asked.contains($0) }
        }
    }

    /// Sockets bound and not given to a worker yet, by listener: of each worker one for each address; -1 where it has none.
    private var boundSockets: [String: [[Int32]]] = [:]

    private func closeBound(_ name: String) {
        let sockets = boundSockets.removeValue(forKey: name) ?? []
        for fd in sockets.joined() where fd >= 0 { Socket(adopting: fd).close() }
    }

    private func bind(_ config: ListenerConfig, at path: String) throws(ConfigurationError) -> [[Int32]] {
        guard config.bindsToPort else { return workers.map { _ in [] } }
        var fds: [[Int32]] = workers.map { _ in [] }
        var bound: [IO.SocketAddress] = []
        for (index, one) in config.addresses.enumerated() {
            do throws(SystemError) {
                var address = one.address
                for (row, worker) in workers.enumerated() {
                    fds[row].append(try open(config, one, &address, for: worker.index))
                }
                bound.append(address)
            } catch {
                for fd in fds.joined() where fd >= 0 { Socket(adopting: fd).close() }
                let field = index == 0 ? "address" : "additional_addresses[\(index - 1)].address"
                throw ConfigurationError(at: FieldCheck.join(path, field), "\(error)")
            }
        }
        boundAddresses[config.name] = bound.first
        additionalBoundAddresses[config.name] = bound.count > 1 ? Array(bound.dropFirst()) : nil
        return fds
    }

    /// The addresses that listeners are really bound to.
    private(set) var boundAddresses: [String: IO.SocketAddress] = [:]
    /// Those of `additional_addresses`, of listeners that have any.
    private(set) var additionalBoundAddresses: [String: [IO.SocketAddress]] = [:]

    private func warm(_ name: String) {
        guard let config = listeners[name]?.config else { return }
        listeners[name]?.isWarm = true
        // Routes first: a listener that begins to serve finds its tables.
        publish()
        let all = boundSockets.removeValue(forKey: name) ?? workers.map { _ in [] }
        for (worker, fds) in zip(workers, all) {
            worker.send { worker in
                worker.publish(config, sockets: fds.map { $0 >= 0 ? Socket(adopting: $0) : nil })
            }
        }
    }

    func removeListener(_ name: String) {
        guard listeners[name]?.isStatic == false else { return }
        listeners[name] = nil
        wantsChanged()
        counts.count(counts.listenerRemoved)
        boundAddresses[name] = nil
        additionalBoundAddresses[name] = nil
        closeBound(name)
        for worker in workers { worker.send { $0.removeListener(name) } }
    }

    // MARK: Publishing

    /// What the workers have.
    private(set) var published = Tables()

    /// Every loop sees a change of the hosts when it needs them; it is counted here, once.
    private func countMembership(of name: String, _ tables: Tables) {
        guard let table = tables.endpoints[name], table.hasOtherHosts(than: published.endpoints[name]) else { return }
        metrics.cluster(name).add(.membership_change, row: metrics.controlRow)
    }

    private func makeTables() -> Tables {
        publications &+= 1
        var configs: [String: ClusterConfig] = [:]
        var tables: [String: EndpointTable] = [:]
        for (name, entry) in clusters where entry.isWarm {
            configs[name] = entry.config
            tables[name] = endpoints[key(of: entry.config)]
        }
        return Tables(
            clusters: configs, endpoints: tables, routes: routes.mapValues(\.config),
            scopes: scopes.sorted { $0.key < $1.key }.map(\.value))
    }

    /// Sends everything that is complete to the workers.
    func publish() {
        do throws(ConfigurationError) {
            try updateImplicitClusters()
        } catch {
            Self.log.error("\(error)")
        }
        changedEndpoints = ([], false)
        let tables = makeTables()
        for name in tables.clusters.keys {
            // Also a cluster that nothing ever happens to has its zeros in the statistics.
            _ = metrics.cluster(name)
            countMembership(of: name, tables)
        }
        published = tables
        metrics.keep(clusters: Set(clusters.keys))
        for worker in workers { worker.send { $0.publish(tables) } }
        answerDemand()
        onChange()
    }
}
