import HTTP
import IO

/// Bytes inside of WebSocket messages as a stream: SPDY through proxies that know WebSockets only.
final class TunnelStream: ByteStream {
    private let socket: WebSocketConnection
    private let rest = Rest()

    /// `@unchecked Sendable`: touched on its loop only.
    private final class Rest: @unchecked Sendable { var bytes: ArraySlice<UInt8> = [] }

    init(_ socket: WebSocketConnection) { self.socket = socket }

    func read(upTo count: Int) async throws(SystemError) -> [UInt8] {
        while rest.bytes.isEmpty {
            guard let message = try? await socket.next() else { return [] }
            rest.bytes = message.payload[...]
        }
        let piece = Array(rest.bytes.prefix(count))
        rest.bytes = rest.bytes.dropFirst(piece.count)
        return piece
    }

    func write(_ bytes: [UInt8]) async throws(SystemError) {
        do throws(WebSocketError) { try await socket.send(bytes) } catch { throw SystemError(32, "write: \(error)") }
    }

    func close() { socket.abort() }
}

/// A client's stream that is closed when nothing has come or gone for a long time.
///
/// `@unchecked Sendable`: touched on its loop only.
final class IdleLimitedStream: ByteStream, @unchecked Sendable {
    /// As long as the kubelet lets a session be idle.
    static let idleMax = Duration.seconds(4 * 3600)

    private let stream: any ByteStream
    private let loop: EventLoop
    private var used: MonotonicTime
    private var timer: LoopTimer?

    init(_ stream: any ByteStream, on loop: EventLoop) {
        self.stream = stream
        self.loop = loop
        used = loop.now
        watch(after: Self.idleMax)
    }

    private func watch(after duration: Duration) {
        timer = loop.schedule(after: duration) { [weak self] in
            guard let self else { return }
            let left = Self.idleMax - (self.loop.now - self.used)
            if left <= .zero { self.close() } else { self.watch(after: left) }
        }
    }

    func read(upTo count: Int) async throws(SystemError) -> [UInt8] {
        let bytes = try await stream.read(upTo: count)
        used = loop.now
        return bytes
    }

    func write(_ bytes: [UInt8]) async throws(SystemError) {
        try await stream.write(bytes)
        used = loop.now
    }

    func close() {
        timer?.cancel()
        timer = nil
        stream.close()
    }

    deinit { timer?.cancel() }
}
