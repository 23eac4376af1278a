public import IO

/// A WebSocket connection of the control path: whole messages in both directions, pings answered.
///
/// `@unchecked Sendable`: belongs to the loop of its stream. One task reads; any number may send.
public final class WebSocketConnection: @unchecked Sendable {
    /// Which end this is.
    public enum Role: Sendable {
        /// Takes masked frames and sends plain ones.
        case server
        /// The other way round.
        case client
    }

    /// A message.
    public struct Message: Sendable, Hashable {
        /// Whether it came as text.
        public var isText: Bool
        /// The whole payload.
        public var payload: [UInt8]
    }

    /// Bytes of one message at most; Kubernetes' clients send pieces of 32 KiB.
    public static let messageMax = 1 << 20
    private static let blockBytes = 32 * 1024

    private let stream: any ByteStream
    private let role: Role
    private var decoder: WebSocketDecoder
    private var partial: [UInt8] = []
    private var partialKind: WebSocketFrame.Kind?
    private let turns = SendTurns()
    private var isClosing = false

    /// Takes over a stream behind the handshake; `rest` is what was read too much.
    public init(_ stream: any ByteStream, as role: Role, rest: [UInt8] = []) {
        self.stream = stream
        self.role = role
        decoder = WebSocketDecoder(isServer: role == .server, payloadMax: Self.messageMax)
        decoder.append(rest)
    }

    /// The next message; nil when the peer has closed the connection in order.
    ///
    /// An error is the end: the peer is told its code.
    public func next() async throws(WebSocketError) -> Message? {
        do throws(WebSocketError) {
            while true {
                if let frame = try decoder.next() {
                    switch frame.kind {
                    case .ping: try await send(.init(.pong, frame.payload))
                    case .pong: continue
                    case .close:
                        if !isClosing { await close(code: 1000) }
                        return nil
                    case .text, .binary, .continuation:
                        if let message = try joined(frame) { return message }
                    }
                    continue
                }
                let bytes: [UInt8]
                do throws(SystemError) {
                    bytes = try await stream.read(upTo: Self.blockBytes)
                } catch {
                    throw WebSocketError.closed
                }
                guard !bytes.isEmpty else { throw WebSocketError.closed }
                decoder.append(bytes)
            }
        } catch {
            if error != .closed { await close(code: error.code) }
            throw error
        }
    }

    private func joined(_ frame: WebSocketFrame) throws(WebSocketError) -> Message? {
        if frame.kind == .continuation {
            guard partialKind != nil else { throw .malformed("a continuation of no message") }
            guard partial.count + frame.payload.count <= Self.messageMax else {
                throw .tooLarge(limit: Self.messageMax)
            }
            partial += frame.payload
        } else {
            guard partialKind == nil else { throw .malformed("a message inside another") }
            partialKind = frame.kind
            partial = frame.payload
        }
        guard frame.isFinal else { return nil }
        defer {
            partial = []
            partialKind = nil
        }
        return Message(isText: partialKind == .text, payload: partial)
    }

    /// Sends a message, of bytes or of text (UTF-8); returns when the kernel has taken it.
    public func send(_ payload: [UInt8], isText: Bool = false) async throws(WebSocketError) {
        try await send(.init(isText ? .text : .binary, payload))
    }

    private func send(_ frame: WebSocketFrame) async throws(WebSocketError) {
        guard !isClosing || frame.kind == .close else { throw .closed }
        var bytes: [UInt8] = []
        frame.append(to: &bytes, mask: role == .client ? UInt32.random(in: 0 ... .max) : nil)
        await turns.enter()
        defer { turns.leave() }
        do throws(SystemError) {
            try await stream.write(bytes)
        } catch {
            throw .closed
        }
    }

    /// Says that nothing follows, once; the stream itself stays open for what the peer still sends.
    public func close(code: UInt16 = 1000) async {
        guard !isClosing else { return }
        isClosing = true
        // The peer may be gone already: then there is nobody to tell.
        try? await send(.init(.close, [UInt8(truncatingIfNeeded: code >> 8), UInt8(truncatingIfNeeded: code)]))
    }

    /// Ends the stream at once.
    public func abort() {
        isClosing = true
        stream.close()
    }
}

/// Lets tasks of one loop send one after the other, in the order in which they came.
///
/// `@unchecked Sendable`: touched on its loop only.
public final class SendTurns: @unchecked Sendable {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Nobody's turn.
    public init() {}

    /// Waits for its turn.
    public func enter() async {
        await withCheckedContinuation { continuation in
            guard isTaken else {
                isTaken = true
                return continuation.resume()
            }
            waiting.append(continuation)
        }
    }

    /// Gives the turn to the next.
    public func leave() {
        guard !waiting.isEmpty else {
            isTaken = false
            return
        }
        waiting.removeFirst().resume()
    }
}
