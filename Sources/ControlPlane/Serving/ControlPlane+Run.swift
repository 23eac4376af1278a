import APIServer
import HTTP
public import IO
import Identity
import KubernetesAPI
import Mesh
import Registry
import Serialization
import Store
import TLS
import Telemetry

extension ControlPlane {
    /// The text of a list of about 300 pods: what longer ones take is given back when they are sent.
    private static let listBlockBytes = 1 << 20

    /// Runs the control plane until SIGTERM or SIGINT.
    ///
    /// Everything lives on one loop, on the calling thread: store, API, controllers, discovery, DNS and metrics.
    public static func run(_ options: ControlPlaneOptions) throws(ControlPlaneError) {
        let loop: EventLoop
        do throws(SystemError) {
            Signals.ignorePipe()
            Environment.raiseDescriptorLimit()
            Environment.returnLargeBlocks(from: listBlockBytes)
            Signals.block([Signals.terminate, Signals.interrupt])
            loop = try EventLoop()
        } catch {
            throw ControlPlaneError("no event loop: \(error)")
        }
        let server = ControlPlaneServer(options, on: loop)
        loop.execute { server.start() }
        loop.run()
        if let failure = server.failure { throw failure }
    }
}

/// The running control plane: the wiring of its parts.
///
/// `@unchecked Sendable`: belongs to one loop; `failure` is read when the loop has ended.
public final class ControlPlaneServer: @unchecked Sendable {
    let options: ControlPlaneOptions
    let loop: EventLoop
    let log = Logger("control-plane")
    /// Why it could not start; set before the loop stops.
    public internal(set) var failure: ControlPlaneError?

    var store: ReplicaStore?
    private let zones = TimeZoneFiles()
    var registry: ObjectRegistry?
    private(set) var router: APIRouter?
    private(set) var api: APIListeners?
    private var audit: AuditLog?
    /// What `skein certs list` shows.
    var authorityFacts: JSON { meshAuthority?.run(.list) ?? .null }
    var controllers: Controllers?
    private(set) var nodes: NodeService?
    /// The other servers of the store, for what only their nodes know.
    var peers: PeerServers?
    /// The objects of our own store, where several servers share it.
    private var ownSource: RegistrySource?
    var cluster: ClusterSource?
    var election: LeaderElection?
    var streams: ProxyStreams?
    var insight: InsightService?
    var metricExporter: MetricExporter?
    var names: NameService?
    private var agent: AgentListener?
    private(set) var meshAuthority: MeshAuthority?
    /// With several servers on one store.
    var sharedAuthority: SharedAuthority?
    /// Whether the mesh's authority here is that of the other servers.
    var sharesMeshAuthority = false
    private var tokens: ServiceAccountTokens?
    private var signals: SignalSource?
    private var context: TLSContext?
    private var discovery: DiscoveryListener?
    private var discoveryContext: TLSContext?
    var tasks: [Task<Void, Never>] = []
    private var controllersAreDue = false
    var isStopping = false
    private var streamsAreDue = false
    /// Programs that are no pods.
    var programs: RegistryServer?
    /// What follows from them for the mesh.
    var programObjects: RegistryWriter?
    var programsAreDue = false

    /// A control plane on a loop; `start` is called there.
    public init(_ options: ControlPlaneOptions, on loop: EventLoop) {
        self.options = options
        self.loop = loop
    }

    static func now() -> Timestamp {
        let now = WallClock.now
        return Timestamp(seconds: now.seconds, nanoseconds: now.nanoseconds)
    }

    var control: String { options.dataDirectory + "/control" }

    /// Opens everything, or stops the loop with `failure` set.
    public func start() {
        Task(executorPreference: loop) { await self.begin() }
    }

    private func begin() async {
        do throws(ControlPlaneError) {
            if let kubeconfig = options.kubeconfig { return try openCluster(kubeconfig) }
            let store = try await StoreOpening.open(options.store, directory: control, on: loop)
            self.store = store
            try await shareIdentity(store)
            guard !isStopping else { return await store.close() }
            try open(store)
            log.info(
                "ready",
                ["api": options.apiAddress.description, "metrics": options.metricsAddress.description])
        } catch {
            failure = error
            stop()
        }
    }

