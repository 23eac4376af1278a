import APIServer
import DNS
import HTTP
public import IO
import KubernetesAPI
import Mesh
import Serialization
import Store
import TLS
import Telemetry

extension ControlPlane {
    /// Runs the control plane until SIGTERM or SIGINT.
    ///
    /// Everything lives on one loop, on the calling thread: store, API, controllers, discovery, DNS and metrics.
    public static func run(_ options: ControlPlaneOptions) throws(ControlPlaneError) {
        let loop: EventLoop
        do throws(SystemError) {
            Signals.ignorePipe()
            Environment.raiseDescriptorLimit()
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
    private let options: ControlPlaneOptions
    private let loop: EventLoop
    private let log = Logger("control-plane")
    /// Why it could not start; set before the loop stops.
    public private(set) var failure: ControlPlaneError?

    private var store: SQLiteStore?
    var registry: ObjectRegistry?
    private var controllers: Controllers?
    var streams: ProxyStreams?
    private var dns: DNSServer?
    private var agent: AgentListener?
    private var signals: SignalSource?
    private var context: TLSContext?
    private var discovery: DiscoveryListener?
    private var discoveryContext: TLSContext?
    private var tasks: [Task<Void, Never>] = []
    private var controllersAreDue = false
    private var streamsAreDue = false
    private var names: [ServiceNames] = []
    private var namedHosts: [String: [IPAddress]] = [:]
    private var namesSerial: UInt32 = 0

    /// A control plane on a loop; `start` is called there.
    public init(_ options: ControlPlaneOptions, on loop: EventLoop) {
        self.options = options
        self.loop = loop
    }

    private static func now() -> Timestamp {
        let now = WallClock.now
        return Timestamp(seconds: now.seconds, nanoseconds: now.nanoseconds)
    }

    private var control: String { options.dataDirectory + "/control" }

    /// Opens everything, or stops the loop with `failure` set.
    public func start() {
        do throws(ControlPlaneError) {
            try open()
            log.info(
                "ready",
                ["api": options.apiAddress.description, "metrics": options.metricsAddress.description])
        } catch {
            failure = error
            stop()
        }
    }

    /// Ends the loop.
    public func stop() {
        tasks.forEach { $0.cancel() }
        agent?.close()
        discovery?.close()
        dns?.stop()
        do throws(StoreError) {
            try store?.checkpoint()
        } catch {
            // Nothing is lost: the next start reads the log.
            log.warning("the write-ahead log stays", ["error": "\(error)"])
        }
        loop.stop()
    }

    // MARK: Opening

    private func open() throws(ControlPlaneError) {
        let store: SQLiteStore
        do throws(StoreError) {
            store = try SQLiteStore(path: control + "/skein.db")
        } catch {
            throw ControlPlaneError("\(error)")
        }
        self.store = store
        let registry = ObjectRegistry(store: store, now: Self.now)
        registry.defaultNodeName = options.nodeName
        self.registry = registry
        let streams = ProxyStreams(registry, on: loop, now: Self.now)
        self.streams = streams
        do throws(StatusError) {
            try registry.bootstrap()
            controllers = try Controllers(
                registry, now: Self.now, wake: { [weak self] in self?.wakeControllers() },
                later: { [weak self] time, body in _ = self?.loop.schedule(after: time, body) })
            openDNS(streams)
            try streams.start { [weak self] in self?.wakeStreams() }
        } catch {
            throw ControlPlaneError("the objects in \(control)/skein.db: \(error.message)")
        }
        registry.admissionWarnings = { [weak streams] object, _ in streams?.publisher.warnings(for: object) ?? [] }
        wakeControllers()
        try openAPI(registry)
        try openAgent(streams)
        try openDiscovery(streams)
        try openOverview(registry, streams)
        every(.seconds(60)) { registry.collectGarbage() }
        do throws(SystemError) {
            signals = try SignalSource([Signals.terminate, Signals.interrupt], on: loop) { [weak self] _ in
                self?.log.info("stopping")
                self?.stop()
            }
        } catch {
            throw ControlPlaneError("signals: \(error)")
        }
    }

    private func every(_ time: Duration, _ body: @escaping () -> Void) {
        _ = loop.schedule(after: time) { [weak self] in
            body()
            self?.every(time, body)
        }
    }

    // A write wakes us in the middle of the request that made it: the work is done when that has ended.
    private func wakeControllers() {
        guard !controllersAreDue else { return }
        controllersAreDue = true
        loop.execute {
            self.controllersAreDue = false
            self.controllers?.run()
        }
    }

    private func wakeStreams() {
        guard !streamsAreDue else { return }
        streamsAreDue = true
        loop.execute {
            self.streamsAreDue = false
            self.streams?.objectsChanged()
        }
    }

    private func openDNS(_ streams: ProxyStreams) {
        let configuration = ResolverConfiguration.host()
        let forwarder = configuration.servers.isEmpty ? nil : Forwarder(configuration, on: loop)
        let dns = DNSServer(on: loop, forwarder: forwarder)
        self.dns = dns
        streams.namesChanged = { [weak self, weak streams] services, slices in
            guard let self else { return }
            let names = NameFeed.services(services, slices: slices)
            let hosts = streams.map { NameFeed.hosts($0.publisher.model) } ?? [:]
            guard names != self.names || hosts != self.namedHosts || self.namesSerial == 0 else { return }
            self.names = names
            self.namedHosts = hosts
            self.namesSerial &+= 1
            dns.publish(
                Zone(
                    domain: Mesh.clusterDomain, services: names, reversePrefixes: self.options.reversePrefixes,
                    hosts: hosts, serial: self.namesSerial))
        }
    }

    private func listener(_ address: SocketAddress, _ purpose: String) throws(ControlPlaneError) -> SocketListener {
        do throws(SystemError) {
            return try SocketListener(try Socket.listen(on: address), on: loop)
        } catch {
            throw ControlPlaneError("\(purpose) cannot listen: \(error)")
        }
    }

    private func openAPI(_ registry: ObjectRegistry) throws(ControlPlaneError) {
        let now = Self.now().seconds
        let identities = try Identities(directory: control, now: now)
        let api = APIListeners(APIRouter(registry), on: loop)
        let logs = NodeLogs(socket: options.runDirectory + "/kubelet.sock", on: loop)
        if let streams {
            let pages = DiscoveryPages(streams)
            api.pages = { pages.answer($0) }
        }
        api.logs = { wish throws(StatusError) in try await logs.fetch(wish) }
        do throws(TLSError) {
            context = try identities.serverContext(address: options.apiAddress, now: now)
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
                    address: self.options.apiAddress, now: Self.now().seconds)
            } catch {
                // The present one is good for months yet; the next month tries again.
                self.log.error("the API's certificate was not renewed", ["error": "\(error)"])
            }
        }
        tasks.append(Task(executorPreference: loop) { await api.serve(unix: local) })
        let server = HTTPServer(on: loop) { request in
            await api.handle(request, user: Self.user(request.peer.certificate), checksHost: true)
        }
        tasks.append(
            Task(executorPreference: loop) {
                await server.run(remote, tls: { [weak self] in self?.context ?? context })
            })
    }

