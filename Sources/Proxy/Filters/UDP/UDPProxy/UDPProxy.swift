internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// A UDP listener's filter at work on one loop: takes datagrams, finds the session of each, and sends answers back.
///
/// The kernel spreads clients over the loops' sockets by address and port (SO_REUSEPORT), so that a session belongs to one loop.
final class UDPProxy: ReadinessHandler {
    /// What sets sessions apart: who speaks to us, and, where each datagram chooses its host, the host.
    struct Key: Hashable {
        var client: IO.SocketAddress
        /// Where it speaks to us, on a listener for all addresses: answers come from there.
        var local: IO.SocketAddress?
        var host: HostAddress?
    }

    /// Counts of all sessions, for the log of the proxy itself.
    private struct Totals {
        var sessions: UInt64 = 0
        var noRoute: UInt64 = 0
        var idle: UInt64 = 0
        var wireBytes: UInt64 = 0
        var receivedBytes: UInt64 = 0
        var receivedDatagrams: UInt64 = 0
        var receiveErrors: UInt64 = 0
        var sentBytes: UInt64 = 0
        var sentDatagrams: UInt64 = 0
        var sendErrors: UInt64 = 0
    }

    let config: UDPProxyConfig
    let worker: Worker
    private let socket: Socket
    private let address: IO.SocketAddress
    private let dropped: MetricCounter
    private var registration: Registration?
    private var sessions: [Key: UDPSession] = [:]
    private var clusterMetrics: [String: UDPClusterMetrics] = [:]
    private var totals = Totals()
    private let started: MonotonicTime
    private let startedWall = WallClock.now
    /// What one datagram is received into, and no more than one at a time.
    private let buffer: UnsafeMutableRawBufferPointer
    private var isClosed = false
    /// The listener is for all addresses of this machine.
    private var isWildcard = false

    init(_ config: UDPProxyConfig, socket: Socket, listener: ListenerMetrics, worker: Worker) {
        self.config = config
        self.socket = socket
        self.worker = worker
        address = socket.localAddress ?? .unix("")
        dropped = worker.metrics.scope("listener", listener.address, "udp").counter("downstream_rx_datagram_dropped")
        started = worker.loop.now
        buffer = .allocate(byteCount: max(config.downstreamBytesMax, config.upstreamBytesMax), alignment: 16)
    }

    deinit { buffer.deallocate() }

    func start() throws(SystemError) {
        if address.address?.isUnspecified == true {
            try socket.enablePacketInfo()
            isWildcard = true
        }
        registration = try worker.loop.register(socket.fd, self)
    }

    var sessionCount: Int { sessions.count }

    // MARK: From clients

    /// Datagrams taken in one turn before others get theirs.
    private static let datagramsPerTurn = 64

    func ready(_ readiness: Readiness) {
        receive()
        worker.endTurn()
    }

    private func receive() {
        for _ in 0..<Self.datagramsPerTurn {
            guard !isClosed else { return }
            do throws(SystemError) {
                var local: IPAddress?
                let datagram =
                    isWildcard
                    ? try socket.receiveDatagram(into: buffer, local: &local) : try socket.receiveDatagram(into: buffer)
                guard let (count, from) = datagram else { return }
                guard count <= config.downstreamBytesMax, let from else {
                    dropped.add(row: worker.index)
                    continue
                }
                take(
                    UnsafeRawBufferPointer(rebasing: buffer[..<count]), from: from,
                    to: local.map { .ip($0, port: address.port ?? 0) })
            } catch {
                config.metrics.receiveErrors.add(row: worker.index)
                totals.receiveErrors &+= 1
            }
        }
        // Edge-triggered: what still waits is not announced again.
        worker.loop.atEndOfPass { [weak self] in
            self?.receive()
            self?.worker.endTurn()
        }
    }

    private func take(
        _ datagram: UnsafeRawBufferPointer, from client: IO.SocketAddress, to local: IO.SocketAddress?
    ) {
        totals.wireBytes &+= UInt64(datagram.count)
        if !config.balancesEachDatagram, let known = sessions[Key(client: client, local: local)] {
            if known.mayGoOn { return known.send(datagram) }
            // Its host has gone or failed: another one, if there is a better.
            guard let cluster = cluster(for: client, local), let host = choose(cluster, client), host !== known.host
            else {
                if !known.host.conditions.contains(.removed) { known.send(datagram) } else { known.end() }
                return
            }
            known.end()
            open(Key(client: client, local: local), cluster, host)?.send(datagram)
            return
        }
        guard let cluster = cluster(for: client, local) else {
            config.metrics.noRoute.add(row: worker.index)
            totals.noRoute &+= 1
            return
        }
        guard let host = choose(cluster, client) else { return cluster.count(.upstream_cx_none_healthy) }
        let key = Key(client: client, local: local, host: config.balancesEachDatagram ? host.address : nil)
        (sessions[key] ?? open(key, cluster, host))?.send(datagram)
    }

    private func cluster(for client: IO.SocketAddress, _ local: IO.SocketAddress?) -> ClusterRuntime? {
        config.cluster(from: client, to: local ?? address).flatMap { worker.cluster(named: $0) }?.member()
    }

