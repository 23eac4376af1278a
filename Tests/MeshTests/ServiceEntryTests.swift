import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("ServiceEntries and WorkloadEntries (S-14 to S-17)")
struct ServiceEntryTests {
    static func entry(
        _ name: String, created: String = "2026-01-01T00:00:00Z", namespace: String = "default", _ spec: String
    ) -> String {
        World.rule(name, created: created, namespace: namespace, spec)
            .replacing("kind: VirtualService", with: "kind: ServiceEntry")
    }

    static func external(_ name: String, namespace: String = "default", _ spec: String) -> String {
        World.rule(name, namespace: namespace, spec).replacing("kind: VirtualService", with: "kind: WorkloadEntry")
    }

    private let host = "db.example.com"
    private let cluster = "outbound|5432||db.example.com"

    private func world(_ spec: String, _ more: String...) throws -> World {
        try World(
            ([Self.entry("db", "hosts: [db.example.com]\nports: [{number: 5432, name: tcp, protocol: TCP}]\n\(spec)")]
                + more)
                .joined())
    }

    @Test("S-14 NONE goes where the connection was going, to any address when it has none")
    func original() throws {
        let snapshot = try world("resolution: NONE").snapshot()
        #expect(try snapshot.cluster(cluster).clusterDiscoveryType == .type(.originalDst))
        let chain = try #require(try snapshot.listener("virtualOutbound").filterChains.first)
        #expect(chain.filterChainMatch?.destinationPort == 5432 && chain.filterChainMatch?.prefixRanges.isEmpty == true)
        let ranged = try world("resolution: NONE\naddresses: [192.0.2.0/24]").snapshot()
        let range = try ranged.listener("virtualOutbound").filterChains.first?.filterChainMatch?.prefixRanges.first
        #expect(range?.addressPrefix == "192.0.2.0" && range?.prefixLen == 24)
    }

