import IO
import Testing

@testable import Network

@Suite("Service addresses, compiled")
struct CompiledServicesTests {
    private func port(
        _ service: String = "shop/web", _ addresses: [String] = ["10.96.0.10"], _ endpoints: [String],
        transport: Transport = .tcp, affinity: Int? = nil
    ) throws -> ServicePort {
        ServicePort(
            service: service, name: "http", addresses: try addresses.map { try #require(IPAddress($0)) }, port: 80,
            transport: transport,
            endpoints: try endpoints.map { ServicePort.Endpoint(try #require(IPAddress($0)), 8080) },
            affinitySeconds: affinity)
    }

    @Test("a new service is a chain and elements of maps")
    func added() throws {
        let compiled = CompiledServices([
            try port(["10.244.0.6", "10.244.0.5", "fd00::5"].reversed(), addresses: ["10.96.0.10", "fd00:96::1"])
        ])
        let text = CompiledServices.transaction(compiled.everything)
        #expect(
            text == """
                add chain inet skein_service svc4_1e37d16a4900c95f
                add chain inet skein_service svc6_1e37d16a4900c95f
                flush chain inet skein_service svc4_1e37d16a4900c95f
                flush chain inet skein_service svc6_1e37d16a4900c95f
                add rule inet skein_service svc4_1e37d16a4900c95f meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.5 . 8080, 1 : 10.244.0.6 . 8080 } comment "Service shop/web spec.ports[http]"
                add rule inet skein_service svc6_1e37d16a4900c95f meta l4proto tcp dnat ip6 to [fd00::5]:8080 comment "Service shop/web spec.ports[http]"
                add element inet skein_service hairpin4 { 10.244.0.5 . 10.244.0.5 }
                add element inet skein_service hairpin4 { 10.244.0.6 . 10.244.0.6 }
                add element inet skein_service hairpin6 { fd00::5 . fd00::5 }
                add element inet skein_service services4 { 10.96.0.10 . tcp . 80 comment "Service shop/web spec.ports[http]" : goto svc4_1e37d16a4900c95f }
                add element inet skein_service services6 { fd00:96::1 . tcp . 80 comment "Service shop/web spec.ports[http]" : goto svc6_1e37d16a4900c95f }

                """)
    }

    private func port(_ endpoints: [String], addresses: [String]) throws -> ServicePort {
        try port("shop/web", addresses, endpoints)
    }

    @Test("the same again is nothing, a changed endpoint is its chain alone")
    func difference() throws {
        let many = try (1...50).map { try port("shop/s\($0)", ["10.96.1.\($0)"], ["10.244.0.5"]) }
        var compiled = CompiledServices(many + [try port(["10.244.0.5"], addresses: ["10.96.0.10"])])
        let same = try port(["10.244.0.5"], addresses: ["10.96.0.10"])
        #expect(CompiledServices.transaction(compiled.update(["shop/web": [same]])) == "")
        let changes = compiled.update(["shop/web": [try port(["10.244.0.7"], addresses: ["10.96.0.10"])]])
        let lines = CompiledServices.transaction(changes).split(separator: "\n")
        #expect(lines.count == 4)  // add, flush, rule, hairpin
        #expect(lines.allSatisfy { $0.contains("svc4_1e37d16a4900c95f") || $0.contains("hairpin4 { 10.244.0.7") })
    }

    @Test("a service without endpoints is refused, and one that goes leaves nothing")
    func without() throws {
        let before = CompiledServices([try port(["10.244.0.5"], addresses: ["10.96.0.10"])])
        func change(_ ports: [ServicePort]) -> String {
            var compiled = before
            return CompiledServices.transaction(compiled.update(["shop/web": ports]))
        }
        let refused = change([try port([], addresses: ["10.96.0.10"])])
        #expect(refused.contains("add element inet skein_service refused4 { 10.96.0.10 . tcp . 80 comment"))
        #expect(refused.contains("delete chain inet skein_service svc4_"))
        let gone = change([])
        #expect(!gone.contains("add "))
        #expect(gone.contains("delete element inet skein_service services4 { 10.96.0.10 . tcp . 80 : goto svc4_"))
    }

    @Test("an address that two services claim belongs to the first by name, and the other is told")
    func conflict() throws {
        let compiled = CompiledServices([
            try port("b/second", ["10.96.0.10"], ["10.244.0.6"]), try port("a/first", ["10.96.0.10"], ["10.244.0.5"]),
        ])
        #expect(
            compiled.conflicts == [
                "Service b/second spec.ports[http]: 10.96.0.10 . tcp . 80 belongs to Service a/first spec.ports[http]"
            ])
        #expect(compiled.elements.filter { $0.container == "services4" }.count == 1)
    }

    @Test("an endpoint on loopback is left out and reported")
    func loopback() throws {
        let compiled = CompiledServices([try port(["127.0.0.1"], addresses: ["10.96.0.1"])])
        #expect(
            compiled.conflicts == ["Service shop/web spec.ports[http]: endpoint 127.0.0.1 is on loopback and left out"])
        #expect(compiled.elements.map(\.container) == ["refused4"])
    }
}
