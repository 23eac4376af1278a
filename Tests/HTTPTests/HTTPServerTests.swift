import Glibc
import HTTP
import IO
import Testing

/// Runs a body on a loop of its own, with a server that listens on the given address.
func withServer(
    limits: HTTPServer.Limits = HTTPServer.Limits(), on address: SocketAddress = .ip(.v4(0x7F00_0001), port: 0),
    handler: @escaping HTTPServer.Handler,
    _ body: @escaping @Sendable (HTTPServer, SocketAddress, EventLoop) async throws -> Void
) async throws {
    let loop = try EventLoop.start(name: "http-test")
    defer { loop.stop() }
    try await Task(executorPreference: loop) {
        let listener = try SocketListener(Socket.listen(on: address), on: loop)
        let server = HTTPServer(on: loop, limits: limits, handler: handler)
        let bound = try #require(listener.socket.localAddress)
        let running = Task(executorPreference: loop) { await server.run(listener) }
        var failure: (any Error)?
        do { try await body(server, bound, loop) } catch { failure = error }
        listener.close()
        await server.shutdown(grace: .zero)
        await running.value
        if let failure { throw failure }
    }.value
}

/// Writes bytes to a new connection and reads until the server closes.
func exchange(_ text: String, with address: SocketAddress, on loop: EventLoop) async throws -> String {
    let stream = try await SocketStream.connect(to: address, on: loop)
    defer { stream.close() }
    try await stream.write(bytes(text))
    var all: [UInt8] = []
    while true {
        let piece = try await stream.read(upTo: 65536)
        if piece.isEmpty { return String(decoding: all, as: UTF8.self) }
        all += piece
    }
}

/// What a program writes to standard output; it is killed when it takes longer than a minute.
func run(_ command: String...) throws -> String {
    let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
    defer { close(null) }
    var wish = Child.Command(["/usr/bin/env"] + command, environment: [Child.Command.standardPath])
    wish.descriptors = [2: null]
    return String(decoding: try Child.run(wish).1, as: UTF8.self)
}

/// Something that happens once, awaited by a test.
final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    init() { (stream, continuation) = AsyncStream.makeStream() }
    func send() { continuation.yield() }
    func wait() async { for await _ in stream { return } }
}

let echo: HTTPServer.Handler = { request in
    do {
        let body = try await request.body.collect()
        return HTTPResponse(
            status: 200,
            text: "\(request.method) \(request.path) \(request.query ?? "-") \(String(decoding: body, as: UTF8.self))")
    } catch {
        return HTTPResponse(status: 400, text: "\(error)")
    }
}

