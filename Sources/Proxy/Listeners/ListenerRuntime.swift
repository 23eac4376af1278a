internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// One listener on one loop: its sockets, and its filter chains at work.
final class ListenerRuntime {
    private static let log = Logger("listener")

    let worker: Worker
    private(set) var config: ListenerConfig
    /// One for each address that it is bound to.
    private var doors: [ListenerDoor] = []
    private var chains: [ObjectIdentifier: FilterChainRuntime] = [:]
    /// Connections whose first bytes are looked at.
    private var inspected: [ObjectIdentifier: InspectedConnection] = [:]
    /// What a UDP listener does instead of accepting.
    private var udp: UDPProxy?
    let metrics: ListenerMetrics
    private(set) var isDraining = false
    private var hasDrained = false
    /// The wait after `accept` found no descriptor: one at a time, however many connections arrive meanwhile.
    private var acceptPause: LoopTimer?

    /// `sockets`, one for each address, are bound by the control loop, so that a port in use is known before anything is published.
    init(_ config: ListenerConfig, sockets: [Socket?], metrics: ListenerMetrics, worker: Worker) {
        self.config = config
        self.metrics = metrics
        self.worker = worker
        doors = zip(config.addresses, sockets).compactMap { address, socket in
            socket.map { ListenerDoor(address, $0, self) }
        }
        for chain in config.allChains where !isMadeLater(chain) { makeRuntime(chain) }
    }

    @discardableResult
    private func makeRuntime(_ chain: FilterChainConfig) -> FilterChainRuntime {
        chain.putToWork()
        let runtime = FilterChainRuntime(chain, worker: worker, listener: metrics.address)
        chains[ObjectIdentifier(chain)] = runtime
        return runtime
    }

    /// A chain at work; nil when the listener has given its chains away.
    private func runtime(of chain: FilterChainConfig) -> FilterChainRuntime? {
        if let known = chains[ObjectIdentifier(chain)] { return known }
        return hasDrained ? nil : makeRuntime(chain)
    }

    /// Whether a chain is put to work by its first connection: of a thousand that carry bytes to as many services, most never have one.
    private func isMadeLater(_ chain: FilterChainConfig) -> Bool {
        guard config.chains.count > Limits.chainsAtWorkAtOnce, case .tcp = chain.terminal else { return false }
        return true
    }

    func start() throws(SystemError) {
        if let udp = config.udp, let door = doors.first { return try startUDP(udp, door.socket) }
        for door in doors { try door.open() }
    }

    private func startUDP(_ config: UDPProxyConfig, _ socket: Socket) throws(SystemError) {
        let proxy = UDPProxy(config, socket: socket, listener: metrics, worker: worker)
        try proxy.start()
        udp = proxy
    }

    /// Changes in place: chains that stay keep their connections, those that left drain (P-6).
    func update(_ newConfig: ListenerConfig) {
        config = newConfig
        if let next = newConfig.udp, let old = udp, let door = doors.first, let copy = try? door.socket.duplicate() {
            // Sessions belong to the filter as it was.
            old.close()
            doors = [ListenerDoor(door.address, copy, self)]
            try? startUDP(next, copy)
        }
        let staying = Set(newConfig.allChains.map { ObjectIdentifier($0) })
        for (id, runtime) in chains where !staying.contains(id) {
            chains[id] = nil
            // It came to work while it was made anew, because nobody used it: it is the same chain.
            if newConfig.patches == 0,
                let same = newConfig.chains.first(where: { $0.packed == runtime.config.packed }),
                chains[ObjectIdentifier(same)] == nil
            {
                same.putToWork()
                chains[ObjectIdentifier(same)] = runtime
                continue
            }
            worker.drain(runtime)
        }
        for chain in newConfig.allChains
        where chains[ObjectIdentifier(chain)] == nil && !isMadeLater(chain) {
            makeRuntime(chain)
        }
    }

    /// Serves new connections apart from those there are, which drain: they were accepted under a trust that is gone.
    func renewChains(_ isConcerned: (FilterChainConfig) -> Bool) {
        for runtime in Array(chains.values) where isConcerned(runtime.config) {
            makeRuntime(runtime.config)
            chains[ObjectIdentifier(runtime.config)]?.resolve()
            worker.drain(runtime)
        }
    }

    /// Routes and clusters changed.
    func resolve() {
        for chain in chains.values { chain.resolve() }
    }

    // MARK: Accepting

    /// Somebody knocks.
    fileprivate func knocked(at door: ListenerDoor) {
        acceptAll(door)
        worker.endTurn()
    }

    private func acceptAll() {
        for door in doors { acceptAll(door) }
    }

