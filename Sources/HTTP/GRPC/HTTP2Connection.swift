internal import IO

/// An `HTTP2Session` on a byte stream: one task reads, another writes, calls wait in between.
///
/// `@unchecked Sendable`: touched on its loop only.
final class HTTP2Connection: @unchecked Sendable {
    private static let blockBytes = 16 * 1024
    /// How long the peer may take to accept our last words.
    private static let farewell = Duration.seconds(1)

    let session: HTTP2Session
    let loop: EventLoop
    private let stream: any ByteStream
    private var calls: [ObjectIdentifier: GRPCStream] = [:]
    /// Takes requests (server): who hears of the stream.
    var onRequest: ((HTTP2Stream) -> (any HTTP2StreamDelegate)?)?
    private var writer: CheckedContinuation<Void, Never>?
    private var hasWork = true
    private var isEnding = false

    init(_ role: HTTP2Session.Role, _ stream: any ByteStream, _ limits: HTTP2Limits, on loop: EventLoop)
        throws(HTTP2Error)
    {
        session = try HTTP2Session(role, limits: limits)
        self.stream = stream
        self.loop = loop
        session.delegate = self
    }

    var isOpen: Bool { !isEnding }

    func add(_ call: GRPCStream) { calls[ObjectIdentifier(call)] = call }

    func remove(_ call: GRPCStream) { calls[ObjectIdentifier(call)] = nil }

    /// Carries bytes until the connection ends.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.write() }
            let reason = await read()
            isEnding = true
            for call in calls.values { call.over(GRPCStatus(.unavailable, reason)) }
            calls = [:]
            let timer = loop.schedule(after: HTTP2Connection.farewell) { self.stream.close() }
            outputReady()
            await group.waitForAll()
            timer.cancel()
            stream.close()
        }
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

    private func read() async -> String {
        while true {
            let bytes: [UInt8]
            do throws(SystemError) {
                bytes = try await stream.read(upTo: HTTP2Connection.blockBytes)
            } catch {
                return error.description
            }
            if bytes.isEmpty { return "the peer closed the connection" }
            var failure: HTTP2Error?
            do throws(HTTP2Error) {
                try session.receive(bytes.span.bytes, at: loop.now)
            } catch {
                failure = error
            }
            outputReady()
            if let failure { return failure.description }
            if session.isFinished { return "the peer ended the connection" }
        }
    }

    private func write() async {
        while true {
            var output: [UInt8] = []
            hasWork = false
            do throws(HTTP2Error) {
                try session.takeOutput(into: &output)
            } catch {
                return stream.close()
            }
            if output.isEmpty {
                if isEnding || session.isFinished { return stream.close() }
                await withCheckedContinuation { continuation in
                    guard !hasWork else { return continuation.resume() }
                    writer = continuation
                }
                continue
            }
            do throws(SystemError) {
                try await stream.write(output)
            } catch {
                return stream.close()
            }
        }
    }

    /// Says that the session may have bytes for the peer.
    func outputReady() {
        hasWork = true
        writer?.resume()
        writer = nil
    }
}

extension HTTP2Connection: HTTP2SessionDelegate {
    func streamBegan(_ stream: HTTP2Stream) { stream.delegate = onRequest?(stream) }
}
