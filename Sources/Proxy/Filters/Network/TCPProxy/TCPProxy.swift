internal import IO
internal import Telemetry
internal import Upstream

/// The TCP proxy of one filter chain on one loop.
final class TCPProxy {
    let config: TCPProxyConfig
    let metrics: TCPMetrics
    let worker: Worker
    private(set) var sessions: [ObjectIdentifier: TCPSession] = [:]
    /// Counts for Istio's standard metrics; nil where no filter asks for them.
    let standard: StandardRecorder?
    private var isReporting = false

    init(_ config: TCPProxyConfig, metrics: TCPMetrics, worker: Worker, standard: StandardRecorder? = nil) {
        self.standard = standard
        self.config = config
        self.metrics = metrics
        self.worker = worker
    }

    func accept(_ socket: Socket, info: ConnectionInfo, input: ByteBuffer?, tls: TLSTransport? = nil) {
        let session = TCPSession(proxy: self, info: info)
        sessions[ObjectIdentifier(session)] = session
        metrics.block.add(TCPMetrics.Cell.downstream_cx_total.rawValue, row: worker.index)
        metrics.block.add(TCPMetrics.Cell.downstream_cx_active.rawValue, row: worker.index)
        reportLater()
        session.begin(socket, input: input, tls: tls)
    }

    /// Connections that last tell their bytes now and then.
    private func reportLater() {
        guard let standard, !isReporting, !sessions.isEmpty else { return }
        isReporting = true
        _ = worker.schedule(after: standard.interval) { [weak self] in
            guard let self else { return }
            self.isReporting = false
            for session in self.sessions.values { session.report() }
            self.reportLater()
        }
    }

    /// Logs a connection that a network filter before this one refused.
    func refused(_ info: ConnectionInfo, details: String, flag: ResponseFlags) {
        guard !config.accessLogs.isEmpty else { return }
        let session = TCPSession(proxy: self, info: info)
        if flag.isEmpty { session.info.connectionTerminationDetails = details } else { session.info.details = details }
        session.info.flags.insert(flag)
        session.info.lastDownstreamByteSent = worker.loop.now
        session.log(.tcpConnectionEnd)
    }

    func ended(_ session: TCPSession) {
        guard sessions.removeValue(forKey: ObjectIdentifier(session)) != nil else { return }
        metrics.block.subtract(TCPMetrics.Cell.downstream_cx_active.rawValue, row: worker.index)
        metrics.add(.downstream_cx_rx_bytes_total, session.info.bytesReceived, row: worker.index)
        metrics.add(.downstream_cx_tx_bytes_total, session.info.bytesSent, row: worker.index)
        session.report(isEnd: true)
        session.log(.tcpConnectionEnd)
    }
}

/// One proxied TCP connection: two sockets and what is on its way between them.
final class TCPSession: FormatContext {
    let proxy: TCPProxy
    let worker: Worker
    let connectionInfo: ConnectionInfo
    var info: StreamInfo

    private var downstream: TCPSide?
    private var upstream: TCPSide?
    /// In place of `upstream` where connections travel inside requests.
    private var tunnel: TCPTunnel?
    private var cluster: ClusterRuntime?
    var upstreamCluster: ClusterRuntime? { cluster }
    var observedCluster: String? { observed(cluster?.config) }
    func expressionGaveUp() { worker.countExpressionGivenUp() }
    private var host: Host?
    private var triedHosts: [Host] = []
    private var attempts = 0
    private(set) var isOver = false
    private var timer: LoopTimer?
    private var connectTimer: LoopTimer?
    private var durationTimer: LoopTimer?
    /// The cluster is not there yet.
    private var clusterWait: DemandWait?
    /// Counted in the cluster's `upstream_rq_active`.
    private var countsActive = false
    private var lastActivity: MonotonicTime
    /// What standard metrics have been told.
    private var told: (sent: UInt64, received: UInt64)?
    private var principals = StandardPrincipals()

    init(proxy: TCPProxy, info connectionInfo: ConnectionInfo) {
        self.proxy = proxy
        self.connectionInfo = connectionInfo
        worker = proxy.worker
        lastActivity = worker.loop.now
        info = StreamInfo(started: worker.loop.now)
        if !proxy.config.accessLogs.isEmpty { info.startedWall = WallClock.now }
    }

