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
    private var isSending = false
    private var timer: LoopTimer?
    /// The proxy does not read; the stream has been ended.
    private(set) var isStuck = false

    init(_ call: GRPCStream, _ loop: EventLoop, unreadTime: Duration) {
        self.call = call
        self.loop = loop
        self.unreadTime = unreadTime
    }

    func send(_ messages: [DiscoveryMessage]) {
        for message in messages { waiting.append(message.bytes) }
        guard !waiting.isEmpty, !isSending else { return }
        isSending = true
        Task(executorPreference: loop) { await self.drain() }
    }

    private func drain() async {
        while !waiting.isEmpty {
            let bytes = waiting.removeFirst()
            timer = loop.schedule(after: unreadTime) { [weak self] in
                guard let self else { return }
                self.isStuck = true
                self.call.cancel()
            }
            do throws(GRPCStatus) {
                try await call.send(bytes)
            } catch {
                waiting = []  // The stream has ended; its reader says so.
            }
            timer?.cancel()
            timer = nil
        }
        isSending = false
    }
}
