import IO
import Proxy
import Testing

@Suite("HTTP/1.1 forwarding")
struct HTTPForwardingTests {
    @Test("requests on one connection share one upstream connection")
    func keepAlive() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(Wire.firstLine(head))
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for number in 0..<5 {
                let response = try await client.get("/\(number)")
                #expect(response.status == 200)
                #expect(response.body == "GET /\(number) HTTP/1.1")
            }
            #expect(upstream.connections == 1)
        }
    }

    @Test("pipelined requests are answered in order")
    func pipelining() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(Wire.firstLine(head))
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let requests = (0..<50).map { "GET /\($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined()
            try await client.write(requests)
            for number in 0..<50 {
                #expect(try await client.response().body == "GET /\(number) HTTP/1.1")
            }
        }
    }

    @Test("chunked bodies pass in both directions")
    func chunked() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, body in
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n3\r\nend\r\n0\r\n\r\n"
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
            )
            let response = try await client.response()
            #expect(response.body == "hello worldend")
            #expect(response.field("transfer-encoding") == "chunked")
            #expect(try await client.get("/").status == 200)
        }
    }

    @Test("a body of several megabytes arrives whole both ways")
    func largeBodies() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, body in ScriptedUpstream.ok(body) }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let body = String(repeating: "0123456789abcdef", count: 250_000)
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n")
            async let sent: Void = client.write(body)
            let response = try await client.response()
            try await sent
            #expect(response.body == body)
        }
    }

    @Test("Expect: 100-continue is answered before the body")
    func expectContinue() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in
                ScriptedUpstream.ok(head.lowercased().contains("expect:") ? "expectation leaked" : body)
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            #expect(try await client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
            try await client.write("body")
            #expect(try await client.response().body == "body")
        }
    }

    @Test("P-1 hop-by-hop fields are not forwarded")
    func hopByHop() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(head, "Connection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get(
                "/", "Connection: x-private\r\nX-Private: 1\r\nKeep-Alive: 1\r\nTE: gzip\r\nProxy-Connection: a\r\n")
            let seen = response.body.lowercased()
            for name in ["x-private", "keep-alive", "te:", "proxy-connection", "\nconnection:"] {
                #expect(!seen.contains(name), "\(name) reached the upstream")
            }
            #expect(seen.contains("x-request-id:"))
            #expect(seen.contains("x-forwarded-proto: http"))
            #expect(response.field("x-secret") == nil)
            #expect(response.field("keep-alive") == nil)
        }
    }

    @Test(
        "ATK-12 ambiguous requests are refused and reach no upstream",
        arguments: [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ])
    func smuggling(request: String) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("reached") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(request + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = await client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 4") || answer.hasPrefix("HTTP/1.1 5"))
            #expect(!answer.contains("reached"))
            #expect(upstream.connections == 0)
        }
    }

    @Test("a request to an unknown cluster is 503 with flag NC, without a route 404, without a host 503 UH")
    func localReplies() async throws {
        try await onLoop { loop in
            let routes = """
                [ { match: { prefix: "/nc" }, route: { cluster: nowhere } }, \
                { match: { prefix: "/uh" }, route: { cluster: empty } }, \
                { match: { prefix: "/direct" }, direct_response: { status: 418, body: { inline_string: tea } } }, \
                { match: { prefix: "/to" }, redirect: { path_redirect: "/from", host_redirect: "other" } } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(listeners: Yaml.listener(routes: routes), clusters: Yaml.cluster("empty", [])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let unknown = try await client.get("/nc")
            #expect(unknown.status == 503)
            let empty = try await client.get("/uh")
            #expect(empty.status == 503)
            #expect(empty.body == "no healthy upstream")
            #expect(try await client.get("/nr").status == 404)
            let direct = try await client.get("/direct")
            #expect(direct.status == 418)
            #expect(direct.body == "tea")
            let redirect = try await client.get("/to")
            #expect(redirect.status == 301)
            #expect(redirect.field("location") == "http://other/from")
        }
    }

    @Test("headers are changed, prefixes and hosts rewritten as the route says")
    func rewrites() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(head, "X-Drop: 1\r\n")
            }
            let routes = """
                [ { match: { prefix: "/api" }, route: { cluster: backend, prefix_rewrite: "/v1", host_rewrite_literal: inner }, \
                request_headers_to_add: [ { header: { key: x-added, value: "from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" } } ], \
                request_headers_to_remove: [ x-gone ], response_headers_to_remove: [ x-drop ], \
                response_headers_to_add: [ { header: { key: x-route, value: api } } ] } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: routes), clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/api/users?x=1", "X-Gone: 1\r\n")
            let seen = response.body.lowercased()
            #expect(seen.hasPrefix("get /v1/users?x=1 http/1.1"))
            #expect(seen.contains("host: inner\r\n"))
            #expect(seen.contains("x-added: from 127.0.0.1"))
            #expect(!seen.contains("x-gone"))
            #expect(response.field("x-route") == "api")
            #expect(response.field("x-drop") == nil)
        }
    }

    @Test("H-7 weighted clusters share requests by weight")
    func weights() async throws {
        try await onLoop { loop in
            let one = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("one") }
            let two = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("two") }
            let routes = """
                [ { match: { prefix: "/" }, route: { weighted_clusters: { clusters: [ \
                { name: one, weight: 90 }, { name: two, weight: 10 } ] } } } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: routes),
                    clusters: Yaml.cluster("one", [one.port]) + Yaml.cluster("two", [two.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            var second = 0
            for _ in 0..<1000 where try await client.get("/").body == "two" { second += 1 }
            // 100 expected, sigma 9.5: five sigma either way.
            #expect((53...147).contains(second))
        }
    }

    @Test("HEAD, 204 and 304 have no body and keep the connection")
    func bodyless() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                if head.hasPrefix("HEAD") { return "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" }
                if head.contains("/204") { return "HTTP/1.1 204 No Content\r\n\r\n" }
                return "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n"
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            let head = try await client.response(toHead: true)
            #expect(head.field("content-length") == "1000")
            #expect(try await client.get("/204").status == 204)
            #expect(try await client.get("/304").status == 304)
            #expect(upstream.connections == 1)
        }
    }

    @Test("a response that ends with its connection becomes chunked")
    func untilClose() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                try await wire.write("HTTP/1.1 200 OK\r\n\r\nsome bytes")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<2 {
                let response = try await client.get("/")
                #expect(response.body == "some bytes")
                #expect(response.field("transfer-encoding") == "chunked")
            }
        }
    }
}