    /// Who a client certificate says its holder is: the name and the groups.
    private static func user(_ certificate: Certificate?) -> APIUser? {
        certificate.map {
            APIUser(name: $0.subject.commonName, groups: $0.subject.organizations + ["system:authenticated"])
        }
    }

    private func openDiscovery(_ streams: ProxyStreams) throws(ControlPlaneError) {
        guard let address = options.discoveryAddress else { return }
        let identities = try Identities(directory: control, now: Self.now().seconds)
        func renew() throws(TLSError) {
            discoveryContext = try identities.discoveryContext(address: address, now: Self.now().seconds)
        }
        do throws(TLSError) { try renew() } catch {
            throw ControlPlaneError("the certificate of discovery: \(error)")
        }
        guard let first = discoveryContext else { return }
        every(.seconds(30 * 86_400)) { [weak self] in
            // The present one is good for months yet; the next month tries again.
            do throws(TLSError) { try renew() } catch {
                self?.log.error("the certificate of discovery was not renewed", ["error": "\(error)"])
            }
        }
        let discovery = DiscoveryListener(
            try listener(address, "discovery"), streams, trustDomain: Mesh.clusterDomain, verifier: nil)
        self.discovery = discovery
        tasks.append(
            Task(executorPreference: loop) { await discovery.run { [weak self] in self?.discoveryContext ?? first } })
    }

    private func openAgent(_ streams: ProxyStreams) throws(ControlPlaneError) {
        do throws(SystemError) {
            agent = try AgentListener(path: options.runDirectory + "/agent.sock", on: loop) {
                [weak self] message, socket in
                self?.handle(message, socket, streams)
            }
        } catch {
            throw ControlPlaneError("the node agent's socket: \(error)")
        }
    }

    private func handle(_ message: AgentMessage, _ socket: Socket?, _ streams: ProxyStreams) {
        switch message {
        case .xds(let uid, let namespace, let name):
            guard let socket else { return }
            streams.add(socket, uid: uid, pod: NamespacedName(namespace: namespace, name: name))
        case .xdsGone(let uid): streams.remove(uid: uid)
        case .dns(let address, let transport):
            guard let socket, let dns else { return }
            do throws(SystemError) {
                if transport == "udp" {
                    try dns.serve(datagrams: socket)
                } else {
                    try dns.serve(streams: socket)
                }
                log.info("answering names", ["address": address, "transport": transport])
            } catch {
                log.error("names cannot be answered", ["address": address, "error": error.description])
            }
        }
    }

    private func openOverview(_ registry: ObjectRegistry, _ streams: ProxyStreams) throws(ControlPlaneError) {
        let page = OverviewPage(registry: registry, streams: streams)
        let listener = try listener(options.metricsAddress, "metrics")
        let server = HTTPServer(on: loop) { request in page.answer(request) }
        tasks.append(Task(executorPreference: loop) { await server.run(listener) })
    }
}
