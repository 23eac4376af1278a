internal import HTTP
internal import IO
internal import Synchronization
internal import Telemetry
internal import Upstream

/// What one loop owns: listeners, connections, pools, timers, and the tables it serves from.
///
/// Everything here is touched on the loop's thread alone; `Proxy` sends it new tables by `loop.execute`.
final class Worker {
    private static let log = Logger("worker")

    let index: Int
    let loop: EventLoop
    let metrics: MetricSet
    let overload: OverloadState
    /// Every worker of the process, by index; connections go to one that has fewer.
    var peers: [WorkerPeer] = []
    /// Listeners serve what they accept themselves, and hand nothing over to other loops: some of those may be ending.
    var keepsConnections = false
    let blocks = BlockPool()
    let accessLog: AccessLogWriter
    var random: SplitMix64
    /// Reused by everyone who serialises a head, for the length of one call.
    var scratch: [UInt8] = []
    var bytesRead: UInt64 = 0
    /// `/healthcheck/fail` was asked for.
    var failsHealthCheck = false
    /// A sample of the requests.
    let recorder = Recorder()
    /// Who looks at requests as they happen.
    var taps: [TapSession] = []
    /// Whether there is anybody: all that a request costs when nobody looks.
    var isTapped = false
    /// Storage of heads, from stream to stream.
    var spareHeads = SpareHeads()

    /// Where the proxy stands, and its own cluster, for balancing by place.
    var place: LoadBalancer.Place?
    private(set) var tables = Tables()
    private var clusters: [String: ClusterRuntime] = [:]
    private var listeners: [String: ListenerRuntime] = [:]
    private var draining: [Draining] = []
    private let drainTime: Duration
    private let unflushed = FlushQueue()
    /// Memory of HTTP/2 sessions.
    let http2Memory = HTTP2Memory()
    private var clock = HTTPClock()
    private var latestTimeout: (of: Duration, field: PreparedField)?
    private var connections: UInt64 = 0
    /// Operators of header formats by name and argument: as many as the configuration names.
    private var formatOperators: [String: FormatOperator] = [:]
    private var routeMetrics: [[String]: RouteMetrics] = [:]
    /// Names that requests bring, by the cache's name.
    private var dnsCaches: [String: DNSCache] = [:]

    /// A chain that has left, and when what is still open on it is cut off.
    private struct Draining {
        var chain: FilterChainRuntime
        var deadline: MonotonicTime
    }

    init(
        index: Int, loop: EventLoop, metrics: MetricSet, drainTime: Duration, overload: OverloadState, seed: UInt64
    ) {
        self.overload = overload
        self.drainTime = drainTime
        self.index = index
        self.loop = loop
        self.metrics = metrics
        random = SplitMix64(seed: seed)
        accessLog = AccessLogWriter(loop: loop, metrics: metrics, row: index)
        loop.atEndOfEveryPass { [unflushed] in unflushed.endPass() }
    }

    // MARK: On demand

    /// Asks the control loop for a virtual host.
    var askForHost: ((_ host: String, _ routes: String) -> Void)?
    /// Asks the control loop for a cluster.
    var askForCluster: ((_ name: String, _ source: DiscoverySource) -> Void)?
    /// Who waits for clusters and hosts, by their names.
    var demandWaits: [DemandWait.Kind: [String: [ObjectIdentifier: DemandWait]]] = [:]

    // MARK: Turns

    /// Asks for `flush` of a connection when the present turn has ended, together with those of a few others.
    func markDirty(_ connection: SocketConnection) { unflushed.append(connection) }

    /// Asks for `flush` of a connection when all events of the loop's pass are served: what many of them say on it goes out in one write.
    func markDirtyForPass(_ connection: SocketConnection) { unflushed.appendForPass(connection) }

    /// Ends an entry from the loop (readiness, timer, message): what was said goes out soon, in one write for each connection.
    func endTurn() { unflushed.endTurn() }

    /// A timer whose body is a turn of its own.
    func schedule(after delay: Duration, _ body: @escaping () -> Void) -> LoopTimer {
        loop.schedule(after: delay) { [unowned self] in
            body()
            endTurn()
        }
    }

    /// `x-envoy-expected-rq-timeout-ms`: most routes of a configuration have the same timeout.
    func expectedTimeout(_ timeout: Duration) -> PreparedField {
        if let latestTimeout, latestTimeout.of == timeout { return latestTimeout.field }
        let field = PreparedField(.xEnvoyExpectedRqTimeoutMs, number: Int(clamping: timeout.wholeMilliseconds))
        latestTimeout = (timeout, field)
        return field
    }

    /// The field `date`.
    func date() -> PreparedField? { clock.date() }

