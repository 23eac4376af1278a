import Glibc
import IO
import Synchronization
import Testing

@testable import Workloads

@Suite("Probes")
struct ProberTests {
    @Test("what the asker was late is waited for besides, in all up to as much again")
    func patience() {
        let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
        var patience = ProbePatience(.seconds(1), from: start)
        // On time, give or take a tick of the timers: it is over.
        var punctual = patience
        #expect(punctual.more(at: start + .milliseconds(1005)) == nil)
        // 400 ms late, then 500 ms: both are given back.
        #expect(patience.more(at: start + .milliseconds(1400)) == .milliseconds(400))
        #expect(patience.more(at: start + .milliseconds(2300)) == .milliseconds(500))
        // Of the second that may be given, a tenth is left.
        #expect(patience.more(at: start + .seconds(9)) == .milliseconds(100))
        #expect(patience.more(at: start + .seconds(20)) == nil)
    }

    /// Something that has happened, which other threads wait for: 30 s at most.
    private final class Event: Sendable {
        private let isThere = Atomic(false)
        func set() { isThere.store(true, ordering: .releasing) }
        func wait() {
            for _ in 0..<30_000 where !isThere.load(ordering: .acquiring) { usleep(1000) }
        }
    }

    /// The asker's loop stands still while the answer comes, until long after the deadline.
    @Test("an answer that came in time counts, whenever it is looked at")
    func lateLook() async throws {
        let listener = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
        guard case .ip(_, let port) = listener.localAddress else { return #expect(Bool(false), "no port") }
        let asker = try EventLoop.start(name: "asker")
        let asked = try EventLoop.start(name: "asked")
        defer {
            asker.stop()
            asked.stop()
            listener.close()
        }
        let descriptor = listener.fd
        asked.execute {
            func isReadable(_ fd: Int32) -> Bool {
                var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
                return poll(&entry, 1, 30_000) == 1
            }
            guard isReadable(descriptor) else { return }
            let peer = accept(descriptor, nil, nil)
            defer { close(peer) }
            var request = [UInt8](repeating: 0, count: 4096)
            guard isReadable(peer), read(peer, &request, request.count) > 0 else { return }
            let (isStanding, isAnswered) = (Event(), Event())
            asker.execute {
                isStanding.set()
                isAnswered.wait()
                usleep(1_300_000)
            }
            isStanding.wait()
            _ = write(peer, "HTTP/1.1 200 OK\r\n\r\n", 19)
            isAnswered.set()
        }
        let problem = await Task(executorPreference: asker) {
            await Prober.http(
                .init(method: "GET", address: "127.0.0.1", port: Int(port), path: "/"), namespace: nil,
                timeout: .seconds(1), on: asker)
        }.value
        #expect(problem == nil)
    }
}
