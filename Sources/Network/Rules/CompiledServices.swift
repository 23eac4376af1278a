internal import IO

/// Service addresses compiled to nftables: maps from (address, protocol, port) to one chain per service port.
///
/// A packet costs one look-up however many services there are. The compiled form is a value, so that a change is the
/// difference of two of them and one transaction.
struct CompiledServices {
    static let table = "skein_service"

    /// Which port of which service.
    private struct ID: Hashable, Comparable {
        var service: String
        var name: String
        var transport: Transport
        var port: UInt16

        init(_ port: ServicePort) {
            (service, name, transport, self.port) = (port.service, port.name, port.transport, port.port)
        }

        /// Whose rules' claims count first.
        static func < (one: ID, other: ID) -> Bool {
            (one.service, one.name, one.port, one.transport.description)
                < (other.service, other.name, other.port, other.transport.description)
        }
    }

    /// What a change of services is for the rules.
    struct Changes {
        /// The ports whose rules are others than before.
        fileprivate(set) var rules: [(before: ServiceRules?, after: ServiceRules?)] = []
        /// Endpoints that may reach themselves: those that no port has any more, and those that none had.
        fileprivate(set) var hairpins: (gone: Set<ServiceRules.Element>, new: Set<ServiceRules.Element>) = ([], [])
        /// UDP endpoints that no port has any more (N-15).
        fileprivate(set) var datagramEndpointsGone: Set<ServicePort.Endpoint> = []
    }

    private var rules: [ID: ServiceRules] = [:]
    /// The ports of each service.
    private var ids: [String: [ID]] = [:]
    /// Who wants a key: nearly always one.
    private var owners: [String: ID] = [:]
    /// All who want a key, where there are several, in order; the first has it.
    private var rivals: [String: [ID]] = [:]
    /// How many ports have an endpoint that may reach itself.
    private var hairpins: [ServiceRules.Element: Int] = [:]
    /// How many ports have a UDP endpoint.
    private var datagramEndpoints: [ServicePort.Endpoint: Int] = [:]
    /// The ports that cannot be served as asked.
    private var troubled: Set<ID> = []
    /// How many ports were looked at by all updates: what a change costs.
    private(set) var looks = 0

    /// The rules for these ports.
    init(_ ports: [ServicePort] = []) { _ = update(Dictionary(grouping: ports, by: \.service)) }

    /// What cannot be served as asked: addresses that two services claim (the first by name has them), and endpoints
    /// on loopback.
    var conflicts: [String] {
        troubled.sorted().flatMap { id -> [String] in
            guard let rules = rules[id] else { return [] }
            let lost = rules.wanted.filter(rules.lost.contains).map { key in
                "\(rules.provenance): \(ServiceRules.shown(key)) belongs to \(owner(of: key)?.provenance ?? "another")"
            }
            return lost + rules.unusable
        }
    }

    /// The ports of a service.
    func ports(of service: String) -> [ServicePort] { (ids[service] ?? []).compactMap { rules[$0]?.port } }

    /// The services that there are.
    var services: Set<String> { Set(ids.keys) }

    /// Puts services in the place of what they were; one without ports goes.
    ///
    /// The cost is that of these services, and of those with which they quarrel about addresses.
    mutating func update(_ services: [String: [ServicePort]]) -> Changes {
        // What was there at the beginning, of all that may be another now.
        var before: [ID: ServiceRules?] = [:]
        var keys: Set<String> = []
        for (service, ports) in services {
            let made = Dictionary(ports.map { (ID($0), $0) }) { first, _ in first }
            looks += made.count
            for id in ids[service] ?? [] where made[id] == nil {
                before[id] = .some(rules[id])
                keys.formUnion(release(id))
            }
            for (id, port) in made {
                if rules[id]?.port == port { continue }
                before[id] = .some(rules[id])
                keys.formUnion(release(id))
                let now = ServiceRules(port)
                rules[id] = now
                for key in now.wanted { claim(key, id) }
                keys.formUnion(now.wanted)
            }
            ids[service] = made.isEmpty ? nil : made.keys.sorted()
        }
        before.merge(settle(keys)) { first, _ in first }
        var changes = Changes()
        for (id, old) in before.sorted(by: { $0.key < $1.key }) where old !== rules[id] {
            changes.rules.append((old, rules[id]))
            let isTroubled = rules[id].map { !$0.lost.isEmpty || !$0.unusable.isEmpty } ?? false
            if isTroubled { troubled.insert(id) } else { troubled.remove(id) }
        }
        count(&changes)
        return changes
    }

