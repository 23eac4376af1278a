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
