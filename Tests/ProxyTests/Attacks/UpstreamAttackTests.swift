import HTTP
import IO
import Testing
import Upstream

@testable import Proxy

@Suite("Hostile and broken upstreams")
struct UpstreamAttackTests {
    /// A host that speaks HTTP/2 as it likes.
    private static func hostile(
        _ loop: EventLoop, _ script: @escaping @Sendable (Wire, Int) async throws -> Void
    ) async throws -> ScriptedUpstream { try await ScriptedUpstream(on: loop, script) }

    @Test("ATK-06 whatever frames a host of HTTP/2 sends, only its own requests fail")
    func randomFrames() async throws {
        try await onLoop { loop in
            let hostile = try await Self.hostile(loop) { wire, number in
                var random = SplitMix64(seed: UInt64(number))
                try await wire.write(RawHTTP2.frame(4))
                _ = try await wire.stream.read(upTo: 65_536)
                for _ in 0..<40 {
                    let choice = random.next() % 12
                    let stream = UInt32(random.next() % 5)
                    func bytes(_ count: UInt64) -> [UInt8] {
                        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                    }
                    switch choice {
                    case 0:
                        try await wire.write(
                            RawHTTP2.frame(4, [0, 1] + RawHTTP2.number(UInt32(random.next() % 2) * 4096)))
                    case 1: try await wire.write(RawHTTP2.frame(4, [0, 3] + RawHTTP2.number(0)))
                    case 2: try await wire.write(RawHTTP2.frame(7, RawHTTP2.number(stream) + RawHTTP2.number(0)))
                    case 3:
                        try await wire.write(
                            RawHTTP2.frame(3, stream: stream, RawHTTP2.number(UInt32(random.next() % 14))))
                    case 4:
                        try await wire.write(
                            RawHTTP2.frame(8, stream: stream, RawHTTP2.number(UInt32(random.next() % 1000))))
                    case 5: try await wire.write(RawHTTP2.frame(6, bytes(8)))
                    case 6:
                        let status = ["100", "103", "200", "204", "503", "abc", "1000"][Int(random.next() % 7)]
                        try await wire.write(
                            RawHTTP2.headers(
                                stream, RawHTTP2.block([(":status", status)]), isEnd: random.next() % 2 == 0))
                    case 7:
                        try await wire.write(
                            RawHTTP2.frame(0, flags: UInt8(random.next() % 2), stream: stream, bytes(20)))
                    case 8:
                        try await wire.write(
                            RawHTTP2.frame(5, flags: 4, stream: stream, RawHTTP2.number(2) + RawHTTP2.request()))
                    case 9: try await wire.write(RawHTTP2.frame(1, flags: 5, stream: stream, bytes(random.next() % 30)))
                    case 10: try await wire.write(RawHTTP2.frame(4, flags: 1))
                    default:
                        try await wire.write(
                            RawHTTP2.frame(
                                UInt8(random.next() % 12), flags: UInt8(random.next() % 64), stream: stream,
                                bytes(random.next() % 30)))
                    }
                }
            }
            let good = try await ScriptedUpstream(on: loop, AttackScene.serve)
            let routes =
                "[ { match: { prefix: /good }, route: { cluster: good } }, { match: { prefix: / }, route: { cluster: bad, timeout: 0.5s } } ]"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: routes),
                    clusters: Yaml.cluster("bad", [hostile.port], Yaml.http2) + Yaml.cluster("good", [good.port]),
                    admin: true))
            defer { proxy.stop() }
            var statuses: Set<Int> = []
            for round in 0..<80 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write("GET /bad HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                let answer = await client.readToEnd()
                if !answer.isEmpty { statuses.insert(Int(answer.dropFirst(9).prefix(3)) ?? 0) }
                if round % 10 == 0 {
                    let other = try await Wire.connect(to: proxy.address, on: loop)
                    #expect(try await other.get("/good").status == 200)
                    other.close()
                }
            }
            #expect(statuses.isSubset(of: [200, 204, 502, 503, 504]), "\(statuses)")
            try await until { try await Admin.stat(proxy, "cluster.bad.upstream_rq_active", on: loop) == 0 }
        }
    }

    @Test("ATK-45 a host that falls silent on HTTP/2 is found out by PING, and its requests do not wait for ever")
    func silent() async throws {
        try await onLoop { loop in
            let options = """
                typed_extension_protocol_options:
                          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                            "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                            explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: 0.1s, timeout: 0.1s } } }
                """
            let hostile = try await Self.hostile(loop) { wire, _ in
                try await wire.write(RawHTTP2.frame(4))
                // Reads, and says nothing any more.
                _ = await wire.readToEnd()
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: AttackScene.tellsFlags, routes: Yaml.forward("backend", "timeout: 60s")),
                    clusters: Yaml.cluster("backend", [hostile.port], options), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/")
            #expect(response.status == 503 && response.body.hasSuffix("[UC]"))
            #expect(try await Admin.stat(proxy, "cluster.backend.http2.keepalive_timeout", on: loop) == 1)
            #expect(try await Admin.stat(proxy, "cluster.backend.upstream_rq_active", on: loop) == 0)
        }
    }

    @Test("ATK-45 a host that takes no connection in time fails the request with UF, and is counted")
    func connectTimeout() async throws {
        try await onLoop { loop in
            // A queue of one that is full: the kernel drops what else comes, as a black hole does.
            let listener = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0), backlog: 0)
            defer { listener.close() }
            let port = listener.localAddress?.port ?? 0
            var waiting: [Socket] = []
            for _ in 0..<4 { waiting.append(try Socket.connect(to: .ip(.v4(0x7F00_0001), port: port))) }
            defer { for socket in waiting { socket.close() } }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: AttackScene.tellsFlags, routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [port]).replacing(
                        "connect_timeout: 5s", with: "connect_timeout: 0.2s"),
                    admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/")
            #expect(response.status == 503)
            #expect(response.body.contains("connection timeout") && response.body.hasSuffix("[UF]"))
            #expect(try await Admin.stat(proxy, "cluster.backend.upstream_cx_connect_timeout", on: loop) == 1)
        }
    }

    @Test("ATK-45 a connection that stays and says nothing is 504 when the route's time is over")
    func blackHole() async throws {
        try await AttackScene.run(
            manager: AttackScene.tellsFlags, routes: Yaml.forward("backend", "timeout: 0.2s"),
            script: { wire, _ in _ = await wire.readToEnd() }
        ) { scene in
            let client = try await scene.connect()
            let response = try await client.get("/")
            #expect(response.status == 504 && response.body.hasSuffix("[UT]"))
            #expect(try await scene.stat("cluster.backend.upstream_rq_timeout") == 1)
        }
    }

    static let scripts: [(name: String, bytes: String, status: Int)] = [
        ("garbage", "\u{16}\u{3}\u{1} this is not HTTP\r\n\r\n", 502),
        ("a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 502),
        (
            "length and encoding",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502
        ),
        ("a line end in a value", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", 502),
        ("a field name with a blank", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n", 502),
        ("interim responses without end", String(repeating: "HTTP/1.1 100 C\r\n\r\n", count: 2000), 502),
        ("a head without end", "HTTP/1.1 200 OK\r\n" + String(repeating: "X: y\r\n", count: 100_000), 502),
        ("101 that nobody asked for", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 502),
        ("nothing", "", 503),
        ("half a head", "HTTP/1.1 200 OK\r\nCont", 503),
    ]

    @Test(
        "ATK-47 what a broken host answers fails that request, with its counter, and no other",
        arguments: scripts.indices)
    func broken(_ index: Int) async throws {
        let (name, bytes, status) = Self.scripts[index]
        try await AttackScene.run(
            manager: AttackScene.tellsFlags,
            script: { wire, _ in
                let (head, body) = try await wire.request()
                if head.hasPrefix("GET /good") { return try await wire.write(ScriptedUpstream.ok(body)) }
                try await wire.write(bytes)
            }
        ) { scene in
            let client = try await scene.connect()
            let response = try await client.get("/bad")
            #expect(response.status == status, "\(name): \(response.head)")
            #expect(response.body.hasSuffix(status == 502 ? "[UPE]" : "[UC]"), "\(name): \(response.body)")
            #expect(!response.head.contains("Set-Cookie"))
            #expect(
                try await scene.stat("cluster.backend.upstream_cx_protocol_error") == (status == 502 ? 1 : 0), "\(name)"
            )
            #expect(try await scene.serves())
            #expect(try await scene.stat("cluster.backend.upstream_rq_active") == 0)
        }
    }

    @Test("ATK-47 an answer that comes before the body was read goes to the client whole")
    func early() async throws {
        try await AttackScene.run(script: { wire, _ in
            _ = try await wire.read(until: "\r\n\r\n")
            try await wire.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
        }) { scene in
            let client = try await scene.connect()
            try await client.write("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
            let flood = Task(executorPreference: scene.loop) {
                await client.flood([UInt8](repeating: 0x78, count: 65_536), limit: 9_900_000)
            }
            let response = try await client.response()
            #expect(response.status == 401)
            #expect(response.body == "early")
            client.close()
            _ = await flood.value
        }
    }

    @Test("ATK-47 a second answer behind the first belongs to nobody")
    func splitting() async throws {
        let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        try await AttackScene.run(script: { wire, _ in
            _ = try await wire.request()
            try await wire.write(ScriptedUpstream.ok("good") + evil)
            _ = await wire.readToEnd()
        }) { scene in
            for _ in 0..<5 {
                let client = try await scene.connect()
                #expect(try await client.get("/").body == "good")
                client.close()
            }
            #expect(scene.upstream.connections == 5)
        }
    }
}

extension String {
    fileprivate func replacing(_ part: String, with other: String) -> String {
        guard let range = firstRange(of: part) else { return self }
        return String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
