import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Sidecar (R-11, R-12)")
struct SidecarTests {
    private func sidecar(
        _ name: String, _ spec: String, namespace: String = "default", created: String = "2026-01-01T00:00:00Z"
    ) -> String {
        World.rule(name, created: created, namespace: namespace, spec)
            .replacing("kind: VirtualService", with: "kind: Sidecar")
    }

    private let services =
        World.service("web", ip: 1) + World.service("db", ip: 2, port: "{name: tcp, port: 99}")
        + World.service("shop", ip: 3, namespace: "shop") + World.pod("caller", "caller", ip: 9)

    private func seen(_ world: World, _ pod: String = "default/caller") -> [String] {
        world.snapshot(pod).clusters.keys.filter { $0.hasPrefix("outbound|") }
            .compactMap { $0.split(separator: "|").last.map(String.init)?.split(separator: ".").first.map(String.init) }
            .sorted()
    }

    @Test("R-12 the egress list says which services a proxy knows; the rest is unmatched traffic")
    func egress() throws {
        func world(_ hosts: String, _ more: String = "") throws -> World {
            try World(services, sidecar("s", "egress: [{hosts: [\(hosts)]}]\n\(more)"))
        }
        #expect(try seen(world("'*/*'")) == ["db", "shop", "web"])
        #expect(try seen(world("'./*'")) == ["db", "web"])
        #expect(try seen(world("'~/*'")).isEmpty)
        #expect(try seen(world("'shop/*'")) == ["shop"])
        // What begins with ~ leaves out of what the others import.
        #expect(try seen(world("'*/*', '~shop/*'")) == ["db", "web"])
        #expect(try seen(world("'~/web.default.svc.cluster.local', '*/*'")) == ["db", "shop"])
        #expect(try seen(world("'*/*', '~./*'")) == ["shop"])
        #expect(try seen(world("'*/*', '~bank/*'")) == ["db", "shop", "web"])
        #expect(try seen(world("'*/web.default.svc.cluster.local'")) == ["web"])
        #expect(try seen(world("'*/*.shop.svc.cluster.local'")) == ["shop"])
        let scoped = try world("'./*'").snapshot()
        #expect(!(try scoped.route("80").virtualHosts.contains { $0.domains.contains("shop.shop") }))
        guard
            case .cluster(let unmatched) = try Chains.proxy(
                scoped.listener("virtualOutbound").defaultFilterChain
            ).clusterSpecifier
        else { return #expect(Bool(false)) }
        #expect(unmatched == "PassthroughCluster")
        let closed = try world("'./*'", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}").snapshot()
        #expect(
            try Chains.proxy(closed.listener("virtualOutbound").defaultFilterChain).clusterSpecifier
                == .cluster("BlackHoleCluster"))
    }

