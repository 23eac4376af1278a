internal import IO

/// Service addresses compiled to nftables: maps from (address, protocol, port) to one chain per service port.
///
/// A packet costs one look-up however many services there are. The compiled form is a value, so that a change is the
/// difference of two of them and one transaction.
struct CompiledServices: Equatable {
    static let table = "skein_service"

    /// An element of a set or verdict map: `name`, `key`, and what stands behind the key.
    struct Element: Hashable {
        var container: String
        var key: String
        var verdict: String
        var comment: String
    }

    /// A chain per service port and family: name → rules.
    private(set) var chains: [String: [String]] = [:]
    /// Sets that remember clients: name → seconds.
    private(set) var memories: [String: Int] = [:]
    private(set) var elements: Set<Element> = []
    /// What cannot be served as asked: addresses that two services claim (the first by name has them), and endpoints
    /// on loopback, which is another one in each namespace.
    private(set) var conflicts: [String] = []

    /// UDP endpoints, to find those that went (N-15).
    private(set) var datagramEndpoints: Set<ServicePort.Endpoint> = []

    init(_ ports: [ServicePort]) {
        var owners: [String: String] = [:]
        for port in ports.sorted(by: { ($0.service, $0.name, $0.port) < ($1.service, $1.name, $1.port) }) {
            for endpoint in port.endpoints where endpoint.address.isLoopback {
                conflicts.append("\(port.provenance): endpoint \(endpoint.address) is on loopback and left out")
            }
            for isV6 in [false, true] { add(port, isV6, &owners) }
        }
    }

    /// Which of a port's endpoints count.
    private enum Scope { case all, local }

