import Testing

@testable import Proxy

@Suite("Filters: cors")
struct CORSFilterTests {
    private static let filter = (
        "envoy.filters.http.cors", FilterScene.any("envoy.extensions.filters.http.cors.v3.Cors")
    )
    private static func policy(_ fields: String) -> String {
        FilterScene.any("envoy.extensions.filters.http.cors.v3.CorsPolicy", fields)
    }
    private static let all = """
        allow_origin_string_match: [ { exact: "https://good.example" } ], allow_methods: "GET,PUT", \
        allow_headers: "x-a", expose_headers: "x-b", max_age: "600", allow_credentials: true
        """

    @Test("a preflight from an allowed origin is answered here, with what the policy allows")
    func preflight() async throws {
        try await FilterScene.run([Self.filter], routes: FilterScene.routes(Self.filter.0, Self.policy(Self.all))) {
            scene in
            try await scene.client.write(
                "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://good.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
            )
            let response = try await scene.client.response()
            #expect(response.status == 200)
            #expect(response.field("access-control-allow-origin") == "https://good.example")
            #expect(response.field("access-control-allow-methods") == "GET,PUT")
            #expect(response.field("access-control-allow-headers") == "x-a")
            #expect(response.field("access-control-max-age") == "600")
            #expect(response.field("access-control-allow-credentials") == "true")
            #expect(scene.upstream.requests == 0)
            #expect(try await scene.stat("http.ingress.cors.origin_valid") == 1)
        }
    }

    @Test("HTTPRouteCORS all methods and headers are those that the preflight asks for, and no header is named unasked")
    func wildcards() async throws {
        let policy = Self.policy(
            #"allow_origin_string_match: [ { prefix: "https://" } ], allow_methods: "*", allow_headers: "*""#)
        try await FilterScene.run([Self.filter], routes: FilterScene.routes(Self.filter.0, policy)) { scene in
            let head = "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://x\r\nAccess-Control-Request-Method: PUT\r\n"
            try await scene.client.write(head + "Access-Control-Request-Headers: x-a, x-b\r\n\r\n")
            let asked = try await scene.client.response()
            #expect(asked.field("access-control-allow-methods") == "PUT")
            #expect(asked.field("access-control-allow-headers") == "x-a, x-b")
            try await scene.client.write(head + "\r\n")
            #expect(try await scene.client.response().field("access-control-allow-headers") == nil)
        }
    }

    @Test("an actual request gets the response's headers; another origin gets none and passes")
    func actual() async throws {
        try await FilterScene.run([Self.filter], routes: FilterScene.routes(Self.filter.0, Self.policy(Self.all))) {
            scene in
            let good = try await scene.client.get("/", "Origin: https://good.example\r\n")
            #expect(good.field("access-control-allow-origin") == "https://good.example")
            #expect(good.field("access-control-expose-headers") == "x-b")
            let bad = try await scene.client.get("/", "Origin: https://bad.example\r\n")
            #expect(bad.status == 200)
            #expect(bad.field("access-control-allow-origin") == nil)
            #expect(try await scene.client.get("/").field("access-control-allow-origin") == nil)
            #expect(try await scene.stat("http.ingress.cors.origin_invalid") == 1)
        }
    }

    @Test("the field `cors` of a route works, and what it leaves out comes from the virtual host's level")
    func fields() throws {
        var host = CORSPolicy()
        host.methods = "GET"
        host.maximumAge = "5"
        var route = CORSPolicy()
        route.methods = "PUT"
        let merged = CORSPolicy.merged([host, route])
        #expect(merged?.methods == "PUT")
        #expect(merged?.maximumAge == "5")
        #expect(CORSPolicy.merged([]) == nil)
    }

    @Test("the route's own field counts where the filter is not configured by name")
    func routeField() async throws {
        let routes = """
            [ { match: { prefix: "/" }, route: { cluster: backend, cors: { allow_origin_string_match: [ { prefix: "https://" } ] } } } ]
            """
        try await FilterScene.run([Self.filter], routes: routes) { scene async throws in
            let response = try await scene.client.get("/", "Origin: https://x\r\n")
            #expect(response.field("access-control-allow-origin") == "https://x")
        }
    }

    @Test("shadow: counted, not acted upon")
    func shadow() async throws {
        let policy = Self.policy(
            Self.all + ", filter_enabled: { default_value: {} }, shadow_enabled: { default_value: { numerator: 100 } }")
        try await FilterScene.run([Self.filter], routes: FilterScene.routes(Self.filter.0, policy)) {
            scene async throws in
            let response = try await scene.client.get("/", "Origin: https://good.example\r\n")
            #expect(response.field("access-control-allow-origin") == nil)
            #expect(try await scene.stat("http.ingress.cors.origin_valid") == 1)
        }
    }
}
