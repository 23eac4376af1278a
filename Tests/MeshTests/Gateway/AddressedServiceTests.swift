import EnvoyAPI
import KubernetesAPI
import Mesh
import Serialization
import Testing

@Suite("Routes of services count by address")
struct AddressedServiceTests {
    private static func route(
        _ name: String, to service: String, kind: String = "HTTPRoute", namespace: String = "default", port: Int? = nil,
        backend: String = "third"
    ) -> String {
        GatewayYAML.object(
            kind, name, namespace: namespace,
            """
            parentRefs: [{group: '', kind: Service, name: \(service), namespace: default\(port.map { ", port: \($0)" } ?? "")}],
            rules: [{backendRefs: [{name: \(backend), port: 80}]}]
            """)
    }

    private static let web = "web.default.svc.cluster.local"
    private static let routed = "outbound|80||third.default.svc.cluster.local"
    private static let passed = "prefix:/ -> PassthroughCluster"

    /// The names of the chains, each with the addresses that it is for and its routes; `noted` where it notes where connections go.
    private static func chains(_ snapshot: ProxySnapshot) throws -> [String] {
        try snapshot.listener("virtualOutbound").filterChains.map { chain in
            let addresses = chain.filterChainMatch?.prefixRanges.map(\.addressPrefix) ?? []
            var routes = ""
            if case .typedConfig(let any)? = chain.filters.last?.configType,
                let manager = try? any.unpack(as: HttpConnectionManager.self),
                case .rds(let rds) = manager.routeSpecifier
            {
                routes = " -> " + rds.routeConfigName
            }
            let noted = chain.filters.first?.name == "envoy.filters.network.set_filter_state" ? " noted" : ""
            return "\(chain.name) \(addresses)\(routes)\(noted)"
        }
    }

