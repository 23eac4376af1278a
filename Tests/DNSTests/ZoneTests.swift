import IO
import Testing

@testable import DNS

@Suite("The zone of a cluster")
struct ZoneTests {
    static let zone: Zone = {
        var web = ServiceNames(name: "web", namespace: "default")
        web.clusterIPs = [.v4(0x0A60_0005)]
        web.ports = [.init(name: "http", number: 80), .init(name: "", number: 81)]
        var database = ServiceNames(name: "db", namespace: "shop")
        database.isHeadless = true
        database.ports = [.init(name: "sql", number: 5432)]
        database.endpoints = [
            .init(address: .v4(0x0AF4_0005), hostname: "db-0"), .init(address: .v4(0x0AF4_0006), ports: ["sql": 5433]),
        ]
        var alias = ServiceNames(name: "out", namespace: "shop")
        alias.externalName = "api.example.com"
        var inside = ServiceNames(name: "near", namespace: "shop")
        inside.externalName = "web.default.svc.cluster.local"
        var circle = ServiceNames(name: "circle", namespace: "shop")
        circle.externalName = "circle.shop.svc.cluster.local"
        var empty = ServiceNames(name: "empty", namespace: "shop")
        empty.isHeadless = true
        return Zone(
            services: [web, database, alias, inside, circle, empty],
            reversePrefixes: [Prefix("10.244.0.0/16"), Prefix("10.96.0.0/16")].compactMap(\.self),
            hosts: ["auto.example.org": [.v4(0xF0F0_0001)], "*.wild.example.org": [.v4(0xF0F0_0002)]],
            servers: [.v4(0x0AF4_0001)], serial: 7)
    }()

    private func answer(_ text: String, _ type: RecordType, rotation: Int = 0) throws -> Zone.Answer {
        try #require(Self.zone.answer(Question(name: name(text), type: type), rotation: rotation))
    }

    private func addresses(_ answer: Zone.Answer) -> [String] {
        answer.answers.compactMap { if case .address(let address) = $0.value { address.description } else { nil } }
    }

