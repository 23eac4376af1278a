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
    /// Messages that have not gone to the session, the first of them in part; shared with all calls that send the same.
    private var outgoing: [[UInt8]] = []
    /// How much of the first one has gone, its five bytes of head counted.
    private var outgoingOffset = 0
    private var outgoingBytes = 0
    /// Our end, which waits for `outgoing`.
    private var ending: (trailers: HeaderTable?, Void)?
    /// Takes messages as they come, in place of `next`.
    private var taker: Taker?
    private var takerFailure: GRPCStatus?
    private var decoder: GRPCMessageDecoder
    private var isEnded = false
    /// How the call ended: for a client from the trailers, for both when the stream was reset or the connection broke.
    private var status: GRPCStatus?
    private var httpStatus: UInt16 = 0
    private var reader: CheckedContinuation<Void, Never>?
    private var senders: [CheckedContinuation<Void, Never>] = []
    /// Whether it goes on without a task, and what is called when it has ended.
    private(set) var goesOn = false
    private var held: ((GRPCStatus) -> Void)?
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

    /// Lets go of the metadata: a call may be open for days, and they are wanted at its beginning.
    public func forgetMetadata() { metadata = HeaderTable() }

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
                takeChunk()
                continue
            }
            if isEnded, decoder.isInsideMessage { throw GRPCStatus(.internal, "the peer ended inside a message") }
            if let status, status != .ok { throw status }
            if isEnded { return nil }
            if Task.isCancelled { throw GRPCStatus(.cancelled, "the task was cancelled") }
            await wait()
        }
    }

    private func takeChunk() {
        let chunk = chunks.removeFirst()
        decoder.append(chunk)
        guard let stream else { return }
        connection.session.consumed(stream, chunk.count)
        if connection.session.hasOutput { connection.outputReady() }
    }

    private func wait() async {
        let loop = connection.loop
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard chunks.isEmpty, !isEnded, status == nil, takerFailure == nil, !Task.isCancelled else {
                    return continuation.resume()
                }
                reader = continuation
            }
        } onCancel: {
            loop.execute { self.wakeReader() }
        }
    }

    private func wakeReader() {
        reader?.resume()
        reader = nil
        if held != nil { lookForEnd() }
    }

    /// What takes a message; its bytes are there until it returns.
    public typealias Taker = (UnsafeRawBufferPointer) throws(GRPCStatus) -> Void

    /// Gives each message to `body` as it comes, without a task in between.
    ///
    /// Returns when the peer sends no more. Throws how the call failed, or what `body` throws: it is not called again then. In place of `next`.
    public func forEach(_ body: @escaping Taker) async throws(GRPCStatus) {
        try give(waitingTo: body)
        taker = body
        defer { taker = nil }
        while takerFailure == nil, !isEnded, status == nil, !Task.isCancelled { await wait() }
        if let failure { throw failure }
        if !isEnded { throw GRPCStatus(.cancelled, "the task was cancelled") }
    }

    /// Gives each message to `body` as it comes from now on, without a task: the method that serves the call is to return, and the call goes on.
    ///
    /// `ended` is called once, on the loop, with how it has ended: `ok` when the peer sends no more, else how the call failed, or what `body` has
    /// thrown. Then the call ends with that status. For servers, in place of `next`.
    public func goOn(_ body: @escaping Taker, ended: @escaping (GRPCStatus) -> Void) {
        goesOn = true
        held = ended
        taker = body
        do throws(GRPCStatus) {
            try give(waitingTo: body)
        } catch {
            takerFailure = takerFailure ?? error
        }
        lookForEnd()
    }

    /// A call that goes on without a task ends as soon as something says so.
    private func lookForEnd() {
        guard takerFailure != nil || isEnded || status != nil else { return }
        // Not here: the session may be at work.
        connection.loop.execute { self.finish() }
    }

    private func finish() {
        guard let ended = held else { return }
        held = nil
        taker = nil
        let outcome = failure ?? .ok
        ended(outcome)
        end(with: outcome)
    }

    /// How it failed, if it did.
    private var failure: GRPCStatus? {
        if let takerFailure { return takerFailure }
        if isEnded, decoder.isInsideMessage { return GRPCStatus(.internal, "the peer ended inside a message") }
        return status == .ok ? nil : status
    }

    /// What came before, and what of it is waiting in part.
    private func give(waitingTo body: Taker) throws(GRPCStatus) {
        while !chunks.isEmpty || decoder.isInsideMessage {
            while let message = try decoder.next() {
                var outcome = Result<Void, GRPCStatus>.success(())
                message.withUnsafeBytes { bytes in outcome = Self.outcome(body, bytes) }
                try outcome.get()
            }
            guard !chunks.isEmpty else { break }
            takeChunk()
        }
    }

    private static func outcome(_ body: Taker, _ bytes: UnsafeRawBufferPointer) -> Result<Void, GRPCStatus> {
        do throws(GRPCStatus) {
            return .success(try body(bytes))
        } catch {
            return .failure(error)
        }
    }

    /// Messages in those bytes, and what was kept before them, go to the taker.
    private func give(_ bytes: UnsafeRawBufferPointer, to taker: Taker) throws(GRPCStatus) {
        var rest = bytes
        while !decoder.isInsideMessage, let range = try decoder.whole(rest) {
            try taker(UnsafeRawBufferPointer(rebasing: rest[range]))
            rest = UnsafeRawBufferPointer(rebasing: rest[range.upperBound...])
        }
        guard !rest.isEmpty else { return }
        decoder.append(rest)
        while let message = try decoder.next() {
            var outcome = Result<Void, GRPCStatus>.success(())
            message.withUnsafeBytes { bytes in outcome = Self.outcome(taker, bytes) }
            try outcome.get()
        }
    }

    // MARK: Sending

    /// Whether the peer leaves so much unread that `send` would wait.
    public var isFull: Bool { queuedBytes > GRPCStream.highWaterBytes }

    /// Sends a message without waiting, to be asked after `isFull`; false when the call is over.
    ///
    /// The message is not copied while it waits: who sends the same to many holds it once.
    public func post(_ message: [UInt8]) -> Bool {
        guard status == nil, ending == nil, stream != nil else { return false }
        do throws(HTTP2Error) {
            try enqueue(message)
        } catch {
            return false
        }
        connection.outputReady()
        return true
    }

    /// Sends a message; waits while the peer leaves too much unread.
    public func send(_ message: [UInt8]) async throws(GRPCStatus) {
        if let status { throw status == .ok ? GRPCStatus(.cancelled, "the call is over") : status }
        guard stream != nil, ending == nil else { throw GRPCStatus(.cancelled, "the call is over") }
        do throws(HTTP2Error) {
            try enqueue(message)
        } catch {
            throw GRPCStatus(.unavailable, error.description)
        }
        connection.outputReady()
        try await room()
    }

    /// Bytes that are given to the session at once.
    private static let feedBytes = 16 * 1024

    private func enqueue(_ message: [UInt8]) throws(HTTP2Error) {
        guard let stream else { return }
        let limit = connection.session.limits.queuedBytes
        guard queuedBytes &+ message.count <= limit else {
            connection.session.reset(stream, code: HTTP2Code.enhanceYourCalm)
            connection.outputReady()
            throw HTTP2Error(HTTP2Code.enhanceYourCalm, "the peer left more than \(limit) bytes unread")
        }
        if outgoing.isEmpty, message.count <= Self.feedBytes, stream.queuedBytes < Self.feedBytes {
            try sendHead(message.count, stream)
            return try connection.session.send(stream, message.span.bytes)
        }
        outgoing.append(message)
        outgoingBytes += message.count + GRPCMessageDecoder.headBytes
        try feed(stream)
    }

    private func sendHead(_ count: Int, _ stream: HTTP2Stream) throws(HTTP2Error) {
        var failure: HTTP2Error?
        withUnsafeBytes(of: GRPCMessageDecoder.head(count)) { bytes in
            do throws(HTTP2Error) {
                try connection.session.send(
                    stream, UnsafeRawBufferPointer(rebasing: bytes[..<GRPCMessageDecoder.headBytes]))
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// Gives the session what it has room for.
    private func feed(_ stream: HTTP2Stream) throws(HTTP2Error) {
        let session = connection.session
        while let message = outgoing.first, stream.queuedBytes < Self.feedBytes {
            let head = GRPCMessageDecoder.headBytes
            if outgoingOffset < head {
                try sendHead(message.count, stream)
                outgoingOffset = head
                outgoingBytes -= head
            }
            let start = outgoingOffset - head
            let end = min(message.count, start + Self.feedBytes)
            if end > start {
                try session.send(stream, message.span.extracting(start..<end).bytes)
                outgoingOffset += end - start
                outgoingBytes -= end - start
            }
            if end == message.count {
                outgoing.removeFirst()
                outgoingOffset = 0
            }
        }
        guard outgoing.isEmpty else { return }
        if outgoing.capacity > 4 { outgoing = [] }
        if let ending {
            self.ending = nil
            try session.end(stream, trailers: ending.trailers)
        }
    }

    /// Waits while `isFull`.
    public func room() async throws(GRPCStatus) {
        while status == nil, isFull {
            await withCheckedContinuation { continuation in
                guard status == nil, isFull else { return continuation.resume() }
                senders.append(continuation)
            }
        }
        if let status, status != .ok { throw status }
    }

    private var queuedBytes: Int { (stream?.queuedBytes ?? 0) + outgoingBytes }

    /// Says that no more messages follow (client).
    public func finishSending() throws(GRPCStatus) {
        guard let stream else { throw GRPCStatus(.unavailable, "the call is over") }
        do throws(HTTP2Error) {
            try end(stream, nil)
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

    /// Ends the call with a status (server), unless it is over.
    func end(with status: GRPCStatus) {
        guard !isClosed else { return }
        var trailers = HeaderTable()
        status.write(to: &trailers)
        end(trailers: trailers)
    }

    /// Ends our direction with trailers (server); nothing happens if the stream has ended meanwhile: nobody waits for them.
    func end(trailers: HeaderTable) {
        guard let stream else { return }
        try? end(stream, trailers)
        connection.outputReady()
    }

    private func end(_ stream: HTTP2Stream, _ trailers: HeaderTable?) throws(HTTP2Error) {
        guard ending == nil else { throw HTTP2Session.gone }
        if outgoing.isEmpty {
            try connection.session.end(stream, trailers: trailers)
        } else {
            ending = (trailers, ())
        }
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
        guard let taker else {
            // Bounded by the stream's window.
            chunks.append([UInt8](bytes))
            return wakeReader()
        }
        connection.session.consumed(stream, bytes.count)
        guard takerFailure == nil else { return }
        do throws(GRPCStatus) {
            try give(bytes, to: taker)
        } catch {
            takerFailure = error
            wakeReader()
        }
    }

    /// The peer sends no more.
    public func end(_ stream: HTTP2Stream) { ended(stream.trailers) }

    /// What was queued has left.
    public func drained(_ stream: HTTP2Stream) {
        // Fails only when the stream has ended: then its reader says so.
        try? feed(stream)
        if !senders.isEmpty, !isFull { wakeSenders() }
    }

    /// The stream is gone.
    public func closed(_ stream: HTTP2Stream, code: UInt32) {
        self.stream = nil
        outgoing = []
        outgoingBytes = 0
        connection.remove(self)
        over(GRPCStatus.ofReset(code))
    }
}