    func begin(_ socket: Socket, input: ByteBuffer?, tls: TLSTransport?) {
        socket.setNoDelay()
        let side = TCPSide(socket, worker: worker, input: input, session: self, isDownstream: true, tls: tls)
        downstream = side
        do throws(SystemError) {
            try side.start()
        } catch {
            return end()
        }
        logStart()
        armIdleTimer()
        if let duration = proxy.config.maxDuration, duration > .zero {
            durationTimer = worker.schedule(after: duration) { [weak self] in self?.durationIsOver() }
        }
        // A filter before this one may have named the cluster (sni_cluster).
        let named = connectionInfo.hasFacts ? connectionInfo.facts.filterState[TCPProxyConfig.clusterKey] : nil
        let name = named ?? proxy.config.cluster(random: worker.random.next())
        if let cluster = worker.cluster(named: name) { return begin(at: cluster) }
        guard let onDemand = proxy.config.onDemand else { return endWithoutCluster() }
        proxy.metrics.add(.on_demand_cluster_attempt, row: worker.index)
        clusterWait = worker.demandCluster(name, onDemand) { [weak self] in self?.demanded(name, $0) }
        if clusterWait == nil { endWithoutCluster() }
    }

    private func begin(at cluster: ClusterRuntime) {
        if isShed(at: .tcpProxyConnect) { return }
        info.upstreamCluster = cluster.name
        self.cluster = cluster
        connect()
    }

    /// The cluster that was asked for is there, or will not come.
    private func demanded(_ name: String, _ outcome: ClusterDemand.Outcome) {
        clusterWait = nil
        guard !isOver else { return }
        switch outcome {
        case .available:
            proxy.metrics.add(.on_demand_cluster_success, row: worker.index)
            if let cluster = worker.cluster(named: name) { return begin(at: cluster) }
        case .missing: proxy.metrics.add(.on_demand_cluster_missing, row: worker.index)
        case .timedOut: proxy.metrics.add(.on_demand_cluster_timeout, row: worker.index)
        }
        endWithoutCluster()
    }

    private func endWithoutCluster() {
        info.flags.insert(.noClusterFound)
        proxy.metrics.block.add(TCPMetrics.Cell.downstream_cx_no_route.rawValue, row: worker.index)
        end()
    }

    /// Tells standard metrics what is new since it did so last.
    func report(isEnd: Bool = false) {
        guard let standard = proxy.standard, isEnd || upstream?.isConnected == true || tunnel?.isOpen == true else {
            return
        }
        let series = standard.series(
            info, connectionInfo, cluster: info.upstreamCluster ?? "", metadata: cluster?.config.metadata,
            principals: principals)
        let before = told ?? (0, 0)
        if told == nil { series.opened(row: worker.index) }
        series.moved(
            sent: info.bytesSent &- before.sent, received: info.bytesReceived &- before.received, row: worker.index)
        told = (info.bytesSent, info.bytesReceived)
        if isEnd { series.closed(row: worker.index) }
    }

    private func durationIsOver() {
        guard !isOver else { return }
        proxy.metrics.add(.max_downstream_connection_duration, row: worker.index)
        info.flags.insert(.durationTimeout)
        end()
    }

    /// Ends the session where a load shed point says so.
    private func isShed(at point: OverloadConfig.ShedPoint) -> Bool {
        guard worker.sheds(point) else { return false }
        proxy.metrics.add(.downstream_cx_overload_close, row: worker.index)
        info.flags.insert(.overloadManager)
        end()
        return true
    }

