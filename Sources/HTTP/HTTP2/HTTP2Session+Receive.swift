internal import CNGHTTP2

// What nghttp2 says about frames that came. None of it throws: C stands between.
//
// nghttp2 checks the frames, HPACK, and of messages the order and number of pseudo-header fields, the characters of names and
// values, connection-specific fields and content-length against DATA (ATK-13); what is checked here comes on top.
extension HTTP2Session {
    /// A frame's head was read; false ends the connection.
    func frameBegins(_ hd: nghttp2_frame_hd) -> Bool {
        if let flood = budget.received(type: hd.type, flags: hd.flags, byteCount: hd.length) {
            calm(flood)
            return false
        }
        if UInt32(hd.type) == NGHTTP2_SETTINGS.rawValue, hd.length > 0 {
            windowsBefore = []
            forEachStream { windowsBefore.append(($0.id, nghttp2_session_get_stream_remote_window_size(raw, $0.id))) }
        }
        if UInt32(hd.type) == NGHTTP2_CONTINUATION.rawValue {
            continuations &+= 1
            if continuations > limits.continuations {
                calm(.continuation_flood)
                return false
            }
        } else {
            continuations = 0
        }
        if role == .server, UInt32(hd.type) == NGHTTP2_HEADERS.rawValue, !mayBegin(hd.stream_id) { return false }
        if nghttp2_session_get_outbound_queue_size(raw) > limits.outboundFrames {
            calm(.outbound_flood)
            return false
        }
        return true
    }

    /// Whether HEADERS may come on a stream: nghttp2 passes over those of streams that have ended (RFC 9113 §5.1, §5.1.1).
    private func mayBegin(_ id: Int32) -> Bool {
        if id > streamsSeen {
            streamsSeen = id
            return true
        }
        // Trailers, or a request that we have reset while they were on their way.
        if find(id: id) != nil || resets.mayContain(id) { return true }
        violation = HTTP2Error(HTTP2Code.streamClosed, "HEADERS on stream \(id), which has ended")
        nghttp2_session_terminate_session(raw, HTTP2Code.streamClosed)
        return false
    }

    func headBegins(_ frame: nghttp2_frame) {
        let id = frame.hd.stream_id
        if role == .server, frame.headers.cat == NGHTTP2_HCAT_REQUEST {
            let taken = takeStream(id: id)
            receiving = taken
            taken._withUnsafeGuaranteedRef { stream in
                nghttp2_session_set_stream_user_data(raw, id, UnsafeMutableRawPointer(bitPattern: stream.slot + 1))
                delegate?.willReceive(stream)
            }
            return
        }
        receiving = find(id: id)
        receiving?._withUnsafeGuaranteedRef { stream in
            stream.headBytes = 0
            stream.fieldCount = 0
            guard !stream.hasFinalHead else { return }
            stream.response.removeAll()
            delegate?.willReceive(stream)
        }
    }

    /// Takes one field; false ends the connection.
    func field(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
        receiving?._withUnsafeGuaranteedRef { field(name, value, of: $0) } ?? true
    }

    private func field(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, of stream: HTTP2Stream) -> Bool
    {
        // 32 a field is HPACK's own measure of what a field costs (RFC 7541 §4.1).
        stream.headBytes &+= name.count &+ value.count &+ 32
        if name.first != ASCII.colon { stream.fieldCount &+= 1 }
        guard stream.headBytes <= limits.headBytes, stream.fieldCount <= limits.fields else {
            if stream.headFailure == 0 {
                stream.headFailure = HTTP2Code.enhanceYourCalm
                delegate?.count(.header_overflow)
            }
            // Decoding goes on, because HPACK's state is the connection's, but not without end.
            guard stream.headBytes <= limits.headBytes &* HTTP2Session.overflowFactor else {
                calm(.header_overflow)
                return false
            }
            return true
        }
        if stream.headFailure != 0 { return true }
        do throws(HTTPFieldError) {
            if stream.hasFinalHead {
                try append(name.bytes, value.bytes, to: &stream.trailers)
            } else if role == .client {
                if name.first == ASCII.colon {
                    stream.response.status = UInt16(clamping: ASCII.number(value.bytes) ?? 0)
                } else {
                    try append(name.bytes, value.bytes, to: &stream.response.headers)
                }
            } else {
                try take(name.bytes, value.bytes, stream)
            }
        } catch {
            stream.headFailure = HTTP2Code.protocolError
        }
        return true
    }

