import IO
import Serialization
import Testing

@Suite("The Gateway API through a running gateway")
struct GatewayBehaviourTests {
    private let base =
        GatewayYAML.base + World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)
        + World.service("other", ip: 2) + World.pod("other-1", "other", ip: 12) + World.service("empty", ip: 3)
    private let pods: [MeshScene.Pod] = [.init("web-1", ip: 11), .init("other-1", ip: 12)]

    private func run(
        _ yaml: String..., listeners: String = GatewayYAML.listener,
        _ body: @escaping @Sendable (MeshScene) async throws -> Void
    ) async throws {
        try await MeshScene.run(
            [base, GatewayYAML.gateway(listeners), yaml.joined()], pods: pods, door: .gateway(80), body)
    }

    private func route(_ rules: String) -> String { GatewayYAML.http("r", rules) }
    private let web = "backendRefs: [{name: web, port: 80}]"
    private let other = "backendRefs: [{name: other, port: 80}]"

    @Test("I-4 I-5 the most specific match answers, whatever the order of the rules", .timeLimit(.minutes(1)))
    func precedence() async throws {
        try await run(
            route(
                """
                {matches: [{path: {value: /}}], \(web)},
                {matches: [{path: {value: /a}}], \(other)},
                {matches: [{path: {value: /a}, headers: [{name: v, value: "2"}]}], \(web)}
                """)
        ) { scene in
            for (path, fields, pod) in [
                ("/", "", "web-1"), ("/a", "", "other-1"), ("/a/b", "", "other-1"), ("/ab", "", "web-1"),
                ("/a", "v: 2\r\n", "web-1"),
            ] {
                let response = try await scene.get(path, host: "x.example", fields)
                #expect(response.body.hasPrefix(pod), "\(path) \(fields)")
            }
        }
    }

    @Test("I-6 I-7 invalid backends get 500, no match 404, a service without endpoints 503", .timeLimit(.minutes(1)))
    func failures() async throws {
        try await run(
            route(
                """
                {matches: [{path: {value: /gone}}], backendRefs: [{name: gone, port: 80}]},
                {matches: [{path: {value: /none}}]},
                {matches: [{path: {value: /empty}}], backendRefs: [{name: empty, port: 80}]},
                {matches: [{path: {value: /zero}}], backendRefs: [{name: web, port: 80, weight: 0}]},
                {matches: [{path: {value: /half}}], backendRefs: [{name: web, port: 80}, {name: gone, port: 80}]}
                """)
        ) { scene in
            for (path, status) in [("/gone", 500), ("/none", 500), ("/empty", 503), ("/zero", 500), ("/else", 404)] {
                let response = try await scene.get(path, host: "x.example")
                #expect(response.status == status, "\(path)")
            }
            var statuses: Set<Int> = []
            for _ in 0..<100 {
                let response = try await scene.get("/half", host: "x.example")
                statuses.insert(response.status)
            }
            #expect(statuses == [200, 500])
        }
    }

    @Test("I-2 I-10 I-11 each host gets its listener's routes only", .timeLimit(.minutes(1)))
    func isolation() async throws {
        try await MeshScene.run(
            [
                base,
                GatewayYAML.gateway(
                    "name: all, port: 80, protocol: HTTP",
                    "name: wild, port: 80, protocol: HTTP, hostname: '*.example.com'",
                    "name: one, port: 80, protocol: HTTP, hostname: one.example.com"),
                GatewayYAML.http("all", parents: "{name: gw, sectionName: all}", "{\(web)}"),
                GatewayYAML.http(
                    "wild", parents: "{name: gw, sectionName: wild}", "{matches: [{path: {value: /w}}], \(other)}"),
            ], pods: pods, door: .gateway(80)
        ) { scene in
            for (host, path, status) in [
                ("other.org", "/w", 200), ("a.b.example.com", "/w", 200), ("a.example.com", "/x", 404),
                ("one.example.com", "/w", 404), ("example.com", "/", 200),
            ] {
                let response = try await scene.get(path, host: host)
                #expect(response.status == status, "\(host)\(path)")
            }
        }
    }

    @Test("filters: headers, redirects, rewrites", .timeLimit(.minutes(1)))
    func filters() async throws {
        try await run(
            route(
                """
                {matches: [{path: {value: /h}}], filters: [
                {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: 100%}], remove: [x-gone]}},
                {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: X-Answer, value: "yes"}]}}], \(web)},
                {matches: [{path: {value: /old}}], filters: [{type: RequestRedirect, requestRedirect:
                {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301}}]},
                {matches: [{path: {value: /secure}}], filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]},
                {matches: [{path: {value: /strip}}], filters: [{type: URLRewrite, urlRewrite:
                {hostname: inner.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}], \(web)},
                {matches: [{path: {value: /full}}], filters: [{type: URLRewrite, urlRewrite:
                {path: {type: ReplaceFullPath, replaceFullPath: /one}}}], \(web)}
                """)
        ) { scene in
            let headers = try await scene.get("/h", host: "x.example", "x-gone: 1\r\nx-set: 0\r\n")
            #expect(headers.body.lowercased().contains("x-set: 100%\r\n"))
            #expect(!headers.body.lowercased().contains("x-gone"))
            #expect(headers.field("x-answer") == "yes")
            let moved = try await scene.get("/old/a?q=1", host: "x.example")
            #expect(moved.status == 301 && moved.field("location") == "http://new.example/new/a?q=1")
            let secure = try await scene.get("/secure", host: "x.example:8080")
            #expect(secure.status == 302 && secure.field("location") == "https://x.example/secure")
            let stripped = try await scene.get("/strip/a", host: "x.example")
            #expect(stripped.body.contains("GET /a HTTP/1.1"))
            #expect(stripped.body.lowercased().contains("host: inner.example"))
            let bare = try await scene.get("/strip", host: "x.example")
            #expect(bare.body.contains("GET / HTTP/1.1"))
            let full = try await scene.get("/full/a/b?q=1", host: "x.example")
            #expect(full.body.contains("GET /one?q=1 HTTP/1.1"))
        }
    }

    @Test(
        "CORS: a preflight of an allowed origin is answered, that of another without permission",
        .timeLimit(.minutes(1)))
    func cors() async throws {
        try await run(
            route(
                """
                {filters: [{type: CORS, cors: {allowOrigins: ["https://*.b.example"], allowMethods: [GET, PUT]}}], \(web)}
                """)
        ) { scene in
            let allowed = try await scene.get(
                "/", host: "x.example", method: "OPTIONS",
                "origin: https://a.b.example\r\naccess-control-request-method: PUT\r\n")
            #expect(allowed.field("access-control-allow-origin") == "https://a.b.example")
            #expect(allowed.field("access-control-allow-methods") == "GET,PUT")
            let refused = try await scene.get("/", host: "x.example", "origin: https://evil.example\r\n")
            #expect(refused.field("access-control-allow-origin") == nil)
        }
    }

    @Test(
        "I-15 a producer route is what callers inside of the mesh get; unmatched requests get 404",
        .timeLimit(.minutes(1)))
    func mesh() async throws {
        try await MeshScene.run(
            [
                base,
                GatewayYAML.object(
                    "HTTPRoute", "p",
                    """
                    parentRefs: [{group: '', kind: Service, name: web}],
                    rules: [{matches: [{path: {value: /a}}], \(other)}]
                    """),
            ], pods: pods
        ) { scene in
            let routed = try await scene.get("/a", host: "web")
            #expect(routed.body.hasPrefix("other-1"))
            let unmatched = try await scene.get("/b", host: "web")
            #expect(unmatched.status == 404)
        }
    }
}
