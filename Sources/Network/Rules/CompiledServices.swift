internal import IO

/// Service addresses compiled to nftables: maps from (address, protocol, port) to one chain per service port.
///
/// A packet costs one look-up however many services there are. The compiled form is a value, so that a change is the
/// difference of two of them and one transaction.
struct CompiledServices {
    static let table = "skein_service"

    /// Which port of which service.
    private struct ID: Hashable {
        var service: String
        var name: String
        var transport: Transport
        var port: UInt16

        init(_ port: ServicePort) {
            (service, name, transport, self.port) = (port.service, port.name, port.transport, port.port)
        }
    }

    private var rules: [ID: ServiceRules] = [:]
    /// How many ports have an endpoint that may reach itself.
    private var hairpins: [ServiceRules.Element: Int] = [:]
    /// What cannot be served as asked: addresses that two services claim (the first by name has them), and endpoints
    /// on loopback.
    private(set) var conflicts: [String] = []

    /// The rules for these ports.
    ///
    /// - Parameter old: what they were before: what did not change is taken from there.
    init(_ ports: [ServicePort], from old: CompiledServices? = nil) {
        var owners: [String: String] = [:]
        rules.reserveCapacity(ports.count)
        owners.reserveCapacity(ports.count)
        for port in Self.ordered(ports) {
            let id = ID(port)
            let known = old?.rules[id].flatMap { $0.port == port ? $0 : nil }
            var made = known ?? ServiceRules(port)
            var lost: Set<String> = []
            for key in made.wanted {
                let owner = owners[key]
                guard let owner, owner != made.provenance else {
                    owners[key] = made.provenance
                    continue
                }
                lost.insert(key)
                conflicts.append("\(made.provenance): \(ServiceRules.shown(key)) belongs to \(owner)")
            }
            if lost != made.lost { made = made.losing(lost) }
            conflicts += made.unusable
            rules[id] = made
        }
        hairpins = old?.hairpins ?? [:]
        for (before, after) in changes(from: old) {
            for element in before?.hairpins ?? [] {
                hairpins[element] = hairpins[element].flatMap { $0 > 1 ? $0 - 1 : nil }
            }
            for element in after?.hairpins ?? [] { hairpins[element, default: 0] += 1 }
        }
    }

    /// By name; who calls has mostly done it already.
    private static func ordered(_ ports: [ServicePort]) -> [ServicePort] {
        func isBefore(_ one: ServicePort, _ other: ServicePort) -> Bool {
            (one.service, one.name, one.port) < (other.service, other.name, other.port)
        }
        guard zip(ports, ports.dropFirst()).contains(where: { isBefore($1, $0) }) else { return ports }
        return ports.sorted(by: isBefore)
    }

    /// The ports whose rules are others than before.
    private func changes(from old: CompiledServices?) -> [(before: ServiceRules?, after: ServiceRules?)] {
        let before = old?.rules ?? [:]
        var changes: [(ServiceRules?, ServiceRules?)] = []
        for (id, rules) in rules where before[id] !== rules { changes.append((before[id], rules)) }
        for (id, rules) in before where self.rules[id] == nil { changes.append((rules, nil)) }
        return changes
    }

    /// How many ports' rules were made anew.
    func changeCount(from old: CompiledServices) -> Int { changes(from: old).count }

    /// All elements of sets and maps.
    var elements: Set<ServiceRules.Element> {
        rules.values.reduce(into: Set(hairpins.keys)) { $0.formUnion($1.elements) }
    }

    /// UDP endpoints that were there before and are gone (N-15).
    func datagramEndpoints(goneSince old: CompiledServices) -> Set<ServicePort.Endpoint> {
        let gone = changes(from: old).reduce(into: Set<ServicePort.Endpoint>()) { gone, change in
            gone.formUnion(change.before?.datagramEndpoints ?? [])
        }
        guard !gone.isEmpty else { return [] }
        return rules.values.reduce(into: gone) { $0.subtract($1.datagramEndpoints) }
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
        let changes = changes(from: old)
        var (before, after) = (Set<ServiceRules.Element>(), Set<ServiceRules.Element>())
        var (oldChains, chains) = ([String: [String]](), [String: [String]]())
        var (oldMemories, memories) = ([String: Int](), [String: Int]())
        for (old, new) in changes {
            before.formUnion(old?.elements ?? [])
            after.formUnion(new?.elements ?? [])
            oldChains.merge(old?.chains ?? [:]) { first, _ in first }
            chains.merge(new?.chains ?? [:]) { first, _ in first }
            oldMemories.merge(old?.memories ?? [:]) { first, _ in first }
            memories.merge(new?.memories ?? [:]) { first, _ in first }
            for element in old?.hairpins ?? [] where hairpins[element] == nil { before.insert(element) }
        }
        for element in changes.flatMap({ $0.after?.hairpins ?? [] }) where old?.hairpins[element] == nil {
            after.insert(element)
        }
        for element in before.subtracting(after).sorted() {
            let verdict = element.verdict.isEmpty ? "" : " : \(element.verdict)"
            lines.append("delete element \(table) \(element.container) { \(element.key)\(verdict) }")
        }
        for (name, seconds) in memories.sorted(by: { $0.key < $1.key }) where oldMemories[name] == nil {
            let type = name.hasPrefix("clients6") ? "ipv6_addr" : "ipv4_addr"
            lines.append("add set \(table) \(name) { type \(type); flags dynamic,timeout; timeout \(seconds)s; }")
        }
        let changed = chains.filter { oldChains[$0.key] != $0.value }.sorted { $0.key < $1.key }
        for (name, _) in changed { lines.append("add chain \(table) \(name)") }
        // Emptied before any is deleted: a chain goes only when no rule leads to it.
        let gone = Set(oldChains.keys).union(existingChains).subtracting(chains.keys).sorted()
        for name in changed.map(\.key) + gone { lines.append("flush chain \(table) \(name)") }
        for (name, rules) in changed { lines += rules.map { "add rule \(table) \(name) \($0)" } }
        lines += gone.map { "delete chain \(table) \($0)" }
        let goneSets = Set(oldMemories.keys).union(existingSets).subtracting(memories.keys).sorted()
        lines += goneSets.map { "delete set \(table) \($0)" }
        for element in after.subtracting(before).sorted() {
            let comment = element.comment.isEmpty ? "" : " comment \(NFTables.comment(element.comment))"
            let verdict = element.verdict.isEmpty ? "" : " : \(element.verdict)"
            lines.append("add element \(table) \(element.container) { \(element.key)\(comment)\(verdict) }")
        }
        return lines.isEmpty ? "" : lines.joined(separator: "\n") + "\n"
    }
}
