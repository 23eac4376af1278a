import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Names and where rules apply (section R)")
struct HostTests {
    @Test("R-1 a short host is expanded with the namespace of the rule")
    func shortNames() throws {
        let world = try World(
            World.service("reviews", ip: 1, namespace: "shop"),
            World.rule(
                "r", namespace: "shop",
                "hosts: [reviews]\nhttp: [{name: ruled, route: [{destination: {host: reviews}}]}]"))
        let host = try world.snapshot("other/caller").virtualHost("80", "reviews.shop.svc.cluster.local")
        #expect(host.routes.first?.name == "ruled")
        #expect(host.routes.first?.destination == "outbound|80||reviews.shop.svc.cluster.local")
    }

    @Test("R-2 callers of the same namespace may use the bare name, others may not")
    func domains() throws {
        let world = try World(World.service("web", ip: 7))
        let same = try world.snapshot().virtualHost("80", "web.default.svc.cluster.local").domains
        #expect(
            Set(same) == [
                "web.default.svc.cluster.local", "web.default.svc.cluster.local:80", "web.default.svc.cluster.local.",
                "web.default.svc.cluster.local.:80", "web.default", "web.default:80", "web.default.svc",
                "web.default.svc:80", "web", "web:80", "10.96.0.7", "10.96.0.7:80",
            ])
        let other = try world.snapshot("shop/caller").virtualHost("80", "web.default").domains
        #expect(!other.contains("web") && !other.contains("web:80"))
        #expect(other.contains("web.default.svc"))
    }

    @Test("R-2 an IPv6 service address stands in brackets")
    func addressesInBrackets() throws {
        let world = try World(
            World.service("web", ip: 7, extra: ", clusterIPs: [10.96.0.7, 'fd00::7']"))
        let domains = try world.snapshot().virtualHost("80", "web").domains
        #expect(domains.contains("[fd00::7]") && domains.contains("[fd00::7]:80"))
    }

    @Test(
        "R-4 a rule with gateways but without mesh leaves sidecars alone; a bare gateway name is of the rule's namespace"
    )
    func gatewaysWithoutMesh() throws {
        let spec = "hosts: [web]\ngateways: [my-gateway]\nhttp: [{name: ruled, route: [{destination: {host: web}}]}]"
        let world = try World(World.service("web", ip: 1), World.gateway, World.rule("r", spec))
        #expect(try world.snapshot().virtualHost("80", "web").routes.first?.name == "default")
        #expect(
            try world.gatewaySnapshot().virtualHost("http.80", "web.default.svc.cluster.local").routes.first?.name
                == "ruled")
        let elsewhere = try World(World.service("web", ip: 1), World.gateway, World.rule("r", namespace: "shop", spec))
        #expect(try elsewhere.gatewaySnapshot().route("http.80").virtualHosts.map(\.name) == ["blackhole:80"])
    }

    @Test("R-5 match.gateways overrides the rule's gateways, and then source filters do not count")
    func matchGateways() throws {
        let world = try World(
            World.service("web", ip: 1), World.gateway,
            World.rule(
                "r",
                """
                hosts: ["*"]
                gateways: [my-gateway]
                http:
                - match: [{gateways: [mesh], uri: {prefix: /mesh}}]
                  route: [{destination: {host: web}}]
                - match: [{gateways: [my-gateway], sourceNamespace: nowhere, uri: {prefix: /gate}}]
                  route: [{destination: {host: web}}]
                """))
        #expect(
            try world.gatewaySnapshot().virtualHost("http.80", "*").outline == [
                "prefix:/gate -> outbound|80||web.default.svc.cluster.local"
            ])
    }

    @Test("R-6 source filters and the port decide whether a route is generated")
    func sourceFilters() throws {
        let world = try World(
            World.service("web", ip: 1), World.pod("caller", "caller", ip: 9, version: "v9"),
            World.rule(
                "r",
                """
                hosts: [web]
                http:
                - {match: [{sourceLabels: {version: v9}, uri: {prefix: /labels}}], route: [{destination: {host: web}}]}
                - {match: [{sourceNamespace: shop, uri: {prefix: /shop}}], route: [{destination: {host: web}}]}
                - {match: [{port: 81, uri: {prefix: /port}}], route: [{destination: {host: web}}]}
                - {match: [{port: 80}], route: [{destination: {host: web}}]}
                """))
        func paths(_ pod: String) throws -> [String] {
            try world.snapshot(pod).virtualHost("80", "web.default").outline.map { String($0.prefix { $0 != " " }) }
        }
        #expect(try paths("default/caller") == ["prefix:/labels", "prefix:/"])
        #expect(try paths("default/other") == ["prefix:/"])
        #expect(try paths("shop/other") == ["prefix:/shop", "prefix:/"])
    }

    @Test("R-7 traffic of a gateway does not pass the rule of the service itself")
    func gatewayTraffic() throws {
        let world = try World(
            World.service("web", ip: 1), World.gateway,
            World.rule(
                "mesh",
                "hosts: [web]\nhttp: [{name: inner, fault: {abort: {httpStatus: 500, percentage: {value: 100}}}, route: [{destination: {host: web}}]}]"
            ),
            World.rule(
                "edge",
                "hosts: [myapp.com]\ngateways: [my-gateway]\nhttp: [{name: outer, route: [{destination: {host: web}}]}]"
            ))
        let hosts = try world.gatewaySnapshot().route("http.80").virtualHosts
        #expect(hosts.map(\.domains) == [["myapp.com"]])
        #expect(hosts.first?.routes.first?.name == "outer")
    }

    @Test("R-8 the most specific wildcard rule wins, an exact one before all")
    func wildcards() throws {
        let world = try World(
            World.service("a", ip: 1), World.service("b", ip: 2),
            World.rule("all", "hosts: ['*']\nhttp: [{name: all, route: [{destination: {host: a}}]}]"),
            World.rule(
                "ns", "hosts: ['*.default.svc.cluster.local']\nhttp: [{name: ns, route: [{destination: {host: a}}]}]"),
            World.rule("exact", "hosts: [b]\nhttp: [{name: exact, route: [{destination: {host: a}}]}]"))
        #expect(try world.snapshot().virtualHost("80", "a").routes.first?.name == "ns")
        #expect(try world.snapshot().virtualHost("80", "b").routes.first?.name == "exact")
    }

    @Test(
        "R-10 exportTo hides rules, and services, from other namespaces",
        arguments: [("['.']", false), ("['*']", true), ("[shop]", true), ("[]", true)])
    func exportTo(list: String, isSeen: Bool) throws {
        let world = try World(
            World.service("web", ip: 1),
            World.rule(
                "r", "hosts: [web]\nexportTo: \(list)\nhttp: [{name: ruled, route: [{destination: {host: web}}]}]"))
        let name = try world.snapshot("shop/caller").virtualHost("80", "web.default").routes.first?.name
        #expect((name == "ruled") == isSeen)
    }

    @Test("R-13 unmatched traffic passes, or is refused with 502 under REGISTRY_ONLY")
    func unmatched() throws {
        let open = try World(World.service("web", ip: 1)).snapshot()
        #expect(try open.virtualHost("80", "*").outline == ["prefix:/ -> PassthroughCluster"])
        #expect(try open.cluster("PassthroughCluster").clusterDiscoveryType == .type(.originalDst))
        let shut = try World(
            World.service("web", ip: 1),
            """
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: istio, namespace: istio-system}
            data:
              mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"
            """
        ).snapshot()
        #expect(try shut.virtualHost("80", "*").outline == ["prefix:/ -> status 502"])
        let filter = try #require(try shut.listener("virtualOutbound").defaultFilterChain?.filters.first)
        guard case .typedConfig(let any) = filter.configType else { return #expect(Bool(false)) }
        #expect(try any.unpack(as: TcpProxy.self).clusterSpecifier == .cluster("BlackHoleCluster"))
    }

    @Test("X-5 a rule for a host of another namespace counts for callers of its own namespace only, and warns")
    func hostOwnership() throws {
        let world = try World(
            World.service("web", ip: 1, namespace: "shop"),
            World.rule(
                "taken",
                "hosts: [web.shop.svc.cluster.local]\nhttp: [{name: taken, route: [{destination: {host: web.shop.svc.cluster.local}}]}]"
            ))
        #expect(try world.snapshot("default/caller").virtualHost("80", "web.shop").routes.first?.name == "taken")
        #expect(try world.snapshot("shop/caller").virtualHost("80", "web").routes.first?.name == "default")
        #expect(world.warnings(.virtualService).contains { $0.contains("belongs to namespace shop") })
    }
}