    private func acceptAll(_ door: ListenerDoor) {
        while acceptPause == nil {
            if worker.overload.stopsAccepting, !isDraining { return pauseAccepting() }
            do throws(SystemError) {
                guard let accepted = try door.socket.accept() else { return }
                accept(accepted)
            } catch {
                // Out of descriptors: the connection stays in the queue, and edge-triggered readiness does not come again.
                Self.log.warning("\(config.name): \(error)")
                return pauseAccepting()
            }
        }
    }

    private func pauseAccepting() {
        acceptPause = worker.schedule(after: Limits.acceptPause) { [weak self] in
            self?.acceptPause = nil
            self?.acceptAll()
        }
    }

    private func accept(_ socket: Socket) {
        if worker.keepsConnections {
            metrics.balance.add(worker.index)
            return admit(socket)
        }
        let chosen = metrics.balance.take(worker.index, isExact: config.balancesExactly)
        if worker.peers.count > 1 {
            if chosen != worker.index, worker.peers.indices.contains(chosen) {
                return handOver(socket, to: worker.peers[chosen])
            }
        }
        admit(socket)
    }

    private func handOver(_ socket: Socket, to peer: WorkerPeer) {
        let (name, metrics, own) = (config.name, metrics, worker.peers[worker.index].handle)
        guard let handle = peer.handle else {
            metrics.balance.release(peer.index)
            metrics.balance.add(worker.index)
            return admit(socket)
        }
        let fd = socket.release()
        handle.send { worker in
            let socket = Socket(adopting: fd)
            if let listener = worker.listener(named: name) { return listener.admit(socket) }
            // Not there yet, or not any more: we have it still, or it is gone everywhere.
            metrics.balance.release(worker.index)
            guard let own else { return Self.abandon(socket, metrics, worker) }
            let fd = socket.release()
            own.send { worker in
                let socket = Socket(adopting: fd)
                guard let listener = worker.listener(named: name) else { return Self.abandon(socket, metrics, worker) }
                metrics.balance.add(worker.index)
                listener.admit(socket)
            }
        }
    }

    /// Closes a connection that no loop has a listener for any more.
    private static func abandon(_ socket: Socket, _ metrics: ListenerMetrics, _ worker: Worker) {
        metrics.add(.downstream_cx_handover_fail, row: worker.index)
        socket.close()
    }

    /// Serves a connection that is counted as this worker's, unless there are too many.
    ///
    /// - Parameter metadata: What a connection of our own brings along, on an internal listener.
    private func admit(_ socket: Socket, metadata: [String: JSON] = [:]) {
        let ticket: ConnectionTicket?
        switch worker.overload.admit(
            ignoresLimit: config.ignoresConnectionLimit, row: worker.index, worker.random.next())
        {
        case .admitted(let admitted): ticket = admitted
        case .overflow:
            metrics.add(.downstream_global_cx_overflow, row: worker.index)
            return refuse(socket)
        case .rejected:
            metrics.add(.downstream_cx_overload_reject, row: worker.index)
            return refuse(socket)
        }
        // ATK-10: descriptors are given out lowest first, so the number tells how many are in use.
        if socket.fd >= Limits.descriptorsForConnections && !config.ignoresConnectionLimit {
            metrics.add(.downstream_global_cx_overflow, row: worker.index)
            return refuse(socket)
        }
        let peer = socket.peerAddress ?? .unix("")
        var info = ConnectionInfo(
            localAddress: config.isInternal ? config.address : socket.localAddress ?? config.address,
            remoteAddress: peer, directRemoteAddress: peer, id: worker.nextConnectionID())
        if !metadata.isEmpty { info.facts.metadata = metadata }
        info.ticket = ticket
        serve(socket, info)
    }

    /// Takes a connection of our own.
    func admitInternal(_ socket: Socket, metadata: [String: JSON]) {
        metrics.balance.add(worker.index)
        admit(socket, metadata: metadata)
    }

    private func refuse(_ socket: Socket) {
        socket.close()
        metrics.balance.release(worker.index)
    }

    /// Serves a connection from its first listener filter on.
    func serve(_ socket: Socket, _ info: ConnectionInfo, input: ByteBuffer? = nil) {
        metrics.add(.downstream_cx_total, row: worker.index)
        metrics.add(.downstream_cx_active, row: worker.index)
        socket.observer = ConnectionLife(metrics, previous: socket.observer, worker: worker)
        runFilters(socket, info, from: 0, input: input)
    }

    private func runFilters(_ socket: Socket, _ start: ConnectionInfo, from first: Int, input: ByteBuffer?) {
        var info = start
        for (index, entry) in config.filters.entries.enumerated().dropFirst(first)
        where entry.runs(port: info.localAddress.port) {
            if case .close = entry.filter.accepted(socket, &info) { return socket.close() }
            if let filter = entry.filter.make(self) {
                let connection = InspectedConnection(
                    socket, info: info, filter: filter, index: index, listener: self, input: input)
                inspected[ObjectIdentifier(connection)] = connection
                metrics.add(.downstream_pre_cx_active, row: worker.index)
                return connection.begin(timeout: config.listenerFiltersTimeout, continues: config.continuesOnTimeout)
            }
        }
        choose(socket, info, input: input)
    }

