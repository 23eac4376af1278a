internal import IO

/// One gRPC call with messages both ways, as either side sees it.
///
/// Messages that nobody takes stay with the peer: its window grows as `next` reads. `@unchecked Sendable`: used on the connection's loop only.
public final class GRPCStream: @unchecked Sendable {
    /// Bytes queued for the peer beyond which `send` waits.
    private static let highWaterBytes = 64 * 1024

    /// The stream as long as it lives.
    private(set) var stream: HTTP2Stream?
    /// `/package.Service/Method`.
    public let path: String
    /// The metadata of the request (server), or of the answer once a message came (client).
    public private(set) var metadata: HeaderTable
    /// Who calls (server).
    public let peer: HTTPPeer

    private let connection: HTTP2Connection
    private let isServer: Bool
    private var chunks: [[UInt8]] = []
    private var decoder: GRPCMessageDecoder
    private var isEnded = false
    /// How the call ended: for a client from the trailers, for both when the stream was reset or the connection broke.
    private var status: GRPCStatus?
    private var httpStatus: UInt16 = 0
    private var reader: CheckedContinuation<Void, Never>?
    private var senders: [CheckedContinuation<Void, Never>] = []
    /// Called once when the stream ends; cancels the handler's task.
    var onClose: (() -> Void)?

    init(
        _ connection: HTTP2Connection, _ stream: HTTP2Stream?, path: String, metadata: HeaderTable, peer: HTTPPeer,
        isServer: Bool, messageBytesMax: Int = GRPCMessageDecoder.limitBytesDefault
    ) {
        decoder = GRPCMessageDecoder(limitBytes: messageBytesMax)
        self.connection = connection
        self.stream = stream
        self.path = path
        self.metadata = metadata
        self.peer = peer
        self.isServer = isServer
    }

    /// Whether the call is over for the other side too: nobody will read what is sent.
    public var isClosed: Bool { status != nil }

    // MARK: Using it

    /// The next message; nil when the peer sends no more (and, for a client, the call succeeded).
    public func next() async throws(GRPCStatus) -> [UInt8]? {
        while true {
            do throws(GRPCStatus) {
                if let message = try decoder.next() { return message }
            } catch {
                cancel()
                throw error
            }
            if !chunks.isEmpty {
                let chunk = chunks.removeFirst()
                decoder.append(chunk)
                if let stream {
                    connection.session.consumed(stream, chunk.count)
                    connection.outputReady()
                }
                continue
            }
            if isEnded, decoder.isInsideMessage { throw GRPCStatus(.internal, "the peer ended inside a message") }
            if let status, status != .ok { throw status }
            if isEnded { return nil }
            if Task.isCancelled { throw GRPCStatus(.cancelled, "the task was cancelled") }
            await wait()
        }
    }

    private func wait() async {
        let loop = connection.loop
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard chunks.isEmpty, !isEnded, status == nil, !Task.isCancelled else { return continuation.resume() }
                reader = continuation
            }
        } onCancel: {
            loop.execute { self.wakeReader() }
        }
    }

    private func wakeReader() {
        reader?.resume()
        reader = nil
    }

    /// Sends a message; waits while the peer leaves too much unread.
    public func send(_ message: [UInt8]) async throws(GRPCStatus) {
        if let status { throw status == .ok ? GRPCStatus(.cancelled, "the call is over") : status }
        guard let stream else { throw GRPCStatus(.cancelled, "the call is over") }
        do throws(HTTP2Error) {
            try connection.session.send(stream, GRPCMessageDecoder.frame(message).span.bytes)
        } catch {
            throw GRPCStatus(.unavailable, error.description)
        }
        connection.outputReady()
        while status == nil, queuedBytes > GRPCStream.highWaterBytes {
            await withCheckedContinuation { continuation in
                guard status == nil, queuedBytes > GRPCStream.highWaterBytes else {
                    return continuation.resume()
                }
                senders.append(continuation)
            }
        }
        if let status, status != .ok { throw status }
    }

    private var queuedBytes: Int { stream?.queuedBytes ?? 0 }

    /// Says that no more messages follow (client).
    public func finishSending() throws(GRPCStatus) {
        guard let stream else { throw GRPCStatus(.unavailable, "the call is over") }
        do throws(HTTP2Error) {
            try connection.session.end(stream)
        } catch {
            throw GRPCStatus(.unavailable, error.description)
        }
        connection.outputReady()
    }

    /// Ends the call at once.
    public func cancel() {
        guard let stream else { return }
        connection.session.reset(stream, code: HTTP2Code.cancel)
        connection.outputReady()
    }

    /// Ends our direction with trailers (server); nothing happens if the stream has ended meanwhile: nobody waits for them.
    func end(trailers: HeaderTable) {
        guard let stream else { return }
        try? connection.session.end(stream, trailers: trailers)
        connection.outputReady()
    }

    // MARK: What the connection tells

    /// The request is with the session (client).
    func began(_ stream: HTTP2Stream) { self.stream = stream }

    private func opened(_ head: ResponseHead, isEnd: Bool) {
        guard !head.isInterim else { return }
        metadata = head.headers
        httpStatus = head.status
        if isEnd {
            ended(head.headers)
        } else if head.status != 200 || !GRPCRequest.isGRPC(head.headers) {
            cancel()
            over(GRPCStatus(trailers: HeaderTable(), httpStatus: head.status))
        }
    }

    /// The peer sends no more.
    func ended(_ trailers: HeaderTable) {
        isEnded = true
        if !isServer, status == nil { status = GRPCStatus(trailers: trailers, httpStatus: httpStatus) }
        wakeReader()
        wakeSenders()
    }

    private func wakeSenders() {
        let waiting = senders
        senders = []
        for sender in waiting { sender.resume() }
    }

    /// The call is over, whatever becomes of the stream.
    func over(_ reason: GRPCStatus) {
        if status == nil { status = reason }
        wakeReader()
        wakeSenders()
        onClose?()
        onClose = nil
    }
}

extension GRPCStream: HTTP2StreamDelegate {
    /// A head came.
    public func head(_ stream: HTTP2Stream, isEnd: Bool) {
        // The request's head (server) was looked at before the call was made.
        if isServer {
            if isEnd { ended(HeaderTable()) }
        } else {
            opened(stream.response, isEnd: isEnd)
        }
    }

    /// Bytes of a message came.
    public func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) {
        // Bounded by the stream's window.
        chunks.append([UInt8](bytes))
        wakeReader()
    }

    /// The peer sends no more.
    public func end(_ stream: HTTP2Stream) { ended(stream.trailers) }

    /// What was queued has left.
    public func drained(_ stream: HTTP2Stream) { wakeSenders() }

    /// The stream is gone.
    public func closed(_ stream: HTTP2Stream, code: UInt32) {
        self.stream = nil
        connection.remove(self)
        over(GRPCStatus.ofReset(code))
    }
}
