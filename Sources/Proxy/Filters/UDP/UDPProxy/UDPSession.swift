internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// One client's datagrams to one host, over a socket of their own.
final class UDPSession: ReadinessHandler, FormatContext {
    let key: UDPProxy.Key
    let host: Host
    let connectionInfo: ConnectionInfo
    var info: StreamInfo
    /// Strong: proxy and session let go of each other when the session ends.
    private let proxy: UDPProxy
    private let worker: Worker
    private let cluster: ClusterRuntime
    private let metrics: UDPClusterMetrics
    private let socket: Socket
    private var registration: Registration?
    private var timer: LoopTimer?
    private var lastActivity: MonotonicTime
    private var received: UInt64 = 0
    private var sent: UInt64 = 0
    private var sendErrors: UInt64 = 0
    private var isOver = false

    init(
        _ proxy: UDPProxy, key: UDPProxy.Key, info connection: ConnectionInfo, cluster: ClusterRuntime, host: Host,
        metrics: UDPClusterMetrics
    ) throws(SystemError) {
        self.proxy = proxy
        self.key = key
        self.host = host
        self.cluster = cluster
        self.metrics = metrics
        connectionInfo = connection
        worker = proxy.worker
        lastActivity = worker.loop.now
        info = StreamInfo(started: lastActivity)
        if !proxy.config.accessLogs.isEmpty { info.startedWall = WallClock.now }
        guard let address = IO.SocketAddress(host.address), case .ip = address else {
            throw SystemError(Self.noAddress, "udp to \(host.address)")
        }
        info.upstreamHost = address
        socket = try Socket.datagram(connectedTo: address, from: cluster.source(for: address))
        registration = try worker.loop.register(socket.fd, self)
        host.activeConnections &+= 1
        armTimer()
        if let interval = proxy.config.accessLogInterval, !proxy.config.accessLogs.isEmpty { logPeriodically(interval) }
    }

    private static let noAddress: Int32 = 97  // EAFNOSUPPORT

    /// Whether its host is still one to speak to.
    var mayGoOn: Bool { !host.conditions.contains(.removed) && host.health != .unhealthy }

    // MARK: To the host

    func send(_ datagram: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        lastActivity = worker.loop.now
        proxy.received(datagram.count)
        received &+= 1
        info.bytesReceived &+= UInt64(datagram.count)
        do throws(SystemError) {
            try socket.sendDatagram(datagram)
            metrics.sentDatagrams.add(row: worker.index)
            cluster.count(.upstream_cx_tx_bytes_total, UInt64(datagram.count))
        } catch {
            metrics.sendErrors.add(row: worker.index)
        }
    }

    // MARK: From the host

    private static let datagramsPerTurn = 64

    func ready(_ readiness: Readiness) {
        receive()
        worker.endTurn()
    }

    private func receive() {
        for _ in 0..<Self.datagramsPerTurn {
            guard !isOver else { return }
            var isDone = false
            proxy.withBuffer { buffer in
                do throws(SystemError) {
                    guard let (count, _) = try socket.receiveDatagram(into: buffer) else {
                        isDone = true
                        return
                    }
                    guard count <= proxy.config.upstreamBytesMax else {
                        return metrics.droppedDatagrams.add(row: worker.index)
                    }
                    lastActivity = worker.loop.now
                    metrics.receivedDatagrams.add(row: worker.index)
                    cluster.count(.upstream_cx_rx_bytes_total, UInt64(count))
                    if proxy.send(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to: key) {
                        sent &+= 1
                        info.bytesSent &+= UInt64(count)
                    } else {
                        sendErrors &+= 1
                    }
                } catch {
                    // An ICMP error of an earlier datagram: the next may be taken.
                    metrics.receiveErrors.add(row: worker.index)
                }
            }
            if isDone { return }
        }
        worker.loop.atEndOfPass { [weak self] in
            self?.receive()
            self?.worker.endTurn()
        }
    }

    // MARK: Time and end

    private func armTimer() {
        let wait = (lastActivity + proxy.config.idleTimeout) - worker.loop.now
        timer = worker.schedule(after: max(wait, .milliseconds(1))) { [weak self] in
            guard let self, !self.isOver else { return }
            if self.lastActivity + self.proxy.config.idleTimeout <= self.worker.loop.now {
                self.end(wasIdle: true)
            } else {
                self.armTimer()
            }
        }
    }

    private func logPeriodically(_ interval: Duration) {
        _ = worker.schedule(after: interval) { [weak self] in
            guard let self, !self.isOver else { return }
            self.log(.udpPeriodic)
            self.logPeriodically(interval)
        }
    }

    private func log(_ type: LogType) {
        guard !proxy.config.accessLogs.isEmpty else { return }
        info.metadata["udp.proxy.session"] = .object([
            "cluster_name": .string(cluster.name), "bytes_received": .count(info.bytesReceived),
            "bytes_sent": .count(info.bytesSent), "datagrams_received": .count(received),
            "datagrams_sent": .count(sent), "errors_sent": .count(sendErrors),
        ])
        worker.accessLog.log(proxy.config.accessLogs, self, type) { worker.random.next() }
    }

    func end(wasIdle: Bool = false) {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        timer = nil
        registration?.cancel()
        registration = nil
        socket.close()
        host.activeConnections &-= 1
        cluster.release(.connection, .normal)
        info.lastDownstreamByteSent = worker.loop.now
        log(.udpSessionEnd)
        proxy.ended(self, wasIdle: wasIdle)
        cluster.released(host)
    }
}
