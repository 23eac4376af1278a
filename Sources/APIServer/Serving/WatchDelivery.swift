internal import HTTP
internal import IO

/// Carries one watch to one client: each event at once, a bookmark when nothing happens, the end after its lifetime.
///
/// `@unchecked Sendable`: touched on its loop only.
final class WatchDelivery: @unchecked Sendable {
    private let stream: WatchStream
    private let turns: WatchTurns
    private let loop: EventLoop
    /// Whether it waits for its turn.
    fileprivate var isDue = false
    private var waiter: CheckedContinuation<Void, Never>?
    private var timer: LoopTimer?
    private var wasWoken = false
    private var isCancelled = false

    init(_ stream: WatchStream, _ turns: WatchTurns, on loop: EventLoop) {
        self.stream = stream
        self.turns = turns
        self.loop = loop
        stream.wake = { [weak self] in self.map(turns.add) }
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
                // The present state of a large kind comes in pieces; others are served between them.
                if stream.hasMore { await Task.yield() }
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
            // Bookmarks of thousands of watches that were opened together are due together.
            if let self { turns.add(self) }
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

    fileprivate func wake() {
        wasWoken = true
        waiter?.resume()
        waiter = nil
    }
}

/// Wakes the watches that have something to send, a few in each pass of the loop: thousands that wait for one change do not keep other
/// requests waiting.
///
/// `@unchecked Sendable`: touched on its loop only.
final class WatchTurns: @unchecked Sendable {
    /// Watches that are woken in one pass.
    private static let atOnce = 64

    private let loop: EventLoop
    private var due: [WatchDelivery] = []
    private var start = 0
    private var isRunning = false

    init(on loop: EventLoop) { self.loop = loop }

    func add(_ delivery: WatchDelivery) {
        guard !delivery.isDue else { return }
        delivery.isDue = true
        due.append(delivery)
        guard !isRunning else { return }
        isRunning = true
        loop.execute { self.run() }
    }

    private func run() {
        let end = min(due.count, start + Self.atOnce)
        for delivery in due[start..<end] {
            delivery.isDue = false
            delivery.wake()
        }
        start = end
        guard start == due.count else { return loop.execute { self.run() } }
        due = []
        start = 0
        isRunning = false
    }
}
