internal import IO

/// One gRPC call with messages both ways, as either side sees it.
///
/// Messages that nobody takes stay with the peer: its window grows as `next` reads. `@unchecked Sendable`: used on the connection's loop only.
public final class GRPCStream: @unchecked Sendable {
    /// Bytes queued for the peer beyond which `send` waits.
    private static let highWaterBytes = 64 * 1024

    let token: HTTP2StreamToken
    /// `/package.Service/Method`.
    public let path: String
    /// The metadata of the request (server), or of the answer once a message came (client).
    public private(set) var metadata: HeaderTable
    /// Who calls (server).
    public let peer: HTTPPeer

    private let connection: HTTP2Connection
    private let isServer: Bool
    private var chunks: [[UInt8]] = []
    private var decoder = GRPCMessageDecoder()
    private var isEnded = false
    /// How the call ended: for a client from the trailers, for both when the stream was reset or the connection broke.
    private var status: GRPCStatus?
    private var httpStatus: UInt16 = 0
    private var reader: CheckedContinuation<Void, Never>?
    private var senders: [CheckedContinuation<Void, Never>] = []
    /// Called once when the stream ends; cancels the handler's task.
    var onClose: (() -> Void)?

    init(
        _ connection: HTTP2Connection, _ token: HTTP2StreamToken, path: String, metadata: HeaderTable, peer: HTTPPeer,
        isServer: Bool
    ) {
        self.connection = connection
        self.token = token
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
                connection.session.reset(token, code: HTTP2Code.cancel)
                connection.outputReady()
                throw error
            }
            if !chunks.isEmpty {
                let chunk = chunks.removeFirst()
                decoder.append(chunk)
                connection.session.consumed(token, chunk.count)
                connection.outputReady()
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
        do throws(HTTP2Error) {
            try connection.session.send(token, GRPCMessageDecoder.frame(message).span.bytes)
        } catch {
            throw GRPCStatus(.unavailable, error.description)
        }
        connection.outputReady()
        while status == nil, connection.session.queuedBytes(token) > GRPCStream.highWaterBytes {
            await withCheckedContinuation { continuation in
                guard status == nil, connection.session.queuedBytes(token) > GRPCStream.highWaterBytes else {
                    return continuation.resume()
                }
                senders.append(continuation)
            }
        }
        if let status, status != .ok { throw status }
    }

    /// Says that no more messages follow (client).
    public func finishSending() throws(GRPCStatus) {
        do throws(HTTP2Error) {
            try connection.session.end(token)
        } catch {
            throw GRPCStatus(.unavailable, error.description)
        }
        connection.outputReady()
    }

    /// Ends the call at once.
    public func cancel() {
        connection.session.reset(token, code: HTTP2Code.cancel)
        connection.outputReady()
    }

    // MARK: What the connection tells

    func opened(_ head: ResponseHead, isEnd: Bool) {
        guard !head.isInterim else { return }
        metadata = head.headers
        httpStatus = head.status
        if isEnd {
            ended(head.headers)
        } else if head.status != 200 || !GRPCRequest.isGRPC(head.headers) {
            connection.session.reset(token, code: HTTP2Code.cancel)
            closed(GRPCStatus(trailers: HeaderTable(), httpStatus: head.status))
        }
    }

    func received(_ bytes: [UInt8]) {
        // Bounded by the stream's window.
        chunks.append(bytes)
        wakeReader()
    }

    func ended(_ trailers: HeaderTable) {
        isEnded = true
        if !isServer, status == nil { status = GRPCStatus(trailers: trailers, httpStatus: httpStatus) }
        wakeReader()
        wakeSenders()
    }

    func drained() { wakeSenders() }

    private func wakeSenders() {
        let waiting = senders
        senders = []
        for sender in waiting { sender.resume() }
    }

    func closed(_ reason: GRPCStatus) {
        if status == nil { status = reason }
        wakeReader()
        wakeSenders()
        onClose?()
        onClose = nil
    }
}
