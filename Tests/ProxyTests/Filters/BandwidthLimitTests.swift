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

    @Test("a policy that is not there is refused with its place")
    func refused() async throws {
        let config = FilterScene.any(
            Self.custom,
            Self.rule(
                "HttpResponseStatusCodeMatchInput", "500", "redirect_policy.v3.RedirectPolicy, uri: \"http://x/\""))
        do {
            try await FilterScene.run([("custom", config)]) { _ in }
            Issue.record("taken")
        } catch {
            #expect("\(error)".contains("on_match.action.typed_config"), "\(error)")
        }
    }
}