    /// Ends the loop; a lease is given back first.
    public func stop() {
        guard !isStopping else { return }
        isStopping = true
        guard let election else { return close() }
        self.election = nil
        election.stop { self.close() }
    }

    private func close() {
        tasks.forEach { $0.cancel() }
        cluster?.stop()
        insight?.stop()
        metricExporter?.stop()
        programs?.stop()
        agent?.close()
        nodes?.close()
        peers?.close()
        meshAuthority?.stop()
        sharedAuthority?.stop()
        streams?.identities?.stop()
        discovery?.close()
        names?.stop()
        audit?.flush()
        Task(executorPreference: loop) {
            await self.store?.close()
            self.loop.stop()
        }
    }

    // MARK: Opening

    /// The proxies' subscriptions to what a source has, wherever that keeps its objects.
    func openStreams(_ source: some ObjectSource) -> ProxyStreams {
        let streams = ProxyStreams(
            source, on: loop, traces: TraceService(on: loop), isDualStack: options.isDualStack, now: Self.now)
        streams.traces?.start()
        return streams
    }

    private func open(_ store: ReplicaStore) throws(ControlPlaneError) {
        let registry = ObjectRegistry(store: store, serviceRanges: options.serviceRanges, now: Self.now)
        registry.defaultNodeName = options.nodeName
        self.registry = registry
        let source = RegistrySource(registry)
        let streams = openStreams(source)
        streams.hasOtherServers = store.isShared
        self.streams = streams
        let rateLimits = RateLimitService(for: streams)
        do throws(StatusError) {
            try registry.bootstrap()
            controllers = try makeControllers(registry)
            try openNames(streams)
            try streams.start { [weak self] in self?.wakeStreams() }
        } catch {
            throw ControlPlaneError("the objects in \(options.store.address): \(error.message)")
        }
        registry.knowsTimeZone = { [zones] in zones.rules($0) != nil }
        let patterns = PatternCache()
        registry.patternMatches = { patterns.matches($0, $1) }
        registry.patternFinds = { patterns.find($0, in: $1, from: $2) }
        registry.podAnnotations = { [weak streams] pod in streams?.podAnnotations(pod) ?? [:] }
        registry.schemaCodes = { kind in
            DiagnosticCode.standsBesideRefusals(of: kind)
                ? SchemaCodes(
                    invalidValue: DiagnosticCode.invalidValue.id, unknownField: DiagnosticCode.unknownField.id) : nil
        }
        registry.admissionProblems = { [weak streams] object, _ in streams?.problems(of: object) ?? [] }
        registry.admissionWarnings = { [weak streams] object, _ in streams?.warnings(for: object) ?? [] }
        wakeControllers()
        // The authority first: nodes of other machines ask it through the API.
        tokens = try ServiceAccountTokens(directory: control)
        try openAgent(streams, source)
        try openAPI(registry)
        try openDiscovery(streams)
        try openPrograms(registry, store)
        try openOverview(source, streams)
        every(.seconds(60)) { [weak self] in if self?.decides == true { registry.collectGarbage() } }
        measurePods()
        takeTurns(store, source, rateLimits)
        try openSignals()
    }

    func openSignals() throws(ControlPlaneError) {
        do throws(SystemError) {
            signals = try SignalSource([Signals.terminate, Signals.interrupt], on: loop) { [weak self] _ in
                self?.log.info("stopping")
                self?.stop()
            }
        } catch {
            throw ControlPlaneError("signals: \(error)")
        }
    }

    func every(_ time: Duration, _ body: @escaping () -> Void) {
        _ = loop.schedule(after: time) { [weak self] in
            body()
            self?.every(time, body)
        }
    }

    /// Whether the controllers of this server run: of several servers, those of one.
    var decides: Bool { (store as? EtcdStore)?.leadership?.isLeader ?? true }

