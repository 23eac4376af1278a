import IO
import Synchronization
import Testing

@testable import Proxy

@Suite("Filters: jwt_authn")
struct JWTAuthnFilterTests {
    private static let type = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    private static let name = "envoy.filters.http.jwt_authn"

    private static func config(_ provider: String = "", keys: String? = nil, _ rest: String) -> String {
        let keys = keys ?? "local_jwks: { inline_string: '\(JWTSamples.keySet)' }"
        return FilterScene.any(
            type, "providers: { p: { issuer: \"https://issuer.test\", \(keys)\(provider) } }, \(rest)")
    }

    private static let everything = "rules: [ { match: { prefix: \"/\" }, requires: { provider_name: p } } ]"

    private static func bearer(_ token: String) -> String { "authorization: Bearer \(token)\r\n" }

    @Test("good tokens pass and leave the request, others get 401 or 403 with Envoy's words")
    func basics() async throws {
        let config = Self.config(
            ", audiences: [ books ]",
            "rules: [ { match: { prefix: \"/open\" } }, { match: { prefix: \"/\" }, requires: { provider_name: p } } ]")
        try await FilterScene.run([(Self.name, config)]) { scene async throws in
            for (_, token) in JWTSamples.tokens {
                let response = try await scene.client.get("/", Self.bearer(token))
                #expect(response.status == 200)
                #expect(!response.body.contains("authorization"))
            }
            let none = try await scene.client.get("/p?q=1")
            #expect(none.status == 401)
            #expect(none.body == "Jwt is missing")
            #expect(none.field("www-authenticate")?.hasPrefix("Bearer realm=\"http://") == true)
            #expect(none.field("www-authenticate")?.hasSuffix("/p?q=1\"") == true)
            let wrong = try await scene.client.get(
                "/", Self.bearer(TestToken.make(#"{"iss":"https://issuer.test","aud":"x"}"#)))
            #expect(wrong.status == 403)
            #expect(wrong.body == "Audiences in Jwt are not allowed")
            #expect(wrong.field("www-authenticate")?.hasSuffix(", error=\"invalid_token\"") == true)
            #expect(try await scene.client.get("/open").status == 200)
            #expect(try await scene.stat("http.ingress.jwt_authn.allowed") == JWTSamples.tokens.count + 1)
            #expect(try await scene.stat("http.ingress.jwt_authn.denied") == 2)
        }
    }

    @Test("claims are what rbac decides by: request.auth.claims of Istio")
    func claimsForRBAC() async throws {
        let rbac = FilterScene.any(
            "envoy.extensions.filters.http.rbac.v3.RBAC",
            """
            rules: { action: ALLOW, policies: { p: { permissions: [ { any: true } ], principals: [ { metadata: { filter: "\(Self.name)", \
            path: [ { key: payload }, { key: scope } ], value: { list_match: { one_of: { string_match: { exact: write } } } } } } ] } } }
            """)
        let config = Self.config(
            ", payload_in_metadata: payload, normalize_payload_in_metadata: { space_delimited_claims: [ scope ] }",
            Self.everything)
        try await FilterScene.run([(Self.name, config), ("rbac", rbac)]) { scene async throws in
            func ask(_ scope: String) async throws -> Int {
                let token = TestToken.make(#"{"iss":"https://issuer.test","scope":\#(scope)}"#)
                return try await scene.client.get("/", Self.bearer(token)).status
            }
            #expect(try await ask(#""read write""#) == 200)
            #expect(try await ask(#"["write"]"#) == 200)
            #expect(try await ask(#""read""#) == 403)
        }
    }

    @Test("routes name a requirement, switch the filter off, or name what is not there")
    func perRoute() async throws {
        func route(_ path: String, _ fields: String) -> String {
            """
            { match: { prefix: "\(path)" }, route: { cluster: backend }, typed_per_filter_config: { \(Self.name): \
            { "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig, \(fields) } } }
            """
        }
        let routes =
            "[ \(route("/need", "requirement_name: need")), \(route("/off", "disabled: true")), "
            + "\(route("/wrong", "requirement_name: x")), { match: { prefix: \"/\" }, route: { cluster: backend } } ]"
        let config = Self.config("", "requirement_map: { need: { provider_name: p } }, " + Self.everything)
        try await FilterScene.run([(Self.name, config)], routes: routes) { scene async throws in
            #expect(try await scene.client.get("/need").status == 401)
            #expect(try await scene.client.get("/off").status == 200)
            #expect(try await scene.client.get("/").status == 401)
            let wrong = try await scene.client.get("/wrong")
            #expect(wrong.status == 403)
            #expect(wrong.body == "Failed JWT authentication: Wrong requirement_name: x. It should be one of [need]")
        }
    }

    private static func remote(_ port: UInt16, _ more: String = "") -> String {
        "remote_jwks: { http_uri: { uri: \"http://keys.test/jwks\", cluster: keys, timeout: 5s }\(more) }"
    }

    private func runRemote(
        _ more: String = "", answer: @escaping @Sendable (String, Int) -> String,
        _ body: @escaping @Sendable (Wire, FilterScene, ScriptedUpstream) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let count = ScriptedUpstream.Counts()
            let keys = try await ScriptedUpstream(on: loop) { head, _ in
                answer(head, count.requests.add(1, ordering: .relaxed).oldValue)
            }
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let config = Self.config(keys: Self.remote(keys.port, more), Self.everything)
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        filters: FilterScene.entries([(Self.name, config)]), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("keys", [keys.port]),
                    admin: true), concurrency: 2)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(
                client, FilterScene(client: client, proxy: proxy, loop: loop, upstream: upstream), keys)
        }
    }

    @Test("keys are fetched once for all that wait, and again when they are too old")
    func remoteKeys() async throws {
        try await runRemote(answer: { _, _ in ScriptedUpstream.ok(JWTSamples.keySet) }) { client, scene, keys in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let wire = try await scene.connect()
                        defer { wire.close() }
                        return try await wire.get("/", Self.bearer(TestToken.good)).status
                    }
                }
                for try await status in group { #expect(status == 200) }
            }
            #expect(try await client.get("/", Self.bearer(TestToken.good)).status == 200)
            #expect(keys.requests == 1)
            #expect(try await scene.stat("http.ingress.jwt_authn.jwks_fetch_success") == 1)
            #expect(try await scene.stat("cluster.keys.upstream_rq_200") == 1)
        }
    }

    @Test("ATK-29 without keys nobody passes: the server is down, or sends no keys")
    func failsClosed() async throws {
        try await runRemote(answer: { _, number in
            number == 0
                ? "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
                : number == 1 ? ScriptedUpstream.ok("<html>") : ScriptedUpstream.ok(JWTSamples.keySet)
        }) { client, scene, keys in
            for _ in 0..<2 {
                let refused = try await client.get("/", Self.bearer(TestToken.good))
                #expect(refused.status == 401)
                #expect(refused.body == "Jwks remote fetch is failed")
            }
            #expect(try await client.get("/", Self.bearer(TestToken.good)).status == 200)
            #expect(keys.requests == 3)
            #expect(try await scene.stat("http.ingress.jwt_authn.jwks_fetch_failed") == 2)
        }
    }

    @Test("a fetch is repeated as the retry policy says; with async_fetch keys are there before any request")
    func retriedAndEarly() async throws {
        let more =
            ", async_fetch: {}, retry_policy: { num_retries: 2, retry_back_off: { base_interval: 0.01s, max_interval: 0.02s } }"
        try await runRemote(
            more,
            answer: { _, number in
                number < 2 ? "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n" : ScriptedUpstream.ok(JWTSamples.keySet)
            }
        ) { client, scene, keys in
            try await until { try await scene.stat("http.ingress.jwt_authn.jwks_fetch_success") == 1 }
            #expect(keys.requests == 3)
            #expect(try await client.get("/", Self.bearer(TestToken.good)).status == 200)
            #expect(keys.requests == 3)
        }
    }

    @Test("preflights bypass where that is wanted; failures without words where that is wanted")
    func options() async throws {
        let config = Self.config("", Self.everything + ", bypass_cors_preflight: true, strip_failure_response: true")
        try await FilterScene.run([(Self.name, config)]) { scene async throws in
            let fields = "origin: http://o.test\r\naccess-control-request-method: GET\r\n"
            try await scene.client.write("OPTIONS / HTTP/1.1\r\nHost: x\r\n\(fields)\r\n")
            #expect(try await scene.client.response().status == 200)
            let refused = try await scene.client.get("/")
            #expect(refused.status == 401)
            #expect(refused.body.isEmpty)
            #expect(refused.field("www-authenticate") == nil)
            #expect(try await scene.stat("http.ingress.jwt_authn.cors_preflight_bypassed") == 1)
        }
    }

    @Test("what cannot be is refused with its path")
    func refused() async throws {
        let cases: [(String, String)] = [
            (
                Self.config("", "rules: [ { match: { prefix: / }, requires: { provider_name: x } } ]"),
                "rules[0].requires.provider_name"
            ),
            (Self.config("", "rules: [ { match: { prefix: / }, requirement_name: x } ]"), "rules[0].requirement_name"),
            (Self.config(keys: "forward: true", Self.everything), "providers[p]"),
            (Self.config(keys: "local_jwks: { inline_string: x }", Self.everything), "providers[p].local_jwks"),
        ]
        for (config, place) in cases {
            do {
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Yaml.listener(
                            filters: FilterScene.entries([(Self.name, config)]), routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [1])))
                proxy.stop()
                Issue.record("taken: \(config)")
            } catch {
                #expect("\(error)".contains(place), "\(error)")
            }
        }
    }
}
