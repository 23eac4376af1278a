import HTTP
import IO
import Testing
import Upstream

@testable import Proxy

@Suite("Attacks over HTTP/2, through the proxy")
struct HTTP2ProxyAttackTests {
    @Test("ATK-01 of requests that are reset in a loop few reach the upstream, and others are served meanwhile")
    func rapidReset() async throws {
        try await AttackScene.run { scene in
            let client = try await scene.connect()
            try await client.write(RawHTTP2.preface)
            var sent: UInt32 = 0
            while sent < 20_000 {
                var piece: [UInt8] = []
                for _ in 0..<10 {
                    piece += RawHTTP2.headers(sent * 2 + 1, RawHTTP2.request("/reset"))
                    piece += RawHTTP2.frame(3, stream: sent * 2 + 1, RawHTTP2.number(8))
                    sent += 1
                }
                guard (try? await client.write(piece)) != nil else { break }
            }
            #expect(await client.readToEnd().utf8.count < 100_000)
            #expect(try await scene.stat("http2.premature_resets_flood") == 1)
            #expect(scene.upstream.requests <= HTTP2Limits().resetBurst + 100)
            #expect(try await scene.serves())
            try await scene.wait("http.ingress.downstream_rq_active") { $0 == 0 }
            try await scene.wait("cluster.backend.upstream_rq_active") { $0 == 0 }
        }
    }