    @Test("R-11 a selecting Sidecar beats the namespace's, which beats the root's; the oldest wins, with a warning")
    func selection() throws {
        let root = sidecar("r", "egress: [{hosts: ['shop/*']}]", namespace: "istio-system")
        let own = sidecar("n", "egress: [{hosts: ['*/db.default.svc.cluster.local']}]", created: "2026-01-02T00:00:00Z")
        let selecting = sidecar(
            "s", "workloadSelector: {labels: {app: caller}}\negress: [{hosts: ['*/web.default.svc.cluster.local']}]",
            created: "2026-01-03T00:00:00Z")
        #expect(try seen(World(services, root)) == ["shop"])
        #expect(try seen(World(services, root, own)) == ["db"])
        #expect(try seen(World(services, root, own, selecting)) == ["web"])
        #expect(try seen(World(services, root, own, selecting), "shop/x") == ["shop"])
        let rival = sidecar("o", "egress: [{hosts: ['*/*']}]", created: "2026-01-01T00:00:00Z")
        let both = try World(services, own, rival)
        #expect(seen(both) == ["db", "shop", "web"])
        #expect(
            both.warnings(.sidecar).contains {
                $0.contains("the older Sidecar default/o for the same pods wins (R-11)")
            })
        // Not for gateways.
        #expect(
            try World(
                services, World.gateway, Security.meshConfig("skein: {gatewayClusters: istio}"),
                sidecar("r", "egress: [{hosts: ['~/*']}]", namespace: "istio-system")
            ).gatewaySnapshot().clusters.keys.contains("outbound|80||web.default.svc.cluster.local"))
    }

    @Test("R-12 what a rule in the list leads to is known, too")
    func destinations() throws {
        let world = try World(
            services,
            World.rule("r", "hosts: [web]\nhttp: [{route: [{destination: {host: shop.shop.svc.cluster.local}}]}]"),
            sidecar("s", "egress: [{hosts: ['*/web.default.svc.cluster.local']}]"))
        #expect(seen(world) == ["shop", "web"])
        #expect(
            try world.snapshot().virtualHost("80", "web").outline == [
                "prefix:/ -> outbound|80||shop.shop.svc.cluster.local"
            ])
    }

    @Test("R-12 an entry with a port is for that port only, one with bind is a listener of its own")
    func ports() throws {
        let world = try World(
            services, World.service("other", ip: 4, port: "{name: tcp, port: 99}", namespace: "shop"),
            sidecar(
                "s",
                """
                egress:
                - {port: {number: 99, protocol: TCP, name: t}, hosts: ['shop/*']}
                - {port: {number: 7000, protocol: HTTP, name: h}, bind: 127.0.0.1, captureMode: NONE, hosts: ['*/web.default.svc.cluster.local']}
                - {port: {number: 7001, protocol: TCP, name: t2}, bind: 'unix:///run/db', captureMode: NONE, hosts: ['*/db.default.svc.cluster.local']}
                - {hosts: ['./*']}
                """))
        let snapshot = world.snapshot()
        let names = try snapshot.listener("virtualOutbound").filterChains.map(\.name)
        #expect(names.contains { $0.contains("other.shop") } && !names.contains { $0.contains("db.default") })
        let http = try snapshot.listener("127.0.0.1_7000")
        #expect(http.filterChains.count == 1)
        #expect(
            try snapshot.virtualHost("127.0.0.1_7000", "web").routes.first?.destination
                == "outbound|80||web.default.svc.cluster.local")
        let path = try snapshot.listener("unix:///run/db")
        guard case .pipe(let pipe) = path.address?.address else { return #expect(Bool(false)) }
        #expect(pipe.path == "/run/db")
        #expect(
            try Chains.proxy(path.filterChains.first).clusterSpecifier
                == .cluster("outbound|99||db.default.svc.cluster.local"))
    }

    @Test("ingress entries say what leads to the application, in place of the pod's services")
    func ingress() throws {
        let world = try World(
            services, World.service("caller", ip: 5),
            sidecar(
                "s",
                """
                workloadSelector: {labels: {app: caller}}
                inboundConnectionPool: {tcp: {maxConnections: 7}}
                ingress:
                - {port: {number: 9080, protocol: HTTP, name: h}, defaultEndpoint: '127.0.0.1:8080'}
                - {port: {number: 9443, protocol: TCP, name: t}, defaultEndpoint: 'unix:///run/app', connectionPool: {tcp: {maxConnections: 3}}}
                - {port: {number: 9090, protocol: TCP, name: u}}
                """))
        let snapshot = world.snapshot()
        let inbound = snapshot.clusters.keys.filter { $0.hasPrefix("inbound|") }.sorted()
        #expect(inbound == ["inbound|9080||", "inbound|9090||", "inbound|9443||"])
        let http = try snapshot.cluster("inbound|9080||")
        #expect(http.clusterDiscoveryType == .type(.static) && http.upstreamBindConfig == nil)
        #expect(http.circuitBreakers?.thresholds.first?.maxConnections == 7)
        #expect(try snapshot.cluster("inbound|9443||").circuitBreakers?.thresholds.first?.maxConnections == 3)
        #expect(try snapshot.cluster("inbound|9090||").clusterDiscoveryType == .type(.originalDst))
        let ports = try snapshot.listener("virtualInbound").filterChains.compactMap(\.filterChainMatch?.destinationPort)
        #expect(Set(ports).isSuperset(of: [9080, 9443, 9090]) && !ports.contains(8080))
    }

    @Test("a Sidecar that cannot be is refused, one that does nothing is warned of")
    func analysis() throws {
        func warnings(_ spec: String) throws -> [String] {
            try World(services, sidecar("s", spec)).warnings(.sidecar)
        }
        #expect(try warnings("egress: [{hosts: [web]}]").contains { $0.contains("must be NAMESPACE/HOST") })
        #expect(
            try warnings("egress: [{hosts: ['*/nowhere.default.svc.cluster.local']}]").contains {
                $0.contains("nothing is imported")
            })
        #expect(try warnings("workloadSelector: {labels: {app: none}}").contains { $0.contains("no pod") })
        #expect(
            try warnings("ingress: [{port: {number: 80, protocol: HTTP, name: h}, defaultEndpoint: 'x:1'}]").contains {
                $0.contains("is none of 127.0.0.1:PORT")
            })
    }
}
