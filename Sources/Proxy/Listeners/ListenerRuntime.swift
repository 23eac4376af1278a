internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// One listener on one loop: its socket, and its filter chains at work.
final class ListenerRuntime: ReadinessHandler {
    private static let log = Logger("listener")

    let worker: Worker
    private(set) var config: ListenerConfig
    private var socket: Socket?
    private var registration: Registration?
    private var chains: [ObjectIdentifier: FilterChainRuntime] = [:]
    private var sniffing: [ObjectIdentifier: SniffingConnection] = [:]
    private let metrics: ListenerMetrics
    private(set) var isDraining = false
    /// The wait after `accept` found no descriptor: one at a time, however many connections arrive meanwhile.
    private var acceptPause: LoopTimer?

    /// `socket` is bound by the control loop, so that a port in use is known before anything is published.
    init(_ config: ListenerConfig, socket: Socket?, metrics: ListenerMetrics, worker: Worker) {
        self.config = config
        self.socket = socket
        self.metrics = metrics
        self.worker = worker
        for chain in config.allChains { makeRuntime(chain) }
    }

    private func makeRuntime(_ chain: FilterChainConfig) {
        chains[ObjectIdentifier(chain)] = FilterChainRuntime(chain, worker: worker, listener: metrics.address)
    }

    func start() throws(SystemError) {
        guard let socket else { return }
        registration = try worker.loop.register(socket.fd, self)
    }

    /// Changes in place: chains that stay keep their connections, those that left drain (P-6).
    func update(_ newConfig: ListenerConfig) {
        config = newConfig
        let staying = Set(newConfig.allChains.map { ObjectIdentifier($0) })
        for (id, runtime) in chains where !staying.contains(id) {
            chains[id] = nil
            worker.drain(runtime)
        }
        for chain in newConfig.allChains where chains[ObjectIdentifier(chain)] == nil { makeRuntime(chain) }
    }

    /// Routes and clusters changed.
    func resolve() {
        for chain in chains.values { chain.resolve() }
    }

    // MARK: Accepting

    func ready(_ readiness: Readiness) {
        acceptAll()
        worker.endTurn()
    }

    private func acceptAll() {
        guard let socket, acceptPause == nil else { return }
        while true {
            do throws(SystemError) {
                guard let accepted = try socket.accept() else { return }
                accept(accepted)
            } catch {
                // Out of descriptors: the connection stays in the queue, and edge-triggered readiness does not come again.
                Self.log.warning("\(config.name): \(error)")
                acceptPause = worker.schedule(after: Limits.acceptPause) { [weak self] in
                    self?.acceptPause = nil
                    self?.acceptAll()
                }
                return
            }
        }
    }

    private func accept(_ socket: Socket) {
        metrics.add(.downstream_cx_total, row: worker.index)
        let peer = socket.peerAddress ?? .unix("")
        var info = ConnectionInfo(
            localAddress: socket.localAddress ?? config.address, remoteAddress: peer, directRemoteAddress: peer,
            id: worker.nextConnectionID())
        if config.restoresOriginalDestination, let original = socket.originalDestination() {
            info.isRedirected = original != info.localAddress
            info.localAddress = original
            if config.handsOff, info.isRedirected, let other = worker.listener(for: original, besides: self) {
                return other.serve(socket, info)
            }
        }
        serve(socket, info)
    }

    /// Serves a connection whose destination is known: sniffs it, or chooses its chain at once.
    func serve(_ socket: Socket, _ info: ConnectionInfo) {
        guard config.inspectsHTTP(port: info.localAddress.port) && config.matcher.usesApplicationProtocol else {
            return choose(socket, info, protocols: [], input: nil)
        }
        let connection = SniffingConnection(socket, info: info, listener: self)
        sniffing[ObjectIdentifier(connection)] = connection
        connection.begin(timeout: config.listenerFiltersTimeout, continues: config.continuesOnTimeout)
    }

    func sniffed(
        _ connection: SniffingConnection, socket: Socket?, protocols: [String], input: ByteBuffer?
    ) {
        sniffing[ObjectIdentifier(connection)] = nil
        guard let socket else {
            metrics.add(.downstream_pre_cx_timeout, row: worker.index)
            return
        }
        choose(socket, connection.info, protocols: protocols, input: input)
    }