    /// The metrics of a virtual cluster or a named route, found without a lock from the second time on.
    func routeMetrics(_ elements: String...) -> RouteMetrics? {
        if let known = routeMetrics[elements] { return known }
        let found = metrics.route(elements)
        routeMetrics[elements] = found
        return found
    }

    /// The operator of a header format, understood once.
    func formatOperator(_ name: String, _ argument: String?) -> FormatOperator? {
        let key = argument.map { "\(name)(\($0)" } ?? name
        if let known = formatOperators[key] { return known }
        do throws(FormatOperator.Refusal) {
            switch try FormatOperator.parse(name, argument) {
            case .operation(let operation):
                formatOperators[key] = operation
                return operation
            case .literal(let text):
                formatOperators[key] = .constant(Array(text.utf8))
                return formatOperators[key]
            }
        } catch {
            return nil
        }
    }

    /// Connection numbers are unique in the process: the loop's number is in the low bits.
    func nextConnectionID() -> UInt64 {
        connections &+= 1
        return connections &* UInt64(max(metrics.rows, 1)) &+ UInt64(index)
    }

    /// The cache of that name; whoever names it with other settings changes them for all.
    func dnsCache(_ settings: DNSCacheSettings) -> DNSCache {
        if let known = dnsCaches[settings.name] {
            if known.settings != settings { known.settings = settings }
            return known
        }
        let cache = DNSCache(settings, worker: self)
        dnsCaches[settings.name] = cache
        return cache
    }

    /// How names that requests bring are looked up.
    private(set) lazy var resolvers = ResolverSet(on: loop)

    /// Whether what has come to a load shed point is shed.
    func sheds(_ point: OverloadConfig.ShedPoint) -> Bool {
        overload.sheds(point, row: index, random.next())
    }

    // MARK: Tables

    /// A cluster of the tables; it comes into being when it is first asked for: of ten thousand clusters a loop uses few.
    func cluster(named name: String) -> ClusterRuntime? {
        if let known = clusters[name] { return known }
        guard let config = tables.clusters[name] else { return nil }
        return make(config)
    }

    /// A cluster that this loop uses already.
    func clusterInUse(named name: String) -> ClusterRuntime? { clusters[name] }

    /// The clusters that this loop uses.
    var clustersInUse: [ClusterRuntime] { Array(clusters.values) }

    private func make(_ config: ClusterConfig) -> ClusterRuntime {
        let cluster = ClusterRuntime(config, metrics: metrics.cluster(config.name), worker: self)
        clusters[config.name] = cluster
        if let endpoints = tables.endpoints[config.name] { cluster.apply(endpoints) }
        return cluster
    }

    /// Takes new tables.
    ///
    /// Clusters in use change in place; those that left finish what they have.
    func publish(_ new: Tables) {
        let old = tables
        tables = new
        for (name, cluster) in clusters {
            guard let config = new.clusters[name] else {
                clusters.removeValue(forKey: name)?.remove()
                continue
            }
            if !config.isSame(as: cluster.config) { cluster.update(config) }
            if let endpoints = new.endpoints[name], endpoints != old.endpoints[name] { cluster.apply(endpoints) }
        }
        for (name, config) in new.clusters where config.isMadeAtOnce && clusters[name] == nil { _ = make(config) }
        for listener in listeners.values { listener.resolve() }
        endTurn()
    }

    /// Takes new endpoints of some clusters: the frequent update, which touches nothing else.
    func publish(_ new: Tables, endpointsOf names: Set<String>) {
        tables = new
        for name in names { if let endpoints = new.endpoints[name] { clusters[name]?.apply(endpoints) } }
        endTurn()
    }

    /// What a host says of itself in its answers to active checks.
    func setDegraded(cluster: String, address: HostAddress, isDegraded: Bool) {
        guard let cluster = clusters[cluster], let host = cluster.hostSet.host(at: address) else { return }
        cluster.hostSet.set(.degradedByCheck, of: host, to: isDegraded)
    }

    /// What a host says of its load on a stream of the control loop's.
    func take(_ report: LoadReport, of address: HostAddress, inCluster name: String) {
        guard let cluster = clusters[name], let settings = cluster.config.reportedWeights else { return }
        cluster.hostSet.host(at: address)?.take(report, settings, now: loop.now.nanoseconds)
    }

    /// Health as the control loop's active checks see it.
    func setHealth(cluster: String, address: HostAddress, isHealthy: Bool) {
        guard let cluster = clusters[cluster], let host = cluster.hostSet.host(at: address) else { return }
        cluster.hostSet.set(.unchecked, of: host, to: false)
        cluster.hostSet.set(.failedActiveCheck, of: host, to: !isHealthy, now: loop.now.nanoseconds)
        if isHealthy {
            cluster.hostSet.set(.excluded, of: host, to: false)
            cluster.outlier?.activeCheckPassed(host)
        } else {
            cluster.hostFailed(host)
        }
    }

