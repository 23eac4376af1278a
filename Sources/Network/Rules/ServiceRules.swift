internal import IO

/// The rules of one service port: they depend on the port and on which of its addresses are its own, on nothing else.
///
/// What did not change is the same object in the next computation, so that a change costs what it changes.
final class ServiceRules: Sendable {
    /// An element of a set or verdict map: `name`, `key`, and what stands behind the key.
    struct Element: Hashable, Sendable {
        var container: String
        var key: String
        var verdict: String
        var comment: String
    }

    let port: ServicePort
    let provenance: String
    /// The keys it would have, in the order in which it asks for them; of both families.
    let wanted: [String]
    /// Those of them that belong to another port.
    let lost: Set<String>
    /// A chain per family and purpose: name → rules.
    let chains: [String: [String]]
    /// Sets that remember clients: name → seconds.
    let memories: [String: Int]
    let elements: Set<Element>
    /// Endpoints that may reach themselves by the service; of other ports, too.
    let hairpins: Set<Element>
    let datagramEndpoints: Set<ServicePort.Endpoint>
    /// Endpoints on loopback, which is another one in each namespace.
    let unusable: [String]

    init(_ port: ServicePort, wanted: [String]? = nil, lost: Set<String> = []) {
        self.port = port
        provenance = port.provenance
        self.lost = lost
        self.wanted = wanted ?? Self.keys(of: port)
        var maker = Maker(port, lost: lost)
        for isV6 in [false, true] { maker.add(isV6) }
        chains = maker.chains
        memories = maker.memories
        elements = maker.elements
        hairpins = maker.hairpins
        datagramEndpoints = maker.datagramEndpoints
        unusable = port.endpoints.filter(\.address.isLoopback).map {
            "\(port.provenance): endpoint \($0.address) is on loopback and left out"
        }
    }

    /// The same port with other losses.
    func losing(_ lost: Set<String>) -> ServiceRules { ServiceRules(port, wanted: wanted, lost: lost) }

    private static func keys(of port: ServicePort) -> [String] {
        [false, true].flatMap { isV6 in
            let addresses = (port.addresses + port.external + port.balancer).filter {
                $0.isV6 == isV6 && !$0.isUnspecified
            }
            return addresses.unique.map { key($0, port) } + (port.nodePort.map { [nodeKey($0, port, isV6)] } ?? [])
        }
    }

    static func key(_ address: IPAddress, _ port: ServicePort) -> String {
        "\(address) . \(port.transport) . \(port.port)"
    }

    /// A key as it stands in the rules.
    static func shown(_ key: String) -> String {
        key.hasPrefix("4 ") || key.hasPrefix("6 ") ? String(key.dropFirst(2)) : key
    }

    /// Node ports of the two families are different ones.
    static func nodeKey(_ number: UInt16, _ port: ServicePort, _ isV6: Bool) -> String {
        "\(isV6 ? "6" : "4") \(port.transport) . \(number)"
    }
}

/// Makes the rules of one port, family by family.
private struct Maker {
    private let port: ServicePort
    private let lost: Set<String>
    private var taken: Set<String> = []
    var chains: [String: [String]] = [:]
    var memories: [String: Int] = [:]
    var elements: Set<ServiceRules.Element> = []
    var hairpins: Set<ServiceRules.Element> = []
    var datagramEndpoints: Set<ServicePort.Endpoint> = []

    init(_ port: ServicePort, lost: Set<String>) {
        self.port = port
        self.lost = lost
    }

    /// Which of a port's endpoints count.
    private enum Scope { case all, local }

    mutating func add(_ isV6: Bool) {
        let suffix = isV6 ? "6" : "4"
        // What it has as a cluster address is led there, also when it is its balancer's address.
        func own(_ addresses: [IPAddress]) -> [String] {
            addresses.filter { $0.isV6 == isV6 && !$0.isUnspecified }.map { ServiceRules.key($0, port) }
                .filter { !lost.contains($0) && taken.insert($0).inserted }
        }
        let inside = own(port.addresses)
        let outside = own(port.external)
        let balanced = own(port.balancer)
        var nodePorts: [String] = []
        if let number = port.nodePort, !lost.contains(ServiceRules.nodeKey(number, port, isV6)) {
            nodePorts = ["\(port.transport) . \(number)"]
        }
        guard !(inside + outside + balanced + nodePorts).isEmpty else { return }
        let endpoints = port.endpoints.filter {
            $0.address.isV6 == isV6 && !$0.address.isUnspecified && !$0.address.isLoopback
        }.unique.sorted()
        for endpoint in endpoints {
            // A pod that reaches itself would throw its own source address away (N-13).
            let key = "\(endpoint.address) . \(endpoint.address)"
            hairpins.insert(ServiceRules.Element(container: "hairpin\(suffix)", key: key, verdict: "", comment: ""))
        }
        if port.transport == .udp { datagramEndpoints.formUnion(endpoints) }
        let near = endpoints.filter(port.local.contains)
        lead(
            inside, port, "services\(suffix)",
            to: chain(
                port, isV6, port.internalIsLocal ? near : endpoints,
                port.internalIsLocal ? .local : .all))
        let everywhere = outside + balanced + nodePorts
        guard !everywhere.isEmpty else { return }
        let entry = port.externalIsLocal ? entry(port, isV6, near, endpoints) : chain(port, isV6, endpoints, .all)
        lead(outside, port, "services\(suffix)", to: entry)
        lead(nodePorts, port, "nodeports\(suffix)", to: entry)
        lead(balanced, port, "services\(suffix)", to: guarded(port, isV6, entry))
    }

