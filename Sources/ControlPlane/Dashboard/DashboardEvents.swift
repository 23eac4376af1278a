import HTTP
import IO
import Serialization

/// The open event streams of browsers (`text/event-stream`).
///
/// A reader gets the newest picture, never a queue of old ones; who does not take one within `patience` is dropped.
/// `@unchecked Sendable`: used on one loop.
final class DashboardEvents: @unchecked Sendable {
    /// Streams at once; more are answered 503.
    static let streamsMax = 32
    /// How often something is sent when nothing happens, so that a broken connection is noticed.
    static let heartbeat = Duration.seconds(15)

    /// How long a reader may leave what was sent to it.
    var patience = Duration.seconds(20)
    private let loop: EventLoop
    private var readers: [ObjectIdentifier: DashboardReader] = [:]
    /// Streams that were one too many.
    private(set) var refused: UInt64 = 0
    /// Streams whose reader was too slow.
    private(set) var dropped: UInt64 = 0

    init(on loop: EventLoop) { self.loop = loop }

    /// How many streams are open.
    var count: Int { readers.count }
    /// What is looked at.
    var windows: Set<Int64> { Set(readers.values.map(\.window)) }

    /// An answer that begins with `now` and goes on with what is published for its window.
    func open(_ window: Int64, now: [UInt8]) -> HTTPResponse {
        guard readers.count < Self.streamsMax else {
            refused += 1
            return HTTPResponse(status: 503, text: "\(Self.streamsMax) event streams are open already\n")
        }
        let reader = DashboardReader(window, on: loop)
        readers[ObjectIdentifier(reader)] = reader
        reader.pending = Self.event(now)
        // An answer whose head cannot be sent never gets to its stream.
        _ = loop.schedule(after: patience) { [weak self, weak reader] in
            guard let self, let reader, !reader.isRunning else { return }
            self.readers[ObjectIdentifier(reader)] = nil
        }
        return .stream(contentType: "text/event-stream; charset=utf-8") {
            [weak self] (writer) throws(HTTPError) in
            defer { self?.readers[ObjectIdentifier(reader)] = nil }
            guard let self else { return }
            try await reader.run(writer, patience: self.patience) { self.dropped += 1 }
        }
    }

    /// Sends a picture to those who look at that window.
    func publish(_ picture: [UInt8], window: Int64) {
        let event = Self.event(picture)
        for reader in readers.values where reader.window == window {
            reader.pending = event
            reader.wake()
        }
    }

    /// JSON has no line end of its own: one `data` line is enough.
    static func event(_ picture: [UInt8]) -> [UInt8] { Array("event: mesh\ndata: ".utf8) + picture + [0x0A, 0x0A] }
}

/// One browser.
///
/// `@unchecked Sendable`: touched on its loop only.
final class DashboardReader: @unchecked Sendable {
    let window: Int64
    /// The newest event that it has not got yet.
    var pending: [UInt8]?
    private(set) var isRunning = false
    private let loop: EventLoop
    private var waiter: CheckedContinuation<Void, Never>?
    private var wasWoken = false
    private var isCancelled = false

    init(_ window: Int64, on loop: EventLoop) {
        self.window = window
        self.loop = loop
    }

    func run(_ writer: HTTPBodyWriter, patience: Duration, onDrop: @escaping () -> Void) async throws(HTTPError) {
        isRunning = true
        while !isCancelled {
            let bytes = pending ?? Array(": still here\n\n".utf8)
            pending = nil
            let timer = loop.schedule(after: patience) {
                onDrop()
                writer.close()
            }
            defer { timer.cancel() }
            try await writer.write(bytes)
            timer.cancel()
            if pending == nil { await wait() }
        }
    }

    /// Waits for an event, for the time of a heartbeat, or for the end.
    private func wait() async {
        let timer = loop.schedule(after: DashboardEvents.heartbeat) { [weak self] in self?.wake() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // What happened on the way here must not be slept through.
                if wasWoken || isCancelled { continuation.resume() } else { waiter = continuation }
            }
        } onCancel: {
            loop.execute {
                self.isCancelled = true
                self.wake()
            }
        }
        wasWoken = false
        timer.cancel()
    }

    func wake() {
        wasWoken = true
        waiter?.resume()
        waiter = nil
    }
}
