import DNS
import IO
import KubernetesAPI
import Mesh
import Serialization
import Synchronization
import Testing

@testable import ControlPlane

@Suite("Names of the cluster")
struct NameServiceTests {
    @Test("names follow from the slices of headless services: no others are read, however many there are")
    func headless() {
        func service(_ name: String, _ address: String) -> KubernetesObject {
            KubernetesObject(json: [
                "metadata": ["name": .string(name), "namespace": "shop"],
                "spec": ["clusterIP": .string(address), "ports": [["name": "http", "port": 80]]],
            ])
        }
        func slice(_ service: String) -> KubernetesObject {
            KubernetesObject(json: [
                "metadata": [
                    "name": .string(service + "-0"), "namespace": "shop",
                    "labels": ["kubernetes.io/service-name": .string(service)],
                ],
                "endpoints": [["addresses": ["10.244.0.5"], "conditions": ["ready": true]]],
            ])
        }
        let services = (0..<50).map { service("s\($0)", "10.96.0.\($0)") } + [service("db", "None")]
        let slices = (0..<50).map { slice("s\($0)") } + [slice("db")]
        let read = NameFeed.headlessSlices(services, slices)
        #expect(read.keys.map(\.name) == ["db"] && read.values.first?.count == 1)
        let names = NameFeed.services(services, slices: slices)
        #expect(names.count == 51 && names.first { $0.name == "db" }?.endpoints.count == 1)
        #expect(names.allSatisfy { $0.name == "db" || $0.endpoints.isEmpty })
    }

    @Test("a joined machine's name server is told services one by one, and everything anew when it begins")
    func told() async throws {
        func service(_ name: String, _ address: String) -> JSON {
            [
                "service": [
                    "metadata": ["name": .string(name), "namespace": "shop"],
                    "spec": ["clusterIP": .string(address), "ports": [["name": "http", "port": 80]]],
                ], "slices": [],
            ]
        }
        let loop = try EventLoop.start(name: "told-names")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let socket = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0))
            let address = try #require(socket.localAddress)
            let fallback = UpstreamGroup(ResolverConfiguration.host())
            let server = DNSServer(on: loop, forwarder: Forwarder(ForwardingPlan(fallback), on: loop))
            let names = ToldNames(server, fallback, loop)
            var configuration = ResolverConfiguration(servers: [address])
            configuration.timeout = .seconds(30)
            let resolver = DNSResolver(on: loop, configuration: configuration, hosts: HostsFile(text: ""))
            func found(_ host: String) async -> [String] {
                (try? await resolver.resolve(host, .v4).addresses.map(\.description)) ?? []
            }
            /// Names are made anew after a while when that has just taken time; answers are kept for their own.
            func until(_ host: String, _ wanted: [String]) async {
                let end = loop.now + .seconds(30)
                while await found(host) != wanted, loop.now < end { await loop.sleep(for: .milliseconds(50)) }
                #expect(await found(host) == wanted)
            }
            names.take([
                "isWhole": true, "servers": ["127.0.0.1"], "reverse": ["10.96.0.0/16"],
                "hosts": ["x.example": ["192.0.2.1"]],
                "services": [
                    "shop/a": service("a", "10.96.0.1"), "shop/b": service("b", "10.96.0.2"),
                    "shop/e": service("e", "10.96.0.5"),
                ],
            ])
            names.publish()
            try server.serve(datagrams: socket)
            await until("b.shop.svc.cluster.local", ["10.96.0.2"])
            names.take(["isWhole": false, "services": ["shop/a": .null, "shop/c": service("c", "10.96.0.3")]])
            names.publish()
            await until("c.shop.svc.cluster.local", ["10.96.0.3"])
            await until("a.shop.svc.cluster.local", [])
            await until("b.shop.svc.cluster.local", ["10.96.0.2"])
            await until("x.example", ["192.0.2.1"])
            names.take(["isWhole": true, "services": ["shop/d": service("d", "10.96.0.4")]])
            names.publish()
            await until("d.shop.svc.cluster.local", ["10.96.0.4"])
            await until("e.shop.svc.cluster.local", [])
            server.stop()
        }.value
    }

    @Test("S-17 hosts of ServiceEntries are answered here, and told to joined machines with the settings of names")
    func names() async throws {
        let names = try NameService(reversePrefixes: [])
        defer { names.stop() }
        let told = Mutex<[JSON]>([])
        names.furtherChanged = { message in told.withLock { $0.append(message) } }
        var web = ServiceNames(name: "web", namespace: "shop")
        web.clusterIPs = [.v4(0x0A60_0007)]
        names.update([web], hosts: ["api.example.org": [.v4(0xF0F0_0005)]])
        #expect(
            told.withLock(\.last)
                == ["op": "names", "hosts": ["api.example.org": ["240.240.0.5"]], "configMaps": [:]])

        let socket = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0))
        let address = try #require(socket.localAddress)
        names.serve(socket, address: "127.0.0.1:53", transport: "udp")
        let loop = try EventLoop.start(name: "names-test")
        defer { loop.stop() }
        var configuration = ResolverConfiguration(servers: [address])
        configuration.timeout = .seconds(30)
        let resolver = DNSResolver(on: loop, configuration: configuration, hosts: HostsFile(text: ""))
        func addresses(_ host: String) async throws -> [String] {
            try await resolver.resolve(host, .v4).addresses.map(\.description)
        }
        #expect(try await addresses("web.shop.svc.cluster.local") == ["10.96.0.7"])
        #expect(try await addresses("api.example.org") == ["240.240.0.5"])
        // Where names are answered is a name, too.
        #expect(try await addresses("ns.dns.cluster.local") == ["127.0.0.1"])

        // Of the cluster's ConfigMaps only these two are settings of names; what is not done is counted.
        func configMap(_ namespace: String, _ data: JSON) -> KubernetesObject {
            KubernetesObject(json: [
                "kind": "ConfigMap", "apiVersion": "v1",
                "metadata": ["name": "coredns", "namespace": .string(namespace)],
                "data": data,
            ])
        }
        let corefile: JSON = ["Corefile": ". {\n log\n rewrite name a b\n}"]
        names.use([configMap("elsewhere", corefile)])
        #expect(told.withLock(\.count) == 1)
        names.use([configMap("kube-system", corefile)])
        names.use([configMap("kube-system", corefile)])
        #expect(told.withLock(\.count) == 2)
        #expect(told.withLock(\.last)?["configMaps"]?["coredns"] == corefile)
        // A question that comes at the same time may still be answered by the settings before.
        let deadline = ContinuousClock.now + .seconds(60)
        while !names.counts.metrics.contains("skein_dns_settings_problems 1\n"), ContinuousClock.now < deadline {
            #expect(try await addresses("web.shop.svc.cluster.local") == ["10.96.0.7"])
        }
        #expect(names.counts.metrics.contains("skein_dns_settings_problems 1\n"))
        #expect(names.counts.metrics.contains("skein_dns_queries_total"))
    }
}
