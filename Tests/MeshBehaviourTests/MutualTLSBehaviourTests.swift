import IO
import Serialization
import Testing

@Suite("Two sidecars with mutual TLS in between")
struct MutualTLSBehaviourTests {
    private static func web(_ port: String) -> String {
        World.service("web", ip: 1, port: port) + World.pod("web-1", "web", ip: 11, portName: "")
    }
    private static let unnamed = "{port: 80, targetPort: 8080}"
    private static let named = "{name: http, port: 80, targetPort: 8080}"
    private let pods: [MeshScene.Pod] = [.init("web-1", ip: 11)]

    private func policy(_ name: String, _ spec: String) -> String {
        Security.policy("AuthorizationPolicy", name, spec)
    }

    @Test(
        "S-2 X-3 HTTP on a port that says nothing is HTTP inside of mutual TLS, too: policies see its paths",
        .timeLimit(.minutes(1)))
    func sniffed() async throws {
        for (rule, name) in [("", "without a rule"), (Self.split, "with a split")] {
            try await MeshScene.run(
                [
                    Self.web(Self.unnamed), rule,
                    policy("allow", "rules: [{to: [{operation: {paths: [/open, /half]}}]}]"),
                ], pods: pods, secured: ["web-1"]
            ) { scene in
                for (path, wanted) in [("/open", 200), ("/half", 200), ("/closed", 403)] {
                    let response = try await scene.get(path, host: "web")
                    #expect(response.status == wanted, "\(path) \(name)")
                }
                let response = try await scene.get("/open", host: "web")
                // Who called is known: the other side's sidecar has seen the request.
                #expect(response.body.contains("URI=spiffe://cluster.local/ns/default/sa/caller"))
            }
        }
    }
    private static let split = World.rule(
        "r",
        """
        hosts: [web]
        http: [{route: [{destination: {host: web}, weight: 1}, {destination: {host: web, port: {number: 80}}, weight: 1}]}]
        """)