    @Test("S-18 a service has its cluster address, its reverse, and SRV records of named ports")
    func service() throws {
        #expect(addresses(try answer("WEB.default.svc.cluster.local", .a)) == ["10.96.0.5"])
        #expect(
            try answer("5.0.96.10.in-addr.arpa", .ptr).answers.first?.value
                == .ptr(name("web.default.svc.cluster.local")))
        let srv = try answer("_http._tcp.web.default.svc.cluster.local", .srv)
        let target = name("web.default.svc.cluster.local")
        #expect(srv.answers.map(\.value) == [.srv(priority: 0, weight: 100, port: 80, target: target)])
        #expect(srv.additionals.map(\.value) == [.address(.v4(0x0A60_0005))])
    }

    @Test("S-8 S-18 a headless service has one record for each ready endpoint, by host name too")
    func headless() throws {
        #expect(addresses(try answer("db.shop.svc.cluster.local", .a)) == ["10.244.0.5", "10.244.0.6"])
        #expect(addresses(try answer("db.shop.svc.cluster.local", .a, rotation: 1)) == ["10.244.0.6", "10.244.0.5"])
        #expect(addresses(try answer("db-0.db.shop.svc.cluster.local", .a)) == ["10.244.0.5"])
        #expect(addresses(try answer("10-244-0-6.db.shop.svc.cluster.local", .a)) == ["10.244.0.6"])
        let ports = try answer("_sql._tcp.db.shop.svc.cluster.local", .srv).answers.map(\.value)
        #expect(
            ports.contains(
                .srv(priority: 0, weight: 100, port: 5433, target: name("10-244-0-6.db.shop.svc.cluster.local"))))
        let reverse = try answer("5.0.244.10.in-addr.arpa", .ptr)
        #expect(reverse.answers.first?.value == .ptr(name("db-0.db.shop.svc.cluster.local")))
    }

    @Test(
        "S-9 ExternalName is a CNAME; a target in the cluster is answered with it, another one is asked for elsewhere")
    func alias() throws {
        let out = try answer("out.shop.svc.cluster.local", .a)
        #expect(out.answers.map(\.value) == [.cname(name("api.example.com"))])
        #expect(out.pending == name("api.example.com"))
        #expect(addresses(try answer("near.shop.svc.cluster.local", .a)) == ["10.96.0.5"])
        #expect(try answer("circle.shop.svc.cluster.local", .a).answers.count <= 8)
    }

    @Test(
        "S-18 S-19 a name of the domain that is not there is denied at once, with an SOA minimum of five seconds",
        arguments: [
            "nothing.default.svc.cluster.local", "api.example.com.default.svc.cluster.local", "x.cluster.local",
            "9.0.244.10.in-addr.arpa", "web.nowhere.svc.cluster.local",
        ])
    func denied(text: String) throws {
        let answer = try answer(text, .a)
        #expect(answer.code == .nameError)
        guard case .soa(_, _, _, _, _, _, let minimum)? = answer.authorities.first?.value else {
            Issue.record("no SOA")
            return
        }
        #expect(minimum == 5)
    }

    @Test(
        "a name with nothing of that type, or only names below it, exists",
        arguments: [
            ("web.default.svc.cluster.local", RecordType.aaaa), ("default.svc.cluster.local", .a),
            ("cluster.local", .a),
            ("svc.cluster.local", .a), ("_tcp.web.default.svc.cluster.local", .a), ("empty.shop.svc.cluster.local", .a),
        ])
    func noData(text: String, type: RecordType) throws {
        let answer = try answer(text, type)
        #expect(answer.code == .success)
        #expect(answer.answers.isEmpty)
        #expect(answer.authorities.count == 1)
    }

    @Test(
        "other names are not ours",
        arguments: ["example.com", "local", "1.0.0.127.in-addr.arpa", "xcluster.local", "1.in-addr.arpa"])
    func foreign(text: String) {
        #expect(Self.zone.answer(Question(name: name(text), type: .a)) == nil)
    }

    @Test("S-17 further hosts are answered, wherever they are")
    func hosts() throws {
        #expect(addresses(try answer("auto.example.org", .a)) == ["240.240.0.1"])
        #expect(Self.zone.answer(Question(name: name("example.org"), type: .a)) == nil)
    }

    @Test("S-17 a host with a star answers for every name below it, and not for itself")
    func wildcard() throws {
        #expect(addresses(try answer("a.wild.example.org", .a)) == ["240.240.0.2"])
        #expect(addresses(try answer("A.b.Wild.example.org", .a)) == ["240.240.0.2"])
        #expect(try answer("a.wild.example.org", .aaaa).authorities.first?.name == name("a.wild.example.org"))
        #expect(Self.zone.answer(Question(name: name("wild.example.org"), type: .a)) == nil)
    }

    @Test(
        "S-18 the cluster's zone and its reverse zones have a start of authority and a name server with its address",
        arguments: ["cluster.local", "244.10.in-addr.arpa"])
    func apex(text: String) throws {
        let authority = try answer(text, .soa)
        guard case .soa(let server, _, let serial, _, _, _, _)? = authority.answers.first?.value else {
            Issue.record("no SOA")
            return
        }
        #expect(server == name("ns.dns.cluster.local"))
        #expect(serial == 7)
        let servers = try answer(text, .ns)
        #expect(servers.answers.map(\.value) == [.ns(name("ns.dns.cluster.local"))])
        #expect(servers.additionals.map(\.value) == [.address(.v4(0x0AF4_0001))])
        #expect(addresses(try answer("ns.dns.cluster.local", .a)) == ["10.244.0.1"])
        #expect(try answer(text, .any).answers.count == 2)
    }

    @Test("S-19 what denies a name is the start of authority of the zone that the name is in")
    func denialOwner() throws {
        #expect(try answer("9.0.244.10.in-addr.arpa", .ptr).authorities.first?.name == name("244.10.in-addr.arpa"))
        #expect(try answer("x.cluster.local", .a).authorities.first?.name == name("cluster.local"))
        #expect(try answer("auto.example.org", .aaaa).authorities.first?.name == name("auto.example.org"))
        // Between the zone and its names there is something.
        #expect(try answer("0.244.10.in-addr.arpa", .ptr).code == .success)
    }

    @Test("S-18 a pod's address in its name is its address, within the cluster's ranges")
    func podNames() throws {
        #expect(addresses(try answer("10-244-0-9.default.pod.cluster.local", .a)) == ["10.244.0.9"])
        #expect(try answer("10-244-0-9.default.pod.cluster.local", .aaaa).code == .success)
        #expect(try answer("default.pod.cluster.local", .a).code == .success)
        #expect(try answer("1-2-3-4.default.pod.cluster.local", .a).code == .nameError)
        #expect(try answer("x.10-244-0-9.default.pod.cluster.local", .a).code == .nameError)
    }

    @Test("S-18 what the search path has made longer is known again")
    func searched() {
        let zone = Self.zone
        #expect(zone.searched(name("api.example.com.shop.svc.cluster.local")) == name("api.example.com"))
        #expect(zone.searched(name("web.shop.svc.cluster.local")) == nil)
        #expect(zone.searched(name("_sql._tcp.nothing.shop.svc.cluster.local")) == nil)
        #expect(zone.searched(name("api.example.com.nowhere.svc.cluster.local")) == nil)
        #expect(zone.shortcut(name("web.default")) == name("web.default.svc.cluster.local"))
        #expect(zone.shortcut(name("web.default.svc")) == name("web.default.svc.cluster.local"))
        #expect(zone.shortcut(name("api.example.com")) == nil)
    }

    @Test("reverse names of both families are read back")
    func reverse() throws {
        for text in ["10.1.2.3", "fd00::1:2", "::ffff:1.2.3.4", "2001:db8:1234:5678:9abc:def0:1:2"] {
            let address = try #require(IPAddress(text))
            let name = try #require(Zone.reverse(address))
            #expect(Zone.range(ofReverse: name) == Prefix(address, length: address.bitCount))
        }
    }
}
