import Glibc
import HTTP
import IO
import Testing

/// Runs a body with a gRPC server on a loop of its own.
func withGRPCServer(
    _ methods: [String: GRPCServer.Method],
    _ body: @escaping @Sendable (GRPCServer, SocketAddress, EventLoop) async throws -> Void
) async throws {
    let loop = try EventLoop.start(name: "grpc-test")
    defer { loop.stop() }
    try await Task(executorPreference: loop) {
        let listener = try SocketListener(Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0)), on: loop)
        let address = try #require(listener.socket.localAddress)
        let server = GRPCServer(on: loop, methods: methods)
        let accepting = Task(executorPreference: loop) {
            await withDiscardingTaskGroup { group in
                while let socket = try? await listener.accept() {
                    guard let stream = try? SocketStream(socket, on: loop) else { return }
                    group.addTask { await server.serve(stream, peer: HTTPPeer()) }
                }
            }
        }
        var failure: (any Error)?
        do { try await body(server, address, loop) } catch { failure = error }
        listener.close()
        await server.shutdown(grace: .zero)
        await accepting.value
        if let failure { throw failure }
    }.value
}

let echoMethod: GRPCServer.Method = { call throws(GRPCStatus) in
    while let message = try await call.next() { try await call.send(message) }
}

@Suite("gRPC")
struct GRPCTests {
    static let path = "/test.Echo/Both"

    func connect(_ address: SocketAddress, _ loop: EventLoop) async throws -> GRPCClient {
        try GRPCClient(try await SocketStream.connect(to: address, on: loop), authority: "test", on: loop)
    }

    @Test("messages of many sizes go both ways and the call ends with success")
    func echo() async throws {
        try await withGRPCServer([Self.path: echoMethod]) { _, address, loop async throws in
            let client = try await self.connect(address, loop)
            let call = try client.call(Self.path)
            for size in [0, 1, 5, 16_384, 70_000, 3_000_000] {
                let message = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
                // Sending waits for the window, which grows as the echo is read.
                async let sent: Void = call.send(message)
                let received = try await call.next()
                try await sent
                #expect(received == message, "\(size) bytes")
            }
            try call.finishSending()
            #expect(try await call.next() == nil)
            client.close()
        }
    }

    @Test("statuses arrive with code and message, whatever characters it has")
    func statuses() async throws {
        let failing: GRPCServer.Method = { _ throws(GRPCStatus) in
            throw GRPCStatus(.permissionDenied, "nein – 100 %\n done")
        }
        try await withGRPCServer(["/f": failing]) { _, address, loop async throws in
            let client = try await self.connect(address, loop)
            for (path, expected) in [
                ("/f", GRPCStatus(.permissionDenied, "nein – 100 %\n done")),
                ("/unknown", GRPCStatus(.unimplemented, "no method /unknown")),
            ] {
                let call = try client.call(path)
                do throws(GRPCStatus) {
                    _ = try await call.next()
                    Issue.record("no error for \(path)")
                } catch {
                    #expect(error == expected)
                }
            }
            client.close()
        }
    }

    /// How a call ends, whatever comes before.
    func end(_ call: GRPCStream) async -> GRPCStatus {
        do throws(GRPCStatus) {
            while try await call.next() != nil {}
            return .ok
        } catch {
            return error
        }
    }

    @Test(
        "a call goes on without a task, ends as its messages or its caller say, and tells how once",
        .timeLimit(.minutes(2)))
    func goingOn() async throws {
        final class Ends: @unchecked Sendable { var all: [GRPCStatus] = [] }
        let ends = Ends()
        let method: GRPCServer.Method = { call throws(GRPCStatus) in
            guard let first = try await call.next() else { return }
            try await call.send(first)
            call.goOn { (bytes) throws(GRPCStatus) in
                guard bytes.count < 100_000 else { throw GRPCStatus(.resourceExhausted, "too long") }
                _ = call.post([UInt8](bytes))
            } ended: {
                ends.all.append($0)
            }
        }
        try await withGRPCServer([Self.path: method]) { server, address, loop async throws in
            let client = try await self.connect(address, loop)
            func begin() async throws -> GRPCStream {
                let call = try client.call(Self.path)
                // The second is there when the method goes on, at least in part.
                for size in [10, 50_000, 3] {
                    let message = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
                    try await call.send(message)
                    #expect(try await call.next() == message)
                }
                return call
            }
            let peaceful = try await begin()
            #expect(server.taskCount == 0)
            try peaceful.finishSending()
            #expect(await self.end(peaceful) == .ok && ends.all == [.ok])
            let refused = try await begin()
            // It may end while the rest of the message waits for the window.
            try? await refused.send([UInt8](repeating: 1, count: 100_001))
            #expect(await self.end(refused) == GRPCStatus(.resourceExhausted, "too long"))
            #expect(ends.all.last == GRPCStatus(.resourceExhausted, "too long"))
            let left = try await begin()
            left.cancel()
            let last = try await begin()
            while ends.all.count < 3 { await loop.sleep(for: .milliseconds(5)) }
            #expect(ends.all[2].code == .cancelled)
            client.close()
            _ = await self.end(last)
            while ends.all.count < 4 { await loop.sleep(for: .milliseconds(5)) }
            #expect(ends.all[3] != .ok && server.taskCount == 0)
        }
    }

