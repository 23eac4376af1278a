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
    private var stream: HTTP2Stream?
    /// What happened during the present `receive`.
    private var events: [Event] = []
    private var decoder: GRPCMessageDecoder
    private var httpStatus: UInt16 = 0
    private var isClosed = false

    /// A call at its beginning; the request is in the first output.
    ///
    /// - Parameter isSecure: the scheme is `https`, as the transport below is TLS.
    public init(
        path: String, authority: String, isSecure: Bool = false, metadata: HeaderTable = HeaderTable(),
        messageBytesMax: Int = 64 * 1024 * 1024, limits: HTTP2Limits = HTTP2Limits()
    ) throws(HTTPError) {
        decoder = GRPCMessageDecoder(limitBytes: messageBytesMax)
        do throws(HTTP2Error) {
            session = try HTTP2Session(.client, limits: limits)
            var head = try GRPCRequest.head(path: path, authority: authority, metadata: metadata)
            if isSecure { head.setScheme("https") }
            stream = try session.request(head, isEnd: false)
        } catch {
            throw .http2(error)
        }
        session.delegate = self
        stream?.delegate = self
    }

    /// Whether the call is over.
    public var hasClosed: Bool { isClosed }

    /// Sends a message; `queuedBytes` tells how much waits for the server.
    public func send(_ message: [UInt8]) throws(HTTP2Error) {
        guard let stream else { throw HTTP2Session.gone }
        try session.send(stream, GRPCMessageDecoder.frame(message).span.bytes)
    }

    /// Says that no more messages follow.
    public func finishSending() throws(HTTP2Error) {
        guard let stream else { throw HTTP2Session.gone }
        try session.end(stream)
    }

    /// Bytes of messages that have not left yet.
    public var queuedBytes: Int { stream?.queuedBytes ?? 0 }

    /// Asks the server for a sign of life.
    public func ping() { session.ping() }

    /// Ends the call at once.
    public func cancel() {
        if let stream { session.reset(stream, code: HTTP2Code.cancel) }
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
        do throws(HTTP2Error) {
            try session.receive(bytes)
        } catch {
            failure = failure ?? GRPCStatus(.unavailable, error.description)
        }
        if let failure { close(failure) }
        if !isClosed, session.isFinished { close(GRPCStatus(.unavailable, "the server ended the connection")) }
        return takeEvents()
    }

    /// The connection has ended, or broken for the given reason.
    public func inputEnded(_ reason: String = "the connection was closed") -> [Event] {
        close(failure ?? GRPCStatus(.unavailable, reason))
        return takeEvents()
    }

    private func takeEvents() -> [Event] {
        defer { events = [] }
        return events
    }

    private func close(_ status: GRPCStatus) {
        guard !isClosed else { return }
        isClosed = true
        events.append(.closed(status))
    }
}

extension GRPCClientStream: HTTP2SessionDelegate {
    /// A server begins no streams.
    public func streamBegan(_ stream: HTTP2Stream) {}

    /// Our PING was answered.
    public func pong() { if !isClosed { events.append(.pong) } }

    /// The server takes no more calls.
    public func goAway(lastStream: Int32, code: UInt32) {
        // The call goes on if the server has seen it; otherwise nghttp2 closes the stream.
        if lastStream < 1 {
            close(GRPCStatus(.unavailable, "the server refused the connection (error \(code))"))
        }
    }
}

extension GRPCClientStream: HTTP2StreamDelegate {
    /// A head came.
    public func head(_ stream: HTTP2Stream, isEnd: Bool) {
        let head = stream.response
        guard !head.isInterim, !isClosed else { return }
        httpStatus = head.status
        if isEnd { return close(GRPCStatus(trailers: head.headers, httpStatus: head.status)) }
        guard head.status == 200, GRPCRequest.isGRPC(head.headers) else {
            session.reset(stream, code: HTTP2Code.cancel)
            return close(GRPCStatus(trailers: HeaderTable(), httpStatus: head.status))
        }
        events.append(.opened(head.headers))
    }

    /// Bytes of a message came.
    public func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) {
        session.consumed(stream, bytes.count)
        guard !isClosed else { return }
        decoder.append([UInt8](bytes))
        do throws(GRPCStatus) {
            while let message = try decoder.next() { events.append(.message(message)) }
        } catch {
            session.reset(stream, code: HTTP2Code.cancel)
            close(error)
        }
    }

    /// The peer sends no more.
    public func end(_ stream: HTTP2Stream) {
        close(GRPCStatus(trailers: stream.trailers, httpStatus: httpStatus))
    }

    /// What was queued has left.
    public func drained(_ stream: HTTP2Stream) { if !isClosed { events.append(.drained) } }

    /// The stream is gone.
    public func closed(_ stream: HTTP2Stream, code: UInt32) {
        self.stream = nil
        close(GRPCStatus.ofReset(code))
    }
}

extension GRPCStatus {
    /// What a reset stream means, as gRPC's specification maps it.
    public static func ofReset(_ code: UInt32) -> GRPCStatus {
        switch code {
        case HTTP2Code.refusedStream: GRPCStatus(.unavailable, "the server refused the stream")
        case HTTP2Code.cancel: GRPCStatus(.cancelled, "the peer cancelled the call")
        case HTTP2Code.enhanceYourCalm: GRPCStatus(.resourceExhausted, "the peer asks for calm")
        default: GRPCStatus(.internal, "the stream was reset (error \(code))")
        }
    }
}

/// The head of a gRPC request.
public enum GRPCRequest {
    /// A POST with what every call has, and the metadata.
    public static func head(path: String, authority: String, metadata: HeaderTable) throws(HTTP2Error) -> RequestHead {
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

    /// Whether the content type is gRPC's.
    public static func isGRPC(_ headers: HeaderTable) -> Bool {
        guard let type = headers[.contentType] else { return false }
        return type == "application/grpc" || type.hasPrefix("application/grpc+") || type.hasPrefix("application/grpc;")
    }
}
