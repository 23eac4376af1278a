internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// One request and its response before an external processor.
///
/// Both directions work alike: what is sent is expected to be answered in its order, and what has not been answered waits in the stream. When the
/// processor is gone or has failed, everything passes that `failure_mode_allow` lets pass.
final class ExtProcFilter: HTTPFilter, GRPCStreamCallClient {
    static let path = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"

    let config: ExtProcFilterConfig
    let settings: ExtProcSettings
    var mode: ExtProcMode
    weak var stream: HTTPStream?
    var call: GRPCStreamCall?
    /// Nothing is asked any more: everything passes.
    var isOver = false
    private var hasSent = false
    let request = ExtProcDirection(.request)
    let response = ExtProcDirection(.response)
    /// The answer is the processor's own: nobody is asked about it.
    var answersItself = false

    init(_ config: ExtProcFilterConfig, _ settings: ExtProcSettings) {
        self.config = config
        self.settings = settings
        mode = settings.mode
        request.part = mode.request
        response.part = mode.response
    }

    let interest: FilterInterest = [.requestHead, .requestBody, .responseHead, .responseBody]

    var row: Int { stream?.worker.index ?? 0 }

    // MARK: Stream

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        self.stream = stream
        if let text = config.stateMetadata { stream.info.filterState[config.name] = text }
        // What is tunnelled is no body.
        if stream.request.isUpgrade || stream.request.method == .connect { request.part.body = .none }
        return head(request, stream, isEnd: isEnd)
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard !answersItself else { return .next }
        if stream.response.status == 101 { response.part.body = .none }
        return head(response, stream, isEnd: isEnd)
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        body(request, stream, &chunk, isEnd: isEnd, hasTrailers: stream.requestFilters.trailers != nil)
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard !answersItself else { return .next }
        return body(response, stream, &chunk, isEnd: isEnd, hasTrailers: stream.responseFilters.trailers != nil)
    }

    func streamEnded(_ stream: HTTPStream) {
        isOver = true
        request.stopTimer()
        response.stopTimer()
        guard let call else { return }
        self.call = nil
        guard !call.isOver else { return }
        config.counters.closed.add(row: stream.worker.index)
        // The processor sees an end rather than a break; one that does not end by itself is cut off.
        call.finishSending()
        _ = stream.worker.schedule(after: config.closeTimeout) { call.cancel() }
    }

    // MARK: Sending

    private func head(_ direction: ExtProcDirection, _ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard !isOver else { return .next }
        direction.isBodyless = isEnd
        direction.hasHead = true
        if direction.part.sendsHead {
            var message = ExtProcHeaders()
            message.headers = headers(direction.flow, stream)
            message.endOfStream = isEnd
            expect(.head, direction)
            send(direction.flow == .request ? .requestHeaders(message) : .responseHeaders(message), direction)
            if config.onlyObserves { return .next }
            // A call that fails at once has an end already.
            return isOver && !stream.isFinished ? .next : .stop
        }
        // Where the body may get another length, the head that goes before it must not name one.
        if !isEnd, direction.isDuplex, !config.onlyObserves { removeLength(direction) }
        // A body that is collected holds the head: the processor may change it with the body.
        return !isEnd && direction.collects && !config.onlyObserves ? .stop : .next
    }

    /// Notes that an answer must come; nobody waits for an observer's.
    private func expect(_ answer: ExtProcDirection.Expected, _ direction: ExtProcDirection) {
        if !config.onlyObserves { direction.expected.append(answer) }
    }

    private func headers(_ flow: FilterDirection.Flow, _ stream: HTTPStream) -> HeaderMap {
        if flow == .request { return CheckedRequest(stream.request, fields: config.forwarded).map }
        var map = HeaderMap()
        func add(_ name: String, _ value: [UInt8]) {
            guard config.forwarded.contains(Array(name.utf8)) else { return }
            var header = HeaderValue()
            header.key = name
            header.rawValue = value
            map.headers.append(header)
        }
        add(":status", Array("\(stream.response.status)".utf8))
        let headers = stream.response.headers
        for index in 0..<headers.count {
            add(headers.nameText(at: index), [UInt8](copying: headers.value(at: index)))
        }
        if case .length(let count) = stream.response.body, !headers.contains(.contentLength) {
            add("content-length", Array("\(count)".utf8))
        }
        return map
    }

    private func body(
        _ direction: ExtProcDirection, _ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool, hasTrailers: Bool
    ) -> BodyStep {
        guard !isOver, direction.hasHead else { return .next }
        if direction.dropsBody { return .drop }
        if isEnd {
            direction.hasEnded = true
            direction.hasTrailers = hasTrailers
        }
        if config.onlyObserves {
            // As in Envoy: nothing is collected for an observer.
            if direction.part.body == .streamed || direction.isDuplex { sendPiece(direction, chunk.copy) }
            if direction.showsTrailers { sendTrailers(direction) }
            return .next
        }
        if direction.isDuplex {
            // The processor takes no more now: the piece waits here, and who sends it pauses.
            if call?.isReadSlowly ?? false { return .wait }
            let waiting = stream.held(direction.flow, self)
            stream.replaceHeld(direction.flow, self, with: [])
            sendDuplex(direction, waiting + chunk.copy)
            chunk.replace(with: [])
            return isOver ? .next : .wait
        }
        if direction.expected.contains(.head) { return .wait }
        switch direction.part.body {
        case .none:
            guard direction.showsTrailers else { return .next }
            sendTrailers(direction)
        case .streamed:
            sendPiece(direction, chunk.copy)
            if direction.showsTrailers { sendTrailers(direction) }
        case .fullDuplex: break
        case .buffered, .bufferedPartial:
            if direction.isPartDone { return .next }
            if !direction.expected.isEmpty { return .wait }
            let held = stream.heldBytes(direction.flow, self)
            let isFull = direction.part.body == .bufferedPartial && held + chunk.count >= Self.partialBytes
            guard isEnd || isFull else { return .hold }
            sendCollected(direction, stream.held(direction.flow, self) + chunk.copy)
        }
        return isOver ? .next : .wait
    }

    /// What is collected of a body before its beginning is sent alone.
    static let partialBytes = Limits.filterBufferBytes / 2

    /// Sends a piece as it came.
    func sendPiece(_ direction: ExtProcDirection, _ bytes: [UInt8]) {
        let isEnd = direction.hasEnded && !direction.showsTrailers
        guard !bytes.isEmpty || isEnd else { return }
        expect(.body(bytes.count, isEnd: isEnd), direction)
        sendBody(direction, bytes, isEnd: isEnd)
    }

    /// Sends what has come of a body that the processor gives back as it likes; its end, too, where that has come.
    func sendDuplex(_ direction: ExtProcDirection, _ bytes: [UInt8]) {
        guard !direction.endIsSent else { return }
        let isEnd = direction.hasEnded && !direction.showsTrailers
        if !bytes.isEmpty || isEnd {
            if !direction.isAway { stream?.bodySource = { [weak self] in self?.call?.mayContinue() } }
            direction.isAway = true
            sendBody(direction, bytes, isEnd: isEnd)
        }
        guard direction.hasEnded, !isOver else { return }
        direction.endIsSent = true
        if direction.showsTrailers { sendTrailers(direction) }
    }

    /// Sends what was collected: a whole body, or its beginning.
    func sendCollected(_ direction: ExtProcDirection, _ bytes: [UInt8]) {
        let isEnd = direction.hasEnded && !direction.showsTrailers
        direction.isWhole = direction.hasEnded
        expect(.body(bytes.count, isEnd: isEnd), direction)
        sendBody(direction, bytes, isEnd: isEnd)
    }

    private func sendBody(_ direction: ExtProcDirection, _ bytes: [UInt8], isEnd: Bool) {
        var message = ExtProcBody()
        message.body = bytes
        message.endOfStream = isEnd
        send(direction.flow == .request ? .requestBody(message) : .responseBody(message), direction)
    }

    func sendTrailers(_ direction: ExtProcDirection) {
        guard let stream else { return }
        let isRequest = direction.flow == .request
        var message = ExtProcTrailers()
        var map = HeaderMap()
        if let trailers = isRequest ? stream.requestFilters.trailers : stream.responseFilters.trailers {
            for index in 0..<trailers.count {
                var header = HeaderValue()
                header.key = trailers.nameText(at: index)
                header.rawValue = [UInt8](copying: trailers.value(at: index))
                map.headers.append(header)
            }
        }
        message.trailers = map
        expect(.trailers, direction)
        send(isRequest ? .requestTrailers(message) : .responseTrailers(message), direction)
    }

    private func send(_ part: ProcessingRequest.Request, _ direction: ExtProcDirection) {
        guard let stream, !isOver else { return }
        var message = ProcessingRequest()
        message.request = part
        message.observabilityMode = config.onlyObserves
        if !hasSent {
            hasSent = true
            var protocols = ProtocolConfiguration()
            protocols.requestBodyMode = mode.request.body.message
            protocols.responseBodyMode = mode.response.body.message
            message.protocolConfig = protocols
        }
        if !settings.namespaces.sent.isEmpty {
            message.metadataContext = CheckRequestParts.metadata(settings.namespaces.sent) { stream.knownMetadata($0) }
        }
        addAttributes(&message, direction, stream)
        if call == nil {
            let call = GRPCStreamCall(settings.target, for: self)
            self.call = call
            config.counters.started.add(row: row)
            call.start(settings.target, path: Self.path, worker: stream.worker, stream: stream)
            guard !isOver else { return }
        }
        if config.onlyObserves {
            // What waits for an observer has a bound, and a request waits for none.
            guard call?.isReadSlowly == false else { return giveUpObserver() }
        } else if !direction.isDuplex {
            // A processor that may collect the whole message first answers when it likes, as with Envoy.
            startTimer(direction, config.timeout)
        }
        config.counters.sent.add(row: row)
        call?.send(message.serialized())
    }

    private func giveUpObserver() {
        config.counters.observersGivenUp.add(row: row)
        config.counters.closed.add(row: row)
        isOver = true
        call?.cancel()
        call = nil
    }

    private func addAttributes(
        _ message: inout ProcessingRequest, _ direction: ExtProcDirection, _ stream: HTTPStream
    ) {
        guard !direction.hasSentAttributes else { return }
        direction.hasSentAttributes = true
        let names = direction.flow == .request ? settings.requestAttributes : settings.responseAttributes
        guard !names.isEmpty else { return }
        var members: [String: JSON] = [:]
        for attribute in names { members[attribute.name] = attribute.value(stream) }
        message.attributes["envoy.filters.http.ext_proc"] = .object(members)
    }

    // MARK: Time

    func startTimer(_ direction: ExtProcDirection, _ timeout: Duration) {
        guard let stream else { return }
        direction.stopTimer()
        guard timeout > .zero else { return }
        direction.timer = stream.worker.schedule(after: timeout) { [weak self] in self?.messageTimedOut() }
    }

    private func messageTimedOut() {
        guard !isOver else { return }
        config.counters.timeouts.add(row: row)
        fail(status: 504, details: "ext_proc_error_per-message_timeout_exceeded")
    }

    /// What the processor makes of a body waits in its connection while whoever gets it does not keep up.
    var callIsPaused: Bool {
        guard let stream, !stream.isFinished else { return false }
        return (request.isAway && stream.router?.requestIsPaused ?? false)
            || (response.isAway && stream.responseIsPaused)
    }

    func callDrained() {
        guard let stream, !isOver, !stream.isFinished else { return }
        for direction in [request, response] where direction.isDuplex && !direction.endIsSent {
            let waiting = stream.held(direction.flow, self)
            guard !waiting.isEmpty || direction.hasEnded else { continue }
            stream.replaceHeld(direction.flow, self, with: [])
            sendDuplex(direction, waiting)
            if isOver || stream.isFinished { return }
            stream.heldBodyLeft(direction.flow)
        }
    }
}
