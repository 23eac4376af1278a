internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// A connection to a host that carries the payload of one request as plain bytes: the tunnel that CONNECT asks for ends here.
///
/// Who asked gets `200` when the connection is there; a POST that the route takes for a tunnel gets its answer as the body.
final class TCPUpstreamConnection: SocketConnection, UpstreamStream {
    private let pool: HostPool
    let priority: ResourcePriority
    /// Waits for the connection.
    private(set) var waiter: (any PoolClient)?
    private var client: (any UpstreamClient)?
    /// What goes before the payload: a PROXY protocol header.
    private let opening: [UInt8]
    private var isConnecting = true
    private var isEstablished = false
    private var isTunnel = false
    private var hasAnswered = false
    private var isRunning = false
    private var endsWhenFlushed = false
    private var connectTimer: LoopTimer?
    private let started: MonotonicTime

    init(
        _ socket: Socket, pool: HostPool, priority: ResourcePriority, tls: TLSTransport?, opening: [UInt8],
        for waiter: any PoolClient
    ) {
        self.pool = pool
        self.priority = priority
        self.opening = opening
        self.waiter = waiter
        started = pool.cluster.worker.loop.now
        super.init(socket, worker: pool.cluster.worker, tls: tls)
        connectTimer = worker.schedule(after: pool.cluster.config.connectTimeout) { [self] in
            guard isConnecting, !isClosed else { return }
            pool.cluster.count(.upstream_cx_connect_timeout)
            failConnecting(.connectTimedOut)
        }
    }

    var httpVersion: HTTPVersion { .http11 }

    var localAddress: SocketAddress? { socket?.localAddress }

    var tlsFacts: TLSFacts? { tls.map { TLSFacts($0.engine) } }

    // MARK: Connecting

    override func handleReady(_ readiness: Readiness) {
        if isConnecting {
            guard isEstablished || readiness.contains(.writable) else { return }
            return finishConnecting()
        }
        if readiness.contains(.writable) && !output.isEmpty { worker.markDirty(self) }
        run()
    }

    private func finishConnecting() {
        if !isEstablished {
            if let error = socket?.pendingError("connect \(pool.address)") {
                return failConnecting(.connectFailed(error))
            }
            isEstablished = true
            socket?.setNoDelay()
            sendPreface(pool.cluster, pool.host, pool.key.preface, to: pool.address)
        }
        if let tls {
            switch stepHandshake(tls) {
            case .pending: return
            case .failed(let reason):
                pool.cluster.handshakeFailed(tls.engine)
                return failConnecting(.handshakeFailed(reason))
            case .done: pool.cluster.handshakeFinished(tls.engine)
            }
        }
        isConnecting = false
        connectTimer?.cancel()
        connectTimer = nil
        pool.cluster.metrics.connectTime.record(worker.loop.now - started, row: worker.index)
        let waiter = waiter
        self.waiter = nil
        pool.connected(self)
        waiter?.poolReady(self)
    }

    private func failConnecting(_ failure: PoolFailure) {
        let waiter = waiter
        self.waiter = nil
        close()
        pool.cluster.count(.upstream_cx_connect_fail)
        pool.host.statistics.connectFailures &+= 1
        waiter?.poolFailed(failure)
    }

    // MARK: Request out

    func begin(_ request: borrowing RequestHead, isUpgrade: Bool, for client: any UpstreamClient) {
        self.client = client
        isTunnel = isUpgrade
        if !opening.isEmpty { send(opening) }
        // Not from within: who begins a request is not ready for its answer yet.
        worker.loop.atEndOfPass { [self] in
            answer()
            worker.endTurn()
        }
    }

    private func answer() {
        guard let client, !isClosed else { return }
        hasAnswered = true
        var head = ResponseHead(status: 200)
        head.body = isTunnel ? .tunnel : .chunked
        client.responseHead(&head)
        run()
    }

    func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        send(bytes)
        if output.count >= pool.cluster.rules.bufferBytes { flush() }
    }

    func sendEnd(_ trailers: borrowing HeaderTable) {
        // The request of a tunnel is its head.
        if !isTunnel { sendTunnelEnd() }
    }

    func sendTunnelEnd() {
        if output.isEmpty { shutdownWrite() } else { endsWhenFlushed = true }
    }

    var requestIsBlocked: Bool { output.count >= pool.cluster.rules.bufferBytes }

    override func handleFlushed() {
        if endsWhenFlushed {
            endsWhenFlushed = false
            shutdownWrite()
        }
        client?.requestMayContinue()
    }

    override func handleWriteFailure(_ error: SystemError) { fail(.terminated(error)) }

    override func countSent(_ count: Int) {
        pool.cluster.count(.upstream_cx_tx_bytes_total, UInt64(clamping: count))
    }

    // MARK: Response in

    func responseMayContinue() { run() }

    private func run() {
        guard !isRunning, !isConnecting, hasAnswered else { return }
        isRunning = true
        defer { isRunning = false }
        var reads = 0
        while !isClosed, let client {
            if !input.isEmpty {
                if client.responseIsPaused { return }
                pool.cluster.count(.upstream_cx_rx_bytes_total, UInt64(clamping: input.count))
                client.responseBody(input.bytes)
                guard !isClosed else { return }
                input.removeAll()
            }
            if client.responseIsPaused { return }
            reads += 1
            if reads > Limits.readsPerTurn {
                worker.loop.atEndOfPass { [self] in
                    run()
                    worker.endTurn()
                }
                return
            }
            switch fill() {
            case .bytes: continue
            case .wouldBlock: return
            case .end:
                self.client = nil
                close()
                return client.responseEnd(HeaderTable())
            case .failed(let error): return fail(.terminated(error))
            }
        }
    }

    private func fail(_ failure: UpstreamFailure) {
        let client = client
        self.client = nil
        close()
        client?.upstreamFailed(failure, onReusedConnection: false)
    }

    func abandon() {
        client = nil
        close()
    }

    override func close() {
        guard !isClosed else { return }
        connectTimer?.cancel()
        connectTimer = nil
        super.close()
        pool.closed(self, wasConnecting: isConnecting)
    }
}
