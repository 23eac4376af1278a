import IO
import KubernetesAPI
import Network
import Serialization
import Testing

@testable import Workloads

@Suite("Services on a node, change by change")
struct ServiceBookTests {
    private static func service(_ number: Int, _ extra: [String: JSON] = [:]) -> JSON {
        var spec: [String: JSON] = [
            "clusterIPs": [.string("10.96.\(number / 250).\(1 + number % 250)")],
            "ports": [["name": "http", "port": 80]],
        ]
        for (name, value) in extra { spec[name] = value }
        return ["metadata": ["name": .string("s\(number)"), "namespace": "shop"], "spec": .object(spec)]
    }

    private static func slice(_ number: Int, _ address: String, of service: Int? = nil) -> JSON {
        [
            "metadata": [
                "name": .string("s\(number)-0"), "namespace": "shop",
                "labels": ["kubernetes.io/service-name": .string("s\(service ?? number)")],
            ],
            "ports": [["name": "http", "port": 8000]],
            "endpoints": [["addresses": [.string(address)], "conditions": ["ready": true]]],
        ]
    }

    private static func mirror(_ count: Int) -> ObjectMirror {
        var mirror = ObjectMirror()
        mirror.replace(.service, (0..<count).map { service($0) })
        mirror.replace(.slice, (0..<count).map { slice($0, "10.244.0.\($0 % 200)") })
        return mirror
    }

    @Test("one changed slice is one service that is looked at, however many there are", arguments: [20, 200])
    func growth(count: Int) throws {
        var (mirror, book) = (Self.mirror(count), ServiceBook())
        let all = mirror.takeServiceChanges()
        #expect(all.isWhole && all.parts.count == count)
        #expect(book.update(all, local: [], zone: nil).count == count)
        let translations = book.translations
        mirror.set(.slice, Self.slice(7, "10.244.9.9"))
        let changes = mirror.takeServiceChanges()
        #expect(!changes.isWhole && changes.parts.map(\.key) == ["shop/s7"])
        let changed = book.update(changes, local: [], zone: nil)
        #expect(changed["shop/s7"]?.first?.endpoints.first?.address == IPAddress("10.244.9.9"))
        #expect(changed.count == 1 && book.translations - translations == 1)
        #expect(mirror.takeServiceChanges().parts.isEmpty)
    }

    @Test("a list that says the same as before changes nothing; what it leaves out goes")
    func relisted() {
        var (mirror, book) = (Self.mirror(20), ServiceBook())
        _ = book.update(mirror.takeServiceChanges(), local: [], zone: nil)
        mirror.replace(.service, (0..<20).map { Self.service($0) })
        #expect(book.update(mirror.takeServiceChanges(), local: [], zone: nil).isEmpty)
        mirror.replace(.service, (0..<19).map { Self.service($0) })
        #expect(book.update(mirror.takeServiceChanges(), local: [], zone: nil) == ["shop/s19": []])
        mirror.tellServicesAnew()
        #expect(mirror.takeServiceChanges().isWhole)
    }

    @Test("a slice that goes over to another service changes both; a service that goes has no ports")
    func moved() {
        var (mirror, book) = (Self.mirror(3), ServiceBook())
        _ = book.update(mirror.takeServiceChanges(), local: [], zone: nil)
        mirror.set(.slice, Self.slice(1, "10.244.0.1", of: 2))
        let changed = book.update(mirror.takeServiceChanges(), local: [], zone: nil)
        #expect(changed["shop/s1"]?.first?.endpoints.isEmpty == true && changed["shop/s2"]?.first?.endpoints.count == 2)
        mirror.remove(.service, Self.service(2))
        #expect(book.update(mirror.takeServiceChanges(), local: [], zone: nil) == ["shop/s2": []])
        #expect(book.ports.map(\.service) == ["shop/s0", "shop/s1"])
    }

    @Test("a pod that comes to this node is looked for in services that stay on the node, and in no others")
    func local() throws {
        var (mirror, book) = (Self.mirror(200), ServiceBook())
        mirror.set(.service, Self.service(5, ["internalTrafficPolicy": "Local"]))
        _ = book.update(mirror.takeServiceChanges(), local: [], zone: nil)
        let translations = book.translations
        let here = try #require(IPAddress("10.244.0.5"))
        let changed = book.update(mirror.takeServiceChanges(), local: [here], zone: nil)
        #expect(Set(changed.keys) == ["shop/s5"] && changed["shop/s5"]?.first?.local.count == 1)
        #expect(book.translations - translations == 1)
    }
}
