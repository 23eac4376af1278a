/// One frame of the WebSocket protocol (RFC 6455 §5).
public struct WebSocketFrame: Sendable, Hashable {
    /// What the payload is.
    public enum Kind: UInt8, Sendable {
        /// More of the message that began before.
        case continuation = 0
        /// UTF-8 text.
        case text = 1
        /// Bytes.
        case binary = 2
        /// The end of the connection, perhaps with a code and a reason.
        case close = 8
        /// To be answered with the same payload.
        case ping = 9
        /// The answer to a ping.
        case pong = 10

        /// Whether it stands between the frames of messages (§5.5).
        public var isControl: Bool { rawValue >= 8 }
    }

    /// What the payload is.
    public var kind: Kind
    /// Whether the message ends with it.
    public var isFinal: Bool
    /// The payload, unmasked.
    public var payload: [UInt8]

    /// A frame.
    public init(_ kind: Kind, isFinal: Bool = true, _ payload: [UInt8]) {
        self.kind = kind
        self.isFinal = isFinal
        self.payload = payload
    }

    /// Appends the frame as it stands on the wire.
    ///
    /// - Parameter mask: the masking key that clients must use (§5.3), nil for servers.
    public func append(to buffer: inout [UInt8], mask: UInt32? = nil) {
        buffer.reserveCapacity(buffer.count + payload.count + 14)
        buffer.append(kind.rawValue | (isFinal ? 0x80 : 0))
        let masked: UInt8 = mask == nil ? 0 : 0x80
        switch payload.count {
        case ..<126: buffer.append(UInt8(truncatingIfNeeded: payload.count) | masked)
        case ..<65_536:
            buffer.append(126 | masked)
            for shift in [8, 0] { buffer.append(UInt8(truncatingIfNeeded: payload.count >> shift)) }
        default:
            buffer.append(127 | masked)
            for shift in stride(from: 56, through: 0, by: -8) {
                buffer.append(UInt8(truncatingIfNeeded: payload.count >> shift))
            }
        }
        guard let mask else {
            buffer += payload
            return
        }
        let key = Self.bytes(of: mask)
        buffer += key
        for (index, byte) in payload.enumerated() { buffer.append(byte ^ key[index & 3]) }
    }

    static func bytes(of mask: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: mask >> UInt32($0)) }
    }
}

/// Why a WebSocket connection is over.
public enum WebSocketError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The peer broke the protocol: what it did.
    case malformed(String)
    /// A message has more bytes than are taken.
    case tooLarge(limit: Int)
    /// The connection has ended or was closed.
    case closed

    /// What happened.
    public var description: String {
        switch self {
        case .malformed(let what): "WebSocket: \(what)"
        case .tooLarge(let limit): "WebSocket: a message has more than \(limit) bytes"
        case .closed: "WebSocket: the connection has ended"
        }
    }

    /// The code for the close frame (RFC 6455 §7.4.1).
    public var code: UInt16 {
        switch self {
        case .malformed: 1002
        case .tooLarge: 1009
        case .closed: 1001
        }
    }
}

/// Takes frames out of bytes as they come.
public struct WebSocketDecoder: Sendable {
    private let isServer: Bool
    private let payloadMax: Int
    private var bytes: [UInt8] = []
    private var offset = 0

    /// - Parameters:
    ///   - isServer: The peer is a client, whose frames must be masked; those of a server must not be.
    ///   - payloadMax: Bytes of one frame's payload at most.
    public init(isServer: Bool, payloadMax: Int) {
        self.isServer = isServer
        self.payloadMax = payloadMax
    }

    /// Takes bytes.
    public mutating func append(_ more: [UInt8]) {
        if offset > 0 {
            bytes.removeFirst(offset)
            offset = 0
        }
        if bytes.isEmpty { bytes = more } else { bytes += more }
    }

    /// The next frame; nil when it is not whole yet.
    public mutating func next() throws(WebSocketError) -> WebSocketFrame? {
        let rest = bytes[offset...]
        guard rest.count >= 2, let first = rest.first else { return nil }
        guard first & 0x70 == 0 else { throw .malformed("reserved bits are set") }
        guard let kind = WebSocketFrame.Kind(rawValue: first & 0x0F) else {
            throw .malformed("unknown opcode \(first & 0x0F)")
        }
        let second = bytes[offset + 1]
        guard second & 0x80 == (isServer ? 0x80 : 0) else {
            throw .malformed(isServer ? "a client's frame is not masked" : "a server's frame is masked")
        }
        var length = UInt64(second & 0x7F)
        var head = 2
        let extra = length == 126 ? 2 : length == 127 ? 8 : 0
        if extra > 0 {
            guard rest.count >= head + extra else { return nil }
            length = 0
            for byte in rest.dropFirst(head).prefix(extra) { length = length << 8 | UInt64(byte) }
            head += extra
        }
        let isFinal = first & 0x80 != 0
        if kind.isControl, length > 125 || !isFinal { throw .malformed("a control frame is too long or in parts") }
        guard length <= UInt64(payloadMax) else { throw .tooLarge(limit: payloadMax) }
        let count = Int(length)
        if isServer { head += 4 }
        guard rest.count >= head + count else { return nil }
        var payload = Array(rest.dropFirst(head).prefix(count))
        if isServer {
            let key = Array(rest.dropFirst(head - 4).prefix(4))
            for index in payload.indices { payload[index] ^= key[index & 3] }
        }
        offset += head + count
        return WebSocketFrame(kind, isFinal: isFinal, payload)
    }
}
