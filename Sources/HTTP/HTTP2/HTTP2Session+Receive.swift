internal import CNGHTTP2

// What nghttp2 says about frames that came. None of it throws: C stands between.
//
// nghttp2 checks the frames and HPACK; what they say together is checked here: names and values by `HeaderTable`, messages by
// `HTTP2MessageRules` (ATK-13).
extension HTTP2Session {
    /// A frame's head was read; false ends the connection.
    func frameBegins(_ head: UnsafePointer<nghttp2_frame_hd>) -> Bool {
        let hd = head.pointee
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

    func headBegins(_ frame: UnsafePointer<nghttp2_frame>) {
        let id = frame.pointee.hd.stream_id
        if role == .server, frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
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
        // Not `first`, which allocates in builds that are not optimized.
        let isPseudo = !name.isEmpty && name[0] == ASCII.colon
        if !isPseudo { stream.fieldCount &+= 1 }
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
            if isPseudo {
                try takePseudo(name.bytes, value.bytes, stream)
            } else if stream.hasFinalHead {
                try append(name.bytes, value.bytes, stream, to: &stream.trailers)
            } else if role == .client {
                try append(name.bytes, value.bytes, stream, to: &stream.response.headers)
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

    private func append(
        _ name: RawSpan, _ value: RawSpan, _ stream: HTTP2Stream, to table: inout HeaderTable
    ) throws(HTTPFieldError) {
        stream.rules.fieldCame()
        let id = names.id(of: name)
        guard try stream.rules.allows(id, value) else { return }
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
        try table.appendLine(name, value, id)
    }

    private func take(_ name: RawSpan, _ value: RawSpan, _ stream: HTTP2Stream) throws(HTTPFieldError) {
        guard name.byteCount == 4, names.id(of: name) == .host else {
            return try append(name, value, stream, to: &stream.request.headers)
        }
        stream.rules.fieldCame()
        // One authority (ATK-18): a Host that differs from it is a lie to somebody.
        guard HTTP1StartLine.isAuthority(value), !stream.hasHost else { throw HTTPFieldError(.value) }
        stream.hasHost = true
        if stream.request.authorityRun.count == 0 { return try stream.request.setAuthority(value) }
        guard stream.request.hasAuthority(value) else { throw HTTPFieldError(.value) }
    }

    private func takePseudo(_ name: RawSpan, _ value: RawSpan, _ stream: HTTP2Stream) throws(HTTPFieldError) {
        guard !stream.hasFinalHead, let pseudo = HTTP2MessageRules.Pseudo.of(name) else { throw HTTPFieldError(.name) }
        if role == .client {
            guard pseudo == .status else { throw HTTPFieldError(.name) }
            stream.response.status = try stream.rules.takeStatus(value)
            return
        }
        try stream.rules.take(pseudo, value, allowsProtocol: limits.allowsConnect)
        switch pseudo {
        case .path:
            try stream.request.setPath(value)
        case .method:
            try stream.request.setMethod(token: value)
            stream.method = stream.request.method
            stream.rules.take(stream.method)
        case .scheme:
            if ByteScan.equalIgnoringCase(value, "https") {
                stream.request.setScheme("https")
            } else if ByteScan.equalIgnoringCase(value, "http") {
                stream.request.setScheme("http")
            } else {
                throw HTTPFieldError(.value)
            }
        case .protocol:
            stream.isExtendedConnect = true
            try stream.request.headers.append(.upgrade, value)
        case .authority:
            guard HTTP1StartLine.isAuthority(value) else { throw HTTPFieldError(.value) }
            try stream.request.setAuthority(value)
        case .status: break  // Refused by the rules.
        }
    }

    // MARK: Frames

    func received(_ frame: UnsafePointer<nghttp2_frame>) {
        let hd = frame.pointee.hd
        let isEnd = UInt32(hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
        switch UInt32(hd.type) {
        case NGHTTP2_HEADERS.rawValue:
            guard let found = receiving, found._withUnsafeGuaranteedRef({ $0.id == hd.stream_id }) else { return }
            receiving = nil
            found._withUnsafeGuaranteedRef { stream in
                if isEnd { stream.isRemoteEnded = true }
                receivedHead(stream, isEnd: isEnd)
            }
        case NGHTTP2_DATA.rawValue:
            guard isEnd, let found = find(id: hd.stream_id) else { return }
            found._withUnsafeGuaranteedRef { stream in
                guard stream.rules.mayEnd else { return breaksRules(stream) }
                stream.isRemoteEnded = true
                stream.delegate?.end(stream)
            }
        case NGHTTP2_RST_STREAM.rawValue:
            delegate?.count(.rx_reset)
            stream(id: hd.stream_id)?.isResetByPeer = true
            if frame.pointee.rst_stream.error_code == HTTP2Code.refusedStream {
                delegate?.count(.stream_refused_errors)
            }
        case NGHTTP2_GOAWAY.rawValue:
            delegate?.goAway(lastStream: frame.pointee.goaway.last_stream_id, code: frame.pointee.goaway.error_code)
        case NGHTTP2_SETTINGS.rawValue:
            guard !overflowsWindow(frame.pointee.settings) else { return }
            if UInt32(hd.flags) & NGHTTP2_FLAG_ACK.rawValue == 0 { delegate?.settingsReceived() }
        case NGHTTP2_PING.rawValue:
            if UInt32(hd.flags) & NGHTTP2_FLAG_ACK.rawValue != 0 { delegate?.pong() }
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
        if stream.headFailure != 0 {
            return refuse(
                stream, stream.headFailure == HTTP2Code.protocolError ? .field : .size, code: stream.headFailure)
        }
        guard isWhole(stream, isEnd: isEnd) else { return refuse(stream, .message, code: HTTP2Code.protocolError) }
        if stream.hasFinalHead {
            delegate?.count(.trailers)
            stream.delegate?.end(stream)
            return
        }
        if role == .client {
            stream.response.body = isEnd ? .none : HTTP2Session.framing(stream)
            stream.hasFinalHead = !stream.response.isInterim
            stream.delegate?.head(stream, isEnd: isEnd)
            return
        }
        stream.hasFinalHead = true
        stream.request.body = isEnd ? .none : HTTP2Session.framing(stream)
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
    @inline(__always)
    private static func framing(_ stream: HTTP2Stream) -> BodyFraming {
        stream.rules.declaredLength.map { .length($0) } ?? .chunked
    }

    /// Whether a head or trailers, whose fields are well formed, make a message together.
    private func isWhole(_ stream: HTTP2Stream, isEnd: Bool) -> Bool {
        if stream.hasFinalHead {
            // Trailers end the message (§8.1).
            guard isEnd else { return false }
        } else if role == .client {
            guard stream.rules.responseIsWhole() else { return false }
        } else {
            guard stream.rules.requestIsWhole(hasHost: stream.hasHost) else { return false }
        }
        return !isEnd || stream.rules.mayEnd
    }

    /// A body is longer or shorter than it was said to be, or comes before its head.
    private func breaksRules(_ stream: HTTP2Stream) {
        nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, HTTP2Code.protocolError)
    }

    private func refuse(_ stream: HTTP2Stream, _ reason: HTTP2Refusal, code: UInt32) {
        stream.isRefusedByUs = true
        stream.refusalCode = code
        if stream.delegate == nil { delegate?.streamRefused(stream, reason) }
        if code == HTTP2Code.protocolError { malformed() }
        nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code)
    }

    private func malformed() {
        delegate?.count(.rx_messaging_error)
        guard limits.malformedMessageEndsConnection, violation == nil else { return }
        violation = HTTP2Error(HTTP2Code.protocolError, "a malformed message")
        nghttp2_session_terminate_session(raw, HTTP2Code.protocolError)
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
        guard stream.rules.allowsBody(data.count) else {
            nghttp2_session_consume_connection(raw, data.count)
            return breaksRules(stream)
        }
        stream.unconsumedBytes &+= data.count
        delegate.data(stream, data)
    }
}