    private func choose(_ cluster: ClusterRuntime, _ client: IO.SocketAddress) -> Host? {
        var choice = LoadBalancer.Request()
        choice.hash = config.hash(client)
        return cluster.choose(choice, connection: nil)
    }

    /// A new session, within the limit that its cluster sets for connections.
    private func open(_ key: Key, _ cluster: ClusterRuntime, _ host: Host) -> UDPSession? {
        guard cluster.acquire(.connection, .normal) else {
            cluster.count(.upstream_cx_overflow)
            return nil
        }
        let metrics =
            clusterMetrics[cluster.name]
            ?? UDPClusterMetrics(
                worker.metrics.scope("cluster", cluster.config.observedName, "udp"))
        clusterMetrics[cluster.name] = metrics
        do throws(SystemError) {
            let session = try UDPSession(
                self, key: key, info: connectionInfo(key.client, key.local), cluster: cluster, host: host,
                metrics: metrics)
            sessions[key] = session
            config.metrics.total.add(row: worker.index)
            config.metrics.active.add(row: worker.index)
            totals.sessions &+= 1
            return session
        } catch {
            cluster.release(.connection, .normal)
            metrics.sendErrors.add(row: worker.index)
            return nil
        }
    }

    private func connectionInfo(_ client: IO.SocketAddress, _ local: IO.SocketAddress? = nil) -> ConnectionInfo {
        ConnectionInfo(
            localAddress: local ?? address, remoteAddress: client, directRemoteAddress: client,
            id: worker.nextConnectionID())
    }

    func received(_ count: Int) {
        config.metrics.receivedDatagrams.add(row: worker.index)
        config.metrics.receivedBytes.add(UInt64(count), row: worker.index)
        totals.receivedDatagrams &+= 1
        totals.receivedBytes &+= UInt64(count)
    }

    func ended(_ session: UDPSession, wasIdle: Bool) {
        guard sessions.removeValue(forKey: session.key) != nil else { return }
        config.metrics.active.subtract(row: worker.index)
        if wasIdle {
            config.metrics.idleTimeout.add(row: worker.index)
            totals.idle &+= 1
        }
    }

    // MARK: To clients

    /// Where a datagram from a host is received.
    func withBuffer(_ body: (UnsafeMutableRawBufferPointer) -> Void) { body(buffer) }

    /// An address as this socket takes it: an IPv6 socket that serves IPv4 clients (`ipv4_compat`) knows mapped ones only.
    private func addressed(_ peer: SocketAddress) -> SocketAddress {
        guard case .ip(.v6, _) = address, case .ip(let ip, let port) = peer else { return peer }
        return .ip(ip.mapped, port: port)
    }

    /// Sends an answer; false when the kernel does not take it.
    func send(_ datagram: UnsafeRawBufferPointer, to key: Key) -> Bool {
        do throws(SystemError) {
            let client = addressed(key.client)
            if let local = key.local {
                try socket.send(datagram, to: client, from: addressed(local))
            } else {
                try socket.send(datagram, to: client)
            }
            config.metrics.sentDatagrams.add(row: worker.index)
            config.metrics.sentBytes.add(UInt64(datagram.count), row: worker.index)
            totals.sentDatagrams &+= 1
            totals.sentBytes &+= UInt64(datagram.count)
            return true
        } catch {
            config.metrics.sendErrors.add(row: worker.index)
            totals.sendErrors &+= 1
            return false
        }
    }

    // MARK: Ending

    /// Ends all sessions, writes the proxy's own line, and lets go of the socket.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        registration?.cancel()
        registration = nil
        for session in Array(sessions.values) { session.end() }
        socket.close()
        guard !config.proxyAccessLogs.isEmpty else { return }
        let line = UDPProxyLine(info: connectionInfo(address), started: started, wall: startedWall)
        line.info.bytesReceived = totals.wireBytes
        line.info.bytesSent = totals.sentBytes
        line.info.metadata["udp.proxy.proxy"] = .object([
            "bytes_received": .count(totals.receivedBytes), "bytes_sent": .count(totals.sentBytes),
            "datagrams_received": .count(totals.receivedDatagrams),
            "datagrams_sent": .count(totals.sentDatagrams), "errors_received": .count(totals.receiveErrors),
            "errors_sent": .count(totals.sendErrors), "idle_timeout": .count(totals.idle),
            "no_route": .count(totals.noRoute), "session_total": .count(totals.sessions),
        ])
        worker.accessLog.log(config.proxyAccessLogs, line, .notSet) { worker.random.next() }
    }
}

/// What the log of the proxy itself tells.
private final class UDPProxyLine: FormatContext {
    var info: StreamInfo
    let connectionInfo: ConnectionInfo

    init(info connection: ConnectionInfo, started: MonotonicTime, wall: (seconds: Int64, nanoseconds: Int32)) {
        connectionInfo = connection
        info = StreamInfo(started: started)
        info.startedWall = wall
    }
}

extension JSON {
    /// A count.
    static func count(_ count: UInt64) -> JSON { .integer(Int64(clamping: count)) }
}
