internal import CNGHTTP2

/// What nghttp2 calls.
///
/// C functions that capture nothing: the session comes as user data, streams by their slot.
enum HTTP2Callbacks {
    /// Calls the body with the session, which nobody retains for it: its owner is in the middle of calling nghttp2.
    @inline(__always)
    static func with(
        _ user: UnsafeMutableRawPointer?, otherwise: Int32 = 0, _ body: (HTTP2Session) -> Int32
    ) -> Int32 {
        guard let user else { return otherwise }
        return Unmanaged<HTTP2Session>.fromOpaque(user)._withUnsafeGuaranteedRef(body)
    }

    /// What ends `receive` at once: the connection is over.
    static var fatal: Int32 { NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }

    static func makeSession(_ role: HTTP2Session.Role, _ limits: HTTP2Limits, _ memory: HTTP2Memory) -> OpaquePointer? {
        var callbacks: OpaquePointer?
        var option: OpaquePointer?
        guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&option) == 0 else { return nil }
        defer {
            nghttp2_session_callbacks_del(callbacks)
            nghttp2_option_del(option)
        }
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_no_closed_streams(option, 1)
        nghttp2_option_set_max_outbound_ack(option, max(limits.outboundControlFrames, 1))
        // A frame more than ours, which comes first and is counted.
        nghttp2_option_set_max_continuations(option, max(limits.continuations, 0) + 1)
        nghttp2_option_set_max_deflate_dynamic_table_size(option, 4096)
        // Messages are checked by `HTTP2MessageRules`.
        nghttp2_option_set_no_http_messaging(option, 1)
        // Resets have a budget of our own, with a counter and calmer words.
        nghttp2_option_set_stream_reset_rate_limit(option, 1 << 30, 1 << 30)
        setInput(callbacks)
        setOutput(callbacks)

        var session: OpaquePointer?
        var functions = memory.functions
        let result =
            role == .server
            ? nghttp2_session_server_new3(&session, callbacks, nil, option, &functions)
            : nghttp2_session_client_new3(&session, callbacks, nil, option, &functions)
        return result == 0 ? session : nil
    }

    private static func setInput(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, hd, user in
            guard let hd else { return 0 }
            return HTTP2Callbacks.with(user) { $0.frameBegins(hd) ? 0 : HTTP2Callbacks.fatal }
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
            guard let frame else { return 0 }
            return HTTP2Callbacks.with(user) { session in
                session.headBegins(frame)
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, _, name, nameCount, value, valueCount, _, user in
            guard let name, let value else { return 0 }
            return HTTP2Callbacks.with(user) { session in
                let isBearable = session.field(
                    UnsafeRawBufferPointer(start: name, count: nameCount),
                    UnsafeRawBufferPointer(start: value, count: valueCount))
                return isBearable ? 0 : HTTP2Callbacks.fatal
            }
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
            guard let frame else { return 0 }
            return HTTP2Callbacks.with(user) { session in
                session.received(frame)
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, id, data, count, user in
            guard let data else { return 0 }
            return HTTP2Callbacks.with(user) { session in
                session.received(data: UnsafeRawBufferPointer(start: data, count: count), on: id)
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, id, code, user in
            HTTP2Callbacks.with(user) { session in
                session.find(id: id)?._withUnsafeGuaranteedRef { session.close($0, code: code) }
                return 0
            }
        }
    }

    private static func setOutput(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) { _, frame, _, user in
            guard let frame else { return 0 }
            return HTTP2Callbacks.with(user) { session in
                if session.role == .client, frame.pointee.hd.type == NGHTTP2_HEADERS.rawValue {
                    session.closeUnsent(id: frame.pointee.hd.stream_id)
                }
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
            guard let frame else { return 0 }
            return HTTP2Callbacks.with(user) { session in
                session.sent(frame)
                return 0
            }
        }
        nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, frame, head, count, source, user in
            guard let frame, let head, let source else { return HTTP2Callbacks.fatal }
            return HTTP2Callbacks.with(user, otherwise: HTTP2Callbacks.fatal) {
                $0.sendData(head, count, source.pointee.ptr, frame.pointee.hd.stream_id)
            }
        }
    }

    /// Where nghttp2 learns how much of a body there is: the stream's queue, whose bytes `sendData` writes.
    static func provider() -> nghttp2_data_provider {
        var provider = nghttp2_data_provider()
        provider.read_callback = { raw, id, _, room, flags, source, user in
            let failure = NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
            guard let flags, let source else { return Int(failure) }
            return Int(
                HTTP2Callbacks.with(user, otherwise: failure) { session in
                    session.provide(raw, id, room, source.pointee.ptr, &flags.pointee)
                })
        }
        return provider
    }
}