@Suite("HTTP server and client on sockets")
struct HTTPServerTests {
    @Test("pipelined requests are answered in order, and Connection: close ends the connection")
    func pipelining() async throws {
        try await withServer(handler: echo) { _, address, loop async throws in
            let answer = try await exchange(
                "GET /1?a=b HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
                    + "PUT /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyo\r\n0\r\n\r\nHEAD /4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                with: address, on: loop)
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n"
            let expected =
                head + "content-length: 11\r\n\r\nGET /1 a=b " + head + "content-length: 12\r\n\r\nPOST /2 - hi"
                + head + "content-length: 11\r\n\r\nPUT /3 - yo" + head
                + "connection: close\r\ncontent-length: 10\r\n\r\n"
            #expect(answer == expected)
        }
    }

    @Test("malformed requests get their status and the connection ends")
    func malformed() async throws {
        try await withServer(handler: echo) { _, address, loop async throws in
            #expect(try await exchange("GET / HTTP/1.1\n\n", with: address, on: loop).hasPrefix("HTTP/1.1 400 "))
            #expect(try await exchange("GET / HTTP/3.0\r\n\r\n", with: address, on: loop).hasPrefix("HTTP/1.1 505 "))
            let long = "GET /" + String(repeating: "a", count: 70_000)
            #expect(try await exchange(long, with: address, on: loop).hasPrefix("HTTP/1.1 414 "))
        }
    }

    @Test("a body beyond the limit gets 413, by its length or while it comes")
    func bodyLimit() async throws {
        var limits = HTTPServer.Limits()
        limits.bodyBytes = 10
        try await withServer(limits: limits, handler: echo) { _, address, loop async throws in
            let client = HTTPClient(to: address, on: loop)
            let fits = try await client.send(HTTPClientRequest(.post, "/", body: bytes("0123456789")))
            #expect(fits.status == 200)
            _ = try await fits.collect()
            let large = try await client.send(HTTPClientRequest(.post, "/", body: bytes("0123456789a")))
            #expect(large.status == 413)
            let chunked = try await exchange(
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
                with: address, on: loop)
            #expect(chunked.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test("100 Continue is sent when the handler wants the body")
    func expectContinue() async throws {
        try await withServer(handler: echo) { _, address, loop async throws in
            let stream = try await SocketStream.connect(to: address, on: loop)
            defer { stream.close() }
            try await stream.write(
                bytes(
                    "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
                ))
            #expect(try await stream.read(upTo: 1000) == bytes("HTTP/1.1 100 Continue\r\n\r\n"))
            try await stream.write(bytes("hi"))
            let answer = try await stream.read(upTo: 1000)
            #expect(String(decoding: answer, as: UTF8.self).hasSuffix("POST / - hi"))
        }
    }

    @Test(
        "each piece of a stream arrives before the next is written, and the handler is cancelled when the client leaves"
    )
    func streaming() async throws {
        let more = Signal()
        let gone = Signal()
        let handler: HTTPServer.Handler = { _ in
            .stream(contentType: "application/json") { writer throws(HTTPError) in
                try await writer.write("one\n")
                await more.wait()
                try await writer.write("two\n")
                // Waits for ever, as a quiet watch does, until it is cancelled.
                await Signal().wait()
                #expect(writer.isClientGone)
                gone.send()
            }
        }
        try await withServer(handler: handler) { _, address, loop async throws in
            let client = HTTPClient(to: address, on: loop)
            let response = try await client.send(HTTPClientRequest(.get, "/watch"))
            #expect(try await response.next() == bytes("one\n"))
            more.send()
            #expect(try await response.next() == bytes("two\n"))
            response.close()
            await gone.wait()
        }
    }

    @Test("a client task that is cancelled stops waiting for a stream")
    func clientCancellation() async throws {
        let handler: HTTPServer.Handler = { _ in
            .stream(contentType: "text/plain") { _ throws(HTTPError) in await Signal().wait() }
        }
        try await withServer(handler: handler) { _, address, loop async throws in
            let client = HTTPClient(to: address, on: loop)
            let response = try await client.send(HTTPClientRequest(.get, "/watch"))
            let reader = Task(executorPreference: loop) {
                do throws(HTTPError) {
                    _ = try await response.next()
                    Issue.record("the stream went on")
                } catch {
                    #expect(error != .bodyTooLarge(limit: 0))
                }
            }
            reader.cancel()
            await reader.value
        }
    }

    @Test("a client uses its connection again, also over a unix socket, and the server knows the peer's user")
    func reuse() async throws {
        let path = "/tmp/skein-http-test-\(getpid()).sock"
        defer { unlink(path) }
        let handler: HTTPServer.Handler = { request in
            HTTPResponse(
                status: 200, text: "\(request.peer.credentials?.uid ?? 99999) \(request.peer.credentials?.pid ?? 0)")
        }
        try await withServer(on: .unix(path), handler: handler) { server, address, loop async throws in
            let client = HTTPClient(to: address, on: loop)
            for _ in 0..<5 {
                let response = try await client.send(HTTPClientRequest(.get, "/"))
                #expect(try await response.collect() == bytes("\(getuid()) \(getpid())"))
                #expect(server.connectionCount == 1)
            }
            client.close()
        }
    }

    @Test("a request on a kept connection that the server closed is sent again on a new one")
    func closedWhileIdle() async throws {
        let handler: HTTPServer.Handler = { request in
            var response = HTTPResponse(status: 200, text: "x")
            response.closesConnection = request.path == "/close"
            return response
        }
        var limits = HTTPServer.Limits()
        limits.idleTimeout = .milliseconds(1)
        try await withServer(limits: limits, handler: handler) { server, address, loop async throws in
            let client = HTTPClient(to: address, on: loop)
            for path in ["/close", "/", "/", "/close", "/"] {
                let response = try await client.send(HTTPClientRequest(.get, path))
                #expect(try await response.collect() == bytes("x"))
                while server.connectionCount > 0 { await loop.sleep(for: .milliseconds(1)) }
            }
        }
    }

    @Test("ATK-10 a head that does not come in time ends the connection")
    func headTimeout() async throws {
        var limits = HTTPServer.Limits()
        limits.headTimeout = .milliseconds(30)
        try await withServer(limits: limits, handler: echo) { _, address, loop async throws in
            #expect(try await exchange("GET / HT", with: address, on: loop) == "")
            #expect(try await exchange("", with: address, on: loop) == "")
        }
    }

    @Test("an upgrade hands over the connection with the bytes behind the request")
    func upgrade() async throws {
        let handler: HTTPServer.Handler = { _ in
            var head = ResponseHead(status: 101)
            head.headers.append(.upgrade, constant: "echo")
            return HTTPResponse(
                head,
                .upgrade { stream in
                    do {
                        let first = try await stream.read(upTo: 100)
                        try await stream.write(first + bytes("!"))
                    } catch { Issue.record(error) }
                })
        }
        try await withServer(handler: handler) { _, address, loop async throws in
            let answer = try await exchange(
                "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly", with: address,
                on: loop)
            #expect(answer == "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nearly!")
        }
    }

    @Test("shutdown ends idle connections and lets a running answer finish")
    func shutdown() async throws {
        let started = Signal()
        let finish = Signal()
        let handler: HTTPServer.Handler = { _ in
            started.send()
            await finish.wait()
            return HTTPResponse(status: 200, text: "done")
        }
        try await withServer(handler: handler) { server, address, loop async throws in
            let client = HTTPClient(to: address, on: loop)
            let waiting = Task(executorPreference: loop) {
                let response = try await client.send(HTTPClientRequest(.get, "/"))
                return try await response.collect()
            }
            await started.wait()
            let stopping = Task(executorPreference: loop) { await server.shutdown(grace: .seconds(20)) }
            await Task.yield()
            finish.send()
            #expect(try await waiting.value == bytes("done"))
            await stopping.value
            #expect(server.connectionCount == 0)
        }
    }

    @Test("curl gets an answer, sends a body, and keeps its connection")
    func curl() async throws {
        try await withServer(handler: echo) { server, address, loop async throws in
            let url = "http://\(address)"
            let output = try await offLoop {
                try run(
                    "curl", "-sS", "-v", "--stderr", "/dev/null", "-w", " %{http_code} %{num_connects};",
                    url + "/a?x=1", "--next", "-sS", "-w",
                    " %{http_code} %{num_connects};", "-d", "body", url + "/b", "--next", "-sS", "-I", "-w",
                    "%{http_code}", url + "/c")
            }
            #expect(output.hasPrefix("GET /a x=1  200 1;POST /b - body 200 0;HTTP/1.1 200 OK"), "\(output)")
        }
    }
}

/// Runs something that blocks on a thread of its own.
func offLoop<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do {
            try Thread.start(name: "blocking") { continuation.resume(with: Result { try body() }) }
        } catch { continuation.resume(throwing: error) }
    }
}
