import IO
import Testing

@testable import Network

@Suite("Service rules, change by change")
struct IncrementalServicesTests {
    /// Small numbers that are the same in every run.
    private struct Numbers: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    private static func port(_ number: Int, _ numbers: inout Numbers) -> ServicePort {
        func address(_ base: UInt32, _ count: UInt32) -> IPAddress {
            .v4(base + UInt32.random(in: 0..<count, using: &numbers))
        }
        let transport: Transport = number % 3 == 0 ? .udp : .tcp
        let endpoints = (0..<Int.random(in: 0...3, using: &numbers)).map { _ in
            ServicePort.Endpoint(address(0x0AF4_0000, 6), 8080)
        }
        // Few addresses for many services: they are quarrelled about.
        var port = ServicePort(
            service: "shop/s\(number)", name: "http", addresses: [address(0x0A60_0000, 12)], port: 80,
            transport: transport, endpoints: Array(Set(endpoints)).sorted(),
            affinitySeconds: Bool.random(using: &numbers) ? nil : 60)
        if number % 4 == 0 { port.nodePort = UInt16.random(in: 30_000...30_003, using: &numbers) }
        if number % 5 == 0 { port.balancer = [address(0x0A61_0000, 3)] }
        port.local = Set(port.endpoints.prefix(1))
        port.externalIsLocal = number % 2 == 0
        return port
    }

    /// A table as the kernel has it after transactions.
    private struct Table {
        var chains: [String: [String]] = [:]
        var sets: Set<String> = []
        var elements: Set<String> = []

        mutating func run(_ text: String) throws {
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ", maxSplits: 5).map(String.init)
                let (verb, kind, name, rest) = (words[0], words[1], words[4], words.count > 5 ? words[5] : "")
                switch (verb, kind) {
                case ("add", "chain"): chains[name] = chains[name] ?? []
                case ("flush", "chain"): chains[name] = []
                case ("add", "rule"): chains[name, default: []].append(rest)
                case ("delete", "chain"):
                    #expect(chains.removeValue(forKey: name) != nil, "\(line)")
                case ("add", "set"): #expect(sets.insert(name).inserted, "\(line)")
                case ("delete", "set"): #expect(sets.remove(name) != nil, "\(line)")
                case ("add", "element"): #expect(elements.insert(Self.key(name, rest)).inserted, "\(line)")
                case ("delete", "element"): #expect(elements.remove(Self.key(name, rest)) != nil, "\(line)")
                default: Issue.record("\(line)")
                }
            }
        }

        /// What an element is told by: without its comment.
        private static func key(_ name: String, _ rest: String) -> String {
            guard let comment = rest.firstRange(of: " comment \"") else { return name + " " + rest }
            let after = rest[comment.upperBound...].drop { $0 != "\"" }.dropFirst()
            return name + " " + rest[..<comment.lowerBound] + after
        }
    }

    @Test("after any row of changes the table is what a full computation makes of the last state", arguments: 1...20)
    func equal(seed: UInt64) throws {
        var numbers = Numbers(state: seed)
        var ports: [Int: ServicePort] = [:]
        var compiled = CompiledServices([])
        var table = Table()
        for _ in 0..<40 {
            var changed: [String: [ServicePort]] = [:]
            for _ in 0..<Int.random(in: 1...4, using: &numbers) {
                let number = Int.random(in: 0..<20, using: &numbers)
                ports[number] = Bool.random(using: &numbers) ? Self.port(number, &numbers) : nil
                changed["shop/s\(number)"] = [ports[number]].compactMap(\.self)
            }
            let before = compiled
            let changes = compiled.update(changed)
            try table.run(CompiledServices.transaction(changes))
            let full = CompiledServices(ports.values.shuffled(using: &numbers))
            #expect(compiled.elements == full.elements)
            #expect(compiled.conflicts == full.conflicts)
            var fresh = Table()
            try fresh.run(CompiledServices.transaction(full.everything))
            #expect(table.chains == fresh.chains && table.sets == fresh.sets && table.elements == fresh.elements)
            // UDP endpoints that are gone, and no others.
            func datagrams(_ services: CompiledServices) -> Set<ServicePort.Endpoint> {
                services.everything.rules.reduce(into: []) { $0.formUnion($1.after?.datagramEndpoints ?? []) }
            }
            #expect(changes.datagramEndpointsGone == datagrams(before).subtracting(datagrams(compiled)))
            // A change that is taken back leaves what was there.
            var back = compiled
            _ = back.update(changed.reduce(into: [:]) { $0[$1.key] = before.ports(of: $1.key) })
            #expect(back.elements == before.elements && back.conflicts == before.conflicts)
        }
    }

    @Test("a change looks at what it changes, however many services there are", arguments: [20, 200])
    func kept(count: Int) {
        var numbers = Numbers(state: 7)
        var ports = (0..<count).map { number in
            var port = Self.port(number, &numbers)
            port.addresses = [.v4(0x0A60_0000 + UInt32(number))]
            port.balancer = []
            port.nodePort = nil
            return port
        }
        var compiled = CompiledServices(ports)
        let looks = compiled.looks
        ports[10].endpoints = [ServicePort.Endpoint(.v4(0x0AF4_00FF), 1)]
        #expect(compiled.update([ports[10].service: [ports[10]]]).rules.count == 1)
        #expect(compiled.looks - looks == 2)
        #expect(compiled.update([ports[10].service: [ports[10]]]).rules.isEmpty)
        #expect(compiled.looks - looks == 3)
    }
}
