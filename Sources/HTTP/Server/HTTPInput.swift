internal import IO

/// What has arrived on a server's connection and was not read yet.
///
/// It reads ahead while a handler works, one block at most, so that the end of the stream is noticed then: that is how a handler learns that
/// its client went away. `@unchecked Sendable`: touched on the connection's loop only.
final class HTTPInput: @unchecked Sendable {
    /// One read; also all that is held of a client that pipelines.
    private static let blockBytes = 16 * 1024

    private let stream: any ByteStream
    private(set) var bytes: [UInt8] = []
    private var offset = 0
    private(set) var isEnded = false
    private var isStopped = false
    private var arrival: CheckedContinuation<Void, Never>?
    private var room: CheckedContinuation<Void, Never>?
    /// Called once, when the peer ends the stream or the connection breaks.
    var onEnd: (() -> Void)?

    init(_ stream: any ByteStream) { self.stream = stream }

    var isEmpty: Bool { offset >= bytes.count }

    /// Reads until the stream ends or `stop`.
    func pump() async {
        while !isStopped, !isEnded {
            if !isEmpty {
                await withCheckedContinuation { continuation in
                    guard !isEmpty, !isStopped else { return continuation.resume() }
                    room = continuation
                }
                continue
            }
            // All of the block is taken: who waits for a next request for hours, or has a watch, holds none.
            bytes = []
            offset = 0
            var piece: [UInt8] = []
            do throws(SystemError) {
                piece = try await stream.read(upTo: HTTPInput.blockBytes)
            } catch {
                // A broken connection and an ended one are the same to a server: nobody is there to answer.
            }
            if piece.isEmpty { isEnded = true }
            bytes = piece
            offset = 0
            arrival?.resume()
            arrival = nil
            if isEnded { ended() }
        }
    }

    private func ended() {
        let action = onEnd
        onEnd = nil
        action?()
    }

    /// Waits until there are bytes or the stream has ended.
    func wait() async {
        await withCheckedContinuation { continuation in
            guard isEmpty, !isEnded, !isStopped else { return continuation.resume() }
            arrival = continuation
        }
    }

    /// The next event of the parser in what has arrived.
    func next(_ parser: inout HTTP1RequestParser) throws(HTTP1Error) -> HTTP1Event {
        let block = bytes
        let event = try parser.next(block.span.bytes, &offset)
        // Reading on is safe before the event is used: it takes effect at the next suspension only.
        if isEmpty { makeRoom() }
        return event
    }

    /// Takes all that has arrived.
    func take() -> [UInt8] {
        let rest = Array(bytes[min(offset, bytes.count)...])
        offset = bytes.count
        makeRoom()
        return rest
    }

    private func makeRoom() {
        room?.resume()
        room = nil
    }

    func stop() {
        isStopped = true
        makeRoom()
        arrival?.resume()
        arrival = nil
    }
}
