/// What RFC 9113 §8 asks of the fields and the length of a stream's incoming message (ATK-13).
///
/// nghttp2 would check the same, but by name and character by character once more than the tables do that take the fields, which cost a
/// request a twentieth of all its instructions. Pure; names and values are well formed when they come here (`HeaderTable.appendLine`).
struct HTTP2MessageRules {
    /// A pseudo-header field (§8.3).
    enum Pseudo: UInt8 {
        case method = 1
        case scheme = 2
        case path = 4
        case authority = 8
        case `protocol` = 16
        case status = 32

        /// By its name, which begins with a colon; nil for any other name.
        static func of(_ name: RawSpan) -> Pseudo? {
            let (candidate, known): (Pseudo, StaticString)
            switch name.byteCount {
            case 5: (candidate, known) = (.path, ":path")
            case 7:
                switch ByteScan.byte(name, 2) {
                case UInt8(ascii: "e"): (candidate, known) = (.method, ":method")
                case UInt8(ascii: "c"): (candidate, known) = (.scheme, ":scheme")
                default: (candidate, known) = (.status, ":status")
                }
            case 9: (candidate, known) = (.protocol, ":protocol")
            case 10: (candidate, known) = (.authority, ":authority")
            default: return nil
            }
            let text = UnsafeRawBufferPointer(start: known.utf8Start, count: known.utf8CodeUnitCount).bytes
            return ByteScan.equal(name, text) ? candidate : nil
        }
    }

    private var seen: UInt8 = 0
    /// A field that is none of the pseudo-header fields has come: no such may follow.
    private var hasField = false
    /// The request, or the one that this answers, is CONNECT; it is HEAD; it is OPTIONS.
    private var isConnect = false
    private var isHead = false
    private var isOptions = false
    /// The path is `*`, the path begins with a slash.
    private var pathIsStar = false
    private var pathIsAbsolute = false
    private var status: UInt16 = 0
    /// Only interim responses have come.
    private var expectsFinal = false
    /// What `content-length` says, or what a message without a body has; nil where nothing does.
    private var length: Int?
    /// What `content-length` says, whatever follows from it.
    private(set) var declaredLength: Int?
    private var received = 0
    /// The body has been longer than it may: nothing more of it is wanted.
    private(set) var isBroken = false

    /// The rules for the answer to a request of ours.
    static func response(to method: HTTPMethod) -> HTTP2MessageRules {
        var rules = HTTP2MessageRules()
        rules.isConnect = method == .connect
        rules.isHead = method == .head
        return rules
    }

    // MARK: Fields

    /// Takes a pseudo-header field that may stand in a request (`take(_: HTTPMethod)` follows `:method`); `allowsProtocol`: extended CONNECT was offered (RFC 8441 §3).
    @inline(__always)
    mutating func take(
        _ pseudo: Pseudo, _ value: RawSpan, allowsProtocol: Bool
    ) throws(HTTPFieldError) {
        guard pseudo != .status, pseudo != .protocol || allowsProtocol else { throw HTTPFieldError(.name) }
        try take(pseudo, value)
        guard pseudo == .path else { return }
        pathIsAbsolute = ByteScan.byte(value, 0) == ASCII.slash
        pathIsStar = value.byteCount == 1 && ByteScan.byte(value, 0) == UInt8(ascii: "*")
    }

    /// Takes what `:method` was understood as.
    @inline(__always)
    mutating func take(_ method: HTTPMethod) {
        isConnect = method == .connect
        isOptions = method == .options
    }

    /// Takes the `:status` of a response.
    mutating func takeStatus(_ value: RawSpan) throws(HTTPFieldError) -> UInt16 {
        try take(.status, value)
        // Switching protocols is no part of HTTP/2 (§8.6).
        guard value.byteCount == 3, let number = ASCII.number(value), number != 101 else {
            throw HTTPFieldError(.value)
        }
        status = UInt16(clamping: number)
        return status
    }

    /// Each comes once, with a value, before all others.
    @inline(__always)
    private mutating func take(_ pseudo: Pseudo, _ value: RawSpan) throws(HTTPFieldError) {
        guard !hasField, seen & pseudo.rawValue == 0, value.byteCount > 0 else { throw HTTPFieldError(.name) }
        seen |= pseudo.rawValue
    }

    /// A field came that is no pseudo-header field, whatever becomes of it.
    @inline(__always)
    mutating func fieldCame() { hasField = true }

    /// Looks at a field by its id; false when it is to be left out.
    @inline(__always)
    mutating func allows(_ id: HeaderID, _ value: RawSpan) throws(HTTPFieldError) -> Bool {
        switch id {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .te, .contentLength:
            return try allowsFraming(id, value)
        default: return true
        }
    }

    /// Fields that say how messages are framed.
    private mutating func allowsFraming(_ id: HeaderID, _ value: RawSpan) throws(HTTPFieldError) -> Bool {
        switch id {
        case .te:
            guard ByteScan.equalIgnoringCase(value, "trailers") else { throw HTTPFieldError(.value) }
            return true
        case .contentLength:
            guard length == nil, status / 100 != 1 else { throw HTTPFieldError(.name) }
            if status == 204 {
                // RFC 9110 §8.6: it has none; of those who say so all the same, zero is believed.
                guard ByteScan.equal(value, RawSpan(ascii: "0")) else { throw HTTPFieldError(.value) }
                length = 0
                return false
            }
            if isConnect, status / 100 == 2 { return false }
            guard let number = ASCII.number(value) else { throw HTTPFieldError(.value) }
            length = number
            declaredLength = number
            return true
        // §8.2.2: what belongs to one connection of HTTP/1.
        default: throw HTTPFieldError(.name)
        }
    }

    // MARK: Messages

    /// The head of a request is complete: whether it is one (§8.3.1).
    mutating func requestIsWhole(hasHost: Bool) -> Bool {
        func has(_ pseudo: Pseudo) -> Bool { seen & pseudo.rawValue != 0 }
        if isConnect, !has(.protocol) {
            guard !has(.scheme), !has(.path), has(.authority) else { return false }
            length = nil
            return true
        }
        guard has(.method), has(.scheme), has(.path), has(.authority) || hasHost else { return false }
        if has(.protocol) { guard isConnect, has(.authority) else { return false } }
        return pathIsAbsolute || (isOptions && pathIsStar)
    }

    /// The head of a response is complete: whether it is one (§8.3.2).
    mutating func responseIsWhole() -> Bool {
        guard seen & Pseudo.status.rawValue != 0 else { return false }
        if status / 100 == 1 {
            // The final one comes with a head of its own.
            seen = 0
            hasField = false
            status = 0
            length = nil
            declaredLength = nil
            expectsFinal = true
            return true
        }
        expectsFinal = false
        if isHead || status == 304 || status == 204 {
            length = 0
        } else if isConnect {
            length = nil
        }
        return true
    }

    /// So many bytes of the body came: whether there may be so many (§8.1.1).
    @inline(__always)
    mutating func allowsBody(_ count: Int) -> Bool {
        received &+= count
        guard !expectsFinal, !isBroken, received <= length ?? .max else {
            isBroken = true
            return false
        }
        return true
    }

    /// The peer has ended its direction: whether the message is whole.
    var mayEnd: Bool { !expectsFinal && !isBroken && received == length ?? received }
}

extension RawSpan {
    /// The bytes of a text of the program.
    @_lifetime(immortal)
    fileprivate init(ascii text: StaticString) {
        self = _overrideLifetime(
            UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount).bytes, copying: ())
    }
}
