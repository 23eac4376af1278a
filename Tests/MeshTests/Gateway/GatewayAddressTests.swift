import EnvoyAPI
import KubernetesAPI
import Serialization
import Testing

@testable import Mesh

@Suite("Gateways with addresses of their own (section I)")
struct GatewayAddressTests {
    private func key(_ name: String) -> NamespacedName { NamespacedName(namespace: "default", name: name) }
    private let newer = "2026-02-01T00:00:00Z"
    private struct Missing: Error {}

    private func route(_ name: String, _ gateway: String, _ service: String, hosts: String = "") -> String {
        GatewayYAML.http(
            name, parents: "{name: \(gateway)}", hosts: hosts, "{backendRefs: [{name: \(service), port: 80}]}")
    }

    private func target(_ world: World, _ gateway: String, _ port: Int, isDatagram: Bool = false) throws -> Int {
        try #require(
            world.model.gatewayAPI.doors.target(key(gateway), OpenedPort(number: port, isDatagram: isDatagram)))
    }

    /// The routes that the only chain of a listener asks for.
    private func routes(_ snapshot: ProxySnapshot, _ listener: String) throws -> RouteConfiguration {
        let filters = try snapshot.listener(listener).filterChains.first?.filters ?? []
        for filter in filters {
            guard case .typedConfig(let config) = filter.configType,
                let manager = try? config.unpack(as: HttpConnectionManager.self),
                case .rds(let rds) = manager.routeSpecifier
            else { continue }
            return try snapshot.route(rds.routeConfigName)
        }
        Issue.record("listener \(listener) asks for no routes")
        return RouteConfiguration()
    }

    @Test("I-16 two Gateways with one port and host each answer with their own routes at their own address")
    func ownRoutes() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.gateway(named: "newer", created: newer, GatewayYAML.listener), route("a", "gw", "web"),
            route("b", "newer", "other"))
        let snapshot = world.gatewaySnapshot()
        let (first, second) = (try target(world, "gw", 80), try target(world, "newer", 80))
        #expect(first != second)
        let one = try routes(snapshot, "0.0.0.0_\(first)").virtualHosts
        let other = try routes(snapshot, "0.0.0.0_\(second)").virtualHosts
        #expect(one.flatMap(\.outline) == ["prefix:/ -> outbound|80||web.default.svc.cluster.local"])
        #expect(other.flatMap(\.outline) == ["prefix:/ -> outbound|80||other.default.svc.cluster.local"])
        #expect(
            try routes(snapshot, "0.0.0.0_80").virtualHosts.flatMap(\.outline).first == one.flatMap(\.outline).first,
            "at the pod's own port the older one's come first, as ever")
        #expect(
            world.model.gatewayAddresses.map { "\($0.gateway) \($0.ports.map { "\($0.name)=\($0.target)" })" } == [
                "default/gw [\"http-80=\(first)\"]", "default/newer [\"http-80=\(second)\"]",
            ])
        #expect(world.model.openedPorts(labels: ["istio": "ingressgateway"]) == [OpenedPort(number: 80)])
    }

    @Test("I-16 routes of a Gateway that is alone on its port are sent once")
    func alone() throws {
        let world = try World.gatewayAPI(GatewayYAML.gateway(GatewayYAML.listener), route("a", "gw", "web"))
        let snapshot = world.gatewaySnapshot()
        let own = try target(world, "gw", 80)
        #expect(Array(snapshot.routes.keys) == ["http.80"])
        #expect(try routes(snapshot, "0.0.0.0_\(own)") == routes(snapshot, "0.0.0.0_80"))
        let shared = try World.gatewayAPI(
            World.gateway.replacing(World.gatewayPod, with: ""), GatewayYAML.gateway(GatewayYAML.listener),
            route("a", "gw", "web"))
        #expect(
            shared.gatewaySnapshot().routes.keys.sorted() == ["http.\(own)", "http.80"].sorted(),
            "an Istio Gateway has the port as well")
    }

    @Test("I-16 one server name at two Gateways leads to the certificate and the routes of each")
    func serverNames() throws {
        func https(_ secret: String) -> String {
            "name: s, port: 443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: \(secret)}]}"
        }
        let world = try World.gatewayAPI(
            GatewayYAML.secret("one"), GatewayYAML.secret("two"), GatewayYAML.gateway(https("one")),
            GatewayYAML.gateway(named: "newer", created: newer, https("two")), route("a", "gw", "web"),
            route("b", "newer", "other"))
        let snapshot = world.gatewaySnapshot()
        for (gateway, secret, service) in [("gw", "one", "web"), ("newer", "two", "other")] {
            let port = try target(world, gateway, 443)
            let listener = try snapshot.listener("0.0.0.0_\(port)")
            #expect(listener.listenerFilters.count == 1, "server names must be seen")
            let socket = try #require(listener.filterChains.first?.transportSocket)
            guard case .typedConfig(let any) = socket.configType else { throw Missing() }
            let tls: DownstreamTlsContext = try any.unpack()
            let names = tls.commonTlsContext?.tlsCertificateSdsSecretConfigs.map(\.name) ?? []
            #expect(names.count == 1 && names[0].contains("default/\(secret)"))
            #expect(
                try routes(snapshot, "0.0.0.0_\(port)").virtualHosts.flatMap(\.outline)
                    == ["prefix:/ -> outbound|80||\(service).default.svc.cluster.local"])
        }
        #expect(try snapshot.listener("0.0.0.0_443").filterChains.count == 1, "the pod's own port is the older one's")
    }

    @Test("I-16 bytes and datagrams of two Gateways on one port are told apart")
    func streams() throws {
        let listeners = ["name: t, port: 9000, protocol: TCP", "name: u, port: 9000, protocol: UDP"]
        func streams(_ kind: String, _ gateway: String, _ service: String) -> String {
            GatewayYAML.object(
                kind, "\(kind.lowercased())-\(gateway)",
                "parentRefs: [{name: \(gateway)}], rules: [{backendRefs: [{name: \(service), port: 80}]}]")
        }
        func datagrams(_ name: String, _ ip: Int) -> String {
            World.service(name, ip: ip, port: "{name: d, port: 80, protocol: UDP}")
        }
        let world = try World.gatewayAPI(
            datagrams("one", 21), datagrams("two", 22),
            GatewayYAML.gateway(listeners[0], listeners[1]),
            GatewayYAML.gateway(named: "newer", created: newer, listeners[0], listeners[1]),
            streams("TCPRoute", "gw", "web"), streams("TCPRoute", "newer", "other"),
            streams("UDPRoute", "gw", "one"), streams("UDPRoute", "newer", "two"))
        let snapshot = world.gatewaySnapshot()
        for (gateway, service, other) in [("gw", "web", "one"), ("newer", "other", "two")] {
            let bytes = try snapshot.listener("0.0.0.0_\(try target(world, gateway, 9000))")
            guard case .typedConfig(let any) = bytes.filterChains.first?.filters.last?.configType else {
                throw Missing()
            }
            let proxy: TcpProxy = try any.unpack()
            #expect(proxy.clusterSpecifier == .cluster("outbound|80||\(service).default.svc.cluster.local"))
            let datagrams = try target(world, gateway, 9000, isDatagram: true)
            let listener = try snapshot.listener("0.0.0.0_\(datagrams)_udp")
            guard case .typedConfig(let config) = listener.listenerFilters.first?.configType else { throw Missing() }
            let datagram: UdpProxyConfig = try config.unpack()
            #expect(datagram.routeSpecifier == .cluster("datagrams|80||\(other).default.svc.cluster.local"))
        }
        #expect(
            snapshot.listeners.keys.filter { $0.hasPrefix("0.0.0.0_9000") }.sorted() == [
                "0.0.0.0_9000", "0.0.0.0_9000_udp",
            ])
    }

    @Test("I-16 spec.addresses and spec.infrastructure are carried over, or refused with the reason")
    func wishes() throws {
        func conditions(_ addresses: String, own: [String]) throws -> [String] {
            let world = try World.gatewayAPI(
                GatewayYAML.gateway(more: "addresses: [\(addresses)]", GatewayYAML.listener))
            let state = GatewayState(addresses: ["10.0.0.1"], ownAddresses: [key("gw"): own], isProgrammed: true)
            return World.outline(try world.status(.gatewayAPIGateway, "gw", state)["conditions"])
        }
        let fine = ["Accepted=True:Accepted", "Programmed=True:Programmed"]
        let unusable = ["Accepted=True:Accepted", "Programmed=False:AddressNotUsable"]
        #expect(try conditions("{type: IPAddress, value: 10.97.0.9}", own: ["10.97.0.9"]) == fine)
        #expect(try conditions("{type: IPAddress, value: 10.97.0.9}", own: ["10.97.0.2"]) == unusable)
        #expect(try conditions("{type: IPAddress, value: ''}", own: ["10.97.0.2"]) == fine, "any will do")
        #expect(try conditions("{type: Hostname, value: a.example}", own: ["10.97.0.2"]) == unusable)
        #expect(
            try conditions("{type: example.com/T, value: x}", own: ["10.97.0.2"]).first
                == "Accepted=False:UnsupportedAddress")
        let shared = "{type: Hostname, value: istio-ingressgateway.skein-system.svc.cluster.local}"
        #expect(try conditions(shared, own: []) == fine, "the pod's own Service has the address 10.0.0.1")
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(
                more: "addresses: [{value: 10.97.0.9}]\n  infrastructure: {labels: {a: b}, annotations: {c: d}}",
                GatewayYAML.listener))
        let address = try #require(world.model.gatewayAddresses.first)
        #expect(address.address == "10.97.0.9" && address.labels == ["a": "b"] && address.annotations == ["c": "d"])
    }

    @Test("I-16 a Gateway that names the pod's own Service as its address shares its ports, and gets no other")
    func shared() throws {
        let address = "addresses: [{type: Hostname, value: istio-ingressgateway.skein-system.svc.cluster.local}]"
        let world = try World.gatewayAPI(
            GatewayYAML.gateway("name: t, port: 9000, protocol: TCP"),
            GatewayYAML.gateway(
                named: "newer", created: newer, more: address, "name: t, port: 9000, protocol: TCP",
                GatewayYAML.listener))
        #expect(world.model.gatewayAddresses.map(\.gateway.name) == ["gw"])
        #expect(try world.listener("t", gateway: "newer").first == "Accepted=False:PortUnavailable")
        #expect(try world.listener("http", gateway: "newer").first == "Accepted=True:Accepted")
        #expect(world.gatewaySnapshot().listeners.keys.contains("0.0.0.0_80"))
    }

    @Test("ports behind addresses follow from the Gateway's name, and are nobody else's")
    func doors() throws {
        let all = (0..<2_000).map { number in
            GatewayDoors.Door(gateway: key("gw-\(number)"), port: OpenedPort(number: 80 + number % 2))
        }
        let made = GatewayDoors(all, taken: [])
        #expect(Set(made.targets.values).count == 2_000)
        #expect(made.targets.values.allSatisfy(GatewayDoors.range.contains))
        #expect(GatewayDoors(all, taken: []) == made)
        let first = try #require(made.targets[all[0]])
        let moved = GatewayDoors(all, taken: [first])
        #expect(moved.targets[all[0]] != first)
        #expect(!moved.targets.values.contains(first))
        // Younger ones never move an older one.
        let fewer = GatewayDoors(Array(all.prefix(1_000)), taken: [])
        #expect(fewer.targets.allSatisfy { made.targets[$0.key] == $0.value })
        // All ports are given, and no more than there are.
        let many = (0..<GatewayDoors.range.count + 5).map {
            GatewayDoors.Door(gateway: key("gw"), port: OpenedPort(number: $0))
        }
        let full = GatewayDoors(many, taken: [80, first])
        #expect(full.targets.count == GatewayDoors.range.count - 1)
        #expect(full.targets[many[0]] != nil)
    }
}
