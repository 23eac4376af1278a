import Glibc
import IO
import Synchronization
import Testing

/// Runs async work on a loop of its own and stops the loop afterwards.
func onLoop<Value: Sendable>(_ body: @escaping @Sendable (EventLoop) async throws -> Value) async throws -> Value {
    let loop = try EventLoop.start(name: "test")
    defer { loop.stop() }
    return try await Task(executorPreference: loop) { try await body(loop) }.value
}

@Suite struct EventLoopTests {
    @Test("tasks on a loop stay on its thread over awaits, sleeps and child tasks")
    func staysOnThread() async throws {
        try await onLoop { loop in
            #expect(loop.isOnLoop)
            await Task.yield()
            #expect(loop.isOnLoop)
            await loop.sleep(for: .milliseconds(2))
            #expect(loop.isOnLoop)
            await withTaskGroup { group in
                for _ in 0..<10 { group.addTask(executorPreference: loop) { #expect(loop.isOnLoop) } }
            }
            #expect(loop.isOnLoop)
        }
    }

    @Test("a message from another thread runs on the loop, in order")
    func messages() async throws {
        let loop = try EventLoop.start(name: "test")
        defer { loop.stop() }
        let seen = Mutex<[Int]>([])
        await withCheckedContinuation { continuation in
            for number in 0..<1000 {
                loop.execute {
                    seen.withLock { $0.append(number) }
                    if number == 999 { continuation.resume() }
                }
            }
        }
        #expect(seen.withLock { $0 } == Array(0..<1000))
    }

    @Test("a cancelled sleep ends at once")
    func cancelledSleep() async throws {
        try await onLoop { loop in
            let task = Task(executorPreference: loop) { await loop.sleep(for: .seconds(3600)) }
            await Task.yield()
            task.cancel()
            await task.value
        }
    }

    @Test("the end of each pass comes after its messages and after what was asked for at its end")
    func endOfPass() async throws {
        try await onLoop { loop in
            let seen = Mutex<[String]>([])
            loop.atEndOfEveryPass {
                seen.withLock { if $0.last != "end" { $0.append("end") } }
            }
            loop.execute { seen.withLock { $0.append("message") } }
            loop.atEndOfPass { seen.withLock { $0.append("asked for") } }
            await Task.yield()
            #expect(seen.withLock { Array($0.prefix(2)) } == ["end", "asked for"])
            await loop.sleep(for: .milliseconds(1))
            #expect(seen.withLock { Array($0.prefix(5)) } == ["end", "asked for", "end", "message", "end"])
        }
    }

    @Test("timers fire in order of expiry, a cancelled one never, and none early")
    func timers() async throws {
        let order = try await onLoop { loop in
            let fired = Mutex<[Int]>([])
            await withCheckedContinuation { continuation in
                let begin = loop.now
                loop.schedule(after: .milliseconds(30)) {
                    #expect(loop.now - begin >= .milliseconds(30))
                    fired.withLock { $0.append(30) }
                    continuation.resume()
                }
                loop.schedule(after: .milliseconds(10)) { fired.withLock { $0.append(10) } }
                let cancelled = loop.schedule(after: .milliseconds(5)) { fired.withLock { $0.append(5) } }
                loop.schedule(after: .milliseconds(1)) {
                    fired.withLock { $0.append(1) }
                    cancelled.cancel()
                }
            }
            return fired.withLock { $0 }
        }
        #expect(order == [1, 10, 30])
    }

    @Test("streams carry bytes both ways over TCP and tell the end")
    func streams() async throws {
        try await onLoop { loop in
            let listener = try SocketListener(Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0)), on: loop)
            let address = try #require(listener.socket.localAddress)
            let server = Task(executorPreference: loop) {
                let stream = try SocketStream(try await listener.accept(), on: loop)
                var total = 0
                while true {
                    let bytes = try await stream.read(upTo: 65_536)
                    if bytes.isEmpty { break }
                    total += bytes.count
                }
                try await stream.write(Array("\(total)".utf8))
                stream.close()
            }
            let client = try await SocketStream.connect(to: address, on: loop)
            try await client.write([UInt8](repeating: 7, count: 3_000_000))
            client.socket.shutdownWrite()
            #expect(try await client.read(upTo: 100) == Array("3000000".utf8))
            #expect(try await client.read(upTo: 100).isEmpty)
            client.close()
            listener.close()
            try await server.value
        }
    }

    @Test("connecting where nobody listens says so, with the address")
    func refused() async throws {
        try await onLoop { loop in
            // A port that the kernel gives nobody (tcpmux): one that was closed a moment ago may be somebody else's now.
            let address = SocketAddress.ip(.v4(0x7F00_0001), port: 1)
            let error = await #expect(throws: SystemError.self) {
                try await SocketStream.connect(to: address, on: loop)
            }
            #expect(error?.description == "connect \(address): connection refused")
        }
    }

    @Test("closing a stream wakes the task that reads from it")
    func closeWakes() async throws {
        try await onLoop { loop in
            let (left, right) = try Socket.pair()
            let stream = try SocketStream(left, on: loop)
            let reader = Task(executorPreference: loop) { try await stream.read(upTo: 10) }
            await Task.yield()
            stream.close()
            await #expect(throws: SystemError.self) { try await reader.value }
            right.close()
        }
    }

    @Test("a connection that stands counts, though the loop was busy until after the deadline")
    func connectsOnABusyLoop() async throws {
        let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
        defer { socket.close() }
        let address = try #require(socket.localAddress)
        try await onLoop { loop in
            // The pass's time is older than the deadline that is counted from it.
            usleep(50_000)
            try await SocketStream.connect(to: address, on: loop, timeout: .milliseconds(10)).close()
        }
    }
}
