internal import HTTP
internal import IO
internal import Telemetry

/// One downstream HTTP/2 connection: many requests at once, each an `HTTP2ServerStream`.
///
/// All streams' bytes go through one buffer each way. What a turn submits goes out when the turn ends, in as few writes as
/// the windows allow; a client that does not read keeps its answers in the streams' queues, which stop their upstreams.
final class HTTP2ServerConnection: SocketConnection, DownstreamConnection {
    let manager: HTTPConnectionManager
    let info: ConnectionInfo
    let session: HTTP2Session
    private var isRunning = false
    /// GOAWAY is out, or on its way: nothing new is taken.
    private var isClosing = false
    private var isLingering = false
    /// The client broke the protocol: nothing more of it is read.
    private var isBroken = false
    /// Bytes were taken, or the pressure before the first ones was looked at.
    private var hasCodec = false
    private var drainingSince: MonotonicTime?
    private var hasSaidGoAway = false
    private var requestsServed = 0
    private let started: MonotonicTime
    private var lastActivity: MonotonicTime
    private var timer: LoopTimer?
    private var timerAt = MonotonicTime.never
    private var keepAlive: HTTP2KeepAlive?
    /// A head that has begun and not ended: its stream, and since when (ATK-10).
    private var openHead: (stream: Int32, since: MonotonicTime)?

    /// Takes over a connection; `input` may hold its first bytes.
    init(
        _ socket: Socket, info: ConnectionInfo, manager: HTTPConnectionManager, input: ByteBuffer?, worker: Worker,
        tls: TLSTransport?
    ) throws(HTTP2Error) {
        self.manager = manager
        self.info = info
        session = try HTTP2Session(
            .server, limits: manager.config.http2Limits, memory: worker.http2Memory)
        started = worker.loop.now
        lastActivity = started
        super.init(socket, worker: worker, input: input, tls: tls)
        session.delegate = self
        socket.setNoDelay()
        keepAlive = HTTP2KeepAlive(manager.config.http2, since: started, random: worker.random.next())
    }

    var httpVersion: HTTPVersion { .http2 }

    /// Begins to serve: registers, sends our settings, reads what is there.
    func begin() {
        manager.connectionOpened(self)
        do throws(SystemError) {
            try start()
        } catch {
            return close()
        }
        worker.markDirtyForPass(self)
        armTimer(earliestDeadline)
        if !input.isEmpty { receive() }
    }

    /// Begins with a request that came by HTTP/1.1 and asked for HTTP/2.
    func begin(answering request: inout RequestHead, settings: [UInt8]) throws(HTTP2Error) {
        hasCodec = true
        let stream = try session.upgrade(settings: settings, of: request)
        swap(&stream.request, &request)
        streamBegan(stream)
        begin()
        if !isClosed { stream.delegate?.head(stream, isEnd: true) }
    }

    var isIdle: Bool { session.streamCount == 0 && output.isEmpty }

    var idleSince: MonotonicTime { lastActivity }

    override func handleReady(_ readiness: Readiness) {
        if readiness.contains(.writable) { worker.markDirtyForPass(self) }
        run()
    }

    // MARK: In