    @Test("a connection that is taken needs no task of its own, and its end is told", .timeLimit(.minutes(2)))
    func taken() async throws {
        let loop = try EventLoop.start(name: "grpc-taken")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let listener = try SocketListener(Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0)), on: loop)
            let address = try #require(listener.socket.localAddress)
            let server = GRPCServer(on: loop, methods: [Self.path: echoMethod])
            let client = try await self.connect(address, loop)
            let ended = Signal()
            server.take(try SocketStream(try await listener.accept(), on: loop)) { ended.send() }
            let call = try client.call(Self.path)
            try await call.send([1, 2, 3])
            #expect(try await call.next() == [1, 2, 3])
            #expect(server.connectionCount == 1 && server.taskCount == 1)
            client.close()
            await ended.wait()
            #expect(server.connectionCount == 0)
            while server.taskCount > 0 { await loop.sleep(for: .milliseconds(5)) }
            await server.shutdown(grace: .zero)
            let late = try await self.connect(address, loop)
            server.take(try SocketStream(try await listener.accept(), on: loop)) { ended.send() }
            await ended.wait()
            late.close()
            listener.close()
        }.value
    }

    @Test("a method is cancelled when its caller leaves, and a caller learns that the server left")
    func leaving() async throws {
        let started = Signal()
        let cancelled = Signal()
        let waiting: GRPCServer.Method = { call throws(GRPCStatus) in
            started.send()
            do throws(GRPCStatus) { _ = try await call.next() } catch {
                cancelled.send()
                throw error
            }
        }
        try await withGRPCServer(["/wait": waiting]) { server, address, loop async throws in
            let stream = try await SocketStream.connect(to: address, on: loop)
            let client = try GRPCClient(stream, authority: "test", on: loop)
            _ = try client.call("/wait")
            await started.wait()
            stream.close()
            await cancelled.wait()

            let second = try await self.connect(address, loop)
            let call = try second.call("/wait")
            await started.wait()
            let stopping = Task(executorPreference: loop) { await server.shutdown(grace: .seconds(10)) }
            do throws(GRPCStatus) {
                _ = try await call.next()
                Issue.record("the call went on")
            } catch {
                #expect(error.code == .unavailable)
            }
            await stopping.value
        }
    }

    @Test("a peer that does not read is not sent more than its window, and the sender waits")
    func backPressure() async throws {
        let progress = Progress()
        let flood: GRPCServer.Method = { call throws(GRPCStatus) in
            for _ in 0..<200 {
                try await call.send([UInt8](repeating: 1, count: 16_384))
                progress.add()
            }
        }
        try await withGRPCServer(["/flood": flood]) { _, address, loop async throws in
            let client = try await self.connect(address, loop)
            let call = try client.call("/flood")
            _ = try await call.next()
            // Nothing more is read: the sender comes to rest when the window and the high-water mark are full.
            var last = -1
            while progress.count != last {
                last = progress.count
                for _ in 0..<50 { await loop.sleep(for: .zero) }
            }
            #expect(progress.count < 60)
            var received = 1
            while try await call.next() != nil { received += 1 }
            #expect(received == 200)
            client.close()
        }
    }

    @Test("messages are taken as they come, those before and those in parts too, until the body throws")
    func taking() async throws {
        let summing: GRPCServer.Method = { call throws(GRPCStatus) in
            guard let first = try await call.next() else { return }
            _ = call.post(first)
            try await call.forEach { (message) throws(GRPCStatus) in
                guard message.count != 13 else { throw GRPCStatus(.failedPrecondition, "thirteen") }
                _ = call.post([UInt8](message))
            }
        }
        try await withGRPCServer(["/take": summing]) { _, address, loop async throws in
            let client = try await self.connect(address, loop)
            for ending in [nil, 13] {
                let call = try client.call("/take")
                // All at once: the server finds several in one piece, and the large ones in many.
                let sizes = [1, 2, 0, 3, 100_000, 4, 50_000, 5]
                for size in sizes { #expect(call.post([UInt8](repeating: UInt8(size & 255), count: size))) }
                for size in sizes { #expect(try await call.next()?.count == size) }
                if let ending {
                    #expect(call.post([UInt8](repeating: 0, count: ending)))
                    do throws(GRPCStatus) {
                        while try await call.next() != nil {}
                        Issue.record("the call ended well")
                    } catch {
                        #expect(error == GRPCStatus(.failedPrecondition, "thirteen"))
                    }
                } else {
                    try call.finishSending()
                    #expect(try await call.next() == nil)
                }
            }
            client.close()
        }
    }

    final class Progress: @unchecked Sendable {
        private(set) var count = 0
        func add() { count += 1 }
    }

    @Test("the client for event loops talks to the server over bytes that its owner carries")
    func clientStream() async throws {
        try await withGRPCServer([Self.path: echoMethod]) { _, address, loop async throws in
            let stream = try await SocketStream.connect(to: address, on: loop)
            let call = try GRPCClientStream(path: Self.path, authority: "test")
            try call.send(bytes("one"))
            call.ping()
            var seen: [String] = []
            while !call.hasClosed {
                var output: [UInt8] = []
                call.takeOutput(into: &output)
                if !output.isEmpty { try await stream.write(output) }
                let input = try await stream.read(upTo: 100)
                for event in input.isEmpty ? call.inputEnded() : call.receive(input.span.bytes) {
                    switch event {
                    case .opened(let metadata): seen.append("opened \(metadata[.contentType] ?? "")")
                    case .message(let message):
                        seen.append("message \(String(decoding: message, as: UTF8.self))")
                        if message == bytes("one") {
                            try call.send([UInt8](repeating: 0x32, count: 2))
                        } else {
                            try call.finishSending()
                        }
                    case .pong: seen.append("pong")
                    case .drained: break
                    case .closed(let status): seen.append("closed \(status)")
                    }
                }
            }
            stream.close()
            #expect(
                Set(seen) == ["opened application/grpc", "pong", "message one", "message 22", "closed ok"])
            #expect(seen.last == "closed ok")
        }
    }

    @Test("nghttp speaks to the server, and what is not gRPC gets 415")
    func nghttp() async throws {
        try await withGRPCServer([Self.path: echoMethod]) { _, address, loop async throws in
            let file = "/tmp/skein-grpc-test-\(getpid())"
            try File.write(file, [0, 0, 0, 0, 3] + bytes("abc"))
            defer { unlink(file) }
            let url = "http://\(address)\(Self.path)"
            let verbose = try await offLoop {
                try run("nghttp", "-nv", "-d", file, "-H", "content-type: application/grpc", "-H", "te: trailers", url)
            }
            #expect(verbose.contains("grpc-status") && verbose.contains("DATA frame <length=8"), "\(verbose)")
            let refused = try await offLoop {
                try run(
                    "curl", "-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                    "-d", "x", url)
            }
            #expect(refused == "2 415")
        }
    }

    @Test("a message longer than allowed, a compressed one, and one cut short are errors")
    func framing() async throws {
        try await withGRPCServer([Self.path: echoMethod]) { _, address, loop async throws in
            let file = "/tmp/skein-grpc-test-\(getpid())-framing"
            defer { unlink(file) }
            for (body, code) in [
                ([0, 0xFF, 0xFF, 0xFF, 0xFF, 1], "8"), ([1, 0, 0, 0, 1, 1], "12"), ([0, 0, 0, 0, 9, 1], "13"),
            ] as [([UInt8], String)] {
                try File.write(file, body)
                let verbose = try await offLoop {
                    try run(
                        "nghttp", "-nv", "-d", file, "-H", "content-type: application/grpc",
                        "http://\(address)\(Self.path)")
                }
                #expect(verbose.contains("grpc-status: \(code)") || verbose.contains("RST_STREAM"), "\(verbose)")
            }
        }
    }
}