    @Test(
        "MeshClusterIPMatching I-15 a service with a route has a chain of its own at its address, whose routes take any host"
    )
    func own() throws {
        let world = try World.gatewayAPI(Self.route("r", to: "web"))
        let snapshot = world.snapshot("default/caller")
        #expect(
            try Self.chains(snapshot) == [
                "\(Self.web)_80_http [\"10.96.0.1\"] -> 80|\(Self.web)", "0.0.0.0_80 [] -> 80 noted",
            ])
        let host = try snapshot.virtualHost("80|\(Self.web)", "*")
        #expect(host.outline == ["prefix:/ -> \(Self.routed)"] && host.domains.contains("web"))
        #expect(host.routes.allSatisfy { $0.match?.filterState.isEmpty == true })
        // Where others share the chain: its address, another one, and connections that are older than the word for that.
        let shared = try snapshot.virtualHost("80", Self.web)
        #expect(shared.outline == ["prefix:/ -> \(Self.routed)", Self.passed, "prefix:/ -> \(Self.routed)"])
        let conditions = shared.routes.map { route in
            route.match?.filterState.map { matcher -> String in
                guard matcher.key == "skein.destination", case .stringMatch(let text)? = matcher.matcher else {
                    return "?"
                }
                return switch text.matchPattern {
                case .exact(let text): "is \(text)"
                case .safeRegex(let regex): "matches \(regex.regex)"
                default: "?"
                }
            } ?? []
        }
        var outline: [[String]] = []
        for condition in conditions where outline.last != condition { outline.append(condition) }
        #expect(outline == [["is 10.96.0.1"], ["matches .+"], []])
    }

    @Test(
        "MeshClusterIPMatching what it costs follows the services with routes: all others stay as they are, byte for byte"
    )
    func cost() throws {
        func world(_ services: Int, _ more: String) throws -> ProxySnapshot {
            let others = (10..<10 + services).map { World.service("s\($0)", ip: $0) }.joined()
            return try World.gatewayAPI(others, more).snapshot("default/caller")
        }
        for services in [3, 90] {
            let (plain, routed) = (try world(services, ""), try world(services, Self.route("r", to: "web")))
            #expect(try Self.chains(plain) == ["0.0.0.0_80 [] -> 80"])
            #expect(try Self.chains(routed).count == 2)
            #expect(Set(routed.routes.keys).subtracting(plain.routes.keys) == ["80|\(Self.web)"])
            let (before, after) = (try plain.route("80").virtualHosts, try routed.route("80").virtualHosts)
            #expect(before.count == after.count)
            for (old, new) in zip(before, after) where old != new { #expect(new.name == "\(Self.web):80") }
            // The listener grows by a chain and a word, however many services there are.
            let size = (plain.listeners["virtualOutbound"]?.message.value.count ?? 0) * 5 / 2
            #expect(routed.listeners["virtualOutbound"]?.message.value.count ?? .max < size)
        }
    }

    @Test("MeshClusterIPMatching a consumer's route makes chains for its own callers only, a port's for that port only")
    func scope() throws {
        let world = try World.gatewayAPI(
            World.service("two", ip: 7, port: "{name: http, port: 80}, {name: http-b, port: 81}"),
            Self.route("consumer", to: "web", namespace: "other", backend: "far"),
            Self.route("one", to: "two", port: 81))
        let two = "two.default.svc.cluster.local"
        #expect(
            try Self.chains(world.snapshot("default/caller")) == [
                "0.0.0.0_80 [] -> 80", "\(two)_81_http [\"10.96.0.7\"] -> 81|\(two)", "0.0.0.0_81 [] -> 81 noted",
            ])
        #expect(
            try Self.chains(world.snapshot("other/caller")).prefix(2) == [
                "\(Self.web)_80_http [\"10.96.0.1\"] -> 80|\(Self.web)", "0.0.0.0_80 [] -> 80 noted",
            ])
    }

    @Test(
        "MeshClusterIPMatching GRPCRoutes too, both addresses of two families, ports that say nothing; not services without address"
    )
    func kinds() throws {
        func service(_ name: String, _ addresses: String, _ port: String) -> String {
            """
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: \(name), namespace: default}
            spec: {clusterIP: \(addresses.split(separator: ",").first ?? ""), clusterIPs: [\(addresses)], ports: [\(port)]}

            """
        }
        let world = try World.gatewayAPI(
            service("grpc", "10.96.0.21,'fd00::21'", "{name: grpc, port: 90}"),
            service("plain", "10.96.0.22", "{port: 91}"), service("still", "10.96.0.24", "{port: 91}"),
            service("headless", "None", "{name: http, port: 92}"), Self.route("g", to: "grpc", kind: "GRPCRoute"),
            Self.route("p", to: "plain"), Self.route("h", to: "headless"))
        let snapshot = world.snapshot("default/caller")
        func chain(_ name: String, _ port: Int, _ rest: String) -> String {
            "\(name).default.svc.cluster.local_\(port)\(rest)"
        }
        let chains = try Self.chains(snapshot).filter { !$0.hasPrefix("0.0.0.0_80") }
        #expect(
            chains == [
                chain("grpc", 90, "_http [\"10.96.0.21\", \"fd00::21\"] -> 90|grpc.default.svc.cluster.local"),
                "0.0.0.0_90 [] -> 90 noted",
                chain("plain", 91, "_http [\"10.96.0.22\"] -> 91|plain.default.svc.cluster.local"),
                chain("plain", 91, "_tcp [\"10.96.0.22\"]"),
                chain("still", 91, "_http [\"10.96.0.24\"] -> 91 noted"), chain("still", 91, "_tcp [\"10.96.0.24\"]"),
                "0.0.0.0_92 [] -> 92",
            ], "\(chains)")
        // Each address has its routes, then comes what goes elsewhere.
        let outline = try snapshot.virtualHost("90", "grpc").routes.map { $0.match?.filterState.count ?? 0 }
        #expect(outline.filter { $0 == 1 }.count == outline.filter { $0 == 0 }.count * 2 + 1)
        #expect(try snapshot.virtualHost("92", "headless").outline == ["prefix:/ -> \(Self.routed)"])
    }

    @Test("MeshClusterIPMatching where what is unknown is not let out, a service's host at another address is 502")
    func closed() throws {
        let config = """
            ---
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: istio, namespace: istio-system}
            data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}

            """
        let world = try World.gatewayAPI(config, Self.route("r", to: "web"))
        let host = try world.snapshot("default/caller").virtualHost("80", Self.web)
        #expect(host.outline.contains("prefix:/ -> status 502") && !host.outline.contains(Self.passed))
        #expect(host.routes.first { $0.name == "another_address" }?.metadata != nil)
    }

    @Test("MeshClusterIPMatching routes come and go with their service, and leave what there was before")
    func live() throws {
        let without = try World.gatewayAPI("")
        let with = try World.gatewayAPI(Self.route("r", to: "web"))
        let pod = ProxyIdentity(pod: NamespacedName(namespace: "default", name: "caller"), role: .sidecar)
        func same(_ translator: inout MeshTranslator, _ world: World, _ note: Comment) {
            let (got, wanted) = (translator.snapshot(for: pod), world.snapshot("default/caller"))
            #expect(got.routes == wanted.routes && got.listeners == wanted.listeners, note)
        }
        var translator = MeshTranslator(without.model)
        same(&translator, without, "before")
        let route = try #require(with.objects.inOrder(.httpRoute).first)
        translator.set(route)
        same(&translator, with, "with the route")
        let service = try #require(with.objects.inOrder(.service).first { $0.name == "web" })
        translator.remove(service)
        let gone = translator.snapshot(for: pod)
        #expect(try Self.chains(gone) == ["0.0.0.0_80 [] -> 80"])
        translator.set(service)
        same(&translator, with, "with the service again")
        translator.remove(route)
        same(&translator, without, "after")
    }
}
