internal import CNGHTTP2

/// One HTTP/2 connection without its transport: bytes in, events and bytes out.
///
/// Owned by one loop, not `Sendable`. After each call the owner sends what `takeOutput` gives; that also advances streams whose queue waits for the
/// peer's window. Flow control is tied to the reader: the peer's window grows by what `consumed` reports.
public final class HTTP2Session {
    /// Which side of the connection.
    public enum Role: Sendable {
        /// Answers requests.
        case server
        /// Sends requests.
        case client
    }

    /// Output produced by one `takeOutput`: more stays in the streams' queues until the transport has taken it.
    private static let outputStepBytes = 64 * 1024

    let role: Role
    let limits: HTTP2Limits
    private var session: OpaquePointer?
    private var streams: [HTTP2Stream?] = []
    private var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    var events: [HTTP2Event] = []

    /// A session at the beginning of a connection; its first output is the preface.
    public init(_ role: Role, limits: HTTP2Limits = HTTP2Limits()) throws(HTTP2Error) {
        self.role = role
        self.limits = limits
        session = HTTP2Callbacks.makeSession(role, Unmanaged.passUnretained(self).toOpaque())
        guard let session else { throw HTTP2Error(HTTP2Code.internalError, "no memory for a session") }
        func entry(_ id: nghttp2_settings_id, _ value: UInt32) -> nghttp2_settings_entry {
            nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: value)
        }
        var settings = [
            entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, UInt32(clamping: limits.headBytes)),
        ]
        if role == .server {
            settings.append(entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.concurrentStreams))
        } else {
            settings.append(entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
        }
        try checked(nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count))
        try checked(nghttp2_session_set_local_window_size(session, 0, 0, Int32(clamping: limits.connectionWindow)))
    }

    deinit { nghttp2_session_del(session) }

    @discardableResult
    private func checked(_ result: Int32) throws(HTTP2Error) -> Int32 {
        guard result < 0 else { return result }
        throw HTTP2Error(HTTP2Code.internalError, String(cString: nghttp2_strerror(result)))
    }

    // MARK: The wire

    /// Takes bytes that came from the peer; what they mean is in `takeEvents`.
    ///
    /// After an error only the output (a GOAWAY) is left to send.
    public func receive(_ bytes: RawSpan) throws(HTTP2Error) {
        let result = bytes.withUnsafeBytes { buffer in
            nghttp2_session_mem_recv(session, buffer.assumingMemoryBound(to: UInt8.self).baseAddress, buffer.count)
        }
        guard result < 0 else { return }
        throw HTTP2Error(HTTP2Code.protocolError, String(cString: nghttp2_strerror(Int32(clamping: result))))
    }

    /// What has happened since the last call, in order.
    public func takeEvents() -> [HTTP2Event] {
        defer { events = [] }
        return events
    }

    /// Whether there may be bytes for the peer.
    public var hasOutput: Bool { nghttp2_session_want_write(session) != 0 }

    /// Whether the connection has ended: nothing more will be read or written.
    public var isFinished: Bool { nghttp2_session_want_read(session) == 0 && !hasOutput }

    /// Appends bytes for the peer to a buffer, not much more than 64 KiB at once; call again when they are sent.
    public func takeOutput(into buffer: inout [UInt8]) throws(HTTP2Error) {
        let start = buffer.count
        while buffer.count - start < HTTP2Session.outputStepBytes {
            var bytes: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &bytes)
            if count < 0 {
                throw HTTP2Error(HTTP2Code.internalError, String(cString: nghttp2_strerror(Int32(clamping: count))))
            }
            guard count > 0, let bytes else { return }
            buffer.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count))
        }
    }

    // MARK: Streams

    /// The stream of a token, if it still lives.
    func stream(_ token: HTTP2StreamToken) -> HTTP2Stream? {
        guard streams.indices.contains(token.slot), let stream = streams[token.slot], stream.token == token else {
            return nil
        }
        return stream
    }

    /// The stream of an id of the wire; the slot is kept in nghttp2's user data as a number, never as a pointer.
    func stream(id: Int32) -> HTTP2Stream? {
        let slot = Int(bitPattern: nghttp2_session_get_stream_user_data(session, id)) - 1
        guard streams.indices.contains(slot), let stream = streams[slot], stream.id == id else { return nil }
        return stream
    }

    func openStream(id: Int32) -> HTTP2Stream {
        let stream = takeSlot(id: id)
        nghttp2_session_set_stream_user_data(session, id, UnsafeMutableRawPointer(bitPattern: stream.token.slot + 1))
        return stream
    }

    private func releaseSlot(_ stream: HTTP2Stream) {
        streams[stream.token.slot] = nil
        freeSlots.append(stream.token.slot)
    }

    private func takeSlot(id: Int32) -> HTTP2Stream {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = streams.count
            streams.append(nil)
            generations.append(0)
        }
        generations[slot] &+= 1
        let stream = HTTP2Stream(HTTP2StreamToken(slot: slot, generation: generations[slot]), id: id)
        streams[slot] = stream
        return stream
    }

    func closeStream(_ stream: HTTP2Stream, code: UInt32) {
        releaseSlot(stream)
        // What nobody has read still counts on the connection's window: give it back.
        if stream.unconsumedBytes > 0 { nghttp2_session_consume_connection(session, stream.unconsumedBytes) }
        events.append(.closed(stream.token, code: code))
    }

    /// A stream that nghttp2 never made: its HEADERS could not be sent.
    func closeUnsent(id: Int32) {
        for case let stream? in streams where stream.id == id {
            return closeStream(stream, code: HTTP2Code.refusedStream)
        }
    }

    /// How many streams are open.
    public var streamCount: Int { streams.count - freeSlots.count }

    /// Starts a request (client); the body follows by `send`, or `isEnd` says that there is none.
    public func request(_ head: borrowing RequestHead, isEnd: Bool) throws(HTTP2Error) -> HTTP2StreamToken {
        var fields = HTTP2Fields()
        fields.append(":method", head.methodName)
        fields.append(":scheme", head.schemeRun.count > 0 ? head.scheme : HTTP2Fields.http)
        fields.append(":authority", head.authority)
        fields.append(":path", head.path)
        fields.append(head.headers)
        // nghttp2 makes the stream when its HEADERS are sent and takes the user data over then.
        let stream = takeSlot(id: Int32(bitPattern: nghttp2_session_get_next_stream_id(session)))
        let id = fields.withNameValues { values, count in
            var provider = HTTP2Callbacks.provider()
            let user = UnsafeMutableRawPointer(bitPattern: stream.token.slot + 1)
            return withUnsafePointer(to: &provider) {
                nghttp2_submit_request(session, nil, values, count, isEnd ? nil : $0, user)
            }
        }
        guard id == stream.id else {
            releaseSlot(stream)
            try checked(id)
            throw HTTP2Error(HTTP2Code.internalError, "unexpected stream id \(id)")
        }
        return stream.token
    }

    /// Answers a request (server).
    public func respond(
        _ token: HTTP2StreamToken, _ head: borrowing ResponseHead, isEnd: Bool
    ) throws(HTTP2Error) {
        guard let stream = stream(token) else { throw HTTP2Session.gone }
        var fields = HTTP2Fields()
        var status: [UInt8] = []
        status.append(decimal: Int(head.status))
        fields.append(":status", status.span.bytes)
        fields.append(head.headers)
        try checked(
            fields.withNameValues { values, count in
                var provider = HTTP2Callbacks.provider()
                return withUnsafePointer(to: &provider) {
                    nghttp2_submit_response(session, stream.id, values, count, isEnd ? nil : $0)
                }
            })
    }

    static let gone = HTTP2Error(HTTP2Code.cancel, "the stream has ended")

    /// Queues bytes of a body; they leave as the peer's window allows.
    public func send(_ token: HTTP2StreamToken, _ bytes: RawSpan) throws(HTTP2Error) {
        guard let stream = stream(token), !stream.endsAfterQueue else { throw HTTP2Session.gone }
        guard stream.queuedBytes + bytes.byteCount <= limits.queuedBytes else {
            reset(token, code: HTTP2Code.enhanceYourCalm)
            throw HTTP2Error(HTTP2Code.enhanceYourCalm, "the peer left more than \(limits.queuedBytes) bytes unread")
        }
        stream.queue.append(span: bytes)
        resume(stream)
    }

    /// Ends our direction after what is queued, with trailers if there are any.
    public func end(_ token: HTTP2StreamToken, trailers: HeaderTable? = nil) throws(HTTP2Error) {
        guard let stream = stream(token), !stream.endsAfterQueue else { throw HTTP2Session.gone }
        stream.endsAfterQueue = true
        stream.ownTrailers = trailers
        resume(stream)
    }

    private func resume(_ stream: HTTP2Stream) {
        guard stream.isDeferred else { return }
        stream.isDeferred = false
        nghttp2_session_resume_data(session, stream.id)
    }

    /// Bytes that wait in a stream's queue.
    public func queuedBytes(_ token: HTTP2StreamToken) -> Int { stream(token)?.queuedBytes ?? 0 }

    /// Says that body bytes were read, so that the peer may send as many more.
    public func consumed(_ token: HTTP2StreamToken, _ count: Int) {
        // Of a stream that is gone, all was given back when it closed.
        guard count > 0, let stream = stream(token) else { return }
        let consumed = min(count, stream.unconsumedBytes)
        stream.unconsumedBytes -= consumed
        nghttp2_session_consume(session, stream.id, consumed)
    }

    /// Ends a stream at once.
    public func reset(_ token: HTTP2StreamToken, code: UInt32) {
        guard let stream = stream(token) else { return }
        nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code)
    }

    /// Says that no new streams are taken; open ones go on.
    public func goAway(code: UInt32 = 0) {
        let last = nghttp2_session_get_last_proc_stream_id(session)
        nghttp2_submit_goaway(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, code, nil, 0)
    }

    /// Asks the peer for a sign of life; `pong` follows.
    public func ping() { nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }

    /// Fills a DATA frame from a stream's queue; how many bytes, or nghttp2's code for "later".
    func fill(_ stream: HTTP2Stream, _ buffer: UnsafeMutableRawBufferPointer, isLast: inout Bool) -> Int? {
        let count = min(buffer.count, stream.queuedBytes)
        if count > 0 {
            stream.queue.withUnsafeBytes { queue in
                buffer.copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: queue[stream.queueOffset..<(stream.queueOffset + count)]))
            }
            stream.queueOffset += count
            if stream.queueOffset == stream.queue.count {
                stream.queue = []
                stream.queueOffset = 0
                events.append(.drained(stream.token))
            }
        }
        if stream.queuedBytes == 0, stream.endsAfterQueue {
            isLast = true
            return count
        }
        if count == 0 {
            stream.isDeferred = true
            return nil
        }
        return count
    }
}