    private func makeControllers(_ registry: ObjectRegistry) throws(StatusError) -> Controllers {
        let controllers = try Controllers(
            registry, now: Self.now, wake: { [weak self] in self?.wakeControllers() },
            later: { [weak self] time, body in
                _ = self?.loop.schedule(after: time) { if self?.decides == true { body() } }
            })
        controllers.timeZone = { [zones] in zones.rules($0) }
        controllers.nodePools = options.podPools.compactMap { NodeBlocks($0) }
        return controllers
    }

    /// Controllers that begin anew when their writes were taken back, or when their turn comes.
    private func takeTurns(_ store: ReplicaStore, _ source: RegistrySource, _ rateLimits: RateLimitService) {
        let loop = loop
        let again: @Sendable () -> Void = { [weak self] in self?.beginAgain() }
        let lead: @Sendable (Bool) -> Void = { [weak self] in self?.lead($0) }
        store.onReset.append { loop.execute(again) }
        guard let shared = store as? EtcdStore else { return }
        ownSource = source
        source.isWriter = false
        shared.campaign { leads in loop.execute { lead(leads) } }
        shared.report(.proxies) { [weak streams] in
            streams.map { DiscoveryPages.report($0).json.bytes } ?? []
        } changed: { [weak streams] reports in
            streams?.others = reports.sorted { $0.key < $1.key }.compactMap { ServerReport($0.value) }
        }
        rateLimits.share(in: shared)
        shareNodes(shared)
    }

    private func lead(_ leads: Bool) {
        ownSource?.isWriter = leads
        if leads { beginAgain() }
    }

    private func beginAgain() {
        guard let registry, !isStopping else { return }
        do throws(StatusError) {
            // What every Skein has may be among what was taken back.
            if decides { try registry.bootstrap() }
            controllers = try makeControllers(registry)
        } catch {
            log.error("the controllers cannot begin again", ["error": error.message])
        }
        wakeControllers()
    }

    // A write wakes us in the middle of the request that made it: the work is done when that has ended.
    private func wakeControllers() {
        guard !controllersAreDue else { return }
        controllersAreDue = true
        loop.execute {
            self.controllersAreDue = false
            if self.decides { self.controllers?.run() }
        }
    }

    func wakeStreams() {
        guard !streamsAreDue else { return }
        streamsAreDue = true
        loop.execute {
            self.streamsAreDue = false
            self.streams?.objectsChanged()
        }
    }

    func listener(_ address: SocketAddress, _ purpose: String) throws(ControlPlaneError) -> SocketListener {
        do throws(SystemError) {
            return try SocketListener(try Socket.listen(on: address), on: loop)
        } catch {
            throw ControlPlaneError("\(purpose) cannot listen: \(error)")
        }
    }

