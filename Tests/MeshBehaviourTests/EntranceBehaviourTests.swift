import EnvoyAPI
import IO
import Serialization
import Testing

@Suite("What may enter, through a running gateway")
struct EntranceBehaviourTests {
    private let base =
        GatewayYAML.base + World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)
        + World.service("other", ip: 2) + World.pod("other-1", "other", ip: 12)
        + World.service("far", ip: 4, namespace: "other")
        + World.pod("far-1", "far", ip: 14, namespace: "other")
    private let pods: [MeshScene.Pod] = [.init("web-1", ip: 11), .init("other-1", ip: 12), .init("far-1", ip: 14)]
    private let web = "backendRefs: [{name: web, port: 80}]"
    private let other = "backendRefs: [{name: other, port: 80}]"

    /// Asks and compares: host, path, fields, the status, and the pod that answers.
    private func ask(
        _ yaml: [String], _ cases: [(host: String, path: String, fields: String, status: Int, pod: String)]
    ) async throws {
        try await MeshScene.run([base] + yaml, pods: pods, door: .gateway(80)) { scene in
            for one in cases {
                let response = try await scene.get(one.path, host: one.host, one.fields)
                #expect(
                    response.status == one.status && response.body.hasPrefix(one.pod),
                    "\(one.host)\(one.path) \(one.fields): \(response.status) \(response.body.prefix(20))")
            }
        }
    }

    private func ingress(_ name: String, _ more: String, _ rules: String) -> String {
        """
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: \(name), namespace: default}
        spec: {\(more)rules: [\(rules)]}

        """
    }

    private func path(_ path: String, _ type: String, _ service: String) -> String {
        "{path: \(path), pathType: \(type), backend: {service: {name: \(service), port: {number: 80}}}}"
    }

    @Test(
        "I-1 I-2 paths of an Ingress: exact before prefix, longest first, by elements; a wildcard is one label",
        .timeLimit(.minutes(1)))
    func ingressPaths() async throws {
        try await ask(
            [
                ingress(
                    "i", "",
                    "{host: '*.example.com', http: {paths: [\(path("/", "Prefix", "web")), "
                        + "\(path("/foo", "Prefix", "other")), \(path("/foo/bar", "Prefix", "web")), "
                        + "\(path("/foo/bar", "Exact", "other"))]}}")
            ],
            [
                ("a.example.com", "/", "", 200, "web-1"), ("a.example.com", "/foo", "", 200, "other-1"),
                ("a.example.com", "/foo/", "", 200, "other-1"), ("a.example.com", "/foobar", "", 200, "web-1"),
                ("a.example.com", "/foo/bar", "", 200, "other-1"), ("a.example.com", "/foo/bar/x", "", 200, "web-1"),
                ("a.example.com", "/Foo", "", 200, "web-1"), ("a.b.example.com", "/", "", 404, ""),
                ("example.com", "/", "", 404, ""),
            ])
    }

    @Test(
        "I-3 an Ingress of another class is another controller's; the field comes before the annotation",
        .timeLimit(.minutes(1)))
    func ingressClass() async throws {
        func rule(_ host: String) -> String { "{host: \(host), http: {paths: [\(path("/", "Prefix", "web"))]}}" }
        try await ask(
            [
                ingress("ours", "ingressClassName: skein, ", rule("ours.test")),
                ingress("theirs", "ingressClassName: nginx, ", rule("theirs.test")),
                ingress("both", "ingressClassName: skein, ", rule("both.test")).replacing(
                    "namespace: default}",
                    with: "namespace: default, annotations: {kubernetes.io/ingress.class: nginx}}"),
            ],
            [
                ("ours.test", "/", "", 200, "web-1"), ("theirs.test", "/", "", 404, ""),
                ("both.test", "/", "", 200, "web-1"),
            ])
    }

    @Test(
        "I-8 of repeated names the first counts; header names in any case, parameters as written",
        .timeLimit(.minutes(1)))
    func repeatedNames() async throws {
        try await ask(
            [
                GatewayYAML.gateway(GatewayYAML.listener),
                GatewayYAML.http(
                    "r",
                    "{matches: [{headers: [{name: V, value: '1'}, {name: v, value: '2'}]}], \(other)}, "
                        + "{matches: [{queryParams: [{name: q, value: a}, {name: q, value: b}]}], \(other)}, "
                        + "{matches: [{path: {value: /}}], \(web)}"),
            ],
            [
                ("x", "/", "v: 1\r\n", 200, "other-1"), ("x", "/", "v: 2\r\n", 200, "web-1"),
                ("x", "/?q=a", "", 200, "other-1"), ("x", "/?q=b", "", 200, "web-1"),
                ("x", "/?Q=a", "", 200, "web-1"),
            ])
    }

    @Test("I-9 of conflicting listeners none is served, and the others go on", .timeLimit(.minutes(1)))
    func conflicts() async throws {
        try await ask(
            [
                GatewayYAML.gateway(
                    "name: a, port: 80, protocol: HTTP, hostname: same.test",
                    "name: b, port: 80, protocol: HTTP, hostname: same.test",
                    "name: c, port: 80, protocol: HTTP, hostname: own.test"), GatewayYAML.http("r", "{\(web)}"),
            ],
            [("own.test", "/", "", 200, "web-1"), ("same.test", "/", "", 404, "")])
    }

    @Test(
        "I-13 I-14 routes and backends of other namespaces: the listener lets in, the grant gives out",
        .timeLimit(.minutes(1)))
    func namespaces() async throws {
        let far = "{matches: [{path: {value: /far}}], backendRefs: [{name: far, namespace: other, port: 80}]}"
        let grant = GatewayYAML.object(
            "ReferenceGrant", "g", namespace: "other",
            "from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], to: [{group: '', kind: Service}]"
        )
        let guest = GatewayYAML.http("guest", namespace: "other", "{backendRefs: [{name: far, port: 80}]}")
        let closed = GatewayYAML.gateway(GatewayYAML.listener)
        let open = GatewayYAML.gateway(GatewayYAML.listener + ", allowedRoutes: {namespaces: {from: All}}")
        let own = GatewayYAML.http("own", "\(far)")
        try await ask([closed, own, guest], [("x", "/far", "", 500, ""), ("x", "/", "", 404, "")])
        try await ask([closed, own, grant], [("x", "/far", "", 200, "far-1")])
        try await ask([open, own, guest], [("x", "/far", "", 500, ""), ("x", "/", "", 200, "far-1")])
    }

    @Test("I-4 I-6 GRPCRoutes: service and method, headers; a failure is a trailer", .timeLimit(.minutes(1)))
    func grpc() async throws {
        let route = GatewayYAML.object(
            "GRPCRoute", "g",
            "parentRefs: [{name: gw}], hostnames: [grpc.test], rules: ["
                + "{matches: [{method: {service: shop.Cart, method: Add}}], \(web)}, "
                + "{matches: [{method: {service: shop.Cart}}], \(other)}, "
                + "{matches: [{method: {service: shop.Gone}}], backendRefs: [{name: gone, port: 80}]}]")
        let fields = "content-type: application/grpc\r\nte: trailers\r\n"
        try await MeshScene.run(
            [base, GatewayYAML.gateway(GatewayYAML.listener), route], pods: pods, door: .gateway(80)
        ) { scene in
            func post(_ path: String) async throws -> Wire.Response {
                try await scene.get(path, host: "grpc.test", method: "POST", fields + "content-length: 0\r\n")
            }
            let add = try await post("/shop.Cart/Add")
            #expect(add.body.hasPrefix("web-1"))
            let list = try await post("/shop.Cart/List")
            #expect(list.body.hasPrefix("other-1"))
            // P-3: as a gRPC client understands it.
            let unknown = try await post("/shop.Other/X")
            #expect(unknown.status == 200 && unknown.field("grpc-status") == "12")
            let gone = try await post("/shop.Gone/X")
            #expect(gone.status == 200 && gone.field("grpc-status") != "0")
        }
    }

    @Test("I-16 what is served is what the status says: attached routes, refusals with their reason")
    func status() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(
                "name: a, port: 80, protocol: HTTP, hostname: same.test",
                "name: b, port: 80, protocol: HTTP, hostname: same.test",
                "name: c, port: 80, protocol: HTTP, hostname: own.test"),
            GatewayYAML.http("r", hosts: "own.test", "{\(web)}"),
            GatewayYAML.http("lost", hosts: "nobody.test", "{\(web)}"))
        #expect(try world.listener("a").contains { $0.hasPrefix("Conflicted=True") })
        #expect(try world.listener("c").contains("Programmed=True:Programmed"))
        #expect(try world.route("r").contains("Accepted=True:Accepted"))
        #expect(try world.route("lost").contains("Accepted=False:NoMatchingListenerHostname"))
        let hosts = try world.gatewaySnapshot().route("http.80").virtualHosts.flatMap(\.domains)
        #expect(hosts.contains("own.test") && !hosts.contains("nobody.test") && !hosts.contains("same.test"))
    }
}
