internal import IO

/// One connection of an `HTTPServer`.
///
/// `@unchecked Sendable`: touched on the server's loop only.
final class HTTPServerConnection: @unchecked Sendable {
    private let server: HTTPServer
    private let stream: any ByteStream
    private let peer: HTTPPeer
    private let handler: HTTPServer.Handler
    private let input: HTTPInput
    private var parser: HTTP1RequestParser
    private var timer: LoopTimer?
    private var isIdle = true
    private var isAborted = false
    /// Counts how often it began to wait for a request.
    private(set) var turn: UInt64 = 0
    /// Whether it has a place that it gives up for another when it waits; those that are only told to come again have none.
    private let hasPlace: Bool

    /// An answer up to this size is written with its head at once.
    private static let joinedBytes = 64 * 1024

    init(
        _ server: HTTPServer, _ stream: any ByteStream, _ peer: HTTPPeer, hasPlace: Bool,
        _ handler: @escaping HTTPServer.Handler
    ) {
        self.hasPlace = hasPlace
        self.server = server
        self.stream = stream
        self.peer = peer
        self.handler = handler
        input = HTTPInput(stream)
        parser = HTTP1RequestParser(limits: server.limits.head)
    }

    /// Serves requests until the connection ends.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.input.pump() }
            startTimer(server.limits.headTimeout)
            if hasPlace { server.places.waits(self, since: server.loop.now) }
            do throws(HTTPError) {
                while try await readHead(), try await answer() {
                    if server.isShuttingDown { break }
                }
            } catch {
                await refuse(error)
            }
            timer?.cancel()
            stream.close()
            input.stop()
        }
    }

    /// Whether it still waits for a request since that turn.
    func waits(since turn: UInt64) -> Bool { isIdle && !isAborted && self.turn == turn }

    func shutDownIfIdle() { if isIdle { abort() } }

    func abort() {
        isAborted = true
        stream.close()
    }

    // MARK: Reading

    private func startTimer(_ timeout: Duration) {
        timer?.cancel()
        timer = server.loop.schedule(after: timeout) { [weak self] in self?.abort() }
    }

    /// Reads a head; false when the client ended the connection between requests.
    private func readHead() async throws(HTTPError) -> Bool {
        var wasUntouched = parser.isBetweenRequests
        while true {
            switch try nextEvent() {
            case .head:
                timer?.cancel()
                isIdle = false
                return true
            case .needMore:
                if input.isEnded || isAborted { return try inputEnded() }
                if wasUntouched, !parser.isBetweenRequests {
                    wasUntouched = false
                    isIdle = false
                    startTimer(server.limits.headTimeout)
                }
                await input.wait()
            case .body, .end: preconditionFailure("body before head")
            }
        }
    }

    private func inputEnded() throws(HTTPError) -> Bool {
        do throws(HTTP1Error) {
            _ = try parser.inputEnded()
            return false
        } catch {
            throw .closed
        }
    }

    private func nextEvent() throws(HTTPError) -> HTTP1Event {
        do throws(HTTP1Error) {
            return try input.next(&parser)
        } catch {
            throw .malformed(error)
        }
    }

    func nextBodyPiece() async throws(HTTPError) -> [UInt8]? {
        while true {
            switch try nextEvent() {
            case .body(let range): return Array(input.bytes[range])
            case .end: return nil
            case .needMore:
                if input.isEnded || isAborted { throw .closed }
                await input.wait()
            case .head: preconditionFailure("head inside a body")
            }
        }
    }

    func writeContinue() async throws(HTTPError) {
        var output: [UInt8] = []
        HTTP1Serializer.append(ResponseHead(status: 100), to: &output)
        try await write(output)
    }

    private func write(_ bytes: [UInt8]) async throws(HTTPError) {
        do throws(SystemError) {
            try await stream.write(bytes)
        } catch {
            throw .connection(error)
        }
    }

    // MARK: Answering

    /// Runs the handler and sends its answer; whether the connection can go on.
    private func answer() async throws(HTTPError) -> Bool {
        var head = RequestHead()
        swap(&head, &parser.head)
        let body = HTTPRequestBody(self, head, limit: server.limits.bodyBytes)
        let request = HTTPRequest(head: head, body: body, peer: peer)
        if let failure = body.failure {
            await refuse(failure)
            return false
        }
        // A message without a body is complete before the handler runs: bytes behind it are the next request.
        if head.body == .none { _ = await body.drain(upTo: 0) }

        var response = await runCancellable { [handler] in await handler(request) }
        if case .bodyTooLarge(let limit)? = body.failure {
            response = tooLarge(limit)
        }
        if response.head.status == 101, case .upgrade(let use) = response.body {
            try await upgrade(response.head, use)
            return false
        }
        // Decide before the head goes out whether the next request can be found.
        let isDrained = await body.drain(upTo: HTTPServer.Limits.drainBytes)
        let isStreamed = if case .stream = response.body { true } else { false }
        let needsClose = isStreamed && head.minorVersion == 0 && head.method != .head
        let keeps =
            head.isKeepAlive && isDrained && !response.closesConnection && !server.isShuttingDown && !needsClose
        try await send(response, to: head, keeps: keeps)
        guard keeps, !input.isEnded || !input.isEmpty, !isAborted else {
            return false
        }
        isIdle = true
        turn += 1
        if hasPlace { server.places.waits(self, since: server.loop.now) }
        startTimer(server.limits.idleTimeout)
        return true
    }

    private func send(_ response: HTTPResponse, to request: RequestHead, keeps: Bool) async throws(HTTPError) {
        var head = response.head
        // HTTP/1.0 clients take the connection for closed unless told otherwise.
        let connection: HTTP1Serializer.Connection =
            keeps ? (request.minorVersion == 0 ? .announcedKeepAlive : .keepAlive) : .close
        var output: [UInt8] = []
        switch response.body {
        case .bytes(let bytes):
            head.body = bytes.isEmpty ? .none : .length(bytes.count)
            if request.method == .head, !head.headers.contains(.contentLength) {
                head.headers.append(.contentLength, number: bytes.count)
            }
            HTTP1Serializer.append(head, answering: request.method, connection: connection, to: &output)
            let isSilent = request.method == .head || head.status == 204 || head.status == 304
            if isSilent || bytes.count <= Self.joinedBytes {
                if !isSilent { output += bytes }
                try await write(output)
            } else {
                // A large answer is not copied to stand behind its head.
                try await write(output)
                try await write(bytes)
            }
        case .stream(let produce):
            let isChunked = request.minorVersion >= 1
            head.body = isChunked ? .chunked : .untilClose
            HTTP1Serializer.append(head, answering: request.method, connection: connection, to: &output)
            try await write(output)
            let writer = HTTPBodyWriter(stream, input, isChunked: isChunked, isSilent: request.method == .head)
            let failure = await runCancellable { () -> HTTPError? in
                do throws(HTTPError) {
                    try await produce(writer)
                    return nil
                } catch {
                    return error
                }
            }
            // Without its last chunk the client sees that the answer is incomplete.
            if let failure { throw failure }
            try await writer.finish()
        case .upgrade:
            // The handler wants another protocol but did not answer 101: its own mistake.
            HTTP1Serializer.append(ResponseHead(status: 500), connection: .close, to: &output)
            try await write(output)
            throw .closed
        }
    }

    private func upgrade(
        _ head: ResponseHead, _ use: @escaping @Sendable (any ByteStream) async -> Void
    ) async throws(HTTPError) {
        var head = head
        head.body = .tunnel
        var output: [UInt8] = []
        HTTP1Serializer.append(head, connection: .upgrade, to: &output)
        try await write(output)
        await use(UpgradedStream(stream, input))
    }

    /// Runs a body in a task that is cancelled when the client ends the connection.
    private func runCancellable<Value: Sendable>(_ body: @escaping @Sendable () async -> Value) async -> Value {
        let task = Task(executorPreference: server.loop) { await body() }
        if input.isEnded { task.cancel() }
        input.onEnd = { task.cancel() }
        let value = await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
        input.onEnd = nil
        return value
    }

    /// Answers a request that cannot be handled, if an answer can be sent at all.
    private func refuse(_ error: HTTPError) async {
        let response: HTTPResponse
        switch error {
        case .malformed(let cause): response = HTTPResponse(status: cause.status, text: cause.description + "\n")
        case .bodyTooLarge(let limit): response = tooLarge(limit)
        case .connection, .tls, .closed, .field, .http2: return
        }
        var head = response.head
        var output: [UInt8] = []
        guard case .bytes(let bytes) = response.body else { return }
        head.body = .length(bytes.count)
        HTTP1Serializer.append(head, connection: .close, to: &output)
        do throws(SystemError) {
            try await stream.write(output + bytes)
        } catch {
            return  // The client is gone as well.
        }
        await lingeringClose()
    }

    /// Lets the client read the answer: closing with unread bytes in the socket would reset the connection and lose it.
    private func lingeringClose() async {
        (stream as? SocketStream)?.socket.shutdownWrite()
        startTimer(.seconds(1))
        var left = HTTPServer.Limits.drainBytes
        while left > 0, !input.isEnded, !isAborted {
            left -= input.take().count
            await input.wait()
        }
    }

    private func tooLarge(_ limit: Int) -> HTTPResponse {
        var response = server.limits.tooLarge(limit)
        response.closesConnection = true
        return response
    }
}

/// A connection that left HTTP: first what was read too much, then the stream itself.
///
/// `@unchecked Sendable`: touched on the loop only.
private final class UpgradedStream: ByteStream, @unchecked Sendable {
    private let stream: any ByteStream
    private let input: HTTPInput
    private var rest: [UInt8] = []

    init(_ stream: any ByteStream, _ input: HTTPInput) {
        self.stream = stream
        self.input = input
    }

    func read(upTo count: Int) async throws(SystemError) -> [UInt8] {
        while rest.isEmpty {
            rest = input.take()
            if !rest.isEmpty || input.isEnded { break }
            await input.wait()
        }
        let piece = Array(rest.prefix(count))
        rest.removeFirst(piece.count)
        return piece
    }

    func write(_ bytes: [UInt8]) async throws(SystemError) { try await stream.write(bytes) }

    func close() { stream.close() }
}