    private func connect() {
        guard let cluster, !isOver else { return }
        attempts += 1
        info.attempts = attempts
        var choice = LoadBalancer.Request()
        choice.avoiding = triedHosts
        if !proxy.config.hashPolicies.isEmpty {
            choice.hash =
                proxy.config.hashPolicies.lazy.compactMap { [connectionInfo] in $0.hash(connectionInfo) }.first
        }
        choice.attemptsMax = triedHosts.isEmpty ? 0 : 5
        var header: [UInt8]?
        guard let host = cluster.choose(choice, connection: connectionInfo),
            let address = IO.SocketAddress(host.address),
            cluster.makePreface(host, for: connectionInfo, &header)
        else {
            cluster.count(.upstream_cx_none_healthy)
            info.flags.insert(.noHealthyUpstream)
            return end()
        }
        if let tunneling = proxy.config.tunneling {
            return connect(tunneling, cluster, host, address)
        }
        if worker.sheds(.upstreamConnection) {
            // Envoy's flag for connections that come to nothing.
            info.flags.insert(.upstreamRetryLimitExceeded)
            return end()
        }
        guard cluster.acquire(.connection, .normal) else {
            cluster.count(.upstream_cx_overflow)
            info.flags.insert(.upstreamOverflow)
            return end()
        }
        triedHosts.append(host)
        self.host = host
        host.activeConnections &+= 1
        host.activeRequests &+= 1
        cluster.count(.upstream_cx_total)
        cluster.count(.upstream_cx_active)
        cluster.count(.upstream_rq_pending_total)
        info.upstreamHost = address
        do throws(SystemError) {
            let tls = try cluster.beginTLS(host)
            let socket = try cluster.openSocket(
                to: address, of: host, from: connectionInfo.hasFacts ? connectionInfo.facts.upstreamSource : nil)
            let side = TCPSide(
                socket, worker: worker, input: nil, session: self, isDownstream: false, tls: tls)
            side.preface = header
            upstream = side
            try side.start()
            connectTimer = worker.schedule(after: cluster.config.connectTimeout) { [weak self] in
                self?.cluster?.count(.upstream_cx_connect_timeout)
                self?.connectFailed("connection timeout")
            }
        } catch {
            connectFailed(error.reason)
        }
    }

    /// Connects through a request; the pool counts connections.
    private func connect(
        _ tunneling: TCPTunneling, _ cluster: ClusterRuntime, _ host: Host, _ address: IO.SocketAddress
    ) {
        triedHosts.append(host)
        info.upstreamHost = address
        guard let head = tunneling.request(self), let pool = cluster.pool(of: host, for: connectionInfo) else {
            info.flags.insert(.noHealthyUpstream)
            return end()
        }
        let tunnel = TCPTunnel(self, pool, head)
        self.tunnel = tunnel
        tunnel.start()
    }

    func tunnelOverflowed() {
        info.flags.insert(.upstreamOverflow)
        end()
    }

    /// Whether the client reads slower than the host writes.
    var clientIsBlocked: Bool { (downstream?.output.count ?? 0) >= proxy.config.buffers.wire }

    func tunnelBytes(_ bytes: UnsafeRawBufferPointer) {
        guard let downstream, !isOver else { return }
        lastActivity = worker.loop.now
        info.bytesSent &+= UInt64(bytes.count)
        downstream.send(bytes)
        if !downstream.output.isEmpty { downstream.flush() }
    }

    func tunnelEnded() {
        downstream?.finishWriting()
        relay()
    }

    private func relay(_ downstream: TCPSide, _ tunnel: TCPTunnel) {
        var reads = 0
        while !isOver, !downstream.hasEnded, !tunnel.hasEnded, !tunnel.isBlocked {
            if !downstream.input.isEmpty {
                if worker.overload.shedsLoad, isShed(at: .tcpProxyData) { return }
                info.bytesReceived &+= UInt64(downstream.input.count)
                tunnel.send(downstream.input.bytes)
                guard !isOver, !downstream.isClosed else { return }
                downstream.input.removeAll()
                continue
            }
            reads += 1
            if reads > Limits.readsPerTurn {
                worker.loop.atEndOfPass { [weak self] in
                    self?.relay()
                    self?.worker.endTurn()
                }
                break
            }
            switch downstream.fill() {
            case .bytes: lastActivity = worker.loop.now
            case .wouldBlock:
                tunnel.responseMayContinue()
                return endWhenDone(downstream, tunnel)
            case .end:
                downstream.hasEnded = true
                tunnel.finish()
            case .failed: return end(reset: true)
            }
        }
        guard !isOver else { return }
        tunnel.responseMayContinue()
        endWhenDone(downstream, tunnel)
    }