    @Test(
        "S-2 HTTP/2 on a port that says nothing, as gRPC is, stays HTTP/2 up to the application",
        .timeLimit(.minutes(1)))
    func http2() async throws {
        let settings = "\0\0\0\u{4}\0\0\0\0\0"
        // Frames by hand, of ASCII: HEADERS with literal fields, which ends its stream.
        let request = "\0\0\u{13}\u{1}\u{5}\0\0\0\u{1}\u{2}\u{3}GET\u{6}\u{4}http\u{4}\u{1}/\u{1}\u{3}web"
        let response = settings + "\0\0\u{5}\u{1}\u{5}\0\0\0\u{1}\u{8}\u{3}200"
        let pod = MeshScene.Pod("web-1", ip: 11) { head, _ in
            head.hasPrefix("PRI * HTTP/2.0") ? response : ScriptedUpstream.ok("HTTP/1.1")
        }
        for secured in [[], ["web-1"]] {
            try await MeshScene.run([Self.web(Self.unnamed)], pods: [pod], secured: secured) { scene in
                try await scene.client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + request)
                var head: [UInt8] = []
                repeat {
                    let frame = try await scene.client.bytes(9)
                    let count = frame[..<3].reduce(0) { $0 << 8 | Int($1) }
                    let payload = try await scene.client.bytes(count)
                    if frame[3] == 1 { head = payload }
                } while head.isEmpty
                // `:status 200` of the static table: the application has answered in HTTP/2.
                #expect(head.first == 0x88, "\(head)")
                #expect((scene.pods["web-1"]?.requests ?? 0) > 0)
            }
        }
    }

    @Test("S-2 bytes on a port that says nothing are bytes inside of mutual TLS", .timeLimit(.minutes(1)))
    func bytes() async throws {
        try await MeshScene.run(
            [Self.web(Self.unnamed)], pods: pods, door: .outbound(80, isHTTP: false), secured: ["web-1"]
        ) { scene in
            // Carried as they are: no header is added, and the application sees its caller's bytes.
            let response = try await scene.get("/", host: "any")
            #expect(response.status == 200 && !response.body.lowercased().contains("x-forwarded"))
        }
    }

    @Test(
        "A-1 A-9 principals, namespaces and service accounts come from the certificate; DENY comes before ALLOW",
        .timeLimit(.minutes(1)))
    func principals() async throws {
        let both = [
            policy(
                "allow", "rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/caller]}}]}]"),
            policy(
                "deny",
                "action: DENY, rules: [{from: [{source: {namespaces: [default]}}], "
                    + "to: [{operation: {methods: [DELETE], paths: ['/items/*']}}]}]"),
        ]
        for (caller, path, method, wanted) in [
            ("caller", "/", "GET", 200), ("stranger", "/", "GET", 403), ("caller", "/items/1", "DELETE", 403),
            ("caller", "/items/1", "GET", 200), ("caller", "/other", "DELETE", 200),
        ] {
            try await MeshScene.run(
                [Self.web(Self.named)] + both, pods: pods, secured: ["web-1"], caller: caller
            ) { scene in
                let response = try await scene.get(path, host: "web", method: method)
                #expect(response.status == wanted, "\(caller) \(method) \(path)")
            }
        }
    }

    @Test("A-2 ALLOW without rules refuses everybody, one empty rule nobody", .timeLimit(.minutes(1)))
    func denyAll() async throws {
        for (spec, wanted) in [("", 403), ("rules: [{}]", 200), ("action: DENY", 200)] {
            try await MeshScene.run(
                [Self.web(Self.named), policy("p", spec)], pods: pods, secured: ["web-1"]
            ) { scene in
                let response = try await scene.get("/", host: "web")
                #expect(response.status == wanted, "\(spec)")
            }
        }
    }

    @Test("A-12 A-14 STRICT refuses plain text; with a sidecar on both sides nobody notices", .timeLimit(.minutes(1)))
    func strict() async throws {
        let strict = Security.policy("PeerAuthentication", "default", "mtls: {mode: STRICT}")
        try await MeshScene.run([Self.web(Self.named), strict], pods: pods, secured: ["web-1"]) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.status == 200)
        }
        // The caller is told to speak plain text: its connection is closed (D-5).
        let plain = World.policy("p", "host: web\ntrafficPolicy: {tls: {mode: DISABLE}}")
        try await MeshScene.run([Self.web(Self.named), strict, plain], pods: pods, secured: ["web-1"]) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.status == 503)
        }
        try await MeshScene.run([Self.web(Self.named), plain], pods: pods, secured: ["web-1"]) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.status == 200 && !response.body.contains("spiffe"))
        }
    }

    @Test("A-16 a server with another identity than the service's is not spoken to", .timeLimit(.minutes(1)))
    func serverIdentity() async throws {
        let other = World.policy(
            "p",
            "host: web\ntrafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/default/sa/other']}}"
        )
        try await MeshScene.run([Self.web(Self.named), other], pods: pods, secured: ["web-1"]) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.status == 503)
        }
    }

    @Test("A-11 tokens inside of the mesh: claims decide", .timeLimit(.minutes(1)))
    func tokens() async throws {
        try await MeshScene.run(
            [
                Self.web(Self.named), Security.policy("RequestAuthentication", "t", Tokens.rule),
                policy(
                    "allow",
                    "rules: [{from: [{source: {requestPrincipals: ['issuer.example/*']}}], "
                        + "when: [{key: 'request.auth.claims[groups]', values: [admins]}]}]"),
            ], pods: pods, secured: ["web-1"]
        ) { scene in
            for (token, wanted) in [(nil, 403), (Tokens.bob, 403), (Tokens.alice, 200), (Tokens.expired, 401)] {
                let response = try await scene.get(
                    "/", host: "web", token.map { "authorization: Bearer \($0)\r\n" } ?? "")
                #expect(response.status == wanted, "\(token?.suffix(5) ?? "without")")
            }
        }
    }
}
