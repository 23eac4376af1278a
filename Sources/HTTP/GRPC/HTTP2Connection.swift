internal import IO

/// An `HTTP2Session` on a stream: what comes is taken as the loop tells of it, what goes is written at the end of the loop's pass.
///
/// No task reads or writes: a control plane has thousands of these, and each push would wake two. `@unchecked Sendable`: touched on its loop only.
final class HTTP2Connection: ReadinessHandler, @unchecked Sendable {
    /// Bytes that are framed before they are written.
    private static let producedAtOnce = 48 * 1024
    /// How long the peer may take to accept our last words.
    private static let farewell = Duration.seconds(1)

    let session: HTTP2Session
    let loop: EventLoop
    private let stream: any DirectStream
    private let output: HTTP2ArrayOutput
    private var calls: [ObjectIdentifier: GRPCStream] = [:]
    /// Takes requests (server): who hears of the stream.
    var onRequest: ((HTTP2Stream) -> (any HTTP2StreamDelegate)?)?
    private var isFlushDue = false
    private var isEnding = false
    private var isReceiving = false
    private var hasReadAll = false
    private var isOver = false
    private var finished: (() -> Void)?
    private var farewellTimer: LoopTimer?

    /// A connection at its beginning; connections of one loop may share their memory.
    init(
        _ role: HTTP2Session.Role, _ stream: any DirectStream, _ limits: HTTP2Limits, memory: HTTP2Memory,
        on loop: EventLoop
    ) throws(HTTP2Error) {
        session = try HTTP2Session(role, limits: limits, memory: memory)
        output = memory.output
        self.stream = stream
        self.loop = loop
        session.delegate = self
    }

    var isOpen: Bool { !isEnding }

    func add(_ call: GRPCStream) { calls[ObjectIdentifier(call)] = call }

    func remove(_ call: GRPCStream) { calls[ObjectIdentifier(call)] = nil }

    /// Carries bytes until the connection ends.
    func run() async {
        await withCheckedContinuation { continuation in start { continuation.resume() } }
    }

    /// Begins to carry bytes; `ended` is called when the connection has ended, so that no task waits for that.
    func start(_ ended: @escaping () -> Void) {
        finished = ended
        stream.handOver(to: self)
        ready([.readable, .writable])
        // Also when nothing was submitted: the preface has to go.
        outputReady()
    }

    /// Ends the connection after what is in the output.
    func close() {
        session.goAway()
        isEnding = true
        outputReady()
    }

    /// Ends the connection now.
    func abort() {
        isEnding = true
        stream.close()
        outputReady()
    }

    /// The stream can be read or written, or is closed.
    func ready(_ readiness: Readiness) {
        if readiness.contains(.writable), stream.isBlocked {
            do throws(SystemError) {
                try stream.writeKept()
            } catch {
                stream.close()
            }
            if !stream.isBlocked { outputReady() }
        }
        if readiness.contains(.readable) { receive() }
    }

    private func receive() {
        guard !hasReadAll, !isReceiving else { return }
        isReceiving = true
        var reason: String?
        do throws(SystemError) {
            let end = try stream.readReady { bytes in
                do throws(HTTP2Error) {
                    try session.receive(bytes, at: loop.now)
                } catch {
                    reason = error.description
                    return false
                }
                if session.isFinished { reason = "the peer ended the connection" }
                return reason == nil
            }
            if end == .ended, reason == nil { reason = "the peer closed the connection" }
        } catch {
            reason = reason ?? error.description
        }
        isReceiving = false
        if let reason { readAll(reason) }
        if reason != nil || session.hasOutput { outputReady() }
    }

    /// Nothing more comes: the calls end, and what is in the output has a little time.
    private func readAll(_ reason: String) {
        guard !hasReadAll else { return }
        hasReadAll = true
        isEnding = true
        let ending = calls
        calls = [:]
        for call in ending.values { call.over(GRPCStatus(.unavailable, reason)) }
        farewellTimer = loop.schedule(after: HTTP2Connection.farewell) { self.end() }
    }

    /// Says that the session may have bytes for the peer: they leave at the end of this pass.
    func outputReady() {
        guard !isFlushDue, !isOver else { return }
        isFlushDue = true
        loop.atEndOfPass { self.flush() }
    }

    private func flush() {
        isFlushDue = false
        guard !isOver else { return }
        do {
            while !stream.isBlocked {
                output.bytes.removeAll(keepingCapacity: true)
                try session.produce(into: output, upTo: HTTP2Connection.producedAtOnce)
                if output.bytes.isEmpty { break }
                try write()
            }
        } catch {
            return end()
        }
        if !stream.isBlocked, isEnding || session.isFinished { end() }
    }

    private func write() throws(SystemError) {
        var failure: SystemError?
        output.bytes.withUnsafeBytes { bytes in
            do throws(SystemError) {
                try stream.writeReady(bytes)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    private func end() {
        guard !isOver else { return }
        isOver = true
        readAll("the connection was closed")
        farewellTimer?.cancel()
        farewellTimer = nil
        stream.close()
        let ended = finished
        finished = nil
        ended?()
    }
}

extension HTTP2Connection: HTTP2SessionDelegate {
    func streamBegan(_ stream: HTTP2Stream) { stream.delegate = onRequest?(stream) }
}
