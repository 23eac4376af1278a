import Mesh
import Serialization
import Testing

@Suite("Routes of services count by address, through running proxies")
struct AddressedServiceBehaviourTests {
    private static let route = GatewayYAML.object(
        "HTTPRoute", "r",
        "parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: other, port: 80}]}]")
    private static let closed = """
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: istio, namespace: istio-system}
        data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}

        """
    private static let caller = World.pod("caller", "caller", ip: 100)
    private static let base =
        GatewayYAML.base + caller + World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)
        + World.service("other", ip: 2) + World.pod("other-1", "other", ip: 12)

    @Test(
        "MeshClusterIPMatching the address decides, not what the request says; explain names chain, route and word for it"
    )
    func decisions() throws {
        let explained = try Explained([Self.base, Self.route])
        func ask(_ address: String, host: String) throws -> ProxyAnswer {
            try explained.ask(
                "default/caller", ["--listener", "virtualOutbound", "--destination", address, "http://\(host)/"])
        }
        let other = "outbound|80||other.default.svc.cluster.local"
        let own = "web.default.svc.cluster.local_80_http"
        for host in ["web", "other", "nobody.example", "10.96.0.1"] {
            let answer = try ask("10.96.0.1:80", host: host)
            #expect(answer.cluster?.description == other && answer.host == "10.244.0.12:8080", "\(host)")
            #expect(answer.json["filter_chain"]?.string == own && answer.routeOrigin?.kind == "HTTPRoute", "\(host)")
        }
        // A service without routes, and a pod: they get what is sent to them, without the routes of the service that is named.
        for address in ["10.96.0.2:80", "10.244.0.11:80"] {
            let answer = try ask(address, host: "web")
            #expect(answer.cluster?.description == "PassthroughCluster" && answer.host == address, "\(address)")
            #expect(answer.json["filter_chain"]?.string == "0.0.0.0_80")
            let steps = answer.steps.map(\.text).joined(separator: "\n")
            let ip = address.split(separator: ":")[0]
            #expect(steps.contains("skein.destination: \(ip)"), "\(steps)")
            #expect(answer.routeOrigin?.field == "spec.clusterIP", "\(steps)")
        }
        let verdict = try explained.follow(host: "web", address: "10.96.0.2:80").verdict
        #expect(verdict.isAnswered && verdict.origins.map(\.kind) == ["Service"])
        #expect(
            verdict.headline.hasPrefix(
                "passed on to 10.96.0.2:80, the address of service default/other: the routes of"),
            "\(verdict.headline)")
        #expect(try ask("10.96.0.2:80", host: "other").cluster?.description == other)
        #expect(try ask("10.96.0.2:80", host: "nobody.example").cluster?.description == "PassthroughCluster")
    }

    private func run(
        _ yaml: String, chain: String = "0.0.0.0_80", hasFilters: Bool = true,
        _ body: @escaping @Sendable (MeshScene) async throws -> Void
    ) async throws {
        let door = MeshScene.Door(chain: chain, hasFilters: hasFilters)
        try await MeshScene.run(
            [yaml, Self.route], pods: [.init("web-1", ip: 11), .init("other-1", ip: 12)], door: door, body)
    }

    @Test("MeshClusterIPMatching at the service's address any host gets its routes", .timeLimit(.minutes(1)))
    func own() async throws {
        try await run(Self.base, chain: "web.default.svc.cluster.local_80_http") { scene in
            for host in ["web", "other", "nobody.example"] {
                let response = try await scene.get("/", host: host)
                #expect(response.body.hasPrefix("other-1"), "\(host)")
                #expect(response.body.lowercased().contains("host: \(host)\r\n"), "\(response.body)")
            }
        }
    }

    @Test(
        "MeshClusterIPMatching on the chain of all services the host counts where the connection went to the service, or is from before",
        .timeLimit(.minutes(1)))
    func shared() async throws {
        // The proxy of the test is reached at 127.0.0.1.
        try await run(Self.base.replacing("10.96.0.1,", with: "127.0.0.1,") + Self.closed) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.body.hasPrefix("other-1"))
        }
        try await run(Self.base + Self.closed) { scene in
            let elsewhere = try await scene.get("/", host: "web")
            #expect(elsewhere.status == 502)
            let named = try await scene.get("/", host: "other")
            #expect(named.body.hasPrefix("other-1"))
        }
        try await run(Self.base + Self.closed, hasFilters: false) { scene in
            let before = try await scene.get("/", host: "web")
            #expect(before.body.hasPrefix("other-1"))
        }
    }
}
