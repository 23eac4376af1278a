internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// One HTTP/2 connection to a host, serving many requests at once, each an `HTTP2ClientStream`.
final class HTTP2ClientConnection: SocketConnection {
    let pool: HTTP2Pool
    let priority: ResourcePriority
    let session: HTTP2Session
    private(set) var isConnecting = true
    /// The socket is connected; TLS may still be on its way.
    private var isEstablished = false
    /// No new requests: the host says so, or a limit of ours, or the pool drains.
    private(set) var isDraining = false
    private(set) var requestsServed = 0
    /// What the configuration allows at once.
    private let streamsMax: Int
    private(set) var hasSettings = false
    /// Who waits for a stream is served when the session is at rest: while it closes one, that still counts.
    private var hasRoom = false
    private var isRunning = false
    private var connectTimer: LoopTimer?
    private var timer: LoopTimer?
    private let started: MonotonicTime
    private var lastActivity: MonotonicTime
    private var keepAlive: HTTP2KeepAlive?
    /// Asked of the kernel once: access logs tell it for each request.
    private(set) lazy var localAddress: SocketAddress? = socket?.localAddress
    /// The connection's TLS, once it stands; nil for plain text.
    private(set) lazy var tlsFacts: TLSFacts? = tls.map { TLSFacts($0.engine) }

    init(_ socket: Socket, pool: HTTP2Pool, priority: ResourcePriority, tls: TLSTransport?, input: ByteBuffer? = nil)
        throws(HTTP2Error)
    {
        self.pool = pool
        self.priority = priority
        let config = pool.cluster.config
        var limits = HTTP2Limits(config.http2)
        limits.headBytes = Int(config.responseHeaderBytesMax)
        limits.fields = Int(config.responseHeadersMax)
        streamsMax = Int(config.http2.concurrentStreamsMax ?? .max)
        session = try HTTP2Session(.client, limits: limits, memory: pool.cluster.worker.http2Memory)
        let worker = pool.cluster.worker
        started = worker.loop.now
        lastActivity = started
        super.init(socket, worker: worker, input: input, tls: tls)
        session.delegate = self
        keepAlive = HTTP2KeepAlive(config.http2, since: started, random: worker.random.next())
        connectTimer = worker.schedule(after: config.connectTimeout) { [self] in connectTimedOut() }
    }

    /// How many requests may be given to it now.
    var capacity: Int {
        guard !isDraining, !isClosed, !isConnecting, session.mayRequest else { return 0 }
        let theirs = hasSettings ? Int(session.peerStreamsMax) : pool.expectedStreams
        return min(
            min(streamsMax, theirs) - session.streamCount, pool.cluster.requestsPerConnectionMax - requestsServed)
    }

