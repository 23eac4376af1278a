import IO
import Serialization
import Testing

@Suite("VirtualServices through a running proxy")
struct RouteBehaviourTests {
    private let web = World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)
    private let other = World.service("other", ip: 2) + World.pod("other-1", "other", ip: 12)
    private let pods: [MeshScene.Pod] = [.init("web-1", ip: 11), .init("other-1", ip: 12)]

    private func run(
        _ http: String, _ body: @escaping @Sendable (MeshScene) async throws -> Void
    ) async throws {
        try await MeshScene.run([web, other, World.rule("r", "hosts: [web]\nhttp:\n" + http)], pods: pods, body)
    }

    @Test("H-1 H-3 the first match wins and a prefix is a plain one", .timeLimit(.minutes(1)))
    func order() async throws {
        try await run(
            """
            - {match: [{uri: {prefix: /foo}}], route: [{destination: {host: other}}]}
            - {route: [{destination: {host: web}}]}
            """
        ) { scene in
            let other = try await scene.get("/foobar", host: "web")
            #expect(other.body.hasPrefix("other-1"))
            let own = try await scene.get("/bar", host: "web")
            #expect(own.body.hasPrefix("web-1"))
        }
    }

    @Test("H-10 H-11 an unknown subset is answered with 503, never by the whole service", .timeLimit(.minutes(1)))
    func unknownSubset() async throws {
        try await run("- {route: [{destination: {host: web, subset: v9}}]}") { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.head.contains(" 503 "))
        }
    }

    @Test("H-5 a missing header counts as empty for inverted values", .timeLimit(.minutes(1)))
    func withoutHeaders() async throws {
        try await run(
            """
            - {match: [{withoutHeaders: {x: {exact: a}}}], route: [{destination: {host: other}}]}
            - {route: [{destination: {host: web}}]}
            """
        ) { scene in
            let missing = try await scene.get("/", host: "web")
            #expect(missing.body.hasPrefix("other-1"))
            let same = try await scene.get("/", host: "web", "x: a\r\n")
            #expect(same.body.hasPrefix("web-1"))
        }
    }

    @Test("H-13 H-14 path, authority and headers are changed on the way", .timeLimit(.minutes(1)))
    func rewrite() async throws {
        try await run(
            """
            - match: [{uri: {prefix: /foo}}]
              rewrite: {uri: /, authority: inner.example}
              headers: {request: {set: {x-set: new}, add: {x-add: two}, remove: [x-gone]}, response: {set: {x-answer: yes-it-is}}}
              route: [{destination: {host: web}}]
            """
        ) { scene in
            let response = try await scene.get(
                "/foo/bar?q=1", host: "web", "x-set: old\r\nx-add: one\r\nx-gone: here\r\n")
            let seen = response.body.lowercased()
            #expect(seen.contains("get /bar?q=1 http/1.1") && seen.contains("host: inner.example"))
            #expect(seen.contains("x-set: new") && !seen.contains("x-set: old") && !seen.contains("x-gone"))
            #expect(seen.contains("x-add: one") && seen.contains("two"))
            #expect(response.field("x-answer") == "yes-it-is")
        }
    }

    @Test("H-15 a redirect says where to, a direct response what", .timeLimit(.minutes(1)))
    func redirect() async throws {
        try await run(
            """
            - {match: [{uri: {prefix: /old}}], redirect: {uri: /new, authority: b.example, redirectCode: 308}}
            - {directResponse: {status: 418, body: {string: short}}}
            """
        ) { scene in
            let moved = try await scene.get("/old/x", host: "web")
            #expect(moved.head.contains(" 308 ") && moved.field("location") == "http://b.example/new")
            let direct = try await scene.get("/", host: "web")
            #expect(direct.head.contains(" 418 ") && direct.body == "short")
        }
    }

    @Test(
        "H-16 a copy goes to the mirror with a host of its own, the answer comes from the route",
        .timeLimit(.minutes(1)))
    func mirror() async throws {
        try await run("- {mirror: {host: other}, route: [{destination: {host: web}}]}") { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.body.hasPrefix("web-1"))
            while scene.pods["other-1"]?.requests == 0 { await scene.loop.sleep(for: .milliseconds(2)) }
        }
    }

    @Test(
        "H-17 a fault with a percentage of 100 answers itself, one without lets everything pass",
        .timeLimit(.minutes(1)))
    func fault() async throws {
        try await run(
            """
            - {match: [{uri: {prefix: /all}}], fault: {abort: {httpStatus: 555, percentage: {value: 100}}}, route: [{destination: {host: web}}]}
            - {fault: {abort: {httpStatus: 555}}, route: [{destination: {host: web}}]}
            """
        ) { scene in
            let aborted = try await scene.get("/all", host: "web")
            #expect(aborted.head.contains(" 555 "))
            let passed = try await scene.get("/", host: "web")
            #expect(passed.head.contains(" 200 "))
        }
    }

    @Test("H-19 a preflight that matches is answered here, another one goes on", .timeLimit(.minutes(1)))
    func cors() async throws {
        try await run(
            "- {corsPolicy: {allowOrigins: [{exact: 'https://a.example'}], allowMethods: [PUT]}, route: [{destination: {host: web}}]}"
        ) { scene in
            let ask = "Access-Control-Request-Method: PUT\r\n"
            let known = try await scene.get("/", host: "web", method: "OPTIONS", "Origin: https://a.example\r\n" + ask)
            #expect(known.field("access-control-allow-origin") == "https://a.example" && known.body.isEmpty)
            let foreign = try await scene.get(
                "/", host: "web", method: "OPTIONS", "Origin: https://b.example\r\n" + ask)
            #expect(foreign.body.hasPrefix("web-1"))
        }
    }

    @Test("T-2 the timeout spans all tries", .timeLimit(.minutes(1)))
    func timeout() async throws {
        let rule = World.rule(
            "r",
            "hosts: [web]\nhttp: [{timeout: 300ms, retries: {attempts: 100, retryOn: '503', backoff: 50ms}, route: [{destination: {host: web}}]}]"
        )
        let failing = MeshScene.Pod("web-1", ip: 11) { _, _ in
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        }
        try await MeshScene.run([web, rule], pods: [failing]) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.head.contains(" 503 ") || response.head.contains(" 504 "))
            #expect((scene.pods["web-1"]?.requests ?? 0) < 100)
        }
    }

    @Test("B-3 T-7 requests of one user go to one pod", .timeLimit(.minutes(1)))
    func hashing() async throws {
        let policy = World.policy(
            "p",
            "host: web\ntrafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}")
        let more = (12...14).map { World.pod("web-\($0)", "web", ip: $0) }.joined()
        try await MeshScene.run(
            [web, more, policy],
            pods: [.init("web-1", ip: 11), .init("web-12", ip: 12), .init("web-13", ip: 13), .init("web-14", ip: 14)],
            change: { bootstrap in
                // The clusters' half.
                guard var clusters = bootstrap["static_resources"]?["clusters"]?.array else { return }
                for index in clusters.indices
                where clusters[index]["name"]?.string?.hasPrefix("outbound|80||web") == true {
                    clusters[index]["lbPolicy"] = "RING_HASH"
                }
                var resources = bootstrap["static_resources"] ?? .object([:])
                resources["clusters"] = .array(clusters)
                bootstrap["static_resources"] = resources
            }
        ) { scene in
            var pods: Set<Substring> = []
            for _ in 0..<12 {
                let response = try await scene.get("/", host: "web", "x-user: anna\r\n")
                pods.insert(response.body.prefix { $0 != "\n" })
            }
            #expect(pods.count == 1)
        }
    }

    @Test("R-9 an exact host comes before a wildcard, in any case of letters", .timeLimit(.minutes(1)))
    func virtualHosts() async throws {
        let gateway = World.gateway
        let rules =
            World.rule(
                "wild",
                "hosts: ['*.example.com']\ngateways: [my-gateway]\nhttp: [{route: [{destination: {host: other}}]}]")
            + World.rule(
                "exact", "hosts: [a.example.com]\ngateways: [my-gateway]\nhttp: [{route: [{destination: {host: web}}]}]"
            )
        try await MeshScene.run([web, other, gateway, rules], pods: pods, door: .gateway()) { scene in
            let exact = try await scene.get("/", host: "A.Example.com")
            #expect(exact.body.hasPrefix("web-1"))
            let wild = try await scene.get("/", host: "b.example.com")
            #expect(wild.body.hasPrefix("other-1"))
            let none = try await scene.get("/", host: "c.example.org")
            #expect(none.head.contains(" 404 "))
        }
    }

    @Test("ATK-36 a route that cannot compile does not take its neighbours with it", .timeLimit(.minutes(1)))
    func setAside() async throws {
        try await run(
            """
            - {match: [{uri: {regex: '/a('}}], route: [{destination: {host: other}}]}
            - {route: [{destination: {host: web}}]}
            """
        ) { scene in
            let response = try await scene.get("/a(", host: "web")
            #expect(response.body.hasPrefix("web-1"))
        }
    }

    @Test("X-7 an escaped slash is a slash at a gateway", .timeLimit(.minutes(1)))
    func escapedSlash() async throws {
        let rule = World.rule(
            "g",
            """
            hosts: ['*']
            gateways: [my-gateway]
            http:
            - {match: [{uri: {prefix: /admin/}}], directResponse: {status: 403}}
            - {route: [{destination: {host: web}}]}
            """)
        try await MeshScene.run([web, World.gateway, rule], pods: pods, door: .gateway()) { scene in
            for path in ["/admin%2Fusers", "//admin//users", "/x/../admin/users"] {
                let response = try await scene.get(path, host: "any")
                #expect(response.head.contains(" 403 "), "\(path)")
            }
        }
    }

    @Test("logs, traces and their filters are taken by the proxy as they are made", .timeLimit(.minutes(1)))
    func telemetry() async throws {
        let yaml = """
            ---
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: istio, namespace: istio-system}
            data:
              mesh: |
                extensionProviders:
                - {name: file, envoyFileAccessLog: {path: /dev/null, logFormat: {labels: {status: "%RESPONSE_CODE%"}}}}
                - {name: als, envoyHttpAls: {service: other.default.svc.cluster.local, port: 80}}
                - {name: otel-log, envoyOtelAls: {service: other.default.svc.cluster.local, port: 80, logFormat: {labels: {a: "%PROTOCOL%"}}}}
                - {name: otel, opentelemetry: {service: other.default.svc.cluster.local, port: 80, http: {path: /v1/traces}}}
            ---
            apiVersion: telemetry.istio.io/v1
            kind: Telemetry
            metadata: {name: t, namespace: default}
            spec:
              accessLogging:
              - providers: [{name: file}, {name: als}, {name: otel-log}]
                filter: {expression: "response.code >= 400 || !(request.method == 'GET' && 'x-a' in request.headers)"}
              tracing: [{providers: [{name: otel}], randomSamplingPercentage: 100, customTags: {a: {literal: {value: b}}}}]

            """
        try await MeshScene.run([web, other, yaml], pods: pods) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.body.lowercased().contains("traceparent:"))
        }
    }
}
