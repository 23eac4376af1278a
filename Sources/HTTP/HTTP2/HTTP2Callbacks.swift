internal import CNGHTTP2

/// What nghttp2 calls.
///
/// C functions that capture nothing: the session comes as user data, streams by their id.
enum HTTP2Callbacks {
    static func session(_ user: UnsafeMutableRawPointer?) -> HTTP2Session? {
        user.map { Unmanaged<HTTP2Session>.fromOpaque($0).takeUnretainedValue() }
    }

    static func makeSession(_ role: HTTP2Session.Role, _ user: UnsafeMutableRawPointer) -> OpaquePointer? {
        var callbacks: OpaquePointer?
        var option: OpaquePointer?
        guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&option) == 0 else { return nil }
        defer {
            nghttp2_session_callbacks_del(callbacks)
            nghttp2_option_del(option)
        }
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_max_outbound_ack(option, HTTP2Limits.acknowledgements)
        nghttp2_option_set_max_continuations(option, HTTP2Limits.continuations)
        nghttp2_option_set_stream_reset_rate_limit(option, HTTP2Limits.resetBurst, HTTP2Limits.resetRate)

        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
            guard let session = HTTP2Callbacks.session(user), let frame else { return 0 }
            session.beginHeaders(frame.pointee)
            return 0
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, frame, name, nameCount, value, valueCount, _, user in
            guard let session = HTTP2Callbacks.session(user), let frame, let name, let value else { return 0 }
            let isAccepted = session.header(
                frame.pointee, UnsafeRawBufferPointer(start: name, count: nameCount).bytes,
                UnsafeRawBufferPointer(start: value, count: valueCount).bytes)
            return isAccepted ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
            guard let session = HTTP2Callbacks.session(user), let frame else { return 0 }
            session.received(frame.pointee)
            return 0
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, id, data, count, user in
            guard let session = HTTP2Callbacks.session(user), let data else { return 0 }
            session.received(data: UnsafeRawBufferPointer(start: data, count: count), on: id)
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, id, code, user in
            guard let session = HTTP2Callbacks.session(user), let stream = session.stream(id: id) else { return 0 }
            session.closeStream(stream, code: code)
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) { _, frame, _, user in
            guard let session = HTTP2Callbacks.session(user), let frame else { return 0 }
            if session.role == .client, frame.pointee.hd.type == NGHTTP2_HEADERS.rawValue {
                session.closeUnsent(id: frame.pointee.hd.stream_id)
            }
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { raw, frame, user in
            guard let session = HTTP2Callbacks.session(user), let frame, session.role == .server else { return 0 }
            let hd = frame.pointee.hd
            let carries = hd.type == NGHTTP2_DATA.rawValue || hd.type == NGHTTP2_HEADERS.rawValue
            guard carries, UInt32(hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0,
                let stream = session.stream(id: hd.stream_id), !stream.isRemoteEnded, stream.ownTrailers != nil
            else { return 0 }
            // The call is over before its caller has ended: more messages are not wanted (RFC 9113 §8.1). Answers without
            // trailers do without the reset: curl takes one behind a head for a failure. Their rest is read and dropped.
            nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), hd.stream_id, HTTP2Code.noError)
            return 0
        }

        var session: OpaquePointer?
        let result =
            role == .server
            ? nghttp2_session_server_new2(&session, callbacks, user, option)
            : nghttp2_session_client_new2(&session, callbacks, user, option)
        return result == 0 ? session : nil
    }

    /// Where nghttp2 gets the bytes of a body: the stream's queue.
    static func provider() -> nghttp2_data_provider {
        var provider = nghttp2_data_provider()
        provider.read_callback = { raw, id, buffer, count, flags, _, user in
            guard let session = HTTP2Callbacks.session(user), let stream = session.stream(id: id), let flags else {
                return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
            }
            var isLast = false
            let target = UnsafeMutableRawBufferPointer(start: buffer, count: count)
            guard let filled = session.fill(stream, target, isLast: &isLast) else {
                return Int(NGHTTP2_ERR_DEFERRED.rawValue)
            }
            if isLast {
                flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
                if let trailers = stream.ownTrailers {
                    flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                    var fields = HTTP2Fields()
                    fields.append(trailers)
                    _ = fields.withNameValues { nghttp2_submit_trailer(raw, id, $0, $1) }
                }
            }
            return filled
        }
        return provider
    }
}

// What the callbacks do to a session. None of it throws: C stands between.
extension HTTP2Session {
    func beginHeaders(_ frame: nghttp2_frame) {
        let id = frame.hd.stream_id
        if role == .server, frame.headers.cat == NGHTTP2_HCAT_REQUEST {
            _ = openStream(id: id)
        }
        guard let stream = stream(id: id) else { return }
        stream.headBytes = 0
        if !stream.hasFinalHead { stream.response.removeAll() }
    }