    private func openAPI(_ registry: ObjectRegistry) throws(ControlPlaneError) {
        let now = Self.now().seconds
        let identities = try Identities(directory: control, now: now)
        guard let tokens else { return }
        let router = APIRouter(registry)
        self.router = router
        router.tokens = { wish throws(StatusError) in try tokens.issue(wish, now: Self.now()) }
        router.tokenVerifier = { [weak registry] text, audiences throws(StatusError) in
            guard let registry else { throw .unauthorized }
            return try tokens.user(text, audiences: audiences, registry: registry, now: Self.now().seconds)
        }
        let descriptors = Environment.raiseDescriptorLimit().now
        let api = APIListeners(
            router, on: loop,
            capacity: APICapacity(descriptors: Int(clamping: descriptors), watches: options.watchesMax))
        self.api = api
        let agents = agents()
        let logs = NodeLogs(agents)
        if let streams {
            let pages = DiscoveryPages(streams)
            let backup = store.map { BackupPage($0, directory: control) }
            api.pages = { [weak self] request in
                if request.path == BackupPage.path, let backup { return await backup.answer() }
                if let answer = TracePages.answer(request, self?.streams?.traces, isPublic: false) { return answer }
                if let answer = await InsightPages.command(request, self?.insight) { return answer }
                if let answer = await ForecastPage.answer(request, self?.streams) { return answer }
                return pages.answer(request)
            }
        }
        api.streams = NodeStreams(agents)
        api.proxies = NodeProxies(agents, on: loop)
        let meter = usageMeter(agents)
        api.usage = { await meter.report() }
        api.logs = { wish throws(StatusError) in try await logs.fetch(wish) }
        do throws(TLSError) {
            context = try identities.serverContext(
                address: options.apiAddress, further: apiNames, now: now)
        } catch {
            throw ControlPlaneError("the certificate of the API: \(error)")
        }
        guard let context else { return }
        try identities.writeKubeconfig(server: "https://\(options.apiAddress)", now: now)
        let local = try listener(.unix(options.runDirectory + "/api.sock"), "the API")
        // The peer's credentials decide; the mode lets root in and nobody else.
        do throws(SystemError) { try File.chmod(options.runDirectory + "/api.sock", 0o600) } catch {
            throw ControlPlaneError("the API's socket: \(error)")
        }
        let remote = try listener(options.apiAddress, "the API")
        every(.seconds(30 * 86_400)) { [weak self] in
            guard let self else { return }
            do throws(TLSError) {
                self.context = try identities.serverContext(
                    address: self.options.apiAddress, further: self.apiNames, now: Self.now().seconds)
            } catch {
                // The present one is good for months yet; the next month tries again.
                self.log.error("the API's certificate was not renewed", ["error": "\(error)"])
            }
        }
        tasks.append(Task(executorPreference: loop) { await api.serve(unix: local) })
        let audit = AuditLog(path: control + "/audit.log")
        api.audit = audit
        self.audit = audit
        every(.seconds(1)) { audit.flush() }
        api.hostNames.formUnion(apiNames)
        if case .ip(let address, _) = options.apiAddress { api.hostNames.insert("\(address)") }
        openNodes(registry, router, identities)
        let server = HTTPServer(on: loop, limits: api.limits) { [weak self] request in
            let user = request.peer.certificate.flatMap { self?.nodes?.user($0) }
            if request.path.hasPrefix(NodeJoin.path), let nodes = self?.nodes {
                return await nodes.answer(request, user: user)
            }
            return await api.handle(request, user: user, checksHost: true)
        }
        tasks.append(
            Task(executorPreference: loop) {
                await server.run(remote, tls: { [weak self] in self?.context ?? context })
            })
    }

    /// Further names of the API: those that were given, and the address of its service.
    private var apiNames: [String] { options.apiNames + [options.serviceRanges.kubernetes.description] }

    private func openNodes(_ registry: ObjectRegistry, _ router: APIRouter, _ identities: Identities) {
        guard let meshAuthority, let streams else { return }
        func texts(_ prefixes: [Prefix]) -> JSON { .array(prefixes.map { .string($0.description) }) }
        nodes = NodeService(
            registry, router, identities.authority, mesh: meshAuthority, streams: streams,
            settings: ["podPools": texts(options.podPools), "servicePools": texts(options.serviceRanges.all)], on: loop,
            now: Self.now)
        nodes?.localSocket = (options.nodeName, options.runDirectory + "/kubelet.sock")
        nodes?.furtherNames = { [weak self] in self?.names?.further }
    }