// What nghttp2 says about frames that leave.
extension HTTP2Session {
    /// How many bytes of a body may leave now, and whether they are the last.
    func provide(
        _ raw: OpaquePointer?, _ id: Int32, _ room: Int, _ slot: UnsafeMutableRawPointer?, _ flags: inout UInt32
    ) -> Int32 {
        guard let found = find(slot: slot, id: id) else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
        return found._withUnsafeGuaranteedRef { provide(raw, $0, room, &flags) }
    }

    private func provide(_ raw: OpaquePointer?, _ stream: HTTP2Stream, _ room: Int, _ flags: inout UInt32) -> Int32 {
        // A frame has 16 MiB at most: the count fits.
        let count = min(room, stream.queuedBytes)
        if count > 0 { flags |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue }
        if count == stream.queuedBytes, stream.endsAfterQueue {
            flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
            if let trailers = stream.ownTrailers {
                flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                if withTrailerFields(trailers, stream, { nghttp2_submit_trailer(raw, stream.id, $0, $1) }) == 0 {
                    stream.headsWaiting &+= 1
                }
            }
            return Int32(clamping: count)
        }
        guard count > 0 else {
            stream.isDeferred = true
            return NGHTTP2_ERR_DEFERRED.rawValue
        }
        return Int32(clamping: count)
    }

    /// Writes a DATA frame: its head and the bytes from the stream's queue, copied once.
    func sendData(_ head: UnsafePointer<UInt8>, _ count: Int, _ slot: UnsafeMutableRawPointer?, _ id: Int32) -> Int32 {
        // Checked here because nghttp2 writes DATA after DATA without returning.
        guard produced < produceLimit else { return NGHTTP2_ERR_WOULDBLOCK.rawValue }
        guard let output else { return HTTP2Callbacks.fatal }
        guard let found = find(slot: slot, id: id) else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
        return found._withUnsafeGuaranteedRef { sendData(head, count, $0, output) }
    }

    private func sendData(
        _ head: UnsafePointer<UInt8>, _ count: Int, _ stream: HTTP2Stream, _ output: any HTTP2Output
    ) -> Int32 {
        guard stream.queuedBytes >= count else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
        output.append(UnsafeRawBufferPointer(start: head, count: HTTP2Session.frameHeadBytes))
        let start = stream.queueOffset
        stream.queue.withUnsafeBytes { output.append(UnsafeRawBufferPointer(rebasing: $0[start..<(start &+ count)])) }
        produced &+= count &+ HTTP2Session.frameHeadBytes
        stream.queueOffset &+= count
        if stream.queuedBytes == 0 {
            giveQueue(stream)
            if !stream.endsAfterQueue { stream.delegate?.drained(stream) }
        }
        return 0
    }

    private static var frameHeadBytes: Int { 9 }

    func sent(_ frame: UnsafePointer<nghttp2_frame>) {
        let hd = frame.pointee.hd
        switch UInt32(hd.type) {
        case NGHTTP2_DATA.rawValue:
            budget.dataSent()
            if UInt32(hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0 { sentEnd(hd.stream_id, true) }
        case NGHTTP2_HEADERS.rawValue:
            headSent(hd.stream_id)
            if UInt32(hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0 { sentEnd(hd.stream_id, false) }
        case NGHTTP2_RST_STREAM.rawValue:
            resets.add(hd.stream_id)
            delegate?.count(.tx_reset)
        case NGHTTP2_GOAWAY.rawValue: delegate?.count(.goaway_sent)
        default: break
        }
    }

    /// Nothing refers to the head's bytes any more, unless another of the stream's waits behind it.
    private func headSent(_ id: Int32) {
        find(id: id)?._withUnsafeGuaranteedRef { stream in
            guard stream.headsWaiting > 0 else { return }
            stream.headsWaiting &-= 1
            if stream.headsWaiting == 0 { blocks.give(&stream.held) }
        }
    }

    private func sentEnd(_ id: Int32, _ isData: Bool) {
        guard let found = find(id: id) else { return }
        found._withUnsafeGuaranteedRef { $0.isLocalEnded = true }
        guard role == .server else { return }
        budget.streamCompleted()
        guard found._withUnsafeGuaranteedRef({ !$0.isRemoteEnded && (isData || $0.ownTrailers != nil) }) else { return }
        // The exchange is over before the client has ended: more of its body is not wanted (RFC 9113 §8.1). Answers without
        // a body do without the reset: curl takes one behind a head for a failure. Their rest is read and dropped.
        nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, HTTP2Code.noError)
    }
}
