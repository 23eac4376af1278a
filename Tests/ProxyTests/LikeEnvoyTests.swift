internal import EnvoyAPI
import HTTP
import IO
import Testing

@testable import Proxy

/// What the differential suite found, as far as a test without Envoy can hold it.
@Suite("Answers as Envoy's")
struct LikeEnvoyTests {
    @Test("a refused connection is one connection, and the client learns no more than that")
    func refused() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [1]),
                    admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let answer = try await client.get("/")
            #expect(answer.status == 503)
            #expect(
                answer.body
                    == "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
            )
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats?filter=backend.upstream_cx_connect_fail").body
            #expect(stats == "cluster.backend.upstream_cx_connect_fail: 1\n")
        }
    }

    @Test(
        "metrics and logs call a cluster by its alt_stat_name; those of one name count as one; bodies need not be text")
    func alternativeName() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hello") }
            let shown =
                "response_headers_to_add: [ { header: { key: x-cluster, value: \"%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%\" } } ]"
            let routes = """
                [ { match: { prefix: "/a" }, route: { cluster: first }, \(shown) }, { match: { prefix: "/b" }, route: { cluster: second } }, \
                { match: { prefix: "/picture" }, direct_response: { status: 510, body_format: { text_format_source: { inline_bytes: iVBORw== } } } } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: routes),
                    clusters: Yaml.cluster("first", [upstream.port], "alt_stat_name: both")
                        + Yaml.cluster("second", [upstream.port], "alt_stat_name: both"), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/a").field("x-cluster") == "both first")
            _ = try await client.get("/b")
            let picture = try await client.get("/picture")
            #expect(picture.field("content-length") == "4" && picture.head.hasPrefix("HTTP/1.1 510 Not Extended"))
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            #expect(
                try await admin.get("/stats?filter=%5Ecluster.*upstream_rq_total").body
                    == "cluster.both.upstream_rq_total: 2\n")
            #expect(try await admin.get("/stats?filter=membership_total").body == "cluster.both.membership_total: 2\n")
        }
    }

    @Test("metrics of a listener carry its stat_prefix where it has one")
    func listenerPrefix() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()).replacing(
                        "filter_chains:", with: "stat_prefix: \"in:bound\"\n    filter_chains:"),
                    clusters: Yaml.cluster("backend", [1]), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/")
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats?filter=%5Elistener.*downstream_cx_total").body
            #expect(stats.contains("listener.in_bound.downstream_cx_total: 1\n") && !stats.contains("127.0.0.1"))
        }
    }

    @Test("who answers before the request is complete ends the connection, and says so")
    func earlyAnswer() async throws {
        try await FilterScene.run(
            [], routes: "[ { match: { prefix: \"/\" }, direct_response: { status: 200 } } ]"
        ) { scene in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12")
            let answer = try await scene.client.response()
            #expect(answer.status == 200 && answer.head.lowercased().contains("connection: close"))
        }
    }

    @Test(
        "methods that no registry knows are refused unless they are allowed",
        arguments: [("", "BREW", UInt16(400)), ("", "PROPFIND", 200), ("allow_custom_methods: true", "BREW", 200)])
    func methods(options: String, method: String, status: UInt16) async throws {
        try await FilterScene.run([], manager: options.isEmpty ? "" : "http_protocol_options: { \(options) }") {
            scene in
            try await scene.client.write("\(method) / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            #expect(try await scene.client.response().status == status)
        }
    }

    private static let preserved =
        "{ stateful_formatter: { name: preserve_case, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig, forward_reason_phrase: true, formatter_type_on_envoy_headers: PROPER_CASE } } }"

    @Test(
        "names of fields are written in proper case or as the other side wrote them, each way by itself",
        arguments: [
            ("", "", "x-odd: 1", "x-up: 1", "200 OK", "host: a"),
            ("{ proper_case_words: {} }", "", "x-odd: 1", "X-Up: 1", "200 OK", "host: a"),
            ("", "{ proper_case_words: {} }", "X-Odd: 1", "x-up: 1", "200 OK", "Host: a"),
            (preserved, "", "X-oDD: 1", "x-up: 1", "200 OK", "HOST: a"),
            ("", preserved, "x-odd: 1", "X-uP: 1", "200 Fine", "host: a"),
            (preserved, preserved, "X-oDD: 1", "X-uP: 1", "200 Fine", "X-Request-Id: "),
        ])
    func spelling(
        down: String, up: String, request: String, response: String, status: String, host: String
    ) async throws {
        @Sendable func options(_ format: String) -> String {
            format.isEmpty ? "" : "http_protocol_options: { header_key_format: \(format) }"
        }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                "HTTP/1.1 200 Fine\r\nX-uP: 1\r\nContent-Length: \(head.utf8.count)\r\n\r\n\(head)"
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: options(down), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port], options(up))))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            // Twice on each connection: nothing of the first is left for the second.
            for _ in 0..<2 {
                try await client.write("GET / HTTP/1.1\r\nHOST: a\r\nX-oDD: 1\r\n\r\n")
                let answer = try await client.response()
                #expect(Wire.firstLine(answer.head) == "HTTP/1.1 \(status)")
                #expect(answer.head.contains("\r\n\(response)\r\n"))
                #expect(answer.body.contains("\r\n\(request)\r\n"))
                #expect(answer.body.contains("\r\n\(host)"))
            }
        }
    }

    @Test("each leg of an internal redirect is a request; 303 makes it a GET without a body")
    func redirects() async throws {
        try await FilterScene.run(
            [],
            routes:
                "[ { match: { prefix: \"/\" }, route: { cluster: backend, internal_redirect_policy: { redirect_response_codes: [ 303 ] } } } ]",
            answer: { head, body in
                head.contains(" /second ")
                    ? ScriptedUpstream.ok(head.split(separator: " ")[0] + "|" + body)
                    : "HTTP/1.1 303 See Other\r\nLocation: http://a/second\r\nContent-Length: 0\r\n\r\n"
            }
        ) { scene in
            try await scene.client.write("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            #expect(try await scene.client.response().body == "GET|")
            let count = try await scene.stat("http.ingress.downstream_rq_total")
            #expect(count == 2)
        }
    }

    @Test(
        "paths: parameters do not hide dot segments, fragments are refused, escaped slashes may be redirected",
        arguments: [
            ("/x/..;v=1/admin", PathNormalization.Outcome.forward, "/admin"), ("/x/.;/y", .forward, "/x/y"),
            ("/a?b#c", .refuse, "/a?b#c"), ("/a%2Fb?c%2F", .redirect, "/a/b?c%2F"), ("/a%5C..", .redirect, "/"),
            ("/a;b/../c", .forward, "/c"),
        ])
    func paths(path: String, outcome: PathNormalization.Outcome, result: String) throws {
        let rule = PathNormalization(
            normalizes: true, mergesSlashes: false, escapedSlashes: .unescapeAndRedirect)
        var request = RequestHead()
        try request.setPath(Array(path.utf8).span.bytes)
        #expect(rule.apply(to: &request) == outcome)
        #expect(request.pathText == result)
    }
}