    @Test("ATK-02 a head of CONTINUATION frames without end is cut off while it comes")
    func continuations() async throws {
        try await AttackScene.run { scene in
            let client = try await scene.connect()
            try await client.write(RawHTTP2.preface + RawHTTP2.headers(1, RawHTTP2.request(), isWhole: false))
            let field = RawHTTP2.block([("x", String(repeating: "v", count: 100))])
            let piece = RawHTTP2.frame(9, stream: 1, (0..<150).flatMap { _ in field })
            _ = await client.flood(piece, limit: 1 << 22)
            _ = await client.readToEnd()
            let counted = try await scene.stat("http2.continuation_flood") + scene.stat("http2.header_overflow")
            #expect(counted >= 1)
            #expect(try await scene.stat("http.ingress.downstream_cx_protocol_error") == 1)
            // What was taken before the end: some heads' worth.
            #expect(
                try await scene.stat("http.ingress.downstream_cx_rx_bytes_total") < 16 * HTTP1Limits.headBytesDefault)
            #expect(scene.upstream.requests == 0)
            #expect(try await scene.serves())
        }
    }

    @Test("ATK-03 a small block that decodes to very much is refused and counted; nothing of it goes upstream")
    func bomb() async throws {
        try await AttackScene.run { scene in
            let client = try await scene.connect()
            try await client.write(RawHTTP2.preface)
            // An entry of 3,000 bytes in the dynamic table, then 10,000 times its index.
            let value = [UInt8](repeating: 0x61, count: 3000)
            let entry: [UInt8] = [0x40, 1, 0x78, 0x7F] + [UInt8(0x80 | (3000 - 127) & 0x7F), UInt8((3000 - 127) >> 7)]
            let bomb = RawHTTP2.request() + entry + value + [UInt8](repeating: 0xBE, count: 10_000)
            try? await client.write(RawHTTP2.headers(1, bomb))
            try await scene.wait("http2.header_overflow") { $0 >= 1 }
            // Cookie crumbs: each is a field, whatever they are joined to.
            let crumbs = try await scene.connect()
            let crumb = RawHTTP2.block([("cookie", "a=b")])
            try await crumbs.write(
                RawHTTP2.preface
                    + RawHTTP2.headers(1, RawHTTP2.request() + (0..<1000).flatMap { _ in crumb }, isEnd: true))
            try await scene.wait("http2.header_overflow") { $0 >= 2 }
            #expect(scene.upstream.requests == 0)
            #expect(try await scene.serves())
        }
    }

    static let floods: [(name: String, piece: [UInt8], counter: String)] = [
        ("PING", RawHTTP2.frame(6, [UInt8](repeating: 1, count: 8)), "http2.inbound_control_frames_flood"),
        ("SETTINGS", RawHTTP2.frame(4), "http2.inbound_control_frames_flood"),
        ("PRIORITY", RawHTTP2.frame(2, stream: 1, [0, 0, 0, 0, 9]), "http2.inbound_priority_frames_flood"),
        ("WINDOW_UPDATE", RawHTTP2.frame(8, RawHTTP2.number(1)), "http2.inbound_window_update_frames_flood"),
        ("empty DATA", RawHTTP2.frame(0, stream: 1), "http2.inbound_empty_frames_flood"),
    ]

    @Test("ATK-04 very many frames that carry nothing, and nobody reads the answers", arguments: floods.indices)
    func flood(_ index: Int) async throws {
        let (name, piece, counter) = Self.floods[index]
        try await AttackScene.run { scene in
            let client = try await scene.connect()
            try await client.write(
                RawHTTP2.preface + RawHTTP2.headers(1, RawHTTP2.request("/", [("x", "y")]), isEnd: false))
            let many = (0..<1000).flatMap { _ in piece }
            // What comes after the end is swallowed for a moment, unread.
            _ = await client.flood(many, limit: 100_000 * piece.count)
            // The client may have written its last before the proxy has read the first of it.
            var floods = 0
            while floods == 0 {
                floods = try await scene.stat(counter) + scene.stat("http2.outbound_control_flood")
                if floods == 0 { await scene.loop.sleep(for: .milliseconds(5)) }
            }
            #expect(floods == 1, "\(name)")
            #expect(try await scene.stat("http.ingress.downstream_cx_protocol_error") == 1)
            try await scene.wait("http.ingress.downstream_rq_active") { $0 == 0 }
            #expect(try await scene.serves())
        }
    }

    @Test("ATK-05 a thousand streams with a window of one byte hold no more than their share")
    func dribble() async throws {
        let size = 1 << 20
        let body = String(repeating: "x", count: size)
        try await AttackScene.run(
            manager: "http2_protocol_options: { max_concurrent_streams: 200 }",
            cluster: "circuit_breakers: { thresholds: [ { max_connections: 10000, max_requests: 10000 } ] }",
            script: { wire, _ in
                _ = try await wire.request()
                try await wire.write("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
                try await wire.write(body)
            }
        ) { scene in
            let client = try await scene.connect()
            // SETTINGS_INITIAL_WINDOW_SIZE 1.
            var bytes = RawHTTP2.preface + RawHTTP2.frame(4, [0, 4] + RawHTTP2.number(1))
            for stream in 0..<UInt32(200) { bytes += RawHTTP2.headers(stream * 2 + 1, RawHTTP2.request("/large")) }
            try await client.write(bytes)
            try await until { scene.upstream.connections >= 200 }
            // One byte for each stream, then nothing more: what the proxy has taken stands still.
            var taken = -1
            while true {
                let now = try await scene.stat("cluster.backend.upstream_cx_rx_bytes_total")
                if now == taken, now > 200 { break }
                taken = now
                await scene.loop.sleep(for: .milliseconds(100))
            }
            #expect(taken < 200 * 4 * Limits.bufferBytes, "\(taken) bytes taken for 200 streams")
            #expect(try await scene.stat("http.ingress.downstream_rq_active") == 200)
            client.close()
            try await scene.wait("http.ingress.downstream_rq_active") { $0 == 0 }
            try await scene.wait("cluster.backend.upstream_rq_active") { $0 == 0 }
        }
    }

    @Test("ATK-10 an HTTP/2 head that does not come to its end ends the connection, and is counted")
    func slowHead() async throws {
        try await AttackScene.run(manager: "request_headers_timeout: 0.2s") { scene in
            for isCut in [false, true] {
                let client = try await scene.connect()
                let block = RawHTTP2.request()
                var bytes = RawHTTP2.preface
                // A head without END_HEADERS, and a frame that stops in the middle.
                bytes += RawHTTP2.headers(1, isCut ? block : Array(block.prefix(20)), isWhole: isCut)
                try await client.write(Array(bytes.dropLast(isCut ? 5 : 0)))
                _ = await client.readToEnd()
            }
            #expect(try await scene.stat("http.ingress.downstream_rq_header_timeout") == 2)
            // Whole heads in time: the clock of one does not run on.
            let good = try await HTTP2End.connect(to: scene.proxy.address, on: scene.loop)
            #expect(try await good.get("/a").status == 200)
            await scene.loop.sleep(for: .milliseconds(300))
            #expect(try await good.get("/b").status == 200)
        }
    }

    @Test("ATK-13 whatever head HTTP/2 takes is read as the same by HTTP/1.1, or refused")
    func downgrade() async throws {
        let upstream = FakeFilter.Trace()
        try await AttackScene.run(script: { wire, _ in
            while true {
                let (head, _) = try await wire.request()
                upstream.add(head)
                try await wire.write(ScriptedUpstream.ok("x"))
            }
        }) { scene in
            var random = SplitMix64(seed: 13)
            let names = [
                "x", "x-a", "x:b", "x b", "x\r\ny", "X-Upper", "x\u{0}", "", "transfer-encoding", "content-length",
                "te",
                "connection", "x_u", "cookie", "host", "accept",
            ]
            let values = [
                "v", " v", "v ", "a\r\nSmuggled: 1", "a\nb", "\u{0}", "chunked", "5", "close", "", "é", "a,b",
                "trailers", "a",
                "\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", ":",
            ]
            for _ in 0..<300 {
                let fields = (0..<Int(random.next() % 4)).map { _ in
                    (names[Int(random.next() % 16)], values[Int(random.next() % 16)])
                }
                let path = ["/", "/p?q", "/p q", "/\r\nx: y", "x", ""][Int(random.next() % 6)]
                let client = try await scene.connect()
                try await client.write(RawHTTP2.preface + RawHTTP2.headers(1, RawHTTP2.request(path, fields)))
                // An answer, a reset or a GOAWAY: it is decided.
                var seen: [UInt8] = []
                while RawHTTP2.kinds(in: seen).isDisjoint(with: [1, 3, 7]),
                    let more = try? await client.stream.read(upTo: 65_536), !more.isEmpty
                {
                    seen += more
                }
                client.close()
            }
            #expect(try await scene.serves())
            let heads = upstream.all.filter { !$0.hasPrefix("GET /good ") }
            #expect(!heads.isEmpty)
            for head in heads {
                let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false).map { $0.lowercased() }
                #expect(!lines.contains { $0.hasPrefix("smuggled") || $0.hasPrefix("x-upper") }, "\(head)")
                #expect(!lines.contains { $0 == "x: y" }, "\(head)")
                #expect(lines.filter { $0.hasPrefix("host:") } == ["host: a"], "\(head)")
                #expect(!lines.contains { $0.hasPrefix("transfer-encoding") || $0.hasPrefix("connection") }, "\(head)")
                #expect(!head.contains("/smuggled"), "\(head)")
            }
        }
    }
}