    /// How far beyond the limit a head may go before the connection ends instead of the stream.
    private static var overflowFactor: Int { 4 }

    private func append(_ name: RawSpan, _ value: RawSpan, to table: inout HeaderTable) throws(HTTPFieldError) {
        if limits.underscores != .allow,
            ByteScan.first(ASCII.underscore, in: name, from: 0, to: name.byteCount) < name.byteCount
        {
            if limits.underscores == .drop {
                delegate?.count(.dropped_headers_with_underscores)
                return
            }
            delegate?.count(.requests_rejected_with_underscores_in_headers)
            throw HTTPFieldError(.name)
        }
        try table.appendLine(name, value)
    }

    private func take(_ name: RawSpan, _ value: RawSpan, _ stream: HTTP2Stream) throws(HTTPFieldError) {
        guard name.byteCount > 0, ByteScan.byte(name, 0) == ASCII.colon else {
            guard name.byteCount == 4, ByteScan.equalIgnoringCase(name, "host") else {
                return try append(name, value, to: &stream.request.headers)
            }
            // One authority (ATK-18): a Host that differs from it is a lie to somebody.
            guard HTTP1StartLine.isAuthority(value), !stream.hasHost else { throw HTTPFieldError(.value) }
            stream.hasHost = true
            if stream.request.authorityRun.count == 0 { return try stream.request.setAuthority(value) }
            guard stream.request.hasAuthority(value) else { throw HTTPFieldError(.value) }
            return
        }
        // nghttp2 has checked that the name is one of these and comes once.
        switch name.byteCount {
        case 5:
            try stream.request.setPath(value)
        case 7:
            if ByteScan.equalIgnoringCase(name, ":method") {
                try stream.request.setMethod(token: value)
                stream.method = stream.request.method
            } else if ByteScan.equalIgnoringCase(value, "https") {
                stream.request.setScheme("https")
            } else if ByteScan.equalIgnoringCase(value, "http") {
                stream.request.setScheme("http")
            } else {
                throw HTTPFieldError(.value)
            }
        case 9:
            stream.isExtendedConnect = true
            try stream.request.headers.append(.upgrade, value)
        case 10:
            guard value.byteCount == 0 || HTTP1StartLine.isAuthority(value) else { throw HTTPFieldError(.value) }
            if value.byteCount > 0 { try stream.request.setAuthority(value) }
        default: throw HTTPFieldError(.name)
        }
    }

    // MARK: Frames

    func received(_ frame: nghttp2_frame) {
        let isEnd = UInt32(frame.hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
        switch UInt32(frame.hd.type) {
        case NGHTTP2_HEADERS.rawValue:
            guard let found = receiving, found._withUnsafeGuaranteedRef({ $0.id == frame.hd.stream_id }) else { return }
            receiving = nil
            found._withUnsafeGuaranteedRef { stream in
                if isEnd { stream.isRemoteEnded = true }
                receivedHead(stream, isEnd: isEnd)
            }
        case NGHTTP2_DATA.rawValue:
            guard isEnd, let found = find(id: frame.hd.stream_id) else { return }
            found._withUnsafeGuaranteedRef { stream in
                stream.isRemoteEnded = true
                stream.delegate?.end(stream)
            }
        case NGHTTP2_RST_STREAM.rawValue:
            delegate?.count(.rx_reset)
            stream(id: frame.hd.stream_id)?.isResetByPeer = true
            if frame.rst_stream.error_code == HTTP2Code.refusedStream { delegate?.count(.stream_refused_errors) }
        case NGHTTP2_GOAWAY.rawValue:
            delegate?.goAway(lastStream: frame.goaway.last_stream_id, code: frame.goaway.error_code)
        case NGHTTP2_SETTINGS.rawValue:
            guard !overflowsWindow(frame.settings) else { return }
            if UInt32(frame.hd.flags) & NGHTTP2_FLAG_ACK.rawValue == 0 { delegate?.settingsReceived() }
        case NGHTTP2_PING.rawValue:
            if UInt32(frame.hd.flags) & NGHTTP2_FLAG_ACK.rawValue != 0 { delegate?.pong() }
        default: break
        }
    }

    /// Whether a new initial window takes a stream's beyond 2³¹−1: an error of the connection (RFC 9113 §6.9.2), where nghttp2 resets the
    /// stream.
    private func overflowsWindow(_ settings: nghttp2_settings) -> Bool {
        guard let entries = settings.iv else { return false }
        for index in 0..<settings.niv
        where entries[index].settings_id == Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue) {
            let change = Int64(entries[index].value) - peerWindow
            peerWindow = Int64(entries[index].value)
            for (id, window) in windowsBefore where Int64(window) + change > Int64(Int32.max) {
                violation = HTTP2Error(HTTP2Code.flowControlError, "the window of stream \(id) exceeds 2^31-1")
                nghttp2_session_terminate_session(raw, HTTP2Code.flowControlError)
                return true
            }
        }
        windowsBefore = []
        return false
    }

