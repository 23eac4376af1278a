/// One gRPC call with messages both ways on a connection of its own, without the transport: for code that lives in an event loop.
///
/// The owner feeds what it reads (`receive`, `inputEnded`), handles the events, and sends what `takeOutput` gives after every call. When `closed`
/// came, the call is over: close the connection and begin another. Not `Sendable`.
///
///     let call = try GRPCClientStream(path: "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", authority: "xds")
///     try call.send(request.serialized()); call.takeOutput(into: &output); write(output)
///     for event in call.receive(block.bytes) { … }
public final class GRPCClientStream {
    /// What happened.
    public enum Event: Sendable {
        /// The server has accepted the call; its initial metadata.
        case opened(HeaderTable)
        /// A message came.
        case message([UInt8])
        /// A `ping` was answered.
        case pong
        /// Everything that was sent has left for the transport.
        case drained
        /// The call is over.
        case closed(GRPCStatus)
    }

    private let session: HTTP2Session
    private let token: HTTP2StreamToken
    private var decoder: GRPCMessageDecoder
    private var httpStatus: UInt16 = 0
    private var headers = HeaderTable()
    private var isClosed = false

    /// A call at its beginning; the request is in the first output.
    public init(
        path: String, authority: String, metadata: HeaderTable = HeaderTable(),
        messageBytesMax: Int = 64 * 1024 * 1024, limits: HTTP2Limits = HTTP2Limits()
    ) throws(HTTPError) {
        decoder = GRPCMessageDecoder(limitBytes: messageBytesMax)
        do throws(HTTP2Error) {
            session = try HTTP2Session(.client, limits: limits)
            token = try session.request(
                GRPCRequest.head(path: path, authority: authority, metadata: metadata), isEnd: false)
        } catch {
            throw .http2(error)
        }
    }

    /// Whether the call is over.
    public var hasClosed: Bool { isClosed }

    /// Sends a message; `queuedBytes` tells how much waits for the server.
    public func send(_ message: [UInt8]) throws(HTTP2Error) {
        try session.send(token, GRPCMessageDecoder.frame(message).span.bytes)
    }

    /// Says that no more messages follow.
    public func finishSending() throws(HTTP2Error) { try session.end(token) }

    /// Bytes of messages that have not left yet.
    public var queuedBytes: Int { session.queuedBytes(token) }

    /// Asks the server for a sign of life.
    public func ping() { session.ping() }

    /// Ends the call at once.
    public func cancel() {
        session.reset(token, code: HTTP2Code.cancel)
        session.goAway()
        isClosed = true
    }

    /// Whether there may be bytes for the server.
    public var hasOutput: Bool { session.hasOutput }

    /// Appends bytes for the server to a buffer; call again when they are sent.
    public func takeOutput(into buffer: inout [UInt8]) {
        do throws(HTTP2Error) {
            try session.takeOutput(into: &buffer)
        } catch {
            failure = GRPCStatus(.internal, error.description)
        }
    }

    /// A failure to be reported by the next `receive` or `inputEnded`.
    private var failure: GRPCStatus?

    /// Takes bytes from the server and tells what they mean.
    public func receive(_ bytes: RawSpan) -> [Event] {
        var result: [Event] = []
        do throws(HTTP2Error) {
            try session.receive(bytes)
        } catch {
            failure = failure ?? GRPCStatus(.unavailable, error.description)
        }
        for event in session.takeEvents() where !isClosed { handle(event, &result) }
        if let failure { close(failure, &result) }
        if !isClosed, session.isFinished { close(GRPCStatus(.unavailable, "the server ended the connection"), &result) }
        return result
    }

    /// The connection has ended, or broken for the given reason.
    public func inputEnded(_ reason: String = "the connection was closed") -> [Event] {
        var result: [Event] = []
        close(failure ?? GRPCStatus(.unavailable, reason), &result)
        return result
    }

    private func close(_ status: GRPCStatus, _ result: inout [Event]) {
        guard !isClosed else { return }
        isClosed = true
        result.append(.closed(status))
    }

    private func handle(_ event: HTTP2Event, _ result: inout [Event]) {
        switch event {
        case .response(_, let head, let isEnd):
            guard !head.isInterim else { return }
            httpStatus = head.status
            headers = head.headers
            if isEnd { return close(GRPCStatus(trailers: head.headers, httpStatus: head.status), &result) }
            guard head.status == 200, GRPCRequest.isGRPC(head.headers) else {
                session.reset(token, code: HTTP2Code.cancel)
                return close(GRPCStatus(trailers: HeaderTable(), httpStatus: head.status), &result)
            }
            result.append(.opened(head.headers))
        case .data(_, let bytes):
            decoder.append(bytes)
            session.consumed(token, bytes.count)
            do throws(GRPCStatus) {
                while let message = try decoder.next() { result.append(.message(message)) }
            } catch {
                session.reset(token, code: HTTP2Code.cancel)
                close(error, &result)
            }
        case .end(_, let trailers):
            close(GRPCStatus(trailers: trailers, httpStatus: httpStatus), &result)
        case .closed(_, let code):
            close(GRPCStatus.ofReset(code), &result)
        case .drained: result.append(.drained)
        case .pong: result.append(.pong)
        case .goAway(let last, let code):
            // The call goes on if the server has seen it; otherwise nghttp2 closes the stream.
            if last < 1 {
                close(GRPCStatus(.unavailable, "the server refused the connection (error \(code))"), &result)
            }
        case .request: break
        }
    }
}

extension GRPCStatus {
    /// What a reset stream means, as gRPC's specification maps it.
    static func ofReset(_ code: UInt32) -> GRPCStatus {
        switch code {
        case HTTP2Code.refusedStream: GRPCStatus(.unavailable, "the server refused the stream")
        case HTTP2Code.cancel: GRPCStatus(.cancelled, "the peer cancelled the call")
        case HTTP2Code.enhanceYourCalm: GRPCStatus(.resourceExhausted, "the peer asks for calm")
        default: GRPCStatus(.internal, "the stream was reset (error \(code))")
        }
    }
}

/// The head of a gRPC request.
enum GRPCRequest {
    static func head(path: String, authority: String, metadata: HeaderTable) throws(HTTP2Error) -> RequestHead {
        var head = RequestHead()
        do throws(HTTPFieldError) {
            head.setMethod(.post)
            try head.setPath(Array(path.utf8).span.bytes)
            try head.setAuthority(Array(authority.utf8).span.bytes)
        } catch {
            throw HTTP2Error(HTTP2Code.internalError, "gRPC path or authority: \(error)")
        }
        head.headers.append(.contentType, constant: "application/grpc")
        head.headers.append(.te, constant: "trailers")
        for index in 0..<metadata.count { head.headers.append(fieldAt: index, of: metadata) }
        return head
    }

    static func isGRPC(_ headers: HeaderTable) -> Bool {
        guard let type = headers[.contentType] else { return false }
        return type == "application/grpc" || type.hasPrefix("application/grpc+") || type.hasPrefix("application/grpc;")
    }
}