    @Test("S-14 STATIC has the listed endpoints, with their own ports, weights and localities")
    func fixed() throws {
        let snapshot = try world(
            """
            resolution: STATIC
            endpoints:
            - {address: 192.0.2.1, ports: {tcp: 15432}, weight: 3, locality: eu/a}
            - {address: 'unix:///run/db.sock'}
            """
        ).snapshot()
        #expect(try snapshot.cluster(cluster).clusterDiscoveryType == .type(.eds))
        let assignment: ClusterLoadAssignment = try #require(snapshot.endpoints[cluster]).message.unpack()
        let hosts = assignment.endpoints.flatMap(\.lbEndpoints)
        #expect(hosts.map(\.loadBalancingWeight).contains(3))
        #expect(try snapshot.hosts(cluster).contains("192.0.2.1:15432"))
        #expect(
            hosts.contains {
                if case .endpoint(let endpoint) = $0.hostIdentifier, case .pipe(let pipe) = endpoint.address?.address {
                    pipe.path == "/run/db.sock"
                } else {
                    false
                }
            })
    }

    private func names(_ cluster: Cluster) -> [String] {
        (cluster.loadAssignment?.endpoints ?? []).flatMap(\.lbEndpoints).compactMap { host in
            guard case .endpoint(let endpoint) = host.hostIdentifier,
                case .socketAddress(let socket) = endpoint.address?.address
            else { return nil }
            return socket.address
        }
    }

    @Test("S-14 S-19 DNS resolves the endpoints' names, or that of the host, and asks for failures again within 60 s")
    func dns() throws {
        let itself = try world("resolution: DNS\naddresses: [192.0.2.0/24]").snapshot().cluster(cluster)
        #expect(itself.clusterDiscoveryType == .type(.strictDns) && itself.respectDnsTtl)
        #expect(names(itself) == [host])
        #expect(itself.dnsFailureRefreshRate?.maxInterval == .seconds(60) && itself.dnsRefreshRate == .seconds(60))
        let listed = try world("resolution: DNS\nendpoints: [{address: a.example.org}, {address: b.example.org}]")
        #expect(try names(listed.snapshot().cluster(cluster)) == ["a.example.org", "b.example.org"])
        #expect(listed.snapshot().endpoints[cluster] == nil)
    }

    @Test("S-14 DNS_ROUND_ROBIN takes the address of the moment, of one name")
    func roundRobin() throws {
        let made = try world(
            "resolution: DNS_ROUND_ROBIN\nendpoints: [{address: a.example.org}, {address: b.example.org}]"
        ).snapshot().cluster(cluster)
        #expect(made.clusterDiscoveryType == .type(.logicalDns) && names(made) == ["a.example.org"])
    }

    @Test("S-14 DYNAMIC_DNS resolves the name that the request asks for")
    func dynamic() throws {
        let world = try World(
            Self.entry(
                "wild",
                "hosts: ['*.example.com']\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: DYNAMIC_DNS"))
        let snapshot = world.snapshot()
        guard case .clusterType(let type) = try snapshot.cluster("outbound|80||*.example.com").clusterDiscoveryType
        else { return #expect(Bool(false), "a custom type is expected") }
        #expect(type.name == "envoy.clusters.dynamic_forward_proxy")
        let manager = try Chains.manager(snapshot.listener("virtualOutbound").filterChains.first)
        #expect(manager.httpFilters.map(\.name).contains("envoy.filters.http.dynamic_forward_proxy"))
        #expect(manager.httpFilters.last?.name == "envoy.filters.http.router")
        #expect(try snapshot.virtualHost("80", "*.example.com").domains.contains("*.example.com:80"))
    }

    @Test("S-14 a selector finds the pods and the WorkloadEntries of the namespace")
    func selector() throws {
        let snapshot = try world(
            "location: MESH_INTERNAL\nresolution: STATIC\nworkloadSelector: {labels: {app: db}}",
            World.pod("p", "db", ip: 5), World.pod("other", "db", ip: 6, namespace: "else"),
            Self.external("vm", "address: 192.0.2.9\nlabels: {app: db}\nports: {tcp: 15432}"),
            Self.external("else", "address: 192.0.2.8\nlabels: {app: web}")
        ).snapshot()
        #expect(try snapshot.hosts(cluster) == ["10.244.0.5:5432", "192.0.2.9:15432"])
    }

    @Test("a Kubernetes service has the WorkloadEntries that it selects, too")
    func migration() throws {
        let world = try World(
            World.service("web", ip: 1), World.pod("p", "web", ip: 5),
            Self.external("vm", "address: 192.0.2.9\nlabels: {app: web}"))
        #expect(
            try world.snapshot().hosts("outbound|80||web.default.svc.cluster.local") == [
                "10.244.0.5:8080", "192.0.2.9:8080",
            ])
    }

    @Test("S-15 a ServiceEntry for a host of Kubernetes only decorates it")
    func decoration() throws {
        let world = try World(
            World.service("web", ip: 1), World.pod("p", "web", ip: 5),
            Self.entry(
                "web",
                "hosts: [web.default.svc.cluster.local]\nports: [{number: 81, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 192.0.2.1}]\nsubjectAltNames: [spiffe://a]"
            ))
        let service = try #require(world.model.services.values.first)
        #expect(service.subjectAltNames == ["spiffe://a"] && service.ports.map(\.number) == [80])
        #expect(world.model.sortedServices.count == 1)
        #expect(try world.snapshot().hosts("outbound|80||web.default.svc.cluster.local") == ["10.244.0.5:8080"])
    }

    @Test("S-16 a service is external unless it says MESH_INTERNAL")
    func location() throws {
        #expect(try world("resolution: NONE").model.sortedServices.map(\.isExternal) == [true])
        #expect(
            try world("resolution: NONE\nlocation: MESH_INTERNAL").model.sortedServices.map(\.isExternal) == [false])
    }

    @Test("S-17 services without addresses get one from their host's name, which no later service takes away")
    func allocation() throws {
        let first = try world("resolution: DNS")
        let addresses = try #require(first.model.sortedServices.first).addresses
        #expect(addresses.count == 2)
        #expect(addresses[0].hasPrefix("240.240.") && addresses[1].hasPrefix("2001:2::f0f0:"))
        let later = (0..<300).map {
            Self.entry(
                "x\($0)", created: "2025-01-01T00:00:00Z",
                "hosts: [h\($0).example.com]\nports: [{number: 5432, name: tcp, protocol: TCP}]\nresolution: DNS")
        }
        let full = try world("resolution: DNS", later.joined()).model.sortedServices
        #expect(Set(full.map(\.addresses)).count == 301)
        #expect(full.first { $0.host == host }?.addresses == addresses)
        // A TCP chain for each of them; the proxy asks DNS for the real address under another name.
        let snapshot = first.snapshot()
        let match = try snapshot.listener("virtualOutbound").filterChains.first?.filterChainMatch
        #expect(match?.prefixRanges.map(\.addressPrefix) == addresses)
        #expect(try names(snapshot.cluster(cluster)) == ["db.example.com.origin.cluster.local"])
    }

    @Test("S-17 NONE, wildcards and the opt-out label get no address")
    func noAllocation() throws {
        let port = "ports: [{number: 80, name: http, protocol: HTTP}]"
        let world = try World(
            Self.entry("a", "hosts: [a.example.com]\n\(port)\nresolution: NONE"),
            Self.entry("b", "hosts: ['*.example.com']\n\(port)\nresolution: STATIC"),
            Self.entry("c", "hosts: [c.example.com]\n\(port)\nresolution: DNS").replacing(
                "metadata: {", with: "metadata: {labels: {networking.istio.io/enable-autoallocate-ip: \"false\"}, "))
        #expect(world.model.sortedServices.allSatisfy { $0.addresses.isEmpty })
    }

    @Test("S-4 of two services for any address of a port the older one gets it")
    func anyAddress() throws {
        func raw(_ name: String, _ day: Int) -> String {
            Self.entry(
                name, created: "2026-01-0\(day)T00:00:00Z",
                "hosts: [\(name).example.com]\nports: [{number: 99, name: tcp, protocol: TCP}]\nresolution: NONE")
        }
        func http(_ day: Int) -> String {
            World.service("web", ip: 1, port: "{name: http, port: 99}").replacing(
                "2026-01-01", with: "2026-01-0\(day)")
        }
        func chains(_ yaml: String...) throws -> [FilterChain] {
            try World(yaml.joined()).snapshot().listener("virtualOutbound").filterChains
        }
        #expect(try chains(raw("young", 3), raw("old", 2)).map(\.name) == ["old.example.com_99_tcp"])
        #expect(try chains(raw("raw", 3), http(1)).map(\.name) == ["0.0.0.0_99"])
        let older = try chains(raw("raw", 1), http(3))
        #expect(older.map(\.name) == ["0.0.0.0_99", "raw.example.com_99_tcp"])
        #expect(older.first?.filterChainMatch?.prefixRanges.map(\.addressPrefix) == ["10.96.0.1"])
    }

    @Test("R-3 hosts of ServiceEntries have no short names; R-10 exportTo hides them")
    func names() throws {
        func world(_ more: String) throws -> World {
            try World(
                Self.entry(
                    "a",
                    "hosts: [api.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: DNS\n\(more)"
                ))
        }
        #expect(
            try world("").snapshot().virtualHost("80", "api.example.com").domains.filter {
                !$0.contains("240.240") && !$0.hasPrefix("[")
            }
                == ["api.example.com", "api.example.com:80"])
        #expect(try world("exportTo: ['.']").snapshot("else/x").clusters["outbound|80||api.example.com"] == nil)
        #expect(try world("exportTo: ['.']").snapshot().clusters["outbound|80||api.example.com"] != nil)
    }

    @Test("of two ServiceEntries for one host the caller's own counts, else the oldest")
    func rivals() throws {
        func entry(_ namespace: String, _ day: Int) -> String {
            Self.entry(
                "a", created: "2026-01-0\(day)T00:00:00Z", namespace: namespace,
                "hosts: [api.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 192.0.2.\(day)}]"
            )
        }
        let world = try World(entry("one", 2), entry("two", 1))
        let name = "outbound|80||api.example.com"
        #expect(try world.snapshot("one/x").hosts(name) == ["192.0.2.2:80"])
        #expect(try world.snapshot("two/x").hosts(name) == ["192.0.2.1:80"])
        #expect(try world.snapshot("else/x").hosts(name) == ["192.0.2.1:80"])
    }
}