    /// The next filter that reads, for a connection that is read from already; nil when there is none.
    func nextFilter(
        after index: Int, _ socket: Socket, _ info: inout ConnectionInfo
    ) -> (filter: any ConnectionInspector, index: Int)? {
        for (number, entry) in config.filters.entries.enumerated().dropFirst(index + 1)
        where entry.runs(port: info.localAddress.port) {
            _ = entry.filter.accepted(socket, &info)
            if let filter = entry.filter.make(self) { return (filter, number) }
        }
        return nil
    }

    /// Why the first bytes of a connection led to nothing.
    enum InspectionFailure { case timeout, remoteClose, filterError }

    func inspectionFailed(_ connection: InspectedConnection, _ failure: InspectionFailure) {
        forget(connection)
        switch failure {
        case .timeout: metrics.add(.downstream_pre_cx_timeout, row: worker.index)
        case .remoteClose: metrics.add(.downstream_listener_filter_remote_close, row: worker.index)
        case .filterError: metrics.add(.downstream_listener_filter_error, row: worker.index)
        }
    }

    /// `timedOut`: the time was over, and the listener goes on without an answer.
    func inspected(_ connection: InspectedConnection, _ socket: Socket, input: ByteBuffer, timedOut: Bool) {
        forget(connection)
        if timedOut { metrics.add(.downstream_pre_cx_timeout, row: worker.index) }
        choose(socket, connection.info, input: input)
    }

    private func forget(_ connection: InspectedConnection) {
        guard inspected.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        metrics.subtract(.downstream_pre_cx_active, row: worker.index)
    }

    private func choose(_ socket: Socket, _ start: ConnectionInfo, input: ByteBuffer?) {
        var info = start
        if config.handsOff, info.isRedirected, let other = worker.listener(for: info.localAddress, besides: self) {
            // What it counts it gives back at the end: never more than it took.
            other.metrics.balance.add(worker.index)
            return other.serve(socket, info, input: input)
        }
        let connection = FilterChainMatcher.Connection(info)
        guard let chain = config.chain(for: connection), let runtime = runtime(of: chain) else {
            metrics.add(.no_filter_chain_match, row: worker.index)
            worker.log(
                config.accessLogs, info, started: worker.loop.now, flags: .noRouteFound,
                details: "filter_chain_not_found")
            socket.close()
            return
        }
        if info.hasFacts, !chain.name.isEmpty { info.facts.filterChainName = chain.name }
        if !chain.name.isEmpty { info.filterChain = chain.name }
        if !config.accessLogs.isEmpty { (socket.observer as? ConnectionLife)?.tell(config.accessLogs, info) }
        runtime.serve(socket, info, input: input)
    }

    // MARK: Ending

    /// Takes what is in the queue, then closes the socket; connections drain.
    func drain() {
        guard !isDraining else { return }
        isDraining = true
        stopAccepting()
        // Those that have not said enough yet to belong anywhere; the listener is gone when they would ask it.
        for connection in Array(inspected.values) {
            connection.abandon()
            forget(connection)
        }
        for chain in chains.values { worker.drain(chain) }
        chains = [:]
        hasDrained = true
    }

    /// More descriptors of the sockets that it accepts from, with the addresses as they are configured.
    func duplicateSockets() -> [(address: IO.SocketAddress, socket: Socket)] {
        guard config.udp == nil else { return [] }
        return doors.compactMap { door in
            guard door.address.namespacePath == nil, let copy = try? door.socket.duplicate() else { return nil }
            return (door.address.address, copy)
        }
    }

    func stopAccepting() {
        udp?.close()
        if udp == nil { acceptAll() }
        udp = nil
        acceptPause?.cancel()
        for door in doors { door.close() }
        doors = []
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
        for door in doors { door.cancel() }
    }
}

/// A socket of a listener, for one of its addresses.
private final class ListenerDoor: ReadinessHandler {
    let address: ListenerAddress
    let socket: Socket
    private unowned let listener: ListenerRuntime
    private var registration: Registration?

    init(_ address: ListenerAddress, _ socket: Socket, _ listener: ListenerRuntime) {
        self.address = address
        self.socket = socket
        self.listener = listener
    }

    func open() throws(SystemError) { registration = try listener.worker.loop.register(socket.fd, self) }

    func ready(_ readiness: Readiness) { listener.knocked(at: self) }

    func cancel() {
        registration?.cancel()
        registration = nil
    }

    func close() {
        cancel()
        socket.close()
    }
}
