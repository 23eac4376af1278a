internal import HTTP
internal import IO

/// One downstream HTTP/1.1 connection: parses requests, one at a time, and writes their responses.
///
/// Pipelined requests wait in `input` until the response before theirs is complete (ATK-09), and so do bytes behind an
/// upgrade request until the upstream has agreed (ATK-14).
final class HTTP1Connection: SocketConnection, DownstreamStream, DownstreamConnection {
    let manager: HTTPConnectionManager
    let info: ConnectionInfo

    private var parser: HTTP1RequestParser
    /// Bytes of the head that is being read.
    private var headBytes: UInt64 = 0
    /// The client closed its side first.
    private var peerHasLeft = false
    private var hasHeadStorage = false
    private var stream: HTTPStream?
    /// The request of `stream` has been read to its end.
    private var requestIsComplete = false
    /// The parser has said that the request ends, while pieces of its body were gathered.
    private var endIsKnown = false
    private var responseFraming = BodyFraming.none
    private var isRunning = false
    /// No further request is taken after the present one.
    private var isClosing = false
    /// Our last byte is out and the peer is given time to read it.
    private var isLingering = false
    private var isTunnel = false
    private(set) var isDraining = false
    private var requestsServed = 0
    private(set) var httpVersion = HTTPVersion.http11
    /// Whether the first bytes may turn out to be HTTP/2's preface (`codec_type` AUTO, prior knowledge).
    private var mayBeHTTP2: Bool

    private var timer: LoopTimer?
    private var timerAt = MonotonicTime.never
    private var lastActivity: MonotonicTime
    private var headStarted: MonotonicTime?
    /// When the connection has lived as long as it may, and later when it ends.
    private var durationDeadline = MonotonicTime.never

    init(
        _ socket: Socket, info: ConnectionInfo, manager: HTTPConnectionManager, input: ByteBuffer?, worker: Worker,
        tls: TLSTransport? = nil
    ) {
        self.manager = manager
        self.info = info
        parser = HTTP1RequestParser(limits: manager.config.limits, spelling: manager.config.http1.spelling)
        mayBeHTTP2 = manager.config.codec == .auto
        lastActivity = worker.loop.now
        if let duration = manager.config.connectionDurationMax { durationDeadline = lastActivity + duration }
        super.init(socket, worker: worker, input: input, tls: tls)
        socket.setNoDelay()
        manager.connectionOpened(self)
        armTimer()
    }

    /// It may be closed without losing a request that we know of.
    var isIdle: Bool { stream == nil && parser.isBetweenRequests && input.isEmpty && output.isEmpty }

    var idleSince: MonotonicTime { lastActivity }

    override func handleReady(_ readiness: Readiness) {
        if readiness.contains(.writable) && !output.isEmpty { worker.markDirty(self) }
        run()
    }

    override func countSent(_ count: Int) { manager.count(.downstream_cx_tx_bytes_total, UInt64(clamping: count)) }

    // MARK: Requests in