    private mutating func add(_ port: ServicePort, _ isV6: Bool, _ owners: inout [String: String]) {
        let suffix = isV6 ? "6" : "4"
        func claim(_ addresses: [IPAddress]) -> [String] {
            addresses.filter { $0.isV6 == isV6 && !$0.isUnspecified }.unique
                .map { "\($0) . \(port.transport) . \(port.port)" }.filter { own($0, port, &owners) }
        }
        let inside = claim(port.addresses)
        let outside = claim(port.external)
        let balanced = claim(port.balancer)
        var nodePorts: [String] = []
        if let number = port.nodePort, own("\(port.transport) . \(number)", port, &owners, isV6 ? "6 " : "4 ") {
            nodePorts = ["\(port.transport) . \(number)"]
        }
        guard !(inside + outside + balanced + nodePorts).isEmpty else { return }
        let endpoints = port.endpoints.filter {
            $0.address.isV6 == isV6 && !$0.address.isUnspecified && !$0.address.isLoopback
        }.unique.sorted()
        for endpoint in endpoints {
            // A pod that reaches itself would throw its own source address away (N-13).
            let key = "\(endpoint.address) . \(endpoint.address)"
            elements.insert(Element(container: "hairpin\(suffix)", key: key, verdict: "", comment: ""))
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

    /// Whether the port has the key; the first by name has it.
    private mutating func own(
        _ key: String, _ port: ServicePort, _ owners: inout [String: String], _ family: String = ""
    ) -> Bool {
        if let owner = owners[family + key] {
            // Its own external address may be its balancer's, too.
            if owner != port.provenance { conflicts.append("\(port.provenance): \(key) belongs to \(owner)") }
            return false
        }
        owners[family + key] = port.provenance
        return true
    }

    /// Leads keys to a chain; without one they are refused at once: a client that waits for a time-out learns nothing.
    private mutating func lead(_ keys: [String], _ port: ServicePort, _ map: String, to chain: String?) {
        for key in keys {
            if let chain {
                elements.insert(
                    Element(container: map, key: key, verdict: "goto \(chain)", comment: port.provenance))
            } else {
                let set = map.hasPrefix("nodeports") ? "refusedports" : "refused"
                elements.insert(
                    Element(container: "\(set)\(map.suffix(1))", key: key, verdict: "", comment: port.provenance))
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

    // MARK: Text

    /// The table with its maps and hooks; harmless when it is there.
    static func base(_ configuration: HostNetworkConfiguration) -> String {
        var lines = [
            "add table inet \(table) { comment \(NFTables.comment("skein: service addresses")); }",
            "add chain inet \(table) prerouting { type nat hook prerouting priority -100; }",
            "add chain inet \(table) output { type nat hook output priority -100; }",
            "add chain inet \(table) postrouting { type nat hook postrouting priority 99; }",
            "add chain inet \(table) refuse { type filter hook prerouting priority -90; }",
            "add chain inet \(table) refuse_own { type filter hook output priority -90; }",
        ]
        for (suffix, type) in [("4", "ipv4_addr"), ("6", "ipv6_addr")] {
            let key = "type \(type) . inet_proto . inet_service"
            lines.append("add map inet \(table) services\(suffix) { \(key) : verdict; }")
            lines.append("add map inet \(table) nodeports\(suffix) { type inet_proto . inet_service : verdict; }")
            lines.append("add set inet \(table) refusedports\(suffix) { type inet_proto . inet_service; }")
            lines.append("add set inet \(table) refused\(suffix) { \(key); }")
            lines.append("add set inet \(table) hairpin\(suffix) { type \(type) . \(type); }")
        }
        // The fixed chains are filled anew; elements and the services' chains stay as they are.
        for chain in ["prerouting", "output", "postrouting", "refuse", "refuse_own"] {
            lines.append("flush chain inet \(table) \(chain)")
        }
        for (suffix, word) in [("4", "ip"), ("6", "ip6")] {
            let key = "\(word) daddr . meta l4proto . th dport"
            for chain in ["prerouting", "output"] {
                lines.append("add rule inet \(table) \(chain) \(key) vmap @services\(suffix)")
                // Any address of the host but loopback, whose packets cannot leave it.
                lines.append(
                    "add rule inet \(table) \(chain) \(onHost(word)) meta l4proto . th dport vmap @nodeports\(suffix)")
            }
            for chain in ["refuse", "refuse_own"] {
                lines.append(
                    "add rule inet \(table) \(chain) \(key) @refused\(suffix) meta l4proto tcp reject with tcp reset")
                lines.append("add rule inet \(table) \(chain) \(key) @refused\(suffix) reject")
                let ports = "\(onHost(word)) meta l4proto . th dport @refusedports\(suffix)"
                lines.append("add rule inet \(table) \(chain) \(ports) meta l4proto tcp reject with tcp reset")
                lines.append("add rule inet \(table) \(chain) \(ports) reject")
            }
        }
        for family in configuration.families {
            let (suffix, word) = family.gateway.isV6 ? ("6", "ip6") : ("4", "ip")
            lines.append(
                "add rule inet \(table) postrouting \(word) saddr . \(word) daddr @hairpin\(suffix) ct status dnat "
                    + "snat \(word) to \(family.gateway)")
            // From outside to a pod of another node: its answer must come back by here.
            lines.append(
                "add rule inet \(table) postrouting ct status dnat \(word) saddr != \(family.pool) \(word) daddr "
                    + "\(family.pool) oifgroup != \(Ownership.podGroup) masquerade")
            guard !family.servicePools.isEmpty else { continue }
            // What still has a service address after the maps is for a port that no service has.
            let pools = "\(word) daddr \(NFTables.set(family.servicePools.disjoint))"
            lines.append("add rule inet \(table) refuse \(pools) meta l4proto tcp reject with tcp reset")
            lines.append("add rule inet \(table) refuse \(pools) reject")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func onHost(_ word: String) -> String {
        "\(word) daddr != \(word == "ip6" ? "::1" : "127.0.0.0/8") fib daddr type local"
    }

    /// One transaction that leads from `old` to this; empty when nothing changes.
    ///
    /// Without `old`, everything that is in the table is thrown out.
    func transaction(from old: CompiledServices?, existingChains: [String] = [], existingSets: [String] = []) -> String
    {
        var lines: [String] = []
        let table = "inet \(CompiledServices.table)"
        if old == nil {
            let sets = ["services", "nodeports", "refused", "refusedports", "hairpin"]
            for name in sets.flatMap({ ["\($0)4", "\($0)6"] }) {
                let isMap = name.hasPrefix("services") || name.hasPrefix("nodeports")
                lines.append("flush \(isMap ? "map" : "set") \(table) \(name)")
            }
        }
        let before = old?.elements ?? []
        for element in before.subtracting(elements).sorted() {
            let verdict = element.verdict.isEmpty ? "" : " : \(element.verdict)"
            lines.append("delete element \(table) \(element.container) { \(element.key)\(verdict) }")
        }
        let oldMemories = old?.memories ?? [:]
        for (name, seconds) in memories.sorted(by: { $0.key < $1.key }) where oldMemories[name] == nil {
            let type = name.hasPrefix("clients6") ? "ipv6_addr" : "ipv4_addr"
            lines.append("add set \(table) \(name) { type \(type); flags dynamic,timeout; timeout \(seconds)s; }")
        }
        let oldChains = old?.chains ?? [:]
        let changed = chains.filter { oldChains[$0.key] != $0.value }.sorted { $0.key < $1.key }
        for (name, _) in changed { lines.append("add chain \(table) \(name)") }
        // Emptied before any is deleted: a chain goes only when no rule leads to it.
        let gone = Set(oldChains.keys).union(existingChains).subtracting(chains.keys).sorted()
        for name in changed.map(\.key) + gone { lines.append("flush chain \(table) \(name)") }
        for (name, rules) in changed { lines += rules.map { "add rule \(table) \(name) \($0)" } }
        lines += gone.map { "delete chain \(table) \($0)" }
        let goneSets = Set(oldMemories.keys).union(existingSets).subtracting(memories.keys).sorted()
        lines += goneSets.map { "delete set \(table) \($0)" }
        for element in elements.subtracting(before).sorted() {
            let comment = element.comment.isEmpty ? "" : " comment \(NFTables.comment(element.comment))"
            let verdict = element.verdict.isEmpty ? "" : " : \(element.verdict)"
            lines.append("add element \(table) \(element.container) { \(element.key)\(comment)\(verdict) }")
        }
        return lines.isEmpty ? "" : lines.joined(separator: "\n") + "\n"
    }
}

extension CompiledServices.Element: Comparable {
    static func < (left: Self, right: Self) -> Bool {
        (left.container, left.key, left.verdict) < (right.container, right.key, right.verdict)
    }
}
