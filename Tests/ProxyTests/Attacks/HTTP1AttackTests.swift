import HTTP
import IO
import Synchronization
import Testing

@testable import Proxy

@Suite("Attacks over HTTP/1.1, through the proxy")
struct HTTP1ProxyAttackTests {
    @Test("ATK-09 chunks of one byte arrive coalesced, with their own framing")
    func tinyChunks() async throws {
        let wireBytes = Atomic<Int>(0)
        let count = 200_000
        try await AttackScene.run(script: { wire, _ in
            var all: [UInt8] = []
            while !all.suffix(5).elementsEqual("0\r\n\r\n".utf8) {
                let more = try await wire.stream.read(upTo: 65_536)
                guard !more.isEmpty else { return }
                all += more
            }
            wireBytes.store(all.count, ordering: .relaxed)
            try await wire.write(ScriptedUpstream.ok("ok"))
        }) { scene in
            let client = try await scene.connect()
            try await client.write("POST /tiny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            let piece = String(repeating: "1\r\nx\r\n", count: 1000)
            for _ in 0..<(count / 1000) { try await client.write(piece) }
            try await client.write("0\r\n\r\n")
            #expect(try await client.response().body == "ok")
            let bytes = wireBytes.load(ordering: .relaxed)
            #expect(bytes > count && bytes < 2 * count, "\(bytes) bytes for \(count)")
        }
    }

    @Test("ATK-09 of many bad requests in a row one is answered, though nobody reads, and the connection ends")
    func pipelinedNonsense() async throws {
        try await AttackScene.run { scene in
            let client = try await scene.connect()
            let piece = Array(String(repeating: "BAD\r\n\r\n", count: 1000).utf8)
            let sent = await client.flood(piece, limit: 100_000 * 7)
            #expect(sent <= 100_000 * 7)
            try await scene.wait("http.ingress.downstream_cx_active") { $0 == 0 }
            #expect(try await scene.stat("http.ingress.downstream_rq_4xx") == 1)
            #expect(try await scene.stat("http.ingress.downstream_cx_protocol_error") == 1)
            #expect(try await scene.serves())
        }
    }

    @Test("ATK-09 requests that are sent ahead wait in the client's socket while it does not read the answers")
    func pipelinedAhead() async throws {
        let body = String(repeating: "x", count: 100_000)
        try await AttackScene.run(script: { wire, _ in
            while true {
                _ = try await wire.request()
                try await wire.write(ScriptedUpstream.ok(body))
            }
        }) { scene in
            let client = try await scene.connect()
            let piece = Array(String(repeating: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", count: 1000).utf8)
            // Not awaited: it blocks, as it should.
            let flood = Task(executorPreference: scene.loop) { await client.flood(piece, limit: 100_000 * 27) }
            var before = -1
            while true {
                let now = try await scene.stat("http.ingress.downstream_rq_total")
                if now == before, now > 0 { break }
                before = now
                await scene.loop.sleep(for: .milliseconds(200))
            }
            // As many as kernels and the proxy's buffer hold answers to, of 100,000 sent.
            #expect(before < 1000, "\(before) requests")
            #expect(try await scene.stat("http.ingress.downstream_rq_active") <= 1)
            client.close()
            _ = await flood.value
            #expect(try await scene.serves())
        }
    }

    @Test("ATK-10 a head that trickles is 408 when its time is over, and is counted")
    func slowHead() async throws {
        try await AttackScene.run(manager: "request_headers_timeout: 0.2s\n          " + AttackScene.tellsFlags) {
            scene in
            let client = try await scene.connect()
            try await client.write("GET / HTTP/1.1\r\nHost: ")
            let answer = await client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 408 "))
            // As Envoy: the details name it, no flag does.
            #expect(answer.hasSuffix("request header timeout[-]"))
            #expect(try await scene.stat("http.ingress.downstream_rq_header_timeout") == 1)
        }
    }

    @Test("ATK-10 beyond a listener's connections new ones are closed and counted, and the admin page answers")
    func connections() async throws {
        try await onLoop { loop in
            let filter = """
                    listener_filters_timeout: 1s
                    filter_chains:
                    - filters:
                      - name: envoy.filters.network.connection_limit
                        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit, stat_prefix: limit, max_connections: 50 }
                """
            let listener = Yaml.listener(routes: #"[ { match: { prefix: "/" }, direct_response: { status: 200 } } ]"#)
                .replacing(first: "    filter_chains:\n    - filters:\n", with: filter + "\n")
            let proxy = try await RunningProxy.start(Yaml.bootstrap(listeners: listener, clusters: "", admin: true))
            defer { proxy.stop() }
            var slow: [Wire] = []
            for _ in 0..<50 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write("G")
                slow.append(client)
            }
            try await until { try await Admin.stat(proxy, "connection_limit.limit.active_connections", on: loop) == 50 }
            for _ in 0..<100 {
                #expect(await (try Wire.connect(to: proxy.address, on: loop)).readToEnd() == "")
            }
            #expect(try await Admin.stat(proxy, "connection_limit.limit.limited_connections", on: loop) == 100)
            #expect(try await Admin.get(proxy, "/ready", on: loop).contains("LIVE"))
            for client in slow { client.close() }
        }
    }

    @Test("ATK-09 what is no request is 400 with its flag")
    func nonsense() async throws {
        try await AttackScene.run(manager: AttackScene.tellsFlags) { scene in
            let client = try await scene.connect()
            try await client.write("BAD\r\n\r\n")
            let answer = await client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.hasSuffix("[DPE]"))
        }
    }

    @Test("ATK-14 what stands behind a CONNECT that is refused is no request")
    func connect() async throws {
        try await AttackScene.run(manager: AttackScene.tellsFlags) { scene in
            let client = try await scene.connect()
            try await client.write(
                "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = await client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 404 ") && answer.hasSuffix("[NR]"))
            #expect(answer.lowercased().contains("connection: close"))
            #expect(answer.components(of: "HTTP/1.1 ") == 1)
            #expect(scene.upstream.requests == 0)
        }
    }

    @Test(
        "ATK-16 at the edge names with underscores are dropped by default, counted, and let through where the file is the edge of nothing"
    )
    func underscores() async throws {
        for (manager, passes) in [("use_remote_address: true", false), ("", true)] {
            try await AttackScene.run(manager: manager) { scene in
                let client = try await scene.connect()
                let body = try await client.get("/", "x-user-id: trusted\r\nx_user_id: forged\r\n").body
                #expect(body.contains("x-user-id: trusted"))
                #expect(body.contains("forged") == passes)
                let http2 = try await HTTP2End.connect(to: scene.proxy.address, on: scene.loop)
                let exchange = try await http2.get("/", [("x_user_id", "forged")])
                #expect(exchange.text.contains("forged") == passes)
                #expect(try await scene.stat("http1.dropped_headers_with_underscores") == (passes ? 0 : 1))
                #expect(try await scene.stat("http2.dropped_headers_with_underscores") == (passes ? 0 : 1))
            }
        }
    }

    static let internalFields = [
        "x-envoy-retry-on", "x-envoy-max-retries", "x-envoy-upstream-rq-timeout-ms", "x-envoy-internal",
        "x-envoy-force-trace",
        "x-envoy-original-path", "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster",
        "x-forwarded-client-cert",
        "x-envoy-ip-tags", "x-envoy-upstream-alt-stat-name", "x-envoy-hedge-on-per-try-timeout",
        "x-envoy-expected-rq-timeout-ms",
    ]

    @Test("ATK-17 internal fields from outside are neither passed on nor obeyed; an address is not internal by itself")
    func internalFieldsFromOutside() async throws {
        try await AttackScene.run(
            manager: "use_remote_address: true",
            script: { wire, _ in
                while true {
                    let (head, _) = try await wire.request()
                    let isFailing = head.contains("/fail")
                    try await wire.write(
                        isFailing ? "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n" : ScriptedUpstream.ok(head))
                }
            }
        ) { scene in
            let client = try await scene.connect()
            let fields = Self.internalFields.map { "\($0): 5\r\n" }.joined() + "x-forwarded-for: 10.0.0.1\r\n"
            let head = try await client.get("/", fields).body.lowercased()
            for name in Self.internalFields where name != "x-envoy-expected-rq-timeout-ms" {
                #expect(!head.contains("\(name): 5"), "\(name)")
            }
            #expect(!head.contains("x-envoy-internal"))
            // Retries that the client asks for are not made.
            let failing = "x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 5\r\n"
            #expect(try await client.get("/fail", failing).status == 503)
            #expect(try await scene.stat("cluster.backend.upstream_rq_retry") == 0)
        }
    }

    @Test(
        "ATK-18 scheme and authority are one: odd cases are normal, conflicts are 400",
        arguments: [
            ("GET http://a/x HTTP/1.1\r\nHost: a\r\n", 200), ("GET HtTp://A/x HTTP/1.1\r\nHost: a\r\n", 200),
            ("GET http://a/x HTTP/1.1\r\nHost: b\r\n", 400), ("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n", 400),
            ("GET http://u@a/x HTTP/1.1\r\nHost: a\r\n", 400), ("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
            ("GET /x HTTP/1.1\r\nHost: a b\r\n", 400), ("GET /x HTTP/1.1\r\n", 400),
            ("GET /x HTTP/1.1\r\nHost: A:80\r\n", 200),
        ])
    func authority(_ head: String, _ status: Int) async throws {
        try await AttackScene.run { scene in
            let client = try await scene.connect()
            try await client.write(head + "\r\n")
            #expect(try await client.response().status == status)
            #expect(scene.upstream.connections == (status == 200 ? 1 : 0))
        }
    }

    @Test(
        "ATK-46 scoped, mapped and nonsensical addresses in x-forwarded-for are read or left out, and never internal by mistake",
        arguments: [
            "fe80::1%eth0", "::ffff:10.0.0.1", "0.0.0.0", "::", "[::1]", "[fd00::1]:80", "10.0.0.1:80", "256.1.1.1",
            "1.2.3", "%",
            "10.0.0.1, ::ffff:10.0.0.1", ",,", "unknown", "_hidden", "\"[2001:db8::1]\"", "1::2::3", "fe80::1%",
        ])
    func forwardedFor(_ value: String) async throws {
        try await AttackScene.run(manager: "use_remote_address: false") { scene in
            let client = try await scene.connect()
            let response = try await client.get("/", "x-forwarded-for: \(value)\r\n")
            #expect(response.status == 200)
            #expect(!response.body.lowercased().contains("x-envoy-internal: true"))
            #expect(try await scene.serves())
        }
    }
}

extension String {
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }

    fileprivate func replacing(first part: String, with other: String) -> String {
        guard let range = firstRange(of: part) else { return self }
        return String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