    /// Reads and parses as far as possible; also called when a pause has ended.
    func run() {
        guard !isRunning else { return }
        isRunning = true
        defer {
            isRunning = false
            if !isClosed { armTimer() }
        }
        var reads = 0
        while !isClosed {
            if !isLingering {
                if mayBeHTTP2, !input.isEmpty {
                    switch HTTP2Preface.look(input.bytes) {
                    case .no: mayBeHTTP2 = false
                    case .yes: return becomeHTTP2()
                    case .undecided: break
                    }
                }
                if !mayBeHTTP2 {
                    if worker.overload.shedsLoad, sheds() { continue }
                    parse()
                }
                if isClosed { return }
            }
            if isLingering { input.removeAll() }
            guard mayRead, !isReadingPaused else { return }
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
                // Whoever goes on sending while we wait for the end does not make the wait longer.
                if !isLingering { lastActivity = worker.loop.now }
                manager.count(.downstream_cx_rx_bytes_total, UInt64(clamping: input.count &- before))
            case .wouldBlock: return
            case .end: return handleEnd(nil)
            case .failed(let error): return handleEnd(error)
            }
        }
    }

    /// The client speaks HTTP/2 with prior knowledge: another codec takes the connection over.
    private func becomeHTTP2() {
        timer?.cancel()
        timer = nil
        guard let (socket, input) = surrender() else { return }
        manager.connectionLeft(self)
        do throws(HTTP2Error) {
            try HTTP2ServerConnection(
                socket, info: info, manager: manager, input: input, worker: worker, tls: tls
            ).begin()
        } catch {
            socket.close()
        }
    }

    /// Whether what came is not looked at, and the connection ends (load shed points).
    private func sheds() -> Bool {
        guard !input.isEmpty, stream == nil ? !isClosing : !requestIsComplete || isTunnel else { return false }
        let isFirst = requestsServed == 0 && parser.isBetweenRequests && worker.sheds(.codecCreation)
        guard isFirst || worker.sheds(.http1Dispatch) else { return false }
        manager.count(.downstream_rq_overload_close, worker)
        isClosing = true
        if isFirst {
            close()
            return true
        }
        input.removeAll()
        let body = "Internal Server Error"
        if let stream {
            stream.requestIsMalformed(status: 500, body: body, details: "overload", flag: .overloadManager)
        } else {
            let request = HTTPStream(connection: self)
            stream = request
            requestIsComplete = true
            request.info.flags.insert(.overloadManager)
            request.refuse(status: 500, body: body, details: "overload", isProtocolError: false)
        }
        return true
    }

    /// The settings of a wish for h2c that can be granted: in plain text, for a request without a body, on a connection that goes on.
    private var acceptableSettings: [UInt8]? {
        guard manager.config.codec == .auto, tls == nil, !isDraining, !manager.isDraining, parser.head.body == .none,
            parser.head.minorVersion == 1, !manager.config.usesEnvoyDefaults
        else { return nil }
        return HTTP2Upgrade.settings(of: parser.head.headers)
    }

    /// The client asks for HTTP/2 with its first request (`Upgrade: h2c`), which is answered on stream 1.
    private func becomeHTTP2(answering settings: [UInt8]) {
        timer?.cancel()
        timer = nil
        HTTP2Upgrade.remove(from: &parser.head)
        let unsent = [UInt8](output.bytes)
        guard let (socket, input) = surrender() else { return }
        manager.connectionLeft(self)
        do throws(HTTP2Error) {
            let connection = try HTTP2ServerConnection(
                socket, info: info, manager: manager, input: input, worker: worker, tls: nil)
            connection.output.append(unsent)
            connection.output.append("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
            try connection.begin(answering: &parser.head, settings: settings)
        } catch {
            socket.close()
        }
    }

    /// Whether nothing may be read now: what was read has no place to go.
    private var isReadingPaused: Bool {
        guard let stream, !isLingering else { return false }
        if requestIsComplete && !isTunnel { return input.count >= Limits.pipelineBytes }
        return stream.requestIsPaused
    }

    private func parse() {
        while !isClosed, !isLingering {
            if let stream {
                if requestIsComplete && !isTunnel { return }
                if stream.requestIsPaused { return }
            } else if isClosing {
                return
            }
            if input.isEmpty && !parserMayActOnNothing { return }
            if stream == nil && !hasHeadStorage {
                // An idle connection holds no storage for a head; it takes a used one when the next request comes.
                worker.spareHeads.take(&parser.head)
                hasHeadStorage = true
            }
            var offset = 0
            let event: HTTP1Event
            if endIsKnown {
                endIsKnown = false
                event = .end
            } else {
                do throws(HTTP1Error) {
                    event = try parser.next(input.bytes.bytes, &offset)
                } catch {
                    return refuse(error)
                }
            }
            switch event {
            case .needMore:
                input.consume(offset)
                if stream == nil { headBytes &+= UInt64(offset) }
                if stream == nil, headStarted == nil, !parser.isBetweenRequests { headStarted = worker.loop.now }
                return
            case .head:
                input.consume(offset)
                headBytes &+= UInt64(offset)
                if parser.head.method == .other,
                    !manager.config.http1.allows(method: parser.head.methodBytes.span.bytes)
                {
                    return refuse(.startLine)
                }
                beginStream()
            case .body(var range):
                if range.count < Limits.gatheredBytes, offset < input.count {
                    range = input.gather(range, &offset, end: &endIsKnown) {
                        (bytes: RawSpan, offset: inout Int) throws(HTTP1Error) in try parser.next(bytes, &offset)
                    }
                }
                stream?.requestBody(UnsafeRawBufferPointer(rebasing: input.bytes[range]))
                if !isClosed { input.consume(offset) }
            case .end:
                input.consume(offset)
                requestIsComplete = true
                stream?.requestEnd(manager.config.http1.passesTrailers ? parser.trailers : HeaderTable())
            }
        }
    }

    /// A head without a body is followed by `end` without another byte.
    private var parserMayActOnNothing: Bool { stream != nil && !requestIsComplete }

    private func beginStream() {
        headStarted = nil
        if parser.head.isUpgrade, HTTP2Upgrade.isAskedFor(parser.head.headers) {
            if let settings = acceptableSettings { return becomeHTTP2(answering: settings) }
            // A server may pass over the wish (RFC 9110 §7.8), as Envoy always does.
            HTTP2Upgrade.remove(from: &parser.head)
        }
        if parser.head.isUpgrade, !manager.config.http1.ignoredUpgrades.isEmpty {
            parser.head.dropUpgrades(matching: manager.config.http1.ignoredUpgrades)
        }
        requestIsComplete = false
        requestsServed += 1
        httpVersion = parser.head.minorVersion == 0 && manager.config.http1.acceptsHTTP10 ? .http10 : .http11
        let stream = HTTPStream(connection: self)
        stream.info.wire.downstreamHeadReceived = headBytes
        headBytes = 0
        self.stream = stream
        swap(&parser.head, &stream.request)
        hasHeadStorage = false
        if !stream.request.isKeepAlive { isClosing = true }
        if let maximum = manager.config.requestsPerConnectionMax, requestsServed >= maximum {
            if requestsServed == maximum { manager.count(.downstream_cx_max_requests_reached, worker) }
            isClosing = true
        }
        if stream.request.expectsContinue && !manager.config.passesContinue {
            // We answer for the upstream: it gets the request with its body, without the expectation (RFC 9110 §10.1.1).
            stream.request.headers.remove(.expect)
            output.append("HTTP/1.1 100 Continue\r\n\r\n")
            worker.markDirty(self)
            manager.countInterim(100)
        }
        // A request without a body is complete with its head; an answer given at once may then keep the connection.
        let isWhole = stream.request.body == .none
        if isWhole {
            parser.finishWithoutBody()
            requestIsComplete = true
        }
        stream.begin()
        if isWhole, !stream.isFinished { stream.requestEnd(parser.trailers) }
    }

    /// Bytes that are no HTTP: answered without a stream, then closed.
    private func refuse(_ error: HTTP1Error) {
        manager.count(.protocolError, worker)
        isClosing = true
        if let stream {
            // In the middle of a body: the upstream must not take what it has for a whole request.
            return stream.requestIsMalformed(
                status: error.status, body: error.replyText, details: "http1.codec_error")
        }
        let request = HTTPStream(connection: self)
        stream = request
        requestIsComplete = true
        input.removeAll()
        let isOld = error == .version || (error == .transferEncoding && parser.head.minorVersion == 0)
        if isOld, !manager.config.http1.acceptsHTTP10 {
            return request.refuse(status: 426, body: "Upgrade Required", details: "low_version")
        }
        if error == .host, !parser.head.headers.contains(.host) {
            // A request that says not to whom it goes is one all the same.
            swap(&parser.head, &request.request)
            return request.refuse(
                status: error.status, body: error.replyText, details: error.details, isProtocolError: false,
                showsRequest: true)
        }
        // What came is no request: nothing of it goes into the access log as if it were.
        request.refuse(status: error.status, body: error.replyText, details: error.details)
    }

    private func handleEnd(_ error: SystemError?) {
        peerHasLeft = true
        if isLingering || error != nil {
            stream?.downstreamFailed(.downstreamConnectionTermination, details: "downstream_remote_disconnect")
            return close()
        }
        guard let stream else { return close() }
        if isTunnel {
            requestIsComplete = true
            stream.requestEnd(parser.trailers)
            return
        }
        stream.downstreamFailed(.downstreamConnectionTermination, details: "downstream_remote_disconnect")
        close()
    }

    // MARK: Responses out

    /// Whether the client reads slower than the upstream writes.
    var responseIsBlocked: Bool { output.count >= manager.config.buffers.wire }

    func sendInterim(_ head: borrowing ResponseHead) {
        // RFC 9110 §15.2: a client of HTTP/1.0 does not know them.
        guard httpVersion != .http10 else { return }
        write(head, answering: .get, connection: .keepAlive)
    }

    func sendHead(_ response: inout ResponseHead, to request: AnsweredRequest) {
        if response.opensTunnel(answering: request.method) {
            write(response, answering: request.method, connection: response.status == 101 ? .upgrade : .keepAlive)
            responseFraming = .tunnel
            isTunnel = true
            parser.switchToTunnel()
            return
        }
        switch response.body {
        case .untilClose, .chunked:
            if request.minorVersion == 0 {
                response.body = .untilClose
                isClosing = true
            } else {
                response.body = .chunked
            }
        case .none, .length, .tunnel: break
        }
        // Who fails health checks wants its clients to go elsewhere.
        if worker.failsHealthCheck || worker.overload.endsKeepAlive(worker.random.next()) { isDraining = true }
        if isDraining || manager.isDraining { isClosing = true }
        // As Envoy: who answers before it has the whole request does not wait for the rest of it. What stands behind a CONNECT is meant for
        // a tunnel, never for us: it is no request when there is none (ATK-14).
        if !requestIsComplete || request.opensTunnel { isClosing = true }
        if let stream, stream.closesConnection { isClosing = true }
        responseFraming = response.body
        let isOld = httpVersion == .http10
        write(
            response, answering: request.method,
            connection: isClosing ? .close : isOld ? .announcedKeepAlive : .keepAlive)
    }

    private func write(
        _ head: borrowing ResponseHead, answering method: HTTPMethod, connection: HTTP1Serializer.Connection
    ) {
        let room = output.room(HTTP1Serializer.sizeBound(head))
        let count = HTTP1Serializer.write(head, answering: method, connection: connection, into: room)
        // `HTTP/1.1 200`: a client of HTTP/1.0 is answered in its own version, as Envoy does.
        if httpVersion == .http10, count > 8 { room[7] = UInt8(ascii: "0") }
        HTTP1Serializer.spell(
            UnsafeMutableRawBufferPointer(rebasing: room[..<count]), as: head.spelling,
            capitalizes: manager.config.http1.capitalizesNames)
        output.commit(count)
        stream?.info.wire.downstreamHeadSent &+= UInt64(clamping: count)
        worker.markDirty(self)
    }

    private func sendScratch() {
        send(worker.scratch)
        worker.scratch.removeAll(keepingCapacity: true)
    }

    func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        if case .chunked = responseFraming {
            output.append(hexadecimal: bytes.count)
            output.append("\r\n")
            send(bytes)
            output.append("\r\n")
            worker.markDirty(self)
        } else {
            send(bytes)
        }
        // Large answers leave in pieces instead of filling memory until the turn ends.
        if output.count >= manager.config.buffers.wire { flush() }
    }

    func sendEnd(_ trailers: borrowing HeaderTable) {
        if case .chunked = responseFraming {
            if manager.config.http1.passesTrailers {
                HTTP1Serializer.appendLastChunk(trailers: trailers, to: &worker.scratch)
                sendScratch()
            } else {
                output.append("0\r\n\r\n")
                worker.markDirty(self)
            }
        }
        if case .tunnel = responseFraming { isClosing = true }
    }

    /// The stream is over.
    ///
    /// `isReset`: its response is incomplete, which only a close can say.
    func streamEnded(isReset: Bool) {
        guard stream != nil else { return }
        let requestWasComplete = requestIsComplete && !isTunnel
        stream = nil
        if isClosed { return }
        lastActivity = worker.loop.now
        if isReset {
            if case .untilClose = responseFraming {
                // An orderly end would make the part look like the whole.
                flush()
                socketAbort()
                return
            }
            // The client counts bytes or chunks: it gets what there is, and the end that comes too early.
            isClosing = true
            worker.markDirty(self)
            if output.isEmpty { linger() }
            return
        }
        // A drain that began after the head went out waits for the next response: that one says `connection: close`. To close
        // without a word would cost a client that has sent its next request.
        if isClosing || !requestWasComplete {
            isClosing = true
            worker.markDirty(self)
            if output.isEmpty { linger() }
            return
        }
        run()
    }

    private func socketAbort() {
        socket?.setResetOnClose()
        close()
    }

    override func handleFlushed() {
        if isClosing && stream == nil { return linger() }
        stream?.responseMayContinue()
    }

    override func handleWriteFailure(_ error: SystemError) {
        stream?.downstreamFailed(.downstreamConnectionTermination, details: "downstream_remote_disconnect")
        close()
    }

    /// Says that we are done and waits a little for the peer to do the same: closing with bytes unread would destroy
    /// the answer on its way.
    private func linger() {
        guard !isLingering, !isClosed else { return }
        isLingering = true
        shutdownWrite()
        lastActivity = worker.loop.now
        armTimer()
        if !isRunning { run() }
    }

    override func close() {
        guard !isClosed else { return }
        timer?.cancel()
        timer = nil
        let wasBusy = stream != nil
        super.close()
        manager.connectionClosed(self, byPeer: peerHasLeft, isBusy: wasBusy)
    }

    /// Ends at once what is still under way: the drain time is over.
    func cutOff() {
        stream?.downstreamFailed(.downstreamConnectionTermination, details: "drain_timeout")
        socketAbort()
    }

    /// From now on each response says `connection: close`.
    func drain() { isDraining = true }

    var bufferedBytes: Int { output.count }

    /// The request side has room again.
    func requestMayContinue() {
        guard !isRunning else { return }
        run()
    }

    // MARK: Time

    /// Arms the one timer for the earliest deadline.
    ///
    /// Deadlines mostly move later: the timer then fires early, finds nothing due and is set again, which is cheaper
    /// than moving it with each request.
    func armTimer() {
        let next = earliestDeadline
        guard next < timerAt else { return }
        timer?.cancel()
        timerAt = next
        // Not weak: a weak reference makes every retain of the connection slow; `close` cancels the timer.
        timer = worker.schedule(after: next - worker.loop.now) { [self] in timerFired() }
    }

    private var earliestDeadline: MonotonicTime {
        isLingering ? requestDeadline : min(requestDeadline, durationDeadline)
    }

    /// The deadline of what the connection does now.
    private var requestDeadline: MonotonicTime {
        if isLingering { return lastActivity + Limits.lingerDuration }
        if let stream { return stream.earliestDeadline }
        if let headStarted, let timeout = headTimeout { return headStarted + timeout }
        if let timeout = worker.overload.scaled(manager.config.idleTimeout, .connectionIdle) {
            return lastActivity + timeout
        }
        return .never
    }

    private func timerFired() {
        timer = nil
        timerAt = .never
        guard !isClosed else { return }
        let now = worker.loop.now
        if !isLingering, durationDeadline <= now { durationReached(now) }
        if !isClosed, requestDeadline <= now {
            if isLingering {
                close()
            } else if let stream {
                stream.deadlineReached(now)
            } else if headStarted != nil {
                requestHeadTimedOut()
            } else {
                manager.count(.idleTimeout, worker)
                close()
            }
        }
        if !isClosed { armTimer() }
    }

    /// `max_connection_duration`: responses say `connection: close` from now on; when the drain timeout is over too, the connection ends as soon as
    /// nothing is under way.
    private func durationReached(_ now: MonotonicTime) {
        if isDraining {
            durationDeadline = .never
            if stream == nil { return close() }
            isClosing = true
        } else {
            manager.count(.downstream_cx_max_duration_reached, worker)
            isDraining = true
            durationDeadline = manager.config.closesWithAnswersOnly ? .never : now + manager.config.drainTimeout
        }
    }

    /// A head may take as long as heads may, and no longer than whole requests.
    private var headTimeout: Duration? {
        guard let whole = manager.config.requestTimeout else { return manager.config.requestHeadersTimeout }
        return min(whole, manager.config.requestHeadersTimeout ?? whole)
    }

    private func requestHeadTimedOut() {
        headStarted = nil
        isClosing = true
        let request = HTTPStream(connection: self)
        stream = request
        requestIsComplete = true
        input.removeAll()
        let isWhole = headTimeout == manager.config.requestTimeout
        manager.count(isWhole ? .downstream_rq_timeout : .downstream_rq_header_timeout, worker)
        request.refuse(
            status: 408, body: isWhole ? "request timeout" : "request header timeout",
            details: isWhole ? "request_overall_timeout" : "request_header_timeout", isProtocolError: false)
    }
}