    /// Leads keys to a chain; without one they are refused at once: a client that waits for a time-out learns nothing.
    private mutating func lead(_ keys: [String], _ port: ServicePort, _ map: String, to chain: String?) {
        for key in keys {
            if let chain {
                elements.insert(
                    ServiceRules.Element(container: map, key: key, verdict: "goto \(chain)", comment: port.provenance))
            } else {
                let set = map.hasPrefix("nodeports") ? "refusedports" : "refused"
                elements.insert(
                    ServiceRules.Element(
                        container: "\(set)\(map.suffix(1))", key: key, verdict: "", comment: port.provenance))
            }
        }
    }

    private static func identity(_ port: ServicePort) -> String {
        hex(fnv1a("\(port.service):\(port.name):\(port.transport):\(port.port)"))
    }

    /// The chain that chooses among endpoints; nil when there are none.
    private mutating func chain(
        _ port: ServicePort, _ isV6: Bool, _ endpoints: [ServicePort.Endpoint], _ scope: Scope
    ) -> String? {
        guard !endpoints.isEmpty else { return nil }
        let chain = "svc\(isV6 ? "6" : "4")_\(Self.identity(port))" + (scope == .local ? "_local" : "")
        guard chains[chain] == nil else { return chain }
        if let seconds = port.affinitySeconds {
            addSticky(port, isV6, chain, endpoints, max(1, min(seconds, 86_400)))
        } else {
            chains[chain] = [rule(port, isV6, endpoints)]
        }
        return chain
    }

    /// From outside only endpoints of this node count, so that the client's address is kept; from inside all do.
    private mutating func entry(
        _ port: ServicePort, _ isV6: Bool, _ own: [ServicePort.Endpoint], _ all: [ServicePort.Endpoint]
    ) -> String? {
        guard let everyone = chain(port, isV6, all, .all) else { return nil }
        let name = "ext\(isV6 ? "6" : "4")_\(Self.identity(port))"
        var rules = ["iifgroup \(Ownership.podGroup) goto \(everyone)", "fib saddr type local goto \(everyone)"]
        if let local = chain(port, isV6, own, .local) {
            rules.append("goto \(local)")
        } else {
            // Not refused: the balancer in front is to try another node.
            rules.append("counter drop comment " + NFTables.comment("\(port.provenance): no endpoint on this node"))
        }
        chains[name] = rules
        return name
    }

    /// Lets through whom `loadBalancerSourceRanges` names, and the host itself.
    private mutating func guarded(_ port: ServicePort, _ isV6: Bool, _ entry: String?) -> String? {
        guard let entry, !port.sourceRanges.isEmpty else { return entry }
        let ranges = port.sourceRanges.filter { $0.address.isV6 == isV6 }.disjoint
        let name = "fw\(isV6 ? "6" : "4")_\(Self.identity(port))"
        var rules = ["fib saddr type local goto \(entry)"]
        if ranges.contains(where: { $0.length == 0 }) {
            rules.append("goto \(entry)")
        } else if !ranges.isEmpty {
            rules.append("\(isV6 ? "ip6" : "ip") saddr \(NFTables.set(ranges)) goto \(entry)")
        }
        rules.append("counter drop comment " + NFTables.comment("\(port.provenance): loadBalancerSourceRanges"))
        chains[name] = rules
        return name
    }

    /// One destination, or an even choice among several.
    private func rule(_ port: ServicePort, _ isV6: Bool, _ endpoints: [ServicePort.Endpoint]) -> String {
        let target: String
        if endpoints.count == 1, let only = endpoints.first {
            target = isV6 ? "[\(only.address)]:\(only.port)" : "\(only.address):\(only.port)"
        } else {
            let choices = endpoints.enumerated().map { "\($0.offset) : \($0.element.address) . \($0.element.port)" }
            target = "numgen random mod \(endpoints.count) map \(NFTables.set(choices))"
        }
        return "meta l4proto \(port.transport) dnat \(isV6 ? "ip6" : "ip") to \(target) comment "
            + NFTables.comment(port.provenance)
    }

    /// A client goes where it went last: each endpoint has a set of its clients and a chain that refreshes it.
    private mutating func addSticky(
        _ port: ServicePort, _ isV6: Bool, _ chain: String, _ endpoints: [ServicePort.Endpoint], _ seconds: Int
    ) {
        let source = isV6 ? "ip6 saddr" : "ip saddr"
        var rules: [String] = []
        var targets: [String] = []
        for endpoint in endpoints {
            let identity = hex(fnv1a("\(chain):\(endpoint.address):\(endpoint.port):\(seconds)"))
            let memory = "clients\(isV6 ? "6" : "4")_\(identity)"
            let target = "to\(isV6 ? "6" : "4")_\(identity)"
            memories[memory] = seconds
            chains[target] = ["update @\(memory) { \(source) }", rule(port, isV6, [endpoint])]
            rules.append("\(source) @\(memory) goto \(target)")
            targets.append("\(targets.count) : goto \(target)")
        }
        rules.append("numgen random mod \(endpoints.count) vmap \(NFTables.set(targets))")
        chains[chain] = rules
    }
}

extension ServiceRules.Element: Comparable {
    static func < (left: Self, right: Self) -> Bool {
        (left.container, left.key, left.verdict) < (right.container, right.key, right.verdict)
    }
}