    func openDiscovery(_ streams: ProxyStreams) throws(ControlPlaneError) {
        guard let address = options.discoveryAddress else { return }
        let identities = try Identities(directory: control, now: Self.now().seconds)
        func renew() throws(TLSError) {
            discoveryContext = try identities.discoveryContext(
                address: address, trusting: meshAuthority?.authority.bundle.roots ?? [], now: Self.now().seconds)
        }
        do throws(TLSError) { try renew() } catch {
            throw ControlPlaneError("the certificate of discovery: \(error)")
        }
        guard let first = discoveryContext else { return }
        meshAuthority?.onTrust.append { [weak self] in
            do throws(TLSError) { try renew() } catch {
                self?.log.error("discovery does not trust the new roots", ["error": "\(error)"])
            }
        }
        every(.seconds(30 * 86_400)) { [weak self] in
            // The present one is good for months yet; the next month tries again.
            do throws(TLSError) { try renew() } catch {
                self?.log.error("the certificate of discovery was not renewed", ["error": "\(error)"])
            }
        }
        let discovery = DiscoveryListener(
            try listener(address, "discovery"), streams,
            trustDomain: { [weak self] in self?.meshAuthority?.trustDomain() ?? Mesh.clusterDomain },
            verifier: { [weak self] text throws(GRPCStatus) in
                guard let authority = self?.meshAuthority else { throw GRPCStatus(.unavailable, "stopping") }
                do throws(IdentityError) { return try authority.verify(token: text) } catch {
                    self?.log.warning("a token is refused", ["reason": error.message])
                    throw CertificateService.status(error)
                }
            })
        self.discovery = discovery
        tasks.append(
            Task(executorPreference: loop) { await discovery.run { [weak self] in self?.discoveryContext ?? first } })
    }

    func openAgent(_ streams: ProxyStreams, _ source: any ObjectSource) throws(ControlPlaneError) {
        let authority = try MeshAuthority(
            directory: control, node: options.nodeName, on: loop, now: { WallClock.now.seconds })
        authority.pod = { [weak streams] in streams?.boundPod(uid: $0, name: $1) }
        authority.trustDomain = { [weak streams] in
            streams?.publisher.model.config.trustDomainName ?? Mesh.clusterDomain
        }
        authority.account = { [weak source] in source?.known(.serviceAccount, $0)?.metadata.uid }
        authority.lifetime = options.certificateLifetime
        authority.tokens = tokens
        meshAuthority = authority
        share(authority)
        authority.start()
        streams.certify(by: authority, now: { WallClock.now.seconds })
        do throws(SystemError) {
            agent = try AgentListener(
                path: options.runDirectory + "/agent.sock", on: loop,
                onConnect: { authority.connected($0) }, onEnd: { authority.disconnected($0) }
            ) { [weak self] message, socket, connection in
                self?.handle(message, socket, connection, streams)
            }
        } catch {
            throw ControlPlaneError("the node agent's socket: \(error)")
        }
    }

    private func handle(
        _ message: AgentMessage, _ socket: Socket?, _ connection: AgentConnection, _ streams: ProxyStreams
    ) {
        switch message {
        case .xds(let uid, let namespace, let name):
            guard let socket else { return }
            streams.add(socket, uid: uid, pod: NamespacedName(namespace: namespace, name: name))
        case .xdsGone(let uid):
            streams.remove(uid: uid)
            meshAuthority?.remove(uid: uid)
        case .identity(let request): meshAuthority?.handle(request, from: connection)
        case .certificates(let command):
            connection.send(meshAuthority?.run(command) ?? ["error": "the authority is not there yet"])
        case .dns(let address, let transport):
            if let socket { names?.serve(socket, address: address, transport: transport) }
        }
    }

    func openOverview(_ source: any ObjectSource, _ streams: ProxyStreams) throws(ControlPlaneError) {
        let page = OverviewPage(source: source, streams: streams)
        page.names = { [weak self] in self?.names?.counts }
        openInsight(source, streams, page)
        page.api = api
        page.nodes = { [weak self] in (self?.nodes?.metrics ?? "") + (self?.peers?.metrics ?? "") }
        page.programs = { [weak self] in self?.programs?.metrics ?? "" }
        router?.metrics = { [weak page] in page?.allMetrics ?? "" }
        try openMetricExporter(page)
        try openDashboard(source, streams, page)
        let listener = try listener(options.metricsAddress, "metrics")
        let server = HTTPServer(on: loop) { request in await page.answer(request) }
        tasks.append(Task(executorPreference: loop) { await server.run(listener) })
    }
}
