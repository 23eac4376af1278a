import HTTP
import IO

/// A stream of an `SPDYSession` that the client has opened.
///
/// `@unchecked Sendable`: touched on its loop only.
final class SPDYStream: @unchecked Sendable {
    let id: UInt32
    /// Names in lower case.
    let headers: [String: String]
    fileprivate var pending: [[UInt8]] = []
    fileprivate var pendingBytes = 0
    fileprivate var hasEnded = false
    fileprivate var isAnswered = false
    fileprivate var waiter: CheckedContinuation<Void, Never>?
    fileprivate var room: (() -> Void)?

    fileprivate init(_ id: UInt32, _ headers: [String: String]) {
        self.id = id
        self.headers = headers
    }

    /// The next bytes from the client; nil at their end.
    func read() async -> [UInt8]? {
        if pending.isEmpty, !hasEnded {
            await withCheckedContinuation { continuation in
                guard pending.isEmpty, !hasEnded else { return continuation.resume() }
                waiter = continuation
            }
        }
        guard !pending.isEmpty else { return nil }
        let piece = pending.removeFirst()
        pendingBytes -= piece.count
        room?()
        return piece
    }

    fileprivate func take(_ bytes: [UInt8], isEnd: Bool) {
        if !bytes.isEmpty, !hasEnded {
            pending.append(bytes)
            pendingBytes += bytes.count
        }
        if isEnd { hasEnded = true }
        waiter?.resume()
        waiter = nil
    }
}

/// The server's side of SPDY/3.1 over a stream of bytes.
///
/// `@unchecked Sendable`: belongs to the loop of its stream; one task runs it, any may write.
final class SPDYSession: @unchecked Sendable {
    /// Streams that are open at once: two for each forwarded connection.
    static let streamsMax = 512
    /// Bytes of one stream that wait for whoever reads it; then nothing more is read from the client.
    static let pendingMax = 256 * 1024
    private static let blockBytes = 32 * 1024
    private static let pieceBytes = 64 * 1024

    private let stream: any ByteStream
    private var decoder: SPDYDecoder
    private let encoder: SPDYEncoder
    private let turns = SendTurns()
    private var streams: [UInt32: SPDYStream] = [:]
    private var room: CheckedContinuation<Void, Never>?
    private var isOver = false

    init(_ stream: any ByteStream) throws(SPDYError) {
        self.stream = stream
        decoder = try SPDYDecoder()
        encoder = try SPDYEncoder()
    }

    /// Reads until the client goes or breaks the rules; `opened` is told of each new stream and must not wait.
    func run(_ opened: (SPDYStream) -> Void) async {
        defer {
            isOver = true
            for stream in streams.values { stream.take([], isEnd: true) }
        }
        do throws(SPDYError) {
            while !isOver {
                while let frame = try decoder.next() { try await take(frame, opened) }
                guard let bytes = try? await stream.read(upTo: Self.blockBytes), !bytes.isEmpty else { return }
                decoder.append(bytes)
            }
        } catch {
            try? await send(.goAway)
        }
    }

    private func take(_ frame: SPDYFrame, _ opened: (SPDYStream) -> Void) async throws(SPDYError) {
        switch frame {
        case .open(let id, let headers, let isEnd):
            guard id % 2 == 1, streams[id] == nil else { throw .malformed("stream \(id) cannot be opened") }
            guard streams.count < Self.streamsMax else {
                // REFUSED_STREAM: it may be tried again.
                return try await sendOrEnd(.reset(stream: id, status: 3))
            }
            let stream = SPDYStream(id, headers)
            streams[id] = stream
            if isEnd { stream.take([], isEnd: true) }
            try await sendOrEnd(.reply(stream: id, headers: [:], isEnd: false))
            opened(stream)
        case .data(let id, let bytes, let isEnd):
            guard let stream = streams[id] else { return }
            stream.take(bytes, isEnd: isEnd)
            if stream.hasEnded, stream.isAnswered { streams[id] = nil }
            await waitForRoom(stream)
        case .reset(let id, _):
            guard let stream = streams.removeValue(forKey: id) else { return }
            stream.isAnswered = true
            stream.take([], isEnd: true)
        case .headers(let id, let isEnd): if isEnd { streams[id]?.take([], isEnd: true) }
        case .ping(let id):
            // Even numbers are answers to pings of ours, of which there are none.
            if id % 2 == 1 { try await sendOrEnd(.ping(id)) }
        case .goAway, .reply: return
        }
    }

    private func waitForRoom(_ stream: SPDYStream) async {
        while stream.pendingBytes > Self.pendingMax, !isOver {
            await withCheckedContinuation { continuation in
                room = continuation
                stream.room = { [weak self] in
                    self?.room?.resume()
                    self?.room = nil
                }
            }
        }
    }

    private func sendOrEnd(_ frame: SPDYFrame) async throws(SPDYError) {
        do throws(HTTPError) { try await send(frame) } catch { isOver = true }
    }

    private func send(_ frame: SPDYFrame) async throws(HTTPError) {
        await turns.enter()
        defer { turns.leave() }
        do throws(SPDYError) {
            // In turn: what packs headers remembers those before.
            let bytes = try encoder.encode(frame)
            do throws(SystemError) { try await stream.write(bytes) } catch { throw SPDYError.malformed("\(error)") }
        } catch {
            throw .closed
        }
    }

    /// Sends bytes on a stream.
    func write(_ stream: SPDYStream, _ bytes: [UInt8]) async throws(HTTPError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            guard !stream.isAnswered else { throw .closed }
            try await send(.data(stream: stream.id, Array(rest.prefix(Self.pieceBytes)), isEnd: false))
            rest = rest.dropFirst(Self.pieceBytes)
        }
    }

    /// Ends our direction of a stream, once.
    func end(_ stream: SPDYStream) async {
        guard !stream.isAnswered else { return }
        stream.isAnswered = true
        try? await send(.data(stream: stream.id, [], isEnd: true))
        if stream.hasEnded { streams[stream.id] = nil }
    }

    /// Ends both directions of a stream: nobody reads it any more.
    func abandon(_ stream: SPDYStream) async {
        await end(stream)
        guard streams.removeValue(forKey: stream.id) != nil else { return }
        stream.pending = []
        stream.pendingBytes = 0
        stream.take([], isEnd: true)
        stream.room?()
    }

    /// Ends the connection at once.
    func abort() {
        isOver = true
        room?.resume()
        room = nil
        stream.close()
    }
}
