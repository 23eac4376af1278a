internal import IO

/// One connection of an `HTTPClient`: a request, then its response, then perhaps another.
///
/// `@unchecked Sendable`: touched on the client's loop only.
final class HTTPClientConnection: @unchecked Sendable {
    private static let blockBytes = 16 * 1024

    private let loop: EventLoop
    let stream: any ByteStream
    private var parser = HTTP1ResponseParser()
    private var bytes: [UInt8] = []
    private var offset = 0
    /// Whether a byte of the current response has arrived: then the server has seen the request.
    private(set) var hasResponseBytes = false
    private(set) var isClosed = false

    init(_ stream: any ByteStream, on loop: EventLoop) {
        self.stream = stream
        self.loop = loop
    }

    /// Whether another request may be sent.
    var isReusable: Bool { !isClosed && parser.isIdle && offset >= bytes.count }

    /// Sends a request and reads the head of its response, interim ones skipped.
    func exchange(_ request: HTTPClientRequest, authority: String) async throws(HTTPError) -> ResponseHead {
        var head = RequestHead()
        var output: [UInt8] = []
        do throws(HTTPFieldError) {
            if request.method == .other {
                throw HTTPFieldError(.name)
            }
            head.setMethod(request.method)
            try head.setPath(Array(request.path.utf8).span.bytes)
            try head.setAuthority(Array(authority.utf8).span.bytes)
        } catch {
            throw .field(error)
        }
        for index in 0..<request.headers.count { head.headers.append(fieldAt: index, of: request.headers) }
        head.body = request.body.isEmpty ? .none : .length(request.body.count)
        HTTP1Serializer.append(
            head, connection: request.headers.contains(.upgrade) ? .upgrade : .keepAlive, to: &output)
        output += request.body

        hasResponseBytes = false
        parser.expectResponse(to: request.method)
        do throws(SystemError) {
            try await stream.write(output)
        } catch {
            // The server may have answered before it closed (ATK-47): reading tells.
            if error.errno != HTTPClientConnection.brokenPipe { throw failed(.connection(error)) }
        }
        while true {
            switch try await nextEvent() {
            case .head:
                if !parser.head.isInterim { return parser.head }
            case .end: continue  // Of an interim response.
            case .body, .needMore: preconditionFailure("no body before the final head")
            }
        }
    }

    private static let brokenPipe: Int32 = 32  // EPIPE

    /// The next piece of the response's body; nil at its end.
    func nextPiece() async throws(HTTPError) -> [UInt8]? {
        switch try await nextEvent() {
        case .body(let range): return Array(bytes[range])
        case .end:
            if !parser.head.isKeepAlive { close() }
            return nil
        case .head, .needMore: preconditionFailure("head inside a body")
        }
    }

    /// The next event but `needMore`.
    private func nextEvent() async throws(HTTPError) -> HTTP1Event {
        while true {
            let block = bytes
            do throws(HTTP1Error) {
                let event = try parser.next(block.span.bytes, &offset)
                if event != .needMore { return event }
            } catch {
                throw failed(.malformed(error))
            }
            bytes = try await read()
            offset = 0
            if bytes.isEmpty { return try inputEnded() }
            hasResponseBytes = true
        }
    }

    private func inputEnded() throws(HTTPError) -> HTTP1Event {
        close()
        do throws(HTTP1Error) {
            if let event = try parser.inputEnded() { return event }
        } catch {
            if !hasResponseBytes { throw .closed }
            throw .malformed(error)
        }
        throw .closed
    }

    private func read() async throws(HTTPError) -> [UInt8] {
        do throws(SystemError) {
            return try await stream.read(upTo: HTTPClientConnection.blockBytes)
        } catch {
            throw failed(.connection(error))
        }
    }

    private func failed(_ error: HTTPError) -> HTTPError {
        close()
        return error
    }

    /// Bytes behind the head of a response that switched protocols.
    func takeRest() -> [UInt8] {
        let rest = Array(bytes[min(offset, bytes.count)...])
        offset = bytes.count
        return rest
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        stream.close()
    }
}
