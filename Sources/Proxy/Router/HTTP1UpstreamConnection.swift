internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// One HTTP/1.1 connection to a host, serving one request at a time.
final class HTTP1UpstreamConnection: SocketConnection, UpstreamStream {
    let pool: HostPool
    let priority: ResourcePriority
    private(set) var client: (any UpstreamClient)?
    private(set) var requestsServed = 0
    /// Whether a byte of the present response has arrived.
    private(set) var responseHasBegun = false
    private(set) var isConnecting = true
    /// The pool has given it to a request.
    var isBusy = false
    /// The socket is connected; TLS may still be on its way.
    private var isEstablished = false

    private var parser: HTTP1ResponseParser
    /// The head of the response is with the client, its end is not.
    private var isInBody = false
    private var isRunning = false
    private var isInterim = false
    private var keepsAlive = true
    private var requestIsComplete = false
    private var requestIsChunked = false
    private var isTunnel = false
    private var connectTimer: LoopTimer?
    private var idleTimer: LoopTimer?
    private let started: MonotonicTime
    private var idleSince: MonotonicTime

    private(set) lazy var tlsFacts: TLSFacts? = tls.map { TLSFacts($0.engine) }

    init(
        _ socket: Socket, pool: HostPool, priority: ResourcePriority, tls: TLSTransport? = nil, input: ByteBuffer? = nil
    ) {
        self.pool = pool
        self.priority = priority
        started = pool.cluster.worker.loop.now
        idleSince = started
        var limits = HTTP1Limits()
        limits.headBytes = Int(pool.cluster.config.responseHeaderBytesMax)
        limits.fields = Int(pool.cluster.config.responseHeadersMax)
        parser = HTTP1ResponseParser(limits: limits, spelling: pool.cluster.config.fieldNames.spelling)
        super.init(socket, worker: pool.cluster.worker, input: input, tls: tls)
        // Not weak: a weak reference makes every retain of the connection slow; `close` cancels the timers.
        connectTimer = worker.schedule(after: pool.cluster.config.connectTimeout) { [self] in connectTimedOut() }
    }

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
                if pool.turnsHTTP2(self, tls) {
                    connectTimer?.cancel()
                    return
                }
            }
        }
        isNegotiated()
    }

    /// The connection is there, and speaks HTTP/1.1.
    func isNegotiated() {
        isEstablished = true
        isConnecting = false
        connectTimer?.cancel()
        connectTimer = nil
        let metrics = pool.cluster.metrics
        let now = worker.loop.now
        metrics.connectTime.record(now - started, row: worker.index)
        pool.host.connectTime.record(now - started, now: now.nanoseconds, decay: .seconds(60))
        armIdleTimer()
        pool.connected(self)
        // Bytes that came with the same event are looked at too.
        if !isClosed { run() }
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

    // MARK: Request out

    var httpVersion: HTTPVersion { .http11 }

    /// Asked of the kernel once: access logs tell it for each request.
    private(set) lazy var localAddress: SocketAddress? = socket?.localAddress

    func responseMayContinue() { run() }

    /// Begins a request; its body follows by `sendBody` and `sendEnd`.
    func begin(_ request: borrowing RequestHead, isUpgrade: Bool, for client: any UpstreamClient) {
        self.client = client
        requestsServed += 1
        responseHasBegun = false
        isInBody = false
        requestIsComplete = false
        keepsAlive = true
        if case .chunked = request.body { requestIsChunked = true } else { requestIsChunked = false }
        worker.spareHeads.take(&parser.head)
        parser.expectResponse(to: request.method)
        let room = output.room(HTTP1Serializer.sizeBound(request))
        let count = HTTP1Serializer.write(
            request, connection: request.isUpgrade && isUpgrade ? .upgrade : .keepAlive, into: room)
        HTTP1Serializer.spell(
            UnsafeMutableRawBufferPointer(rebasing: room[..<count]), as: request.spelling,
            capitalizes: pool.cluster.rules.capitalizesNames)
        output.commit(count)
        worker.markDirty(self)
    }

    func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        if requestIsChunked && !isTunnel {
            output.append(hexadecimal: bytes.count)
            output.append("\r\n")
            send(bytes)
            output.append("\r\n")
            worker.markDirty(self)
        } else {
            send(bytes)
        }
        if output.count >= pool.cluster.rules.bufferBytes { flush() }
    }

    func sendEnd(_ trailers: borrowing HeaderTable) {
        if requestIsChunked && !isTunnel {
            if trailers.isEmpty || !pool.cluster.rules.passesTrailers {
                output.append("0\r\n\r\n")
            } else {
                HTTP1Serializer.appendLastChunk(trailers: trailers, to: &worker.scratch)
                output.append(worker.scratch)
                worker.scratch.removeAll(keepingCapacity: true)
            }
            worker.markDirty(self)
        }
        requestIsComplete = true
    }

    /// The client ended its side of a tunnel.
    func sendTunnelEnd() {
        if output.isEmpty { shutdownWrite() } else { endsTunnelWhenFlushed = true }
    }
    private var endsTunnelWhenFlushed = false

    var requestIsBlocked: Bool { output.count >= pool.cluster.rules.bufferBytes }

    override func handleFlushed() {
        if endsTunnelWhenFlushed {
            endsTunnelWhenFlushed = false
            shutdownWrite()
        }
        // Nobody waits to send more of a request that is complete.
        if !requestIsComplete || isTunnel { client?.requestMayContinue() }
    }

    override func handleWriteFailure(_ error: SystemError) {
        // The response may be there already: an upstream that refuses a body answers first and closes then.
        // The event that says so may not have been served yet.
        if client != nil {
            setMayRead(true)
            run()
            if isClosed || client == nil { return }
        }
        fail(.terminated(error))
    }

    override func countSent(_ count: Int) {
        pool.cluster.count(.upstream_cx_tx_bytes_total, UInt64(clamping: count))
    }

    // MARK: Response in

    func run() {
        guard !isRunning, !isClosed, !isConnecting else { return }
        isRunning = true
        defer { isRunning = false }
        var reads = 0
        while !isClosed {
            guard parse(), !isClosed, mayRead else { return }
            reads += 1
            if reads > Limits.readsPerTurn {
                worker.loop.atEndOfPass { [self] in
                    run()
                    worker.endTurn()
                }
                return
            }
            let before = input.count
            switch fill() {
            case .bytes:
                pool.cluster.count(.upstream_cx_rx_bytes_total, UInt64(clamping: input.count &- before))
                continue
            case .wouldBlock: return
            case .end: return handleEnd(nil)
            case .failed(let error): return handleEnd(error)
            }
        }
    }

    /// The parser has said that the response ends, while pieces of its body were gathered.
    private var endIsKnown = false

    /// Hands on what has been read; false when the client takes no more for now.
    private func parse() -> Bool {
        // Only bodies fill anything: a client is asked before the next piece of one.
        var mayBePaused = responseHasBegun
        while !isClosed {
            guard let client else {
                // Bytes that no request asked for: whatever they are, they must not become somebody's response.
                if !input.isEmpty { close() }
                return true
            }
            if input.isEmpty && !responseHasBegun { return true }
            if mayBePaused, client.responseIsPaused { return false }
            mayBePaused = false
            var offset = 0
            let event: HTTP1Event
            if endIsKnown {
                endIsKnown = false
                event = .end
            } else {
                do throws(HTTP1Error) {
                    event = try parser.next(input.bytes.bytes, &offset)
                } catch {
                    fail(.protocolError("\(error)"))
                    return true
                }
            }
            if !input.isEmpty { responseHasBegun = true }
            switch event {
            case .needMore:
                input.consume(offset)
                return true
            case .head:
                input.consume(offset)
                isInterim = parser.head.isInterim
                if isInterim {
                    client.responseInterim(parser.head)
                } else {
                    keepsAlive = parser.head.isKeepAlive
                    isInBody = true
                    if case .tunnel = parser.head.body { isTunnel = true }
                    client.responseHead(&parser.head)
                }
            case .body(var range):
                if range.count < Limits.gatheredBytes, offset < input.count {
                    range = input.gather(range, &offset, end: &endIsKnown) {
                        (bytes: RawSpan, offset: inout Int) throws(HTTP1Error) in try parser.next(bytes, &offset)
                    }
                }
                client.responseBody(UnsafeRawBufferPointer(rebasing: input.bytes[range]))
                if !isClosed { input.consume(offset) }
                mayBePaused = true
            case .end:
                input.consume(offset)
                guard isInterim else {
                    complete()
                    return true
                }
                isInterim = false
            }
        }
        return true
    }

    private func complete() {
        guard let client else { return }
        self.client = nil
        let trailers = pool.cluster.rules.passesTrailers ? parser.trailers : HeaderTable()
        let maximum = pool.cluster.requestsPerConnectionMax
        if keepsAlive && requestIsComplete && !isTunnel && input.isEmpty && requestsServed < maximum
            && !pool.host.conditions.contains(.removed) && !isTooOld
        {
            idleSince = worker.loop.now
            pool.release(self)
        } else if isTunnel {
            flush()
            close()
        } else {
            if requestsServed >= maximum { pool.cluster.count(.upstream_cx_max_requests) }
            close()
        }
        client.responseEnd(trailers)
    }

    private func handleEnd(_ error: SystemError?) {
        guard client != nil else { return close() }
        // A response that lasts until the end is whole only if TLS says so.
        if error == nil, tls?.wasCutOff != true {
            do throws(HTTP1Error) {
                if try parser.inputEnded() != nil {
                    keepsAlive = false
                    return complete()
                }
            } catch {
                return fail(isInBody ? Self.cutOff : .terminated(nil))
            }
        }
        fail(isInBody && !isTunnel ? Self.cutOff : .terminated(error))
    }

    /// A response that ends before its length or its last chunk is a malformed one.
    private static let cutOff = UpstreamFailure.protocolError("HTTP/1: the response was cut off")

    private func fail(_ failure: UpstreamFailure) {
        let client = client
        self.client = nil
        let couldBeRace = requestsServed > 1 && !responseHasBegun
        if case .protocolError = failure { pool.cluster.count(.upstream_cx_protocol_error) }
        close()
        client?.upstreamFailed(failure, onReusedConnection: couldBeRace)
    }

    /// The request was given up: the connection cannot be used again.
    func abandon() {
        client = nil
        close()
    }

    override func close() {
        guard !isClosed else { return }
        connectTimer?.cancel()
        idleTimer?.cancel()
        let wasConnecting = isConnecting
        super.close()
        if !wasConnecting { pool.closed(self) }
    }

    /// Whether it has been open for as long as connections of its cluster may be; counted when it ends for that.
    var isTooOld: Bool {
        guard let longest = pool.cluster.rules.connectionDurationMax, started + longest <= worker.loop.now else {
            return false
        }
        pool.cluster.count(.upstream_cx_max_duration_reached)
        return true
    }

    // MARK: Idle time

    /// One lazy timer: it fires at the earliest possible moment and looks whether the connection was used meanwhile.
    private func armIdleTimer() {
        guard let timeout = pool.cluster.config.idleTimeout else { return }
        let wait = (idleSince + timeout) - worker.loop.now
        idleTimer = worker.schedule(after: max(wait, min(timeout, .seconds(1)))) { [self] in idleTimerFired() }
    }

    private func idleTimerFired() {
        guard !isClosed, let timeout = pool.cluster.config.idleTimeout else { return }
        if client == nil && idleSince + timeout <= worker.loop.now {
            pool.cluster.count(.upstream_cx_idle_timeout)
            return close()
        }
        armIdleTimer()
    }
}