    private func endWhenDone(_ downstream: TCPSide, _ tunnel: TCPTunnel) {
        // An HTTP request is over when its answer is: what the client says then has no place to go.
        if !isOver, tunnel.hasEnded, downstream.output.isEmpty { end() }
    }

    func connected() {
        connectTimer?.cancel()
        connectTimer = nil
        if tunnel == nil {
            // A tunnel's request was counted when it began.
            cluster?.count(.upstream_rq_total)
            if host != nil {
                countsActive = true
                cluster?.count(.upstream_rq_active)
            }
        }
        if let cluster, let host { cluster.outlier?.report(.response(200), host) }
        if !proxy.config.accessLogs.isEmpty {
            info.upstreamLocalAddress = tunnel?.localAddress ?? upstream?.socket?.localAddress
        }
        if proxy.standard != nil {
            principals = StandardPrincipals((upstream?.tls).map { TLSFacts($0.engine) })
            report()
        }
        if proxy.config.logOptions.logsConnected { log(.tcpUpstreamConnected) }
        relay()
    }

    func connectFailed(_ reason: String) {
        connectTimer?.cancel()
        connectTimer = nil
        upstream?.close()
        upstream = nil
        tunnel?.close()
        if tunnel == nil { cluster?.count(.upstream_cx_connect_fail) }
        tunnel = nil
        if let host {
            host.statistics.connectFailures &+= 1
            cluster?.outlier?.report(.localFailure, host)
        }
        releaseHost()
        info.flags.insert(.upstreamConnectionFailure)
        info.upstreamTransportFailure = reason
        if attempts < proxy.config.maxConnectAttempts {
            if isShed(at: .tcpProxyConnect) { return }
            return connect()
        }
        info.flags.insert(.upstreamRetryLimitExceeded)
        // An orderly end, as Envoy's: the client has done nothing wrong.
        end()
    }

    private func releaseHost() {
        guard let host, let cluster else { return }
        self.host = nil
        if countsActive {
            countsActive = false
            cluster.uncount(.upstream_rq_active)
        }
        host.activeConnections &-= 1
        host.activeRequests &-= 1
        cluster.release(.connection, .normal)
        cluster.uncount(.upstream_cx_active)
        cluster.count(.upstream_cx_destroy)
        cluster.released(host)
    }

    /// Moves bytes both ways as far as they go.
    func relay() {
        if let tunnel {
            guard let downstream, tunnel.isOpen, !isOver else { return }
            return relay(downstream, tunnel)
        }
        guard let downstream, let upstream, upstream.isConnected, !isOver else { return }
        move(from: downstream, to: upstream)
        guard !isOver else { return }
        move(from: upstream, to: downstream)
        guard !isOver else { return }
        if downstream.hasEnded && upstream.hasEnded && downstream.output.isEmpty && upstream.output.isEmpty { end() }
    }

    /// Bytes that wait for a side before the other one is read no further.
    private func bufferBytes(to sink: TCPSide) -> Int {
        if sink === downstream { return proxy.config.buffers.wire }
        return upstreamCluster?.rules.bufferBytes ?? Limits.bufferBytes
    }

    private func move(from source: TCPSide, to sink: TCPSide) {
        var reads = 0
        while !isOver {
            if !source.input.isEmpty {
                if worker.overload.shedsLoad, source === downstream, isShed(at: .tcpProxyData) { return }
                let count = UInt64(source.input.count)
                if source === downstream { info.bytesReceived &+= count } else { info.bytesSent &+= count }
                sink.send(source.input.bytes)
                guard !source.isClosed, !sink.isClosed else { return }
                source.input.removeAll()
                // Little waits for the end of the turn, together with what others say.
                if sink.output.count >= Limits.directWriteBytes { sink.flush() }
                if isOver { return }
            }
            // No bound is zero: where nothing waits, none is looked up.
            if source.hasEnded || !sink.output.isEmpty && sink.output.count >= bufferBytes(to: sink) { return }
            reads += 1
            if reads > Limits.readsPerTurn {
                worker.loop.atEndOfPass { [weak self] in
                    self?.relay()
                    self?.worker.endTurn()
                }
                return
            }
            switch source.fill() {
            case .bytes: lastActivity = worker.loop.now
            case .wouldBlock: return
            case .end:
                source.hasEnded = true
                sink.finishWriting()
                return
            case .failed:
                if source === upstream { info.flags.insert(.upstreamRemoteReset) }
                return end(reset: true)
            }
        }
    }

