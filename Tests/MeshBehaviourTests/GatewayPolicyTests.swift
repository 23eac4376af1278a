import IO
import Serialization
import Testing

@Suite("Policies through a running gateway")
struct GatewayPolicyTests {
    private let base =
        GatewayYAML.base + World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)
        + World.service("other", ip: 2) + World.pod("other-1", "other", ip: 12)
    private let pods: [MeshScene.Pod] = [.init("web-1", ip: 11), .init("other-1", ip: 12)]

    /// An Istio Gateway with a rule for every host.
    private let istio =
        World.gateway
        + World.rule(
            "all", "hosts: ['*']\ngateways: [my-gateway]\nhttp: [{route: [{destination: {host: web}}]}]")

    private static let selector = "selector: {matchLabels: {istio: ingressgateway}}"

    private func policy(_ name: String, _ spec: String, namespace: String = "istio-system") -> String {
        Security.policy("AuthorizationPolicy", name, spec, namespace: namespace)
    }

    private func status(_ scene: MeshScene, _ path: String, host: String = "x.example", _ fields: String = "")
        async throws -> Int
    {
        try await scene.get(path, host: host, fields).status
    }

    @Test(
        "A-1 A-7 X-7 an Istio gateway refuses what DENY names, however the path is spelt, and lets in what ALLOW names",
        .timeLimit(.minutes(1)))
    func denyBeforeAllow() async throws {
        try await MeshScene.run(
            [
                base, istio,
                policy("deny", "\(Self.selector), action: DENY, rules: [{to: [{operation: {paths: ['/admin*']}}]}]"),
                policy(
                    "allow",
                    "\(Self.selector), rules: [{to: [{operation: {hosts: [x.example], methods: [GET]}}]}]"),
            ], pods: pods, door: .gateway(80)
        ) { scene in
            for (path, host, wanted) in [
                ("/", "x.example", 200), ("/", "X.Example:80", 200), ("/admin", "x.example", 403),
                ("//admin", "x.example", 403), ("/a/../admin/b", "x.example", 403), ("/%61dmin", "x.example", 403),
                ("/a%2F..%2fadmin", "x.example", 403), ("/", "y.example", 403),
            ] {
                let found = try await status(scene, path, host: host)
                #expect(found == wanted, "\(host)\(path)")
            }
            let written = try await scene.get("/", host: "x.example", method: "POST", "content-length: 0\r\n")
            #expect(written.status == 403)
        }
    }

    @Test(
        "ATK-21 ATK-22 no spelling of a path gets by a DENY: it is refused, or is no request",
        .timeLimit(.minutes(1)),
        arguments: [
            "/./admin", "/%2e/admin", "/a/%2e%2e/admin", "///admin", "/%2Fadmin", "/%2f/admin/", "/a/..%2Fadmin",
            "/\\admin", "/%5Cadmin", "/a/..\\admin", "/admin;a=b", "/admin%3b", "/admin?a=/b", "/admin#a",
            "/admin%23a",
            "/a/../admin#/../b",
        ])
    func spelling(path: String) async throws {
        let deny = policy("deny", "\(Self.selector), action: DENY, rules: [{to: [{operation: {paths: ['/admin*']}}]}]")
        try await MeshScene.run([base, istio, deny], pods: pods, door: .gateway(80)) { scene in
            let found = try await status(scene, path)
            #expect(found == 403 || found == 400)
        }
    }

    @Test(
        "A-15 a policy of the gateway's namespace and one of the root namespace count, others do not",
        .timeLimit(.minutes(1)))
    func namespaces() async throws {
        let deny = "action: DENY, rules: [{to: [{operation: {paths: [/no]}}]}]"
        for (namespace, wanted) in [("skein-system", 403), ("istio-system", 403), ("default", 200)] {
            try await MeshScene.run(
                [base, istio, policy("deny", deny, namespace: namespace)], pods: pods, door: .gateway(80)
            ) { scene in
                let found = try await status(scene, "/no")
                #expect(found == wanted, "\(namespace)")
            }
        }
    }

    @Test("A-10 remoteIpBlocks is the client behind the trusted hops, ipBlocks the peer", .timeLimit(.minutes(1)))
    func addresses() async throws {
        try await MeshScene.run(
            [
                base, istio,
                policy(
                    "deny",
                    "\(Self.selector), action: DENY, rules: [{from: [{source: {ipBlocks: [127.0.0.0/8]}}], "
                        + "to: [{operation: {paths: [/peer]}}]}, {from: [{source: {remoteIpBlocks: [9.9.9.0/24]}}]}]"),
            ], pods: pods, door: .gateway(80)
        ) { scene in
            let peer = try await status(scene, "/peer")
            #expect(peer == 403)
            // Nobody in front is trusted: what a client says of itself does not count.
            let claimed = try await status(scene, "/", "x-forwarded-for: 9.9.9.9\r\n")
            #expect(claimed == 200)
        }
    }

    @Test(
        "A-11 tokens: a wrong one is refused, none passes unless a policy asks for a principal or a claim",
        .timeLimit(.minutes(1)))
    func tokens() async throws {
        try await MeshScene.run(
            [
                base, istio,
                Security.policy(
                    "RequestAuthentication", "t", "\(Self.selector), \(Tokens.rule)", namespace: "istio-system"),
                policy(
                    "need",
                    "\(Self.selector), action: DENY, rules: ["
                        + "{from: [{source: {notRequestPrincipals: ['*']}}], to: [{operation: {paths: [/known]}}]}, "
                        + "{to: [{operation: {paths: [/admins]}}], "
                        + "when: [{key: 'request.auth.claims[groups]', notValues: [admins]}]}]"),
            ], pods: pods, door: .gateway(80)
        ) { scene in
            for (path, token, wanted) in [
                ("/", nil, 200), ("/", "broken", 401), ("/", Tokens.expired, 401), ("/", Tokens.bob, 200),
                ("/known", nil, 403), ("/known", Tokens.bob, 200), ("/admins", Tokens.bob, 403),
                ("/admins", Tokens.alice, 200),
            ] as [(String, String?, Int)] {
                let found = try await status(scene, path, token.map { "authorization: Bearer \($0)\r\n" } ?? "")
                #expect(found == wanted, "\(path) \(token?.suffix(5) ?? "without")")
            }
        }
    }

    @Test(
        "A-1 CUSTOM at a gateway asks the provider, whose answer counts before DENY and ALLOW",
        .timeLimit(.minutes(1)))
    func custom() async throws {
        let provider = MeshScene.Pod("judge-1", ip: 13) { head, _ in
            head.lowercased().contains("x-pass: yes")
                ? ScriptedUpstream.ok("") : "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"
        }
        try await MeshScene.run(
            [
                base, istio, World.service("judge", ip: 3), World.pod("judge-1", "judge", ip: 13),
                Security.meshConfig(
                    """
                    extensionProviders:
                    - name: judge
                      envoyExtAuthzHttp:
                        service: judge.default.svc.cluster.local
                        port: 80
                        includeRequestHeadersInCheck: [x-pass]
                    """),
                policy(
                    "ask",
                    "\(Self.selector), action: CUSTOM, provider: {name: judge}, "
                        + "rules: [{to: [{operation: {paths: [/asked]}}]}]"),
                policy("deny", "\(Self.selector), action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]"),
            ], pods: pods + [provider], door: .gateway(80)
        ) { scene in
            let free = try await status(scene, "/free")
            #expect(free == 200)
            let refused = try await status(scene, "/asked")
            #expect(refused == 401)
            let passed = try await status(scene, "/asked", "x-pass: yes\r\n")
            #expect(passed == 200)
            let denied = try await scene.get(
                "/asked", host: "x.example", method: "PUT", "x-pass: yes\r\ncontent-length: 0\r\n")
            #expect(denied.status == 403)
        }
    }

    @Test("A-15 a policy attached to a Gateway counts for its hosts and no other's", .timeLimit(.minutes(1)))
    func attached() async throws {
        let target = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]"
        try await MeshScene.run(
            [
                base,
                GatewayYAML.gateway("name: http, port: 80, protocol: HTTP, hostname: a.example"),
                GatewayYAML.gateway(
                    named: "second", created: "2026-02-01T00:00:00Z",
                    "name: http, port: 80, protocol: HTTP, hostname: b.example"),
                GatewayYAML.http("a", "{backendRefs: [{name: web, port: 80}]}"),
                GatewayYAML.http("b", parents: "{name: second}", "{backendRefs: [{name: other, port: 80}]}"),
                policy("only", "\(target), rules: [{to: [{operation: {paths: [/open]}}]}]", namespace: "default"),
                policy("elsewhere", "\(target), action: DENY, rules: [{}]", namespace: "other"),
                policy("pod", "\(Self.selector), action: DENY, rules: [{to: [{operation: {paths: [/none]}}]}]"),
                Security.policy("RequestAuthentication", "t", "\(target), \(Tokens.rule)"),
            ], pods: pods, door: .gateway(80)
        ) { scene in
            for (host, path, fields, wanted) in [
                ("a.example", "/open", "", 200), ("a.example", "/", "", 403), ("a.example", "/none", "", 403),
                ("b.example", "/", "", 200), ("b.example", "/none", "", 403),
                ("a.example", "/open", "authorization: Bearer broken\r\n", 401),
                ("b.example", "/open", "authorization: Bearer broken\r\n", 200),
            ] {
                let found = try await status(scene, path, host: host, fields)
                #expect(found == wanted, "\(host)\(path) \(fields)")
            }
        }
    }

    @Test(
        "A-15 with one Gateway alone its policies count for everything that enters, unknown paths too",
        .timeLimit(.minutes(1)))
    func alone() async throws {
        try await MeshScene.run(
            [
                base, GatewayYAML.gateway(GatewayYAML.listener),
                GatewayYAML.http("a", "{matches: [{path: {value: /a}}], backendRefs: [{name: web, port: 80}]}"),
                policy(
                    "class",
                    "targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: skein}], "
                        + "action: DENY, rules: [{to: [{operation: {notPaths: [/a]}}]}]"),
            ], pods: pods, door: .gateway(80)
        ) { scene in
            let known = try await status(scene, "/a")
            #expect(known == 200)
            let unknown = try await status(scene, "/b")
            #expect(unknown == 403)
        }
    }

    @Test(
        "D-8 a gateway shows a server the certificate of the Secret that a DestinationRule names",
        .timeLimit(.minutes(1)))
    func credentials() async throws {
        let identities = try SceneIdentities()
        var pod = MeshScene.Pod("web-1", ip: 11)
        pod.tls = try identities.server("web.test")
        let secret = try identities.secret("client", namespace: "istio-system")
        for (tls, wanted) in [
            ("{mode: MUTUAL, credentialName: client, sni: web.test, subjectAltNames: [web.test]}", 200),
            ("{mode: MUTUAL, credentialName: client, sni: web.test, subjectAltNames: [other.test]}", 503),
            ("{mode: SIMPLE, credentialName: client, sni: web.test, subjectAltNames: [web.test]}", 503),
        ] {
            try await MeshScene.run(
                [base, istio, secret, World.policy("p", "host: web\ntrafficPolicy: {tls: \(tls)}")], pods: [pod],
                door: .gateway(80)
            ) { scene in
                let found = try await status(scene, "/")
                #expect(found == wanted, "\(tls)")
            }
        }
    }
}