    private func receivedHead(_ stream: HTTP2Stream, isEnd: Bool) {
        if stream.headFailure != 0 { return refuse(stream, code: stream.headFailure) }
        if stream.hasFinalHead {
            delegate?.count(.trailers)
            stream.delegate?.end(stream)
            return
        }
        if role == .client {
            stream.response.body = isEnd ? .none : HTTP2Session.framing(stream.response.headers)
            stream.hasFinalHead = !stream.response.isInterim
            stream.delegate?.head(stream, isEnd: isEnd)
            return
        }
        stream.hasFinalHead = true
        if stream.request.authorityRun.count == 0 && stream.method == .connect {
            return refuse(stream, code: HTTP2Code.protocolError)
        }
        stream.request.body = isEnd ? .none : HTTP2Session.framing(stream.request.headers)
        if stream.isExtendedConnect {
            // RFC 8441, as HTTP/1.1 says the same thing.
            stream.request.becomeUpgrade()
            stream.request.body = .tunnel
        }
        if stream.request.headers.contains(.cookie) { stream.request.headers.joinCookies() }
        stream.request.adoptExpectation()
        guard violation == nil else { return }
        delegate?.streamBegan(stream)
        guard let owner = stream.delegate else { return reset(stream, code: HTTP2Code.refusedStream) }
        owner.head(stream, isEnd: isEnd)
    }

    /// How long a body is that DATA frames bring; nghttp2 holds them against the field.
    private static func framing(_ headers: borrowing HeaderTable) -> BodyFraming {
        guard let index = headers.index(of: .contentLength), let count = ASCII.number(headers.value(at: index)) else {
            return .chunked
        }
        return .length(count)
    }

    private func refuse(_ stream: HTTP2Stream, code: UInt32) {
        stream.isRefusedByUs = true
        if stream.delegate == nil { delegate?.streamRefused(stream, code == HTTP2Code.protocolError ? .field : .size) }
        if code == HTTP2Code.protocolError { malformed() }
        nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code)
    }

    private func malformed() {
        delegate?.count(.rx_messaging_error)
        guard limits.malformedMessageEndsConnection, violation == nil else { return }
        violation = HTTP2Error(HTTP2Code.protocolError, "a malformed message")
        nghttp2_session_terminate_session(raw, HTTP2Code.protocolError)
    }

    func receivedInvalid(_ frame: nghttp2_frame, _ code: Int32) {
        guard code == NGHTTP2_ERR_HTTP_HEADER.rawValue || code == NGHTTP2_ERR_HTTP_MESSAGING.rawValue else { return }
        if let stream = stream(id: frame.hd.stream_id) {
            stream.isRefusedByUs = true
            if stream.delegate == nil {
                delegate?.streamRefused(stream, code == NGHTTP2_ERR_HTTP_HEADER.rawValue ? .field : .message)
            }
        }
        malformed()
    }

    func received(data: UnsafeRawBufferPointer, on id: Int32) {
        find(id: id)?._withUnsafeGuaranteedRef { received(data: data, $0) }
    }

    private func received(data: UnsafeRawBufferPointer, _ stream: HTTP2Stream) {
        guard let delegate = stream.delegate, !stream.isEndedByUs, role == .client || !stream.isLocalEnded else {
            // Nobody wants it any more: the connection goes on, the stream's own window stays shut.
            nghttp2_session_consume_connection(raw, data.count)
            return
        }
        stream.unconsumedBytes &+= data.count
        delegate.data(stream, data)
    }
}
