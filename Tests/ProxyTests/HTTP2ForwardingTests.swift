import HTTP
import IO
import Synchronization
import Testing

/// Which versions the client and the host speak.
enum Versions: String, CaseIterable, Sendable {
    case h2ToH1, h2ToH2, h1ToH2

    var cluster: String { self == .h2ToH1 ? "" : Yaml.http2 }
}

@Suite("HTTP/2 forwarding")
struct HTTP2ForwardingTests {
    static func proxy(_ port: UInt16, http2: Bool, manager: String = "", admin: Bool = false) async throws
        -> RunningProxy
    {
        try await RunningProxy.start(
            Yaml.bootstrap(
                // Longer than the default: on a busy machine many requests at once take their time.
                listeners: Yaml.listener(manager: manager, routes: Yaml.forward("backend", "timeout: 60s")),
                clusters: Yaml.cluster("backend", [port], http2 ? Yaml.http2 : ""), admin: admin))
    }

    @Test("many requests at once on one connection, to a host that speaks HTTP/1.1")
    func toHTTP1() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in
                ScriptedUpstream.ok(
                    Wire.firstLine(head) + body, "X-A: 1\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n")
            }
            let proxy = try await Self.proxy(upstream.port, http2: false)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchanges = try (0..<90).map { try client.begin("GET", "/\($0)") }
            for (index, exchange) in exchanges.enumerated() {
                try await exchange.finished()
                #expect(exchange.status == 200 && exchange.text == "GET /\(index) HTTP/1.1")
                #expect(exchange.response.headers["x-a"] == "1")
                #expect(
                    exchange.response.headers["connection"] == nil && exchange.response.headers["keep-alive"] == nil)
                #expect(exchange.response.headers["content-length"] == String(exchange.body.count))
            }
            let post = try client.begin("POST", "/p", fields: [("content-length", "4")], isEnd: false)
            try post.send("body")
            try post.finish()
            try await post.finished()
            #expect(post.text == "POST /p HTTP/1.1body")
            let chunked = try client.begin("POST", "/c", isEnd: false)
            try chunked.send("ab")
            try chunked.send("cd")
            try chunked.finish()
            try await chunked.finished()
            #expect(chunked.text == "POST /c HTTP/1.1abcd")
        }
    }

    @Test("many requests at once to a host that speaks HTTP/2 share one connection")
    func toHTTP2() async throws {
        try await onLoop { loop in
            let upstream = try await HTTP2Upstream(on: loop) { exchange in
                await exchange.received(text: "!")
                try exchange.respond(
                    200, [("x-path", exchange.request.pathText), ("x-host", exchange.request.authorityText)])
                try exchange.send(exchange.text)
                try exchange.finish(trailers: [("x-sum", "3")])
            }
            let proxy = try await Self.proxy(upstream.port, http2: true)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            for round in 0..<3 {
                let exchanges = try (0..<50).map { try client.begin("POST", "/\($0)", isEnd: false) }
                for exchange in exchanges {
                    try exchange.send("hi!")
                    try exchange.finish(trailers: [("x-client", "1")])
                }
                for (index, exchange) in exchanges.enumerated() {
                    try await exchange.finished()
                    #expect(exchange.status == 200 && exchange.text == "hi!", "round \(round)")
                    #expect(exchange.response.headers["x-path"] == "/\(index)")
                    #expect(exchange.response.headers["x-host"] == "test")
                    #expect(exchange.trailers["x-sum"] == "3")
                }
            }
            #expect(upstream.connections == 1)
        }
    }

    @Test("a client of HTTP/1.1 reaches a host that speaks HTTP/2")
    func fromHTTP1() async throws {
        try await onLoop { loop in
            let upstream = try await HTTP2Upstream(on: loop) { exchange in
                if exchange.request.method == .post { try await exchange.finished() }
                try exchange.interim(103)
                try exchange.respond(200, [("x-te", exchange.request.headers["transfer-encoding"] ?? "none")])
                try exchange.send("[\(exchange.text)]")
                try exchange.finish()
            }
            let proxy = try await Self.proxy(upstream.port, http2: true)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try await client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 103"))
            let response = try await client.response()
            #expect(response.status == 200 && response.body == "[]" && response.field("x-te") == "none")
            try await client.write(
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            #expect(try await client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 103"))
            #expect(try await client.response().body == "[abc]")
        }
    }

    @Test("answers without a body: HEAD, 204, 304", arguments: [false, true])
    func withoutBody(_ http2: Bool) async throws {
        try await onLoop { loop in
            let port: UInt16
            if http2 {
                port = try await HTTP2Upstream(on: loop) { exchange in
                    let status = UInt16(exchange.request.pathText.dropFirst()) ?? 0
                    try exchange.respond(status, status == 204 ? [] : [("content-length", "5")], isEnd: true)
                }.port
            } else {
                port = try await ScriptedUpstream(on: loop) { head, _ in
                    let status = head.split(separator: " ")[1].dropFirst()
                    return "HTTP/1.1 \(status) X\r\n\(status == "204" ? "" : "content-length: 5\r\n")\r\n"
                }.port
            }
            let proxy = try await Self.proxy(port, http2: http2)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
                let exchange = try client.begin(method, "/\(status)")
                try await exchange.finished()
                #expect(exchange.status == status && exchange.bodyBytes == 0)
                #expect(exchange.response.headers["content-length"] == (status == 204 ? nil : "5"))
            }
        }
    }

    @Test("Expect is answered by the proxy")
    func expect() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in
                ScriptedUpstream.ok(head.lowercased().contains("\r\nexpect:") ? "expectation" : body)
            }
            let proxy = try await Self.proxy(upstream.port, http2: false)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchange = try client.begin("POST", fields: [("expect", "100-continue")], isEnd: false)
            await client.wait { !exchange.interims.isEmpty }
            #expect(exchange.interims == [100])
            try exchange.send("x")
            try exchange.finish()
            try await exchange.finished()
            #expect(exchange.text == "x")
        }
    }

    @Test(
        "ATK-05 a client that does not read stops the host, and gets everything in the end", arguments: [false, true])
    func slowReader(_ http2: Bool) async throws {
        try await onLoop { loop in
            let size = 3_000_000
            let port: UInt16
            let upstreamExchange = Box<HTTP2Exchange>()
            if http2 {
                port = try await HTTP2Upstream(on: loop) { exchange in
                    upstreamExchange.value = exchange
                    try exchange.respond()
                    try exchange.send([UInt8](repeating: 7, count: size))
                    try exchange.finish()
                }.port
            } else {
                port = try await ScriptedUpstream(on: loop) { wire, _ in
                    _ = try await wire.request()
                    try await wire.write("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
                    try await wire.stream.write([UInt8](repeating: 7, count: size))
                }.port
            }
            let proxy = try await Self.proxy(port, http2: http2)
            defer { proxy.stop() }
            var limits = HTTP2Limits()
            limits.streamWindow = 65_535
            let client = try await HTTP2End.connect(to: proxy.address, on: loop, limits: limits)
            let exchange = try client.begin()
            exchange.takes = false
            await exchange.received(65_535)
            let other = try client.begin("GET", "/")
            other.takes = false
            await other.received(65_535)
            #expect(exchange.bodyBytes == 65_535)
            if let upstream = upstreamExchange.value { #expect(upstream.queuedBytes > size / 2) }
            exchange.takeAll()
            try await exchange.finished()
            #expect(exchange.bodyBytes == size)
            other.takeAll()
            try await other.finished()
            #expect(other.bodyBytes == size)
        }
    }

    @Test("T-2 the route's timeout begins with the end of a request's body")
    func timeoutAfterBody() async throws {
        try await onLoop { loop in
            let gate = Gate()
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.read(until: "\r\n\r\n")
                await gate.wait()
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes: "[ { match: { prefix: / }, route: { cluster: backend, timeout: 0.2s } } ]"),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchange = try client.begin("POST", fields: [("content-length", "4")], isEnd: false)
            try exchange.send([1, 2, 3, 4])
            try exchange.finish()
            try await exchange.finished()
            #expect(exchange.status == 504)
            #expect(exchange.text == "upstream request timeout")
            gate.open()
        }
    }

    @Test("a host that does not read stops the client", arguments: [false, true])
    func slowUpstream(_ http2: Bool) async throws {
        try await onLoop { loop in
            // Far more than kernels keep in sockets' buffers, whatever they are tuned to.
            let size = 24_000_000
            let gate = Gate()
            let port: UInt16
            if http2 {
                port = try await HTTP2Upstream(on: loop) { exchange in
                    exchange.takes = false
                    await gate.wait()
                    exchange.takeAll()
                    try await exchange.finished()
                    try exchange.respond()
                    try exchange.send(String(exchange.bodyBytes))
                    try exchange.finish()
                }.port
            } else {
                port = try await ScriptedUpstream(on: loop) { wire, _ in
                    _ = try await wire.read(until: "\r\n\r\n")
                    await gate.wait()
                    let body = try await wire.read(size)
                    try await wire.write(ScriptedUpstream.ok(String(body.utf8.count)))
                }.port
            }
            let proxy = try await Self.proxy(port, http2: http2)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchange = try client.begin("POST", fields: [("content-length", String(size))], isEnd: false)
            try exchange.send([UInt8](repeating: 1, count: size))
            try exchange.finish()
            // Another stream is not held up by it.
            let other = try client.begin("GET", "/other")
            _ = other
            await loop.sleep(for: .milliseconds(200))
            #expect(exchange.queuedBytes > size / 4)
            gate.open()
            try await exchange.finished()
            #expect(exchange.text == String(size))
            other.reset()
        }
    }

    @Test("a client's reset reaches the host, and a host's the client", arguments: [false, true])
    func resets(_ http2: Bool) async throws {
        try await onLoop { loop in
            let began = Gate()
            let ended = Gate()
            let port: UInt16
            if http2 {
                port = try await HTTP2Upstream(on: loop) { exchange in
                    if exchange.request.pathText == "/reset" { return exchange.reset(2) }
                    if exchange.request.pathText == "/half" {
                        try exchange.respond()
                        try exchange.send("half")
                        await exchange.received(text: "go")
                        return exchange.reset(2)
                    }
                    began.open()
                    #expect(await exchange.closed() == 8)
                    ended.open()
                }.port
            } else {
                port = try await ScriptedUpstream(on: loop) { wire, _ in
                    let head = try await wire.read(until: "\r\n\r\n")
                    if head.contains("/reset") { return }
                    if head.contains("/half") {
                        try await wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                        _ = try await wire.read(until: "go")
                        return
                    }
                    began.open()
                    _ = await wire.readToEnd()
                    ended.open()
                }.port
            }
            let proxy = try await Self.proxy(port, http2: http2)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchange = try client.begin("GET", "/wait")
            await began.wait()
            exchange.reset()
            await ended.wait()
            // A failure before the head is an answer, after it a reset.
            let failed = try await client.get("/reset")
            #expect(failed.status == 503)
            #expect(failed.text.contains(http2 ? "remote reset" : "connection termination"))
            let half = try client.begin("POST", "/half", isEnd: false)
            await half.received(text: "half")
            try half.send("go")
            #expect(await half.closed() == 2)
            #expect(half.isReset && half.text == "half")
            #expect(!client.isOver)
        }
    }

    @Test("a request that a host refused goes to a new connection, whatever its method")
    func refused() async throws {
        try await onLoop { loop in
            let count = Box<Int>()
            let upstream = try await HTTP2Upstream(on: loop) { exchange in
                let number = count.value ?? 0
                count.value = number + 1
                if number == 0 { return exchange.reset(7) }
                try exchange.respond(200, [], isEnd: true)
            }
            let proxy = try await Self.proxy(upstream.port, http2: true)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            #expect(try await client.get().status == 200)
            #expect(count.value == 2)
        }
    }

    @Test("a host's GOAWAY is followed: streams it has seen finish, others and later ones use a new connection")
    func upstreamGoAway() async throws {
        try await onLoop { loop in
            let gate = Gate()
            let upstream = try await HTTP2Upstream(on: loop) { exchange in
                if exchange.request.pathText == "/slow" { await gate.wait() }
                try exchange.respond(200, [], isEnd: true)
            }
            let proxy = try await Self.proxy(upstream.port, http2: true)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 200)
            let slow = try client.begin("GET", "/slow")
            let first = try #require(upstream.ends.first)
            await loop.sleep(for: .milliseconds(20))
            first.session.goAway()
            first.kick()
            await loop.sleep(for: .milliseconds(20))
            #expect(try await client.get("/next").status == 200)
            #expect(upstream.connections == 2)
            gate.open()
            try await slow.finished()
            #expect(slow.status == 200)
        }
    }

    @Test("more requests than a host takes at once wait or use another connection")
    func concurrency() async throws {
        try await onLoop { loop in
            var limits = HTTP2Limits()
            limits.concurrentStreams = 4
            let upstream = try await HTTP2Upstream(on: loop, limits: limits) { exchange in
                try exchange.respond(200, [("x", exchange.request.pathText)], isEnd: true)
            }
            let proxy = try await Self.proxy(upstream.port, http2: true)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchanges = try (0..<60).map { try client.begin("GET", "/\($0)") }
            for (index, exchange) in exchanges.enumerated() {
                try await exchange.finished()
                #expect(exchange.status == 200 && exchange.response.headers["x"] == "/\(index)", "\(exchange.text)")
            }
        }
    }

    @Test("P-6 draining says GOAWAY in two steps and lets requests finish")
    func drain() async throws {
        try await onLoop { loop in
            let gate = Gate()
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                await gate.wait()
                try await wire.write(ScriptedUpstream.ok("done"))
            }
            let proxy = try await Self.proxy(
                upstream.port, http2: false, manager: "common_http_protocol_options: { max_requests_per_connection: 2 }"
            )
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let first = try client.begin()
            let second = try client.begin()
            await client.wait { !client.goAways.isEmpty }
            #expect(client.goAways == [0])
            gate.open()
            try await first.finished()
            try await second.finished()
            #expect(
                first.text == "done" && second.text == "done",
                "\(first.status) \(first.text) \(second.status) \(second.text)")
            await client.wait { client.isOver }
        }
    }

    @Test("ATK-01 a client that resets in a loop is cut off, and the counter says so")
    func rapidReset() async throws {
        try await onLoop { loop in
            let upstream = try await HTTP2Upstream(on: loop) { _ in }
            let proxy = try await Self.proxy(upstream.port, http2: true, admin: true)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            for _ in 0..<2000 where !client.isOver {
                let exchange = try? client.begin()
                await loop.sleep(for: .microseconds(100))
                exchange?.reset()
            }
            await client.wait { client.isOver }
            #expect(client.goAways.contains(11))
            let admin = try await Wire.connect(to: #require(proxy.admin), on: loop)
            #expect(try await admin.get("/stats").body.contains("http2.premature_resets_flood: 1"))
        }
    }

    @Test("P-4 a WebSocket passes between all versions", arguments: Versions.allCases)
    func webSocket(_ versions: Versions) async throws {
        try await onLoop { loop in
            let port: UInt16
            if versions == .h2ToH1 {
                port = try await ScriptedUpstream(on: loop) { wire, _ in
                    let head = try await wire.read(until: "\r\n\r\n")
                    #expect(head.hasPrefix("GET /chat HTTP/1.1") && head.lowercased().contains("upgrade: websocket"))
                    try await wire.write(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                    #expect(try await wire.read(until: "ping") == "ping")
                    try await wire.write("pong")
                    _ = await wire.readToEnd()
                }.port
            } else {
                var limits = HTTP2Limits()
                limits.allowsConnect = true
                port = try await HTTP2Upstream(on: loop, limits: limits) { exchange in
                    #expect(exchange.request.isUpgrade && exchange.request.headers["upgrade"] == "websocket")
                    try exchange.respond()
                    await exchange.received(text: "ping")
                    try exchange.send("pong")
                    try await exchange.finished()
                    try exchange.finish()
                }.port
            }
            let proxy = try await Self.proxy(
                port, http2: versions != .h2ToH1,
                manager:
                    "http2_protocol_options: { allow_connect: true }\n          upgrade_configs: [ { upgrade_type: websocket } ]"
            )
            defer { proxy.stop() }
            if versions == .h1ToH2 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write(
                    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                let response = try await client.response()
                #expect(response.status == 101 && response.field("upgrade") == "websocket")
                try await client.write("ping")
                #expect(try await client.read(4) == "pong")
                client.close()
            } else {
                let client = try await HTTP2End.connect(to: proxy.address, on: loop)
                let exchange = try client.begin("GET", "/chat", upgrade: "websocket", isEnd: false)
                try await exchange.answered()
                #expect(exchange.status == 200)
                try exchange.send("ping")
                await exchange.received(text: "pong")
                #expect(exchange.text == "pong")
                try exchange.finish()
                try await exchange.finished()
            }
        }
    }

    @Test("a client of HTTP/1.1 goes on in HTTP/2 by Upgrade: h2c, answered on stream 1")
    func upgrade() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(
                    head.lowercased().contains("h2c") || head.lowercased().contains("settings") ? "no" : "yes")
            }
            let proxy = try await Self.proxy(upstream.port, http2: false)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            try await client.write(request + "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
            #expect(try await client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 101"))
            try await client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0")
            // The DATA frame of stream 1: three bytes, or its end behind them.
            let answer = try await client.read(until: "yes")
            #expect(answer.contains("\0\0\u{3}\0"))
            // Settings that are none: the wish is passed over.
            let other = try await Wire.connect(to: proxy.address, on: loop)
            try await other.write(request + "HTTP2-Settings: A\r\n\r\n")
            #expect(try await other.response().body == "yes")
        }
    }

    @Test("P-3 a gRPC call that fails in the proxy ends with trailers only")
    func grpcFailure() async throws {
        try await onLoop { loop in
            let proxy = try await Self.proxy(1, http2: true)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchange = try client.begin(
                "POST", "/p.S/M", fields: [("content-type", "application/grpc"), ("te", "trailers")], isEnd: false)
            try await exchange.finished()
            #expect(exchange.status == 200 && exchange.response.headers["grpc-status"] == "14")
            #expect(exchange.bodyBytes == 0)
        }
    }
}

/// A value that several tasks of one loop look at.
final class Box<Value>: @unchecked Sendable { var value: Value? }

/// Something to wait for, from whatever thread.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiters.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}