    // MARK: Listeners

    /// Starts a listener, or changes it in place.
    ///
    /// - Parameter sockets: One for each of its addresses; none where it does not bind, or goes on with those it has.
    func publish(_ config: ListenerConfig, sockets: [Socket?]) {
        if let known = listeners[config.name], sockets.allSatisfy({ $0 == nil }) {
            known.update(config)
            return
        }
        listeners.removeValue(forKey: config.name)?.drain()
        let runtime = ListenerRuntime(
            config, sockets: sockets, metrics: metrics.listener(config.statPrefix ?? config.address.description),
            worker: self)
        listeners[config.name] = runtime
        do throws(SystemError) {
            try runtime.start()
        } catch {
            Self.log.error("\(config.name): \(error)")
        }
    }

    func listener(named name: String) -> ListenerRuntime? { listeners[name] }

    func removeListener(_ name: String) {
        listeners.removeValue(forKey: name)?.drain()
        endTurn()
    }

    /// The listener that `use_original_dst` hands a connection to: exact address, or the port on any address.
    func listener(for address: SocketAddress, besides one: ListenerRuntime) -> ListenerRuntime? {
        var wildcard: ListenerRuntime?
        for listener in listeners.values where listener !== one {
            let takes = listener.config.takes(address)
            if takes.isExact { return listener }
            if takes.isWildcard { wildcard = listener }
        }
        return wildcard
    }

    // MARK: Draining

    /// Lets a chain finish what it has, within the drain time.
    func drain(_ chain: FilterChainRuntime) {
        chain.drain()
        guard !chain.isEmpty else { return }
        draining.append(Draining(chain: chain, deadline: loop.now + drainTime))
        if draining.count == 1 { watchDraining() }
    }

    private func watchDraining() {
        _ = schedule(after: Self.drainCheckInterval) { [weak self] in
            guard let self else { return }
            for entry in self.draining {
                if entry.deadline <= self.loop.now {
                    Self.log.info("cut off after draining", ["connections": "\(entry.chain.activeConnections)"])
                    entry.chain.closeAll()
                } else {
                    entry.chain.closeIdle(for: Self.idleBeforeClose)
                }
            }
            self.draining.removeAll { $0.chain.isEmpty }
            if !self.draining.isEmpty { self.watchDraining() }
        }
    }

    private static let drainCheckInterval: Duration = .milliseconds(100)
    /// A drained connection that was silent this long is closed; a client that is about to use it has done so by then.
    private static let idleBeforeClose: Duration = .seconds(1)

    /// ATK-28: connections under TLS contexts that trust less than before come to their end.
    func retireConnections(of contexts: Set<ObjectIdentifier>) {
        for listener in listeners.values {
            listener.renewChains { chain in
                chain.transport.map { contexts.contains(ObjectIdentifier($0.context)) } ?? false
            }
        }
        for cluster in clusters.values { cluster.retireConnections(of: contexts) }
    }

    /// Responses say `connection: close`; listeners (nil: all) go on accepting.
    func drainGracefully(listeners names: Set<String>? = nil) {
        for (name, listener) in listeners where names?.contains(name) ?? true { listener.drainGracefully() }
    }

    /// Those listeners take no new connections (nil: none does); what is there drains.
    func drain(listeners names: Set<String>?) {
        for name in Array(listeners.keys) where names?.contains(name) ?? true {
            listeners.removeValue(forKey: name)?.drain()
        }
        endTurn()
    }

    /// No new connections; what is there drains.
    func drainAll() {
        for name in Array(listeners.keys) { listeners.removeValue(forKey: name)?.drain() }
        endTurn()
    }

    /// More descriptors of the sockets that listeners accept from, by address.
    func duplicateSockets() -> [(String, Int32)] {
        listeners.values.flatMap { $0.duplicateSockets().map { ("\($0.address)", $0.socket.release()) } }
    }

    /// Ends the given share of the connections for which most bytes wait (overload).
    func resetExpensive(share: Double) {
        var expensive: [any DownstreamConnection] = []
        for listener in listeners.values {
            listener.forEachChain { chain in
                expensive += chain.httpConnections.filter { $0.bufferedBytes >= Limits.expensiveBytes }
            }
        }
        expensive.sort { $0.bufferedBytes > $1.bufferedBytes }
        let count = Int((Double(expensive.count) * share).rounded(.up))
        for connection in expensive.prefix(count) {
            overload.resetStreams.add(1, ordering: .relaxed)
            connection.cutOff()
        }
        endTurn()
    }

    /// Connections that are not finished.
    var activeConnections: Int {
        var count = draining.reduce(0) { $0 + $1.chain.activeConnections }
        for listener in listeners.values { listener.forEachChain { count += $0.activeConnections } }
        return count
    }
}