    private func choose(_ socket: Socket, _ info: ConnectionInfo, protocols: [String], input: ByteBuffer?) {
        let found = config.matcher.find(
            FilterChainMatcher.Connection(
                destination: info.localAddress, source: info.remoteAddress, directSource: info.directRemoteAddress,
                applicationProtocols: protocols))
        let chain = found.map { config.chains[$0] } ?? config.defaultChain
        guard let chain, let runtime = chains[ObjectIdentifier(chain)] else {
            metrics.add(.no_filter_chain_match, row: worker.index)
            socket.close()
            return
        }
        runtime.serve(socket, info, input: input)
    }

    // MARK: Ending

    /// Takes what is in the queue, then closes the socket; connections drain.
    func drain() {
        guard !isDraining else { return }
        isDraining = true
        stopAccepting()
        // Those that have not said enough yet to belong anywhere; the listener is gone when they would ask it.
        for connection in sniffing.values { connection.abandon() }
        sniffing = [:]
        for chain in chains.values { worker.drain(chain) }
        chains = [:]
    }

    func stopAccepting() {
        acceptAll()
        acceptPause?.cancel()
        registration?.cancel()
        registration = nil
        socket?.close()
        socket = nil
    }

    /// Says `connection: close` from now on, and goes on serving (`/drain_listeners?graceful`).
    func drainGracefully() {
        for chain in chains.values { chain.drain() }
    }

    func forEachChain(_ body: (FilterChainRuntime) -> Void) {
        for chain in chains.values { body(chain) }
    }

    deinit {
        acceptPause?.cancel()
        registration?.cancel()
    }
}

/// A filter chain at work on one loop.
final class FilterChainRuntime {
    let config: FilterChainConfig
    private let http: HTTPConnectionManager?
    private let tcp: TCPProxy?
    private let tlsMetrics: TLSMetrics?
    private let worker: Worker

    init(_ config: FilterChainConfig, worker: Worker, listener: String = "") {
        self.config = config
        tlsMetrics = config.transport.map { _ in worker.metrics.tls("listener", listener) }
        self.worker = worker
        switch config.terminal {
        case .http(let manager):
            http = HTTPConnectionManager(
                manager, metrics: worker.metrics.http(manager.statPrefix), worker: worker, listener: listener)
            tcp = nil
        case .tcp(let proxy):
            tcp = TCPProxy(proxy, metrics: worker.metrics.tcp(proxy.statPrefix), worker: worker)
            http = nil
        }
    }

    func resolve() { http?.resolve() }

    /// Serves a connection, behind its TLS handshake where the chain has a transport socket.
    func serve(_ socket: Socket, _ info: ConnectionInfo, input: ByteBuffer?) {
        guard let transport = config.transport, let tlsMetrics else {
            return serve(socket, info, input: input, tls: nil)
        }
        DownstreamHandshake.begin(
            socket, info: info, input: input, transport: transport, metrics: tlsMetrics, worker: worker
        ) { [self] in serve($0, $1, input: $2, tls: $3) }
    }

    private func serve(_ socket: Socket, _ info: ConnectionInfo, input: ByteBuffer?, tls: TLSTransport?) {
        if let http {
            let hadInput = input?.isEmpty == false
            let connection = HTTP1Connection(socket, info: info, manager: http, input: input, worker: worker, tls: tls)
            do throws(SystemError) {
                try connection.start()
            } catch {
                return connection.close()
            }
            if hadInput { connection.run() }
        } else {
            tcp?.accept(socket, info: info, input: input, tls: tls)
        }
    }

    func drain() { http?.drain() }

    func closeIdle(for duration: Duration) { http?.closeIdle(for: duration) }

    var isEmpty: Bool { http?.connections.isEmpty ?? true && tcp?.sessions.isEmpty ?? true }

    var activeConnections: Int { (http?.connections.count ?? 0) + (tcp?.sessions.count ?? 0) }

    /// Closes whatever is left.
    func closeAll() {
        for connection in Array(http?.connections.values ?? [:].values) { connection.cutOff() }
        for session in Array(tcp?.sessions.values ?? [:].values) { session.end() }
    }
}
