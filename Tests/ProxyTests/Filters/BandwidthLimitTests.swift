import IO
import Testing

@testable import Proxy

@Suite("Filters: bandwidth_limit, custom_response")
struct BandwidthLimitTests {
    private static let type = "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit"
    private static let custom = "envoy.extensions.filters.http.custom_response.v3.CustomResponse"

    @Test("both bodies arrive whole through a narrow bucket, and are counted")
    func both() async throws {
        let config = FilterScene.any(
            Self.type,
            "stat_prefix: bw, enable_mode: REQUEST_AND_RESPONSE, limit_kbps: 64, fill_interval: 0.02s, enable_response_trailers: true"
        )
        try await FilterScene.run(
            [("bw", config)],
            answer: { _, body in
                ScriptedUpstream.ok(String(repeating: "y", count: 40_000) + "\(body.utf8.count)")
            }
        ) { scene async throws in
            let body = String(repeating: "x", count: 40_000)
            try await scene.client.write(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            let response = try await scene.client.response()
            #expect(response.body.hasSuffix("y40000"))
            #expect(response.body.utf8.count == 40_005)
            #expect(try await scene.stat("bw.http_bandwidth_limit.request_enabled") == 1)
            #expect(try await scene.stat("bw.http_bandwidth_limit.request_incoming_total_size") == 40_000)
            #expect(try await scene.stat("bw.http_bandwidth_limit.request_allowed_total_size") == 40_000)
            #expect(try await scene.stat("bw.http_bandwidth_limit.response_allowed_total_size") == 40_005)
            #expect(try await scene.stat("bw.http_bandwidth_limit.response_pending") == 0)
            #expect(try await scene.stat("bw.http_bandwidth_limit.response_enforced") ?? 0 > 0)
        }
    }

    @Test("trailers tell how long the bodies took")
    func trailers() async throws {
        let config = FilterScene.any(
            Self.type,
            "stat_prefix: bw, enable_mode: RESPONSE, limit_kbps: 64, enable_response_trailers: true, response_trailer_prefix: x"
        )
        let hex = String(20_000, radix: 16)
        try await FilterScene.run(
            [("bw", config)], manager: "http_protocol_options: { enable_trailers: true }",
            answer: { _, _ in
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(hex)\r\n"
                    + String(repeating: "y", count: 20_000) + "\r\n0\r\n\r\n"
            }
        ) { scene async throws in
            try await scene.client.write("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close\r\n\r\n")
            let all = await scene.client.readToEnd()
            #expect(all.contains("x-bandwidth-response-delay-ms: "))
            #expect(all.contains("x-bandwidth-response-filter-delay-ms: "))
            #expect(!all.contains("bandwidth-request"))
        }
    }

    @Test("a route has its own limit, which must be there")
    func perRoute() async throws {
        let config = FilterScene.any(Self.type, "stat_prefix: bw, enable_mode: DISABLED")
        let own = FilterScene.any(Self.type, "stat_prefix: own, enable_mode: RESPONSE, limit_kbps: 1000")
        try await FilterScene.run([("bw", config)], routes: FilterScene.routes("bw", own)) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("own.http_bandwidth_limit.response_enabled") == 1)
        }
        let without = FilterScene.any(Self.type, "stat_prefix: own, enable_mode: RESPONSE")
        await #expect(throws: ProxyError.self) {
            try await FilterScene.run([("bw", config)], routes: FilterScene.routes("bw", without)) { _ in }
        }
    }

    private static func rule(_ input: String, _ value: String, _ policy: String) -> String {
        """
        custom_response_matcher: { matcher_list: { matchers: [ { predicate: { single_predicate: { input: { name: i, typed_config: \
        { "@type": type.googleapis.com/envoy.type.matcher.v3.\(input) } }, value_match: { exact: "\(value)" } } }, on_match: { action: { name: a, \
        typed_config: { "@type": type.googleapis.com/envoy.extensions.http.custom_response.\(policy) } } } } ] } }
        """
    }

    @Test("answers are replaced by status or class; the route's rules come first; the connection goes on")
    func replaced() async throws {
        let config = FilterScene.any(
            Self.custom,
            Self.rule(
                "HttpResponseStatusCodeClassMatchInput", "5xx",
                "local_response_policy.v3.LocalResponsePolicy, body: { inline_string: sorry }, response_headers_to_add: [ { header: { key: x-sorry, value: \"%RESPONSE_CODE%\" } } ]"
            ))
        let own = FilterScene.any(
            Self.custom,
            Self.rule(
                "HttpResponseStatusCodeMatchInput", "502",
                "local_response_policy.v3.LocalResponsePolicy, status_code: 299, body: { inline_string: x }, body_format: { text_format_source: { inline_string: \"%REQ(:PATH)% %LOCAL_REPLY_BODY%\" } }"
            ))
        try await FilterScene.run(
            [("custom", config)], routes: FilterScene.routes("custom", own),
            answer: { head, _ in
                let status = head.split(separator: " ")[1].dropFirst()
                return "HTTP/1.1 \(status) X\r\nContent-Length: 3\r\n\r\nold"
            }
        ) { scene async throws in
            let general = try await scene.client.get("/500")
            #expect(general.status == 500)
            #expect(general.body == "sorry")
            #expect(general.field("x-sorry") == "500")
            let special = try await scene.client.get("/502")
            #expect(special.status == 299)
            #expect(special.body == "/502 x")
            let other = try await scene.client.get("/404")
            #expect(other.status == 404)
            #expect(other.body == "old")
        }
    }

    private static func redirecting(_ fields: String) -> (name: String, config: String) {
        (
            "custom",
            FilterScene.any(
                custom,
                rule("HttpResponseStatusCodeClassMatchInput", "5xx", "redirect_policy.v3.RedirectPolicy, " + fields))
        )
    }

    private static let routes =
        "[ { match: { path: /gone, headers: [ { name: x-ask, present_match: true } ] }, direct_response: { status: 503 } }, { match: { path: /nowhere }, redirect: { path_redirect: /x } }, { match: { prefix: / }, route: { cluster: backend } } ]"

    @Test("answers are fetched from another place: its route, its filters, and a GET without the client's body")
    func redirected() async throws {
        try await FilterScene.run(
            [
                Self.redirecting(
                    "uri: \"https://sorry.example/page\", status_code: 299, request_headers_to_add: [ { header: { key: x-from, value: \"%RESPONSE_CODE%\" } } ], response_headers_to_add: [ { header: { key: x-sorry, value: \"1\" } } ]"
                )
            ], routes: Self.routes,
            answer: { head, body in
                let path = head.split(separator: " ")[1]
                return path == "/page"
                    ? ScriptedUpstream.ok(head + body, path == "/page" ? "x-page: 1\r\n" : "")
                    : "HTTP/1.1 \(path.dropFirst()) X\r\nContent-Length: 3\r\n\r\nold"
            }
        ) { scene async throws in
            for _ in 0..<2 {
                let get = try await scene.client.get("/500")
                #expect(get.status == 299)
                #expect(get.field("x-sorry") == "1" && get.field("x-page") == "1")
                #expect(get.body.hasPrefix("GET /page HTTP/1.1"))
                #expect(get.body.lowercased().contains("host: sorry.example"))
                #expect(get.body.contains("x-from: 500"))
                try await scene.client.write("POST /503 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
                let post = try await scene.client.response()
                #expect(post.status == 299)
                #expect(post.body.hasPrefix("GET /page HTTP/1.1"))
                #expect(!post.body.contains("hello") && !post.body.lowercased().contains("content-length"))
            }
            // The proxy's own answers are replaced as those of upstreams are.
            #expect(try await scene.client.get("/gone", "x-ask: 1\r\n").status == 299)
            #expect(try await scene.client.get("/404").status == 404)
        }
    }

    @Test(
        "an answer from another place keeps the first status where the policy has none, and a place without a route leaves the first answer"
    )
    func notRedirected() async throws {
        try await FilterScene.run(
            [Self.redirecting("redirect_action: { path_redirect: \"/502\" }, status_code: 299")],
            answer: { head, _ in
                "HTTP/1.1 \(head.split(separator: " ")[1].dropFirst()) X\r\nContent-Length: 3\r\n\r\nold"
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/500").status == 299)
        }
        try await FilterScene.run(
            [Self.redirecting("redirect_action: { path_redirect: \"/200\" }")],
            answer: { head, _ in
                "HTTP/1.1 \(head.split(separator: " ")[1].dropFirst()) X\r\nContent-Length: 3\r\n\r\nold"
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/503").status == 503)
        }
        try await FilterScene.run(
            [Self.redirecting("uri: \"http://a/there\"")],
            routes: "[ { match: { prefix: /5 }, route: { cluster: backend } } ]",
            answer: { head, _ in
                "HTTP/1.1 \(head.split(separator: " ")[1].dropFirst()) X\r\nContent-Length: 3\r\n\r\nold"
            }
        ) { scene async throws in
            let answer = try await scene.client.get("/500")
            #expect(answer.status == 500 && answer.body == "old")
            #expect(try await scene.stat("http.ingress.custom_response_redirect_no_route") == 1)
        }
    }

    @Test(
        "a policy that cannot be is refused with its place",
        arguments: [
            ("no_such_policy.v3.Policy", "on_match.action.typed_config"),
            ("redirect_policy.v3.RedirectPolicy, uri: \"x\"", "uri"),
            ("redirect_policy.v3.RedirectPolicy, redirect_action: { strip_query: true }", "redirect_action"),
            ("redirect_policy.v3.RedirectPolicy, redirect_action: { prefix_rewrite: /x }", "redirect_action"),
            ("redirect_policy.v3.RedirectPolicy", "on_match.action.typed_config"),
            ("redirect_policy.v3.RedirectPolicy, uri: \"http://x/\", status_code: 99", "status_code"),
        ])
    func refused(_ policy: String, _ place: String) async throws {
        let config = FilterScene.any(Self.custom, Self.rule("HttpResponseStatusCodeMatchInput", "500", policy))
        do {
            try await FilterScene.run([("custom", config)]) { _ in }
            Issue.record("taken")
        } catch {
            #expect("\(error)".contains(place), "\(error)")
        }
    }
}