    /// Takes one field; false refuses the stream.
    func header(_ frame: nghttp2_frame, _ name: RawSpan, _ value: RawSpan) -> Bool {
        guard let stream = stream(id: frame.hd.stream_id) else { return false }
        // 32 a field is HPACK's own measure of what a field costs (RFC 7541 §4.1).
        stream.headBytes += name.byteCount + value.byteCount + 32
        guard stream.headBytes <= limits.headBytes else { return false }
        do throws(HTTPFieldError) {
            if stream.hasFinalHead {
                try HTTP2Session.append(name, value, to: &stream.trailers, limits)
            } else if role == .client {
                if name.byteCount > 0, ByteScan.byte(name, 0) == ASCII.colon {
                    stream.response.status = UInt16(clamping: ASCII.number(value) ?? 0)
                } else {
                    try HTTP2Session.append(name, value, to: &stream.response.headers, limits)
                }
            } else {
                try HTTP2Session.take(name, value, into: &stream.request, limits)
            }
            return true
        } catch {
            return false
        }
    }

    private static func append(
        _ name: RawSpan, _ value: RawSpan, to table: inout HeaderTable, _ limits: HTTP2Limits
    ) throws(HTTPFieldError) {
        guard table.count < limits.fields else { throw HTTPFieldError(.value) }
        try table.append(name, value)
    }

    private static func take(
        _ name: RawSpan, _ value: RawSpan, into head: inout RequestHead, _ limits: HTTP2Limits
    ) throws(HTTPFieldError) {
        guard name.byteCount > 0, ByteScan.byte(name, 0) == ASCII.colon else {
            guard HeaderID.of(lowercased: name) == .host else {
                return try append(name, value, to: &head.headers, limits)
            }
            // One authority (ATK-18): a Host that differs from it is a lie to somebody.
            if head.authorityRun.count == 0 { return try head.setAuthority(value) }
            guard ByteScan.equalIgnoringCase(head.authority, value) else { throw HTTPFieldError(.value) }
            return
        }
        if ByteScan.equalIgnoringCase(name, ":method") {
            try head.setMethod(token: value)
        } else if ByteScan.equalIgnoringCase(name, ":path") {
            try head.setPath(value)
        } else if ByteScan.equalIgnoringCase(name, ":authority") {
            guard value.byteCount == 0 || HTTP1StartLine.isAuthority(value) else { throw HTTPFieldError(.value) }
            try head.setAuthority(value)
        } else if ByteScan.equalIgnoringCase(name, ":scheme") {
            if ByteScan.equalIgnoringCase(value, "https") {
                head.setScheme("https")
            } else if ByteScan.equalIgnoringCase(value, "http") {
                head.setScheme("http")
            } else {
                throw HTTPFieldError(.value)
            }
        } else {
            throw HTTPFieldError(.name)
        }
    }

    func received(_ frame: nghttp2_frame) {
        let isEnd = UInt32(frame.hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
        switch UInt32(frame.hd.type) {
        case NGHTTP2_HEADERS.rawValue:
            guard let stream = stream(id: frame.hd.stream_id) else { return }
            if isEnd { stream.isRemoteEnded = true }
            if stream.hasFinalHead {
                if isEnd { events.append(.end(stream.token, trailers: stream.trailers)) }
            } else if role == .server {
                stream.hasFinalHead = true
                stream.request.body = isEnd ? .none : .untilClose
                events.append(.request(stream.token, stream.request, isEnd: isEnd))
                stream.request.removeAll()
            } else {
                let head = stream.response
                stream.hasFinalHead = !head.isInterim
                events.append(.response(stream.token, head, isEnd: isEnd))
            }
        case NGHTTP2_DATA.rawValue:
            guard isEnd, let stream = stream(id: frame.hd.stream_id) else { return }
            stream.isRemoteEnded = true
            events.append(.end(stream.token, trailers: HeaderTable()))
        case NGHTTP2_GOAWAY.rawValue:
            events.append(.goAway(lastStream: frame.goaway.last_stream_id, code: frame.goaway.error_code))
        case NGHTTP2_PING.rawValue:
            if UInt32(frame.hd.flags) & NGHTTP2_FLAG_ACK.rawValue != 0 { events.append(.pong) }
        default: break
        }
    }

    func received(data: UnsafeRawBufferPointer, on id: Int32) {
        guard let stream = stream(id: id) else { return }
        stream.unconsumedBytes += data.count
        events.append(.data(stream.token, Array(data)))
    }
}
