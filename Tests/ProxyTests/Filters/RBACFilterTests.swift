import EnvoyAPI
import IO
import Serialization
import Testing

@testable import Proxy

@Suite("Filters: rbac")
struct RBACFilterTests {
    private static let type = "envoy.extensions.filters.http.rbac.v3.RBAC"
    private static let allowGet =
        "rules: { action: ALLOW, policies: { readers: { permissions: [ { header: { name: ':method', string_match: { exact: GET } } } ], principals: [ { any: true } ] } } }"

    private static func request(_ method: String, _ path: String, _ fields: String = "") -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
    }

    @Test("what no policy allows is answered with 403, in Envoy's words, and counted")
    func denied() async throws {
        try await FilterScene.run([("rbac", FilterScene.any(Self.type, Self.allowGet))]) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            try await scene.client.write(Self.request("DELETE", "/"))
            let answer = try await scene.client.response()
            #expect(answer.status == 403)
            #expect(answer.body == "RBAC: access denied")
            #expect(try await scene.stat("http.ingress.rbac.allowed") == 1)
            #expect(try await scene.stat("http.ingress.rbac.denied") == 1)
        }
    }

    @Test("a route's own rules count in place of the filter's; none of them open it")
    func perRoute() async throws {
        let routes = """
            [ { match: { path: /open }, route: { cluster: backend }, typed_per_filter_config: { rbac: \
            \(FilterScene.any("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", "rbac: {}")) } }, \
            { match: { prefix: / }, route: { cluster: backend } } ]
            """
        let denyAll =
            "rules: { action: DENY, policies: { all: { permissions: [ { any: true } ], principals: [ { any: true } ] } } }"
        try await FilterScene.run([("rbac", FilterScene.any(Self.type, denyAll))], routes: routes) {
            scene async throws in
            #expect(try await scene.client.get("/open").status == 200)
            #expect(try await scene.client.get("/closed").status == 403)
        }
    }

    /// A tree over a header and a query parameter.
    private static func matcher(_ field: String) -> String {
        func input(_ type: String, _ more: String) -> String {
            "{ name: i, typed_config: { \"@type\": type.googleapis.com/\(type)\(more.isEmpty ? "" : ", ")\(more) } }"
        }
        func action(_ name: String, _ action: String) -> String {
            "{ action: { name: action, typed_config: { \"@type\": type.googleapis.com/envoy.config.rbac.v3.Action, name: \(name), action: \(action) } } }"
        }
        let header = input("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name: x-user")
        let query = input("envoy.type.matcher.v3.HttpRequestQueryParamMatchInput", "query_param: token")
        let path = input("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name: ':path'")
        let port = input("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput", "")
        return """
            \(field): { matcher_list: { matchers: [ \
            { predicate: { single_predicate: { input: \(header), value_match: { exact: mallory } } }, on_match: \(action("kept-out", "DENY")) }, \
            { predicate: { and_matcher: { predicate: [ { single_predicate: { input: \(query), value_match: { exact: t1 } } }, { single_predicate: { input: \(port), value_match: { prefix: '127.' } } } ] } }, on_match: \(action("by-token", "ALLOW")) }, \
            { predicate: { single_predicate: { input: \(path), value_match: { prefix: /open } } }, on_match: \(action("open", "LOG")) } \
            ] } }
            """
    }

    @Test("a matcher decides by the first that matches; what nothing matches is refused")
    func matcherTree() async throws {
        let config = Self.matcher("matcher") + ", track_per_rule_stats: true"
        try await FilterScene.run([("rbac", FilterScene.any(Self.type, config))]) { scene async throws in
            #expect(try await scene.client.get("/?token=t1").status == 200)
            #expect(try await scene.client.get("/?a=b&token=t1&c").status == 200)
            // Escapes are undone, as by every other reader of queries.
            #expect(try await scene.client.get("/?%74oken=%741").status == 200)
            #expect(try await scene.client.get("/open/x").status == 200)
            #expect(try await scene.client.get("/?token=t2").status == 403)
            #expect(try await scene.client.get("/?xtoken=t1").status == 403)
            #expect(try await scene.client.get("/?token=t1", "x-user: mallory\r\n").status == 403)
            #expect(try await scene.stat("http.ingress.rbac.allowed") == 4)
            #expect(try await scene.stat("http.ingress.rbac.denied") == 3)
            #expect(try await scene.stat("http.ingress.rbac.policy.kept-out.denied") == 1)
            #expect(try await scene.stat("http.ingress.rbac.policy.by-token.allowed") == 3)
        }
    }

    @Test("a shadow matcher counts and refuses nobody; what cannot be read is refused with its place")
    func shadowMatcher() async throws {
        try await FilterScene.run([("rbac", FilterScene.any(Self.type, Self.matcher("shadow_matcher")))]) {
            scene async throws in
            #expect(try await scene.client.get("/?token=t1").status == 200)
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("http.ingress.rbac.shadow_denied") == 1)
            #expect(try await scene.stat("http.ingress.rbac.shadow_allowed") == 1)
        }
        for (config, words) in [
            ("rules: {}, " + Self.matcher("matcher"), "matcher: either rules or matcher"),
            (
                Self.matcher("matcher").replacing("HttpRequestHeaderMatchInput", with: "HttpResponseHeaderMatchInput"),
                "matcher.matcher_list.matchers[0].predicate.single_predicate.input.typed_config: unknown input"
            ),
        ] {
            await #expect {
                try await FilterScene.run([("rbac", FilterScene.any(Self.type, config))]) { _ in }
            } throws: {
                "\($0)".contains(words)
            }
        }
    }

    @Test("shadow rules count and refuse nobody")
    func shadow() async throws {
        let config =
            "shadow_rules_stat_prefix: dry_, shadow_rules: { action: ALLOW, policies: { none: { permissions: [ { url_path: { path: { exact: /never } } } ], principals: [ { any: true } ] } } }"
        try await FilterScene.run([("rbac", FilterScene.any(Self.type, config))]) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.client.get("/never?x").status == 200)
            #expect(try await scene.stat("http.ingress.rbac.dry_.shadow_denied") == 1)
            #expect(try await scene.stat("http.ingress.rbac.dry_.shadow_allowed") == 1)
        }
    }

    @Test("ATK-24 a header with several values: DENY sees any, ALLOW needs all")
    func severalValues() async throws {
        let condition = "{ header: { name: x-role, string_match: { exact: admin } } }"
        let allow =
            "rules: { action: ALLOW, policies: { p: { permissions: [ \(condition) ], principals: [ { any: true } ] } } }"
        try await FilterScene.run([("rbac", FilterScene.any(Self.type, allow))]) { scene async throws in
            try await scene.client.write(Self.request("GET", "/", "x-role: admin\r\n"))
            #expect(try await scene.client.response().status == 200)
            try await scene.client.write(Self.request("GET", "/", "x-role: admin\r\nx-role: guest\r\n"))
            #expect(try await scene.client.response().status == 403)
        }
        let deny = allow.replacing("ALLOW", with: "DENY")
        try await FilterScene.run([("rbac", FilterScene.any(Self.type, deny))]) { scene async throws in
            try await scene.client.write(Self.request("GET", "/", "x-role: guest\r\nx-role: admin\r\n"))
            #expect(try await scene.client.response().status == 403)
            #expect(try await scene.client.get("/").status == 200)
        }
    }

    @Test("rules in the form of a matcher are refused, as they would let everybody in")
    func matcher() {
        var options = Options()
        options.configYAML = Yaml.bootstrap(
            listeners: Yaml.listener(
                filters: FilterScene.entries([
                    ("rbac", FilterScene.any(Self.type, "matcher: { on_no_match: { action: { name: x } } }"))
                ]), routes: Yaml.forward()),
            clusters: Yaml.cluster("backend", [1]))
        #expect(throws: ProxyError.self) { try ProxyServer.validate(options) }
    }
}
