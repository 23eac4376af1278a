internal import CNGHTTP2

// What the owner tells a session. Everything here only submits; `produce` sends.
extension HTTP2Session {
    static let gone = HTTP2Error(HTTP2Code.cancel, "the stream has ended")

    /// Starts a request (client); the body follows by `send`, or `isEnd` says that there is none.
    ///
    /// A head that asks for an upgrade goes as extended CONNECT (RFC 8441).
    public func request(
        _ head: borrowing RequestHead, isEnd: Bool, delegate: (any HTTP2StreamDelegate)? = nil
    ) throws(HTTP2Error) -> HTTP2Stream {
        // nghttp2 makes the stream when its HEADERS are sent and takes the user data over then.
        let next = nghttp2_session_get_next_stream_id(raw)
        guard next < 1 << 31 else { throw HTTP2Error(HTTP2Code.refusedStream, "no stream ids are left") }
        let stream = takeStream(id: Int32(bitPattern: next)).takeUnretainedValue()
        stream.method = head.method
        stream.rules = .response(to: head.isUpgrade ? .connect : head.method)
        stream.isExtendedConnect = head.isUpgrade
        stream.hasResponded = true
        let user = UnsafeMutableRawPointer(bitPattern: stream.slot + 1)
        let id = withRequestFields(head, stream) { values, count in
            scratch.provider.source.ptr = user
            return isEnd
                ? nghttp2_submit_request(raw, nil, values, count, nil, user)
                : nghttp2_submit_request(raw, nil, values, count, &scratch.provider, user)
        }
        guard id == stream.id else {
            release(stream)
            try checked(id)
            throw HTTP2Error(HTTP2Code.internalError, "unexpected stream id \(id)")
        }
        stream.headsWaiting = 1
        stream.delegate = delegate
        return stream
    }

    /// Whether the peer allows another request now: it knows the streams, its limit and its GOAWAY.
    public var mayRequest: Bool {
        nghttp2_session_check_request_allowed(raw) != 0 && streamCount < Int(peerStreamsMax)
    }

    /// How many requests the peer takes at once.
    public var peerStreamsMax: UInt32 {
        nghttp2_session_get_remote_settings(raw, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
    }

    /// Whether the peer takes extended CONNECT.
    public var peerAllowsConnect: Bool {
        nghttp2_session_get_remote_settings(raw, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
    }

    /// Answers a request (server), once.
    public func respond(
        _ stream: HTTP2Stream, _ head: borrowing ResponseHead, isEnd: Bool
    ) throws(HTTP2Error) {
        guard stream.isOpen, !stream.hasResponded else { throw HTTP2Session.gone }
        stream.hasResponded = true
        let isHead = stream.method == .head
        try checked(
            withResponseFields(head, stream, keepsLength: isHead || head.status == 304) { values, count in
                scratch.provider.source.ptr = UnsafeMutableRawPointer(bitPattern: stream.slot + 1)
                return isEnd
                    ? nghttp2_submit_response(raw, stream.id, values, count, nil)
                    : nghttp2_submit_response(raw, stream.id, values, count, &scratch.provider)
            })
        stream.headsWaiting &+= 1
    }

    /// Sends an interim response (1xx) before the real one.
    public func sendInterim(_ stream: HTTP2Stream, _ head: borrowing ResponseHead) throws(HTTP2Error) {
        guard stream.isOpen, !stream.hasResponded, head.status < 200 else { throw HTTP2Session.gone }
        try checked(
            withResponseFields(head, stream, keepsLength: false) { values, count in
                nghttp2_submit_headers(
                    raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, nil, values, count, nil)
            })
        stream.headsWaiting &+= 1
    }

    /// Queues bytes of a body; they leave as the peer's window allows.
    public func send(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) throws(HTTP2Error) {
        guard stream.isOpen, !stream.endsAfterQueue else { throw HTTP2Session.gone }
        guard stream.queuedBytes &+ bytes.count <= limits.queuedBytes else {
            reset(stream, code: HTTP2Code.enhanceYourCalm)
            throw HTTP2Error(HTTP2Code.enhanceYourCalm, "the peer left more than \(limits.queuedBytes) bytes unread")
        }
        if stream.queueOffset > 0, stream.queueOffset >= stream.queue.count / 2 {
            stream.queue.removeSubrange(0..<stream.queueOffset)
            stream.queueOffset = 0
        }
        takeQueue(stream)
        stream.queue.append(contentsOf: bytes)
        resume(stream)
    }

    /// Queues bytes of a body.
    public func send(_ stream: HTTP2Stream, _ bytes: RawSpan) throws(HTTP2Error) {
        var failure: HTTP2Error?
        bytes.withUnsafeBytes { bytes in
            do throws(HTTP2Error) {
                try send(stream, bytes)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// Ends our direction after what is queued, with trailers if there are any.
    public func end(_ stream: HTTP2Stream, trailers: HeaderTable? = nil) throws(HTTP2Error) {
        guard stream.isOpen, !stream.endsAfterQueue else { throw HTTP2Session.gone }
        stream.endsAfterQueue = true
        if let trailers, !trailers.isEmpty { stream.ownTrailers = trailers }
        resume(stream)
    }

    private func resume(_ stream: HTTP2Stream) {
        guard stream.isDeferred else { return }
        stream.isDeferred = false
        nghttp2_session_resume_data(raw, stream.id)
    }

    /// Says that body bytes were taken, so that the peer may send as many more.
    public func consumed(_ stream: HTTP2Stream, _ count: Int) {
        guard count > 0, stream.isOpen else { return }
        let consumed = min(count, stream.unconsumedBytes)
        stream.unconsumedBytes &-= consumed
        nghttp2_session_consume(raw, stream.id, consumed)
    }

    /// Says that all body bytes so far were taken.
    public func consumedAll(_ stream: HTTP2Stream) { consumed(stream, stream.unconsumedBytes) }

    /// Ends a stream at once; `closed` follows when that is sent.
    public func reset(_ stream: HTTP2Stream, code: UInt32) {
        guard stream.isOpen, !stream.isEndedByUs else { return }
        stream.isEndedByUs = true
        nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code)
    }

    // MARK: The connection

    /// Takes over a connection whose first request came by HTTP/1.1 with `Upgrade: h2c`; the stream is its answer's (server).
    public func upgrade(settings: [UInt8], of head: borrowing RequestHead) throws(HTTP2Error) -> HTTP2Stream {
        try checked(
            nghttp2_session_upgrade2(raw, settings, settings.count, head.method == .head ? 1 : 0, nil))
        let stream = takeStream(id: 1).takeUnretainedValue()
        nghttp2_session_set_stream_user_data(raw, 1, UnsafeMutableRawPointer(bitPattern: stream.slot + 1))
        stream.method = head.method
        stream.hasFinalHead = true
        stream.isRemoteEnded = true
        return stream
    }

    /// Announces that no new streams will be taken; those on their way still are (the first of two steps, RFC 9113 §6.8).
    public func announceGoAway() { nghttp2_submit_shutdown_notice(raw) }

    /// Says that no new streams are taken; open ones go on.
    public func goAway(code: UInt32 = 0) {
        let last = nghttp2_session_get_last_proc_stream_id(raw)
        nghttp2_submit_goaway(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, code, nil, 0)
    }

    /// Ends the connection: GOAWAY, and nothing after it.
    public func terminate(code: UInt32) { nghttp2_session_terminate_session(raw, code) }

    /// Asks the peer for a sign of life; `pong` follows.
    public func ping() { nghttp2_submit_ping(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }
}
