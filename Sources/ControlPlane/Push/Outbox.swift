import HTTP
import IO
import XDS

/// Responses on their way to one proxy, in order.
///
/// Bounded by the protocol: one response per type is under way, the next waits for its acknowledgement; and the bytes are
/// shared with all streams that get the same. `@unchecked Sendable`: belongs to one loop.
final class Outbox: @unchecked Sendable {
    private let call: GRPCStream
    private let loop: EventLoop
    private let unreadTime: Duration
    private var waiting: [[UInt8]] = []
    /// Whether room is waited for.
    private var isWaiting = false
    /// The proxy does not read; the stream has been ended.
    private(set) var isStuck = false

    init(_ call: GRPCStream, _ loop: EventLoop, unreadTime: Duration) {
        self.call = call
        self.loop = loop
        self.unreadTime = unreadTime
    }

    func send(_ messages: [DiscoveryMessage]) {
        for message in messages {
            // Nearly always there is room, and nothing to wait for.
            if !isWaiting, !call.isFull {
                guard call.post(message.bytes) else { return }  // The stream has ended; its reader says so.
            } else {
                waiting.append(message.bytes)
            }
        }
        // Also when nothing else is to be sent: a proxy that leaves the last message unread is found out.
        guard !isWaiting, call.isFull else { return }
        isWaiting = true
        Task(executorPreference: loop) { await self.drain() }
    }

    private func drain() async {
        defer { isWaiting = false }
        while call.isFull || !waiting.isEmpty {
            let timer = loop.schedule(after: unreadTime) { [weak self] in
                guard let self else { return }
                self.isStuck = true
                self.call.cancel()
            }
            defer { timer.cancel() }
            do throws(GRPCStatus) {
                try await call.room()
            } catch {
                return waiting = []  // The stream has ended; its reader says so.
            }
            guard !call.isFull else { return waiting = [] }  // It is over.
            while !waiting.isEmpty, !call.isFull {
                guard call.post(waiting.removeFirst()) else { return waiting = [] }
            }
        }
    }
}