    /// Who has which of these keys decides what their claimants lose; returns the rules of those who lose something else than before.
    private mutating func settle(_ keys: Set<String>) -> [ID: ServiceRules?] {
        var before: [ID: ServiceRules?] = [:]
        var claimants: Set<ID> = []
        for key in keys {
            if let all = rivals[key] {
                claimants.formUnion(all)
            } else if let one = owners[key] {
                claimants.insert(one)
            }
        }
        for id in claimants {
            looks += 1
            guard let known = rules[id] else { continue }
            let lost = Set(known.wanted.filter { owner(of: $0)?.provenance ?? known.provenance != known.provenance })
            guard lost != known.lost else { continue }
            before[id] = .some(known)
            rules[id] = known.losing(lost)
        }
        return before
    }

    private func owner(of key: String) -> ServiceRules? {
        (rivals[key]?.first ?? owners[key]).flatMap { rules[$0] }
    }

    private mutating func claim(_ key: String, _ id: ID) {
        guard let one = owners[key], one != id else {
            owners[key] = id
            return
        }
        var all = rivals[key] ?? [one]
        if !all.contains(id) { all.append(id) }
        rivals[key] = all.sorted()
    }

    /// Takes a port's claims away, and its rules; returns the keys.
    private mutating func release(_ id: ID) -> [String] {
        guard let gone = rules.removeValue(forKey: id) else { return [] }
        for key in gone.wanted {
            if var all = rivals[key] {
                all.removeAll { $0 == id }
                rivals[key] = all.count > 1 ? all : nil
                owners[key] = all.first
            } else if owners[key] == id {
                owners[key] = nil
            }
        }
        return gone.wanted
    }

    private mutating func count(_ changes: inout Changes) {
        var (hairpinsBefore, datagramsBefore) = ([ServiceRules.Element: Int](), [ServicePort.Endpoint: Int]())
        for (before, after) in changes.rules {
            for (rules, step) in [(before, -1), (after, 1)] {
                for element in rules?.hairpins ?? [] {
                    let known = hairpins[element, default: 0]
                    hairpinsBefore[element] = hairpinsBefore[element] ?? known
                    hairpins[element] = known + step == 0 ? nil : known + step
                }
                for endpoint in rules?.datagramEndpoints ?? [] {
                    let known = datagramEndpoints[endpoint, default: 0]
                    datagramsBefore[endpoint] = datagramsBefore[endpoint] ?? known
                    datagramEndpoints[endpoint] = known + step == 0 ? nil : known + step
                }
            }
        }
        for (element, count) in hairpinsBefore {
            if count > 0, hairpins[element] == nil { changes.hairpins.gone.insert(element) }
            if count == 0, hairpins[element] != nil { changes.hairpins.new.insert(element) }
        }
        for (endpoint, count) in datagramsBefore where count > 0 && datagramEndpoints[endpoint] == nil {
            changes.datagramEndpointsGone.insert(endpoint)
        }
    }

    /// All elements of sets and maps.
    var elements: Set<ServiceRules.Element> {
        rules.values.reduce(into: Set(hairpins.keys)) { $0.formUnion($1.elements) }
    }

    /// Everything, as a change from nothing.
    var everything: Changes {
        Changes(
            rules: rules.sorted { $0.key < $1.key }.map { (nil, $0.value) }, hairpins: ([], Set(hairpins.keys)))
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

    /// One transaction that throws out everything that is in the table, and writes these rules.
    func transaction(existingChains: [String], existingSets: [String]) -> String {
        var lines: [String] = []
        let sets = ["services", "nodeports", "refused", "refusedports", "hairpin"]
        for name in sets.flatMap({ ["\($0)4", "\($0)6"] }) {
            let isMap = name.hasPrefix("services") || name.hasPrefix("nodeports")
            lines.append("flush \(isMap ? "map" : "set") inet \(CompiledServices.table) \(name)")
        }
        return lines.joined(separator: "\n") + "\n"
            + Self.transaction(everything, existingChains: existingChains, existingSets: existingSets)
    }

    /// One transaction that makes a change; empty when nothing changes.
    static func transaction(
        _ changes: Changes, existingChains: [String] = [], existingSets: [String] = []
    ) -> String {
        var lines: [String] = []
        let table = "inet \(CompiledServices.table)"
        var (before, after) = (changes.hairpins.gone, changes.hairpins.new)
        var (oldChains, chains) = ([String: [String]](), [String: [String]]())
        var (oldMemories, memories) = ([String: Int](), [String: Int]())
        for (old, new) in changes.rules {
            before.formUnion(old?.elements ?? [])
            after.formUnion(new?.elements ?? [])
            oldChains.merge(old?.chains ?? [:]) { first, _ in first }
            chains.merge(new?.chains ?? [:]) { first, _ in first }
            oldMemories.merge(old?.memories ?? [:]) { first, _ in first }
            memories.merge(new?.memories ?? [:]) { first, _ in first }
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
