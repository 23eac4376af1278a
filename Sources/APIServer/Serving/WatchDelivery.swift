internal import HTTP
internal import IO

/// Carries one watch to one client: each event at once, a bookmark when nothing happens, the end after its lifetime.
///
/// `@unchecked Sendable`: touched on its loop only.
final class WatchDelivery: @unchecked Sendable {
    private let stream: WatchStream
    private let loop: EventLoop
    private var waiter: CheckedContinuation<Void, Never>?
    private var timer: LoopTimer?
    private var wasWoken = false
    private var isCancelled = false

    init(_ stream: WatchStream, on loop: EventLoop) {
        self.stream = stream
        self.loop = loop
        stream.wake = { [weak self] in self?.wake() }
    }

    func run(_ writer: HTTPBodyWriter) async throws(HTTPError) {
        defer {
            timer?.cancel()
            stream.cancel()
        }
        let end = loop.now + stream.lifetime
        while !isCancelled, loop.now < end, let bytes = stream.next() {
            if !bytes.isEmpty {
                try await writer.write(bytes)
                continue
            }
            let left = end - loop.now
            let isIdle = await wait(atMost: min(left, WatchStream.bookmarkInterval))
            if isIdle, !isCancelled, loop.now < end {
                let bookmark = stream.bookmark()
                if !bookmark.isEmpty { try await writer.write(bookmark) }
            }
        }
    }

    /// Waits for an event; true when the time was up first.
    private func wait(atMost duration: Duration) async -> Bool {
        var isTimeUp = false
        timer = loop.schedule(after: duration) { [weak self] in
            isTimeUp = true
            self?.wake()
        }
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
        timer?.cancel()
        return isTimeUp
    }

    private func wake() {
        wasWoken = true
        waiter?.resume()
        waiter = nil
    }
}