    override func handleReady(_ readiness: Readiness) {
        if isConnecting {
            guard isEstablished || readiness.contains(.writable) else { return }
            return finishConnecting()
        }
        if readiness.contains(.writable) { worker.markDirtyForPass(self) }
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
            case .done:
                pool.cluster.handshakeFinished(tls.engine)
                if pool.turnsHTTP1(self, tls) {
                    connectTimer?.cancel()
                    return
                }
            }
        }
        isNegotiated()
    }

    /// The connection is there, and speaks HTTP/2.
    func isNegotiated() {
        isEstablished = true
        isConnecting = false
        connectTimer?.cancel()
        connectTimer = nil
        pool.cluster.metrics.connectTime.record(worker.loop.now - started, row: worker.index)
        lastActivity = worker.loop.now
        armTimer()
        worker.markDirtyForPass(self)
        pool.connected(self)
        if isClosed { return }
        // Bytes that came with the same event are looked at too.
        if !input.isEmpty { receive() }
        run()
    }

    private func failConnecting(_ failure: PoolFailure) {
        isConnecting = false
        connectTimer?.cancel()
        connectTimer = nil
        super.close()
        pool.connectFailed(self, failure)
    }

    private func connectTimedOut() {
        guard isConnecting, !isClosed else { return }
        pool.cluster.count(.upstream_cx_connect_timeout)
        failConnecting(.connectTimedOut)
    }

    // MARK: Requests

    /// A stream for one request, which begins when its client says `begin`.
    func makeStream() -> HTTP2ClientStream { HTTP2ClientStream(self) }

    /// A request was begun.
    func requestBegan() {
        requestsServed += 1
        lastActivity = worker.loop.now
        if requestsServed >= pool.cluster.requestsPerConnectionMax, !isDraining {
            pool.cluster.count(.upstream_cx_max_requests)
            drain()
        }
        worker.markDirtyForPass(self)
    }

    /// A stream has left the wire.
    func streamClosed() {
        lastActivity = worker.loop.now
        hasRoom = true
        worker.markDirtyForPass(self)
    }

    /// No new requests; closes when the last one is done.
    func drain() {
        isDraining = true
        worker.markDirtyForPass(self)
    }

    // MARK: In

    private func run() {
        guard !isRunning, !isClosed, !isConnecting else { return }
        isRunning = true
        defer { isRunning = false }
        var reads = 0
        while !isClosed {
            guard mayRead else { return }
            reads += 1
            if reads > Limits.readsPerTurn {
                worker.loop.atEndOfPass { [self] in
                    run()
                    worker.endTurn()
                }
                return
            }
            switch fill() {
            case .bytes: receive()
            case .wouldBlock: return
            case .end: return fail(.terminated(nil))
            case .failed(let error): return fail(.terminated(error))
            }
        }
    }

    private func receive() {
        keepAlive?.heard(at: worker.loop.now)
        do throws(HTTP2Error) {
            try session.receive(input.bytes, at: worker.loop.now)
            if isClosed { return }
            input.removeAll()
        } catch {
            if isClosed { return }
            input.removeAll()
            pool.cluster.count(.upstream_cx_protocol_error)
            // The last word, if the socket takes it.
            flush()
            return fail(.protocolError("http2.\(error.detail)"))
        }
        if session.isFinished { return fail(.terminated(nil)) }
        worker.markDirtyForPass(self)
    }

    /// The connection is over, with all that was on it.
    private func fail(_ failure: UpstreamFailure) {
        guard !isClosed else { return }
        // Who tries again at once must not come back here.
        isDraining = true
        session.forEachStream { stream in (stream.delegate as? HTTP2ClientStream)?.fail(failure) }
        close()
    }

    // MARK: Out

    /// Puts a whole request into frames; they leave with those of others at the end of the pass.
    func frame() {
        guard !isClosed, !isConnecting else { return }
        session.frame(into: output, upTo: pool.cluster.rules.bufferBytes - output.count)
    }

    override func countSent(_ count: Int) { output.prefersLarge = count >= BlockPool.blockSize / 2 }

    override func prepareOutput() {
        let room = pool.cluster.rules.bufferBytes - output.count
        guard room > 0, !isClosed, !isConnecting else { return }
        if hasRoom {
            hasRoom = false
            pool.capacityGrew()
        }
        do throws(HTTP2Error) {
            try session.produce(into: output, upTo: room)
        } catch {
            fail(.protocolError("http2.\(error.detail)"))
        }
    }

    override func handleFlushed() {
        if isClosed || isConnecting { return }
        // Room that was found while there was none for output is told now.
        if session.hasOutput || hasRoom { return worker.markDirtyForPass(self) }
        if (isDraining && session.streamCount == 0) || session.isFinished { fail(.terminated(nil)) }
    }

    override func handleWriteFailure(_ error: SystemError) {
        // What the host said before it closed may be there already, its event not yet served.
        setMayRead(true)
        run()
        fail(.terminated(error))
    }

    override func close() {
        guard !isClosed else { return }
        connectTimer?.cancel()
        timer?.cancel()
        timer = nil
        let wasConnecting = isConnecting
        super.close()
        session.abandonStreams(code: HTTP2Code.cancel)
        if !wasConnecting { pool.closed(self) }
    }

    // MARK: Time

    private var earliestDeadline: MonotonicTime {
        var next = MonotonicTime.never
        let config = pool.cluster.config
        if let timeout = config.idleTimeout {
            // A busy connection is looked at again, rather than its timer moved with each request.
            next = (session.streamCount == 0 ? lastActivity : worker.loop.now) + timeout
        }
        if let timeout = config.maxConnectionDuration, !isDraining { next = min(next, started + timeout) }
        if let keepAlive { next = min(next, keepAlive.deadline) }
        return next
    }

    private func armTimer() {
        let next = earliestDeadline
        guard next < .never, !isClosed else { return }
        timer?.cancel()
        timer = worker.schedule(after: next - worker.loop.now) { [self] in timerFired() }
    }

    private func timerFired() {
        timer = nil
        guard !isClosed else { return }
        let now = worker.loop.now
        let config = pool.cluster.config
        if let timeout = config.idleTimeout, session.streamCount == 0, lastActivity + timeout <= now {
            pool.cluster.count(.upstream_cx_idle_timeout)
            session.goAway()
            flush()
            return close()
        }
        if let timeout = config.maxConnectionDuration, !isDraining, started + timeout <= now {
            pool.cluster.count(.upstream_cx_max_duration_reached)
            drain()
        }
        switch keepAlive?.look(at: now, random: worker.random.next()) {
        case .ping:
            session.ping()
            worker.markDirtyForPass(self)
        case .dead:
            count(.keepalive_timeout)
            return fail(.terminated(nil))
        case .wait, nil: break
        }
        armTimer()
    }
}

extension HTTP2ClientConnection: HTTP2SessionDelegate {
    /// A host pushes nothing: we have told it not to.
    func streamBegan(_ stream: HTTP2Stream) {}

    func goAway(lastStream: Int32, code: UInt32) {
        // Streams above `lastStream` are closed as refused, one by one; the others go on.
        pool.cluster.count(.upstream_cx_close_notify)
        drain()
    }

    func settingsReceived() {
        hasSettings = true
        pool.learned(streamsMax: session.peerStreamsMax)
        hasRoom = true
    }

    func willReceive(_ stream: HTTP2Stream) {
        if stream.response.headers.storageBytes == 0 { worker.spareHeads.take(&stream.response) }
    }

    func pong() { keepAlive?.heard(at: worker.loop.now) }

    func count(_ counter: HTTP2Counter) { pool.metrics.add(counter, row: worker.index) }
}