/// Tokens of one issuer, with the key that they are signed with.
enum Tokens {
    static let rule = """
        jwtRules: [{issuer: issuer.example, jwks: '{"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", \
        "kid": "1", "x": "nkN5GjenOH3jggkRAL94HsDx97waXZOG0aeMi9MDhgY", \
        "y": "1mvl2uoZi9DAWKPlgA4C_yDCF6Zh8aBnDJd7PU_MJ_M"}]}'}]
        """
    private static let head = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEiLCJ0eXAiOiJKV1QifQ."
    /// Of the groups `readers` and `admins`, until 2100.
    static let alice =
        head + "eyJpc3MiOiJpc3N1ZXIuZXhhbXBsZSIsInN1YiI6ImFsaWNlIiwiZ3JvdXBzIjpbInJlYWRlcnMiLCJhZG1pbnMiXSwi"
        + "ZXhwIjo0MTAyNDQ0ODAwfQ.r0uASly2hWU1OFjz_-1teJgYgFT7-0MgqSVA_JqY_RYrdTAWWJD6FbP3tAjLuh-sdEaR_bqj7pvQVdLpuHmv2A"
    /// Without groups, until 2100.
    static let bob =
        head + "eyJpc3MiOiJpc3N1ZXIuZXhhbXBsZSIsInN1YiI6ImJvYiIsImV4cCI6NDEwMjQ0NDgwMH0."
        + "trWqC8Cr4vfUTPhUDx8XE3Tf3Sr5mRbatlTUfNAzqSVk5dBtU2hGlyRcAAVsFgVfTbE6ewq9ONrXgj7xZsa8HQ"
    /// Good until 2001.
    static let expired =
        head + "eyJpc3MiOiJpc3N1ZXIuZXhhbXBsZSIsInN1YiI6ImFsaWNlIiwiZXhwIjoxMDAwMDAwMDAwfQ."
        + "tUF1iYPhXaRJ-sHvyo8vZ5cv8CT62IupbydAtvoNtwdbJfZX7n79OR3_vr_HnkmVtsMU7Xf22LyJ4lFxGUS1Dg"
}