    private func run() {
        guard !isRunning else { return }
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
            case .end: return peerEnded()
            case .failed: return peerEnded()
            }
        }
    }

    private func receive() {
        if !isLingering, !isBroken { lastActivity = worker.loop.now }
        keepAlive?.heard(at: lastActivity)
        guard !isLingering, !isBroken else { return input.removeAll() }
        if worker.overload.shedsLoad, sheds() { return }
        hasCodec = true
        do throws(HTTP2Error) {
            try session.receive(input.bytes, at: lastActivity)
            if isClosed { return }
            input.removeAll()
            lookForOpenHead()
        } catch {
            if isClosed { return }
            input.removeAll()
            manager.count(.protocolError, worker)
            breakOff()
            failStreams(.downstreamProtocolError, "http2.\(error.detail)")
        }
        worker.markDirtyForPass(self)
    }

    /// Whether what came is not looked at (load shed points); the connection ends.
    private func sheds() -> Bool {
        if !hasCodec, worker.sheds(.codecCreation) {
            manager.count(.downstream_rq_overload_close, worker)
            close()
            return true
        }
        if worker.sheds(.http2GoAwayAndClose) {
            input.removeAll()
            sayGoAway()
            breakOff()
            failStreams(.overloadManager, "overload")
            return true
        }
        if drainingSince == nil, !isClosing, !hasSaidGoAway, worker.sheds(.http2GoAway) { drain() }
        return false
    }

    /// Most reads end between heads; one that ends inside of one starts its clock.
    private func lookForOpenHead() {
        let stream = session.streamOfOpenHead
        guard stream != openHead?.stream ?? 0 else { return }
        openHead = stream == 0 ? nil : (stream, lastActivity)
        if stream != 0, let timeout = manager.config.requestHeadersTimeout { armTimer(lastActivity + timeout) }
    }

    /// Takes nothing more; whether or not the GOAWAY can be written, the connection ends soon.
    private func breakOff() {
        isBroken = true
        isClosing = true
        lastActivity = worker.loop.now
        armTimer(lastActivity + Limits.lingerDuration)
    }

    private func peerEnded() {
        failStreams(.downstreamConnectionTermination, "downstream_remote_disconnect")
        close()
    }

    private func failStreams(_ flag: ResponseFlags, _ details: String) {
        session.forEachStream { stream in (stream.delegate as? HTTP2ServerStream)?.fail(flag, details) }
    }

    // MARK: Out

    override func countSent(_ count: Int) { output.prefersLarge = count >= BlockPool.blockSize / 2 }

    override func prepareOutput() {
        let room = manager.config.buffers.wire - output.count
        guard room > 0, !isClosed else { return }
        do throws(HTTP2Error) {
            try session.produce(into: output, upTo: room)
        } catch {
            failStreams(.downstreamProtocolError, "http2.\(error.detail)")
            close()
        }
    }

    override func handleFlushed() {
        if isClosed { return }
        if session.hasOutput { return worker.markDirtyForPass(self) }
        if session.isFinished, session.streamCount > 0 {
            // The library has ended the connection (an error of HPACK, say) in the middle of a head.
            failStreams(.downstreamProtocolError, "http2.protocol_error")
            session.forEachStream { stream in
                if stream.delegate == nil { streamRefused(stream, .field) }
            }
            session.abandonStreams(code: HTTP2Code.cancel)
        }
        // What is left of broken-off streams, a half head for one, goes with the connection.
        if isBroken || ((isClosing || hasSaidGoAway || session.isFinished) && session.streamCount == 0) { linger() }
    }

    override func handleWriteFailure(_ error: SystemError) { peerEnded() }

    /// Says that we are done and waits a little for the peer to do the same: closing with bytes unread would destroy
    /// the answers on their way.
    private func linger() {
        guard !isLingering, !isClosed else { return }
        isLingering = true
        shutdownWrite()
        lastActivity = worker.loop.now
        armTimer(earliestDeadline)
    }

    override func close() {
        guard !isClosed else { return }
        timer?.cancel()
        timer = nil
        super.close()
        session.abandonStreams(code: HTTP2Code.cancel)
        manager.connectionClosed(self)
    }

    func cutOff() {
        failStreams(.downstreamConnectionTermination, "drain_timeout")
        close()
    }

    /// Closes when idle: the last word is a GOAWAY.
    func closeGracefully() {
        sayGoAway()
        worker.markDirtyForPass(self)
    }

    /// Two steps, so that requests on their way are not lost (P-6, RFC 9113 §6.8): first a GOAWAY that refuses nothing, then,
    /// after the drain timeout, one that names the last stream.
    func drain() {
        guard drainingSince == nil, !isClosing else { return }
        drainingSince = worker.loop.now
        session.announceGoAway()
        worker.markDirtyForPass(self)
        armTimer(worker.loop.now + manager.config.drainTimeout)
    }

    private func sayGoAway() {
        guard !hasSaidGoAway else { return }
        hasSaidGoAway = true
        session.goAway()
        worker.markDirtyForPass(self)
    }

    // MARK: Streams

    /// Something was said: it leaves at the end of the pass.
    func markForPass() { worker.markDirtyForPass(self) }

    func streamEnded() {
        lastActivity = worker.loop.now
        if isClosed { return }
        worker.markDirtyForPass(self)
        // A whole answer: into frames with it; they leave with those of others at the end of the pass.
        session.frame(into: output, upTo: manager.config.buffers.wire - output.count)
        if session.streamCount <= 1 { armTimer(earliestDeadline) }
    }

    // MARK: Time

    /// Arms the one timer for the earliest deadline; deadlines mostly move later, so it may fire early and find nothing.
    func armTimer(_ next: MonotonicTime) {
        guard next < timerAt, !isClosed else { return }
        timer?.cancel()
        timerAt = next
        timer = worker.schedule(after: next - worker.loop.now) { [self] in timerFired() }
    }

    private var earliestDeadline: MonotonicTime {
        if isLingering || isBroken { return lastActivity + Limits.lingerDuration }
        var next = MonotonicTime.never
        if session.streamCount == 0, let timeout = manager.config.idleTimeout { next = lastActivity + timeout }
        if let timeout = manager.config.connectionDurationMax, drainingSince == nil {
            next = min(next, started + timeout)
        }
        if let drainingSince, !hasSaidGoAway { next = min(next, drainingSince + manager.config.drainTimeout) }
        if let keepAlive { next = min(next, keepAlive.deadline) }
        if let openHead, let timeout = manager.config.requestHeadersTimeout {
            next = min(next, openHead.since + timeout)
        }
        session.forEachStream { stream in
            if let exchange = (stream.delegate as? HTTP2ServerStream)?.exchange {
                next = min(next, exchange.earliestDeadline)
            }
        }
        return next
    }

    private func timerFired() {
        timer = nil
        timerAt = .never
        guard !isClosed else { return }
        let now = worker.loop.now
        if isLingering || isBroken {
            if lastActivity + Limits.lingerDuration <= now { return close() }
        } else {
            serveDeadlines(now)
        }
        if !isClosed { armTimer(earliestDeadline) }
    }

    /// Until its end nothing else may come on the connection, so the connection ends with it.
    private func headTimedOut() {
        openHead = nil
        manager.count(.downstream_rq_header_timeout, worker)
        breakOff()
        session.terminate(code: HTTP2Code.enhanceYourCalm)
        failStreams(.downstreamProtocolError, "request_header_timeout")
        worker.markDirty(self)
    }

    private func serveDeadlines(_ now: MonotonicTime) {
        session.forEachStream { stream in
            if let exchange = (stream.delegate as? HTTP2ServerStream)?.exchange, exchange.earliestDeadline <= now {
                exchange.deadlineReached(now)
            }
        }
        if isClosed { return }
        if let openHead, let timeout = manager.config.requestHeadersTimeout, openHead.since + timeout <= now {
            return headTimedOut()
        }
        if let timeout = manager.config.connectionDurationMax, drainingSince == nil, started + timeout <= now {
            manager.count(.downstream_cx_max_duration_reached, worker)
            drain()
        }
        if let drainingSince, drainingSince + manager.config.drainTimeout <= now { sayGoAway() }
        if session.streamCount == 0, let timeout = manager.config.idleTimeout, lastActivity + timeout <= now {
            manager.count(.idleTimeout, worker)
            isClosing = true
            sayGoAway()
        }
        switch keepAlive?.look(at: now, random: worker.random.next()) {
        case .ping:
            session.ping()
            worker.markDirtyForPass(self)
        case .dead:
            count(.keepalive_timeout)
            failStreams(.downstreamConnectionTermination, "http2.keepalive_timeout")
            close()
        case .wait, nil: break
        }
    }
}

extension HTTP2ServerConnection: HTTP2SessionDelegate {
    func streamBegan(_ stream: HTTP2Stream) {
        requestsServed += 1
        if let maximum = manager.config.requestsPerConnectionMax, requestsServed == maximum {
            manager.count(.downstream_cx_max_requests_reached, worker)
            sayGoAway()
        }
        stream.delegate = HTTP2ServerStream(self, stream)
    }

    /// Logged and counted like a request, though it is none.
    func streamRefused(_ stream: HTTP2Stream, _ reason: HTTP2Refusal) {
        let exchange = HTTPStream(connection: HTTP2ServerStream(self, nil))
        switch reason {
        case .field: exchange.refuseSilently(.downstreamProtocolError, details: "http2.invalid.header.field")
        case .message: exchange.refuseSilently(.downstreamProtocolError, details: "http2.violation.of.messaging.rule")
        case .size: exchange.refuseSilently(.downstreamRemoteReset, details: "http2.too_many_headers")
        }
    }

    func willReceive(_ stream: HTTP2Stream) { worker.spareHeads.take(&stream.request) }

    func pong() { keepAlive?.heard(at: worker.loop.now) }

    func count(_ counter: HTTP2Counter) { manager.http2Metrics.add(counter, row: worker.index) }
}
