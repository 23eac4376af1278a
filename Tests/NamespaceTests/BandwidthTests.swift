import Glibc
import IO
import Synchronization
import Testing

@testable import Network

/// How long it takes to send so many bytes from one namespace to an address in another; in seconds.
private func pour(
    _ count: Int, from source: NetworkNamespace, to target: NetworkNamespace, _ address: String
) throws -> Double {
    let place = try #require(SocketAddress(address))
    let listening = try target.run { () throws(SystemError) in try Socket.listen(on: place).release() }
    let received = Mutex(0)
    let done = Semaphore()
    try Thread.start(name: "sink") {
        defer { done.signal() }
        let listener = Socket(adopting: listening)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        func isReady(_ fd: Int32) -> Bool {
            var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            return poll(&entry, 1, 30_000) > 0
        }
        guard isReady(listener.fd), let connection = (try? listener.accept()) ?? nil else { return }
        while isReady(connection.fd) {
            switch buffer.withUnsafeMutableBytes({ connection.read(into: $0) }) {
            case .bytes(let more): received.withLock { $0 += more }
            case .wouldBlock: continue
            case .end, .failed: return
            }
        }
    }
    let begin = MonotonicTime.now
    try source.run { () throws(SystemError) in
        let socket = try Socket.connect(to: place)
        let bytes = [UInt8](repeating: 7, count: 65_536)
        var left = count
        while left > 0 {
            var entry = pollfd(fd: socket.fd, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, 30_000) > 0 else { throw SystemError(ETIMEDOUT, "send") }
            switch bytes.withUnsafeBytes({ socket.write(UnsafeRawBufferPointer(rebasing: $0[..<min(left, $0.count)])) })
            {
            case .bytes(let sent): left -= sent
            case .wouldBlock, .end: continue
            case .failed(let error): throw error
            }
        }
        socket.shutdownWrite()
        // The socket's last bytes are still to go.
        var entry = pollfd(fd: socket.fd, events: Int16(POLLIN), revents: 0)
        _ = poll(&entry, 1, 30_000)
    }
    done.wait()
    #expect(received.withLock(\.self) == count)
    return Double((MonotonicTime.now - begin).wholeMilliseconds) / 1000
}

@Suite("Bandwidth of pods")
struct BandwidthTests {
    @Test("what a pod sends, and what it is sent, is no faster than its annotations say; both go with the pod")
    func limits() throws {
        try nsTest { host in
            let network = try host.setUp()
            var pod = try attachment(5)
            pod.bandwidth = PodBandwidth(ingress: 8_000_000, egress: 4_000_000)
            let limited = try network.attach(pod)
            let other = try attach(network, 6)
            try requireEqual(try network.check(attached: pod), [], "check")
            // 1 MB/s to the pod, 0.5 MB/s from it, a fifth of a second of that at once.
            let inward = try pour(1_000_000, from: other, to: limited, "10.244.0.5:80")
            try require(inward > 0.7, "1 MB to the pod took \(inward) s")
            let outward = try pour(500_000, from: limited, to: other, "10.244.0.6:80")
            try require(outward > 0.6, "0.5 MB from the pod took \(outward) s")
            let waiting = Ownership.waitingLink(uid: pod.uid)
            try require(try network.routes.link(waiting) != nil, "there is no \(waiting)")
            try require(
                try NetworkInventory.find(runDirectory: host.runDirectory).links.contains(waiting),
                "tear-down does not know \(waiting)")
            try network.routes.deleteLink(waiting)
            try requireEqual(
                try network.check(attached: pod), ["what the pod sends is not limited"], "check without the device")
            try network.detach(uid: pod.uid)
            _ = try network.attach(pod)
            try network.detach(uid: pod.uid)
            try require(try network.routes.link(waiting) == nil, "\(waiting) is left")
        }
    }
}
