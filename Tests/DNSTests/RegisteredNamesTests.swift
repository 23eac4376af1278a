import DNS
import IO
import Testing

@Suite("Names of registered programs")
struct RegisteredNamesTests {
    private static func zone(_ change: (inout RegisteredNames) -> Void = { _ in }) throws -> Zone {
        var names = RegisteredNames(domain: "consul", datacenter: "dc1")
        let (one, two) = (try #require(IPAddress("192.0.2.1")), try #require(IPAddress("192.0.2.2")))
        names.nodes = ["here": one]
        names.instances = [
            RegisteredNames.Instance(service: "web", tags: ["V1"], node: "here", address: one, port: 80, weight: 3),
            RegisteredNames.Instance(service: "web", tags: [], node: "here", address: two, port: 81, weight: 1),
        ]
        change(&names)
        return Zone(registered: names)
    }

    private static func ask(_ zone: Zone, _ name: String, _ type: RecordType = .a) throws -> Zone.Answer {
        let wanted = try #require(Name(name))
        return try #require(zone.answer(Question(name: wanted, type: type)))
    }

    @Test(
        "a service has the addresses of its instances, a tag those of the instances that have it, a node its own",
        arguments: [
            ("web.service.consul", 2), ("WEB.Service.Consul", 2), ("web.service.dc1.consul", 2),
            ("v1.web.service.consul", 1),
            ("v1.web.service.dc1.consul", 1), ("here.node.consul", 1), ("here.node.dc1.consul", 1),
        ])
    func addresses(name: String, count: Int) throws {
        #expect(try Self.ask(Self.zone(), name).answers.count == count)
    }

    @Test(
        "SRV names port, weight and the host of each instance, with its address beside",
        arguments: ["web.service.consul", "_web._tcp.service.consul"])
    func services(name: String) throws {
        let answer = try Self.ask(Self.zone(), name, .srv)
        let texts = answer.answers.map { record in
            if case .srv(_, let weight, let port, let target) = record.value { return "\(weight) \(port) \(target)" }
            return ""
        }.sorted()
        #expect(texts == ["1 81 c0000202.addr.dc1.consul", "3 80 here.node.dc1.consul"])
        #expect(answer.additionals.count == 2)
    }

    @Test("RFC 2782 with a tag names only instances that have it")
    func tagged() throws {
        #expect(try Self.ask(Self.zone(), "_web._v1.service.consul", .srv).answers.count == 1)
        #expect(try Self.ask(Self.zone(), "_web._v2.service.consul", .srv).code == .nameError)
    }

    @Test("what is not registered does not exist, and nobody else is asked; names between exist without records")
    func missing() throws {
        let zone = try Self.zone()
        let answer = try Self.ask(zone, "other.service.consul")
        #expect(answer.code == .nameError)
        #expect(answer.authorities.first?.name == Name("consul"))
        #expect(try Self.ask(zone, "service.consul").code == .success)
        let outside = try #require(Name("consul.example"))
        #expect(zone.answer(Question(name: outside, type: .a)) == nil)
    }

    @Test("a service with very many instances has as many records as an answer can hold")
    func many() throws {
        let zone = try Self.zone { names in
            names.instances = (0..<1_000).map { number in
                RegisteredNames.Instance(
                    service: "web", tags: [], node: "x", address: .v4(0xc633_0000 + UInt32(number)), port: 80, weight: 1
                )
            }
        }
        #expect(try Self.ask(zone, "web.service.consul").answers.count == RegisteredNames.instancesMax)
    }
}