    private func armIdleTimer() {
        guard let timeout = proxy.config.idleTimeout else { return }
        let wait = (lastActivity + timeout) - worker.loop.now
        timer = worker.schedule(after: max(wait, .milliseconds(1))) { [weak self] in
            guard let self, !self.isOver else { return }
            if self.lastActivity + timeout <= self.worker.loop.now {
                self.proxy.metrics.block.add(TCPMetrics.Cell.idle_timeout.rawValue, row: self.worker.index)
                self.end()
            } else {
                self.armIdleTimer()
            }
        }
    }

    /// Ends the session; `reset` tells the client that it was no orderly end.
    func end(reset: Bool = false) {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        connectTimer?.cancel()
        durationTimer?.cancel()
        clusterWait?.cancel()
        clusterWait = nil
        info.lastDownstreamByteSent = worker.loop.now
        if let cluster, tunnel == nil {
            cluster.count(.upstream_cx_tx_bytes_total, info.bytesReceived)
            cluster.count(.upstream_cx_rx_bytes_total, info.bytesSent)
        }
        releaseHost()
        if reset { downstream?.socket?.setResetOnClose() }
        upstream?.close()
        tunnel?.close()
        tunnel = nil
        downstream?.close()
        upstream = nil
        downstream = nil
        proxy.ended(self)
    }
}

/// One of the two sockets of a session.
final class TCPSide: SocketConnection {
    /// Strong: the session lets go of its sides when it ends.
    ///
    /// A weak reference would make every retain of it slow.
    private let session: TCPSession
    private let isDownstream: Bool
    private(set) var isConnected: Bool
    /// The socket is; TLS may still be on its way.
    private var isEstablished = false
    /// The peer sends no more.
    var hasEnded = false
    private var endsWhenFlushed = false
    /// What the connection begins with, before any TLS.
    var preface: [UInt8]?

    init(
        _ socket: Socket, worker: Worker, input: ByteBuffer?, session: TCPSession, isDownstream: Bool,
        tls: TLSTransport? = nil
    ) {
        self.session = session
        self.isDownstream = isDownstream
        isConnected = isDownstream
        super.init(socket, worker: worker, input: input, tls: tls)
    }

    override func handleReady(_ readiness: Readiness) {
        guard !session.isOver else { return close() }
        if !isConnected {
            guard isEstablished || readiness.contains(.writable) else { return }
            if !isEstablished {
                if let error = socket?.pendingError() {
                    // Envoy's words: `delayed_connect_error:_Connection_refused`.
                    let words = error.reason.split(separator: " ").joined(separator: "_")
                    return session.connectFailed(
                        "delayed_connect_error:_" + words.prefix(1).uppercased() + words.dropFirst())
                }
                isEstablished = true
                if let preface {
                    sendPreface(preface)
                    session.upstreamCluster?.count(.upstream_cx_tx_bytes_total, UInt64(preface.count))
                }
            }
            if let tls {
                switch stepHandshake(tls) {
                case .pending: return
                case .failed(let reason):
                    session.upstreamCluster?.handshakeFailed(tls.engine)
                    return session.connectFailed("TLS_error: \(reason)")
                case .done: session.upstreamCluster?.handshakeFinished(tls.engine)
                }
            }
            isConnected = true
            return session.connected()
        }
        if readiness.contains(.writable) && !output.isEmpty { flush() }
        session.relay()
    }

    override func handleFlushed() {
        if endsWhenFlushed {
            endsWhenFlushed = false
            shutdownWrite()
        }
        session.relay()
    }

    override func handleWriteFailure(_ error: SystemError) { session.end(reset: true) }

    /// No more bytes follow in this direction.
    func finishWriting() {
        if output.isEmpty { shutdownWrite() } else { endsWhenFlushed = true }
    }
}
