internal import IO

/// The compiled policies as nftables text.
extension PolicyProgram {
    static let table = "skein_policy"

    /// How many connections that were dropped, or would have been, are remembered for people.
    static let rememberedFlows = 1024

    /// The objects of the table that make up a program: what differs between two programs is one transaction.
    struct Text: Equatable {
        /// Chains with their rules.
        var chains: [String: [String]] = [:]
        /// Maps with their declarations.
        var maps: [String: String] = [:]
        /// Elements: map, key, verdict.
        var elements: [String: [String: String]] = [:]
    }

    /// The whole program as text.
    var text: Text {
        var text = Text()
        for direction in PolicySet.Direction.allCases {
            for (isV6, suffix) in [(false, "4"), (true, "6")] {
                let map = "\(direction)\(suffix)"
                text.maps[map] = "type \(isV6 ? "ipv6_addr" : "ipv4_addr") : verdict;"
                for (address, profile) in subjects[direction] ?? [:] where address.isV6 == isV6 {
                    text.elements[map, default: [:]]["\(address)"] = profile.map { "goto \($0)" } ?? "accept"
                }
            }
        }
        for (suffix, type) in [("4", "ipv4_addr"), ("6", "ipv6_addr")] {
            text.maps["self\(suffix)"] = "type \(type) . \(type);"
        }
        for address in Set(subjects.values.flatMap(\.keys)) {
            text.elements["self\(address.isV6 ? "6" : "4")", default: [:]]["\(address) . \(address)"] = ""
        }
        for (name, profile) in profiles { add(name, profile, to: &text) }
        for (name, list) in lists { add(name, list, to: &text) }
        for (name, decision) in verdicts { text.chains[name] = Self.rules(decision) }
        return text
    }

    private func add(_ name: String, _ profile: Profile, to text: inout Text) {
        text.chains[name] = []
        if !profile.segments.isEmpty {
            let map = "ports_\(name)"
            text.maps[map] = "type inet_proto . inet_service : verdict; flags interval;"
            for segment in profile.segments {
                let (low, high) = (segment.ports.lowerBound, segment.ports.upperBound)
                let key = "\(segment.transport) . " + (low == high ? "\(low)" : "\(low)-\(high)")
                text.elements[map, default: [:]][key] = "goto \(segment.list)"
            }
            text.chains[name] = ["meta l4proto . th dport vmap @\(map)"]
        }
        text.chains[name]?.append("goto \(profile.others)")
    }

    private func add(_ name: String, _ list: List, to text: inout Text) {
        let field = list.direction == .ingress ? "saddr" : "daddr"
        var rules: [String] = []
        for (isV6, word, suffix) in [(false, "ip", "4"), (true, "ip6", "6")] {
            let type = isV6 ? "ipv6_addr" : "ipv4_addr"
            if list.hasPods {
                let map = "peers\(suffix)_\(name)"
                text.maps[map] = "type \(type) : verdict;"
                for (address, target) in list.pods where address.isV6 == isV6 {
                    text.elements[map, default: [:]]["\(address)"] = Self.verdict(target)
                }
                rules.append("\(word) \(field) vmap @\(map)")
            }
            let ranges = list.ranges.filter { $0.first.isV6 == isV6 }
            if !ranges.isEmpty {
                // Named after what is in it: maps of ranges never change, so that no range ever meets its successor.
                let map = "ranges\(suffix)_\(hex(fnv1a("\(name) \(ranges)")))"
                text.maps[map] = "type \(type) : verdict; flags interval;"
                for range in ranges {
                    let key = range.first == range.last ? "\(range.first)" : "\(range.first)-\(range.last)"
                    text.elements[map, default: [:]][key] = Self.verdict(range.target)
                }
                rules.append("\(word) \(field) vmap @\(map)")
            }
        }
        rules.append(Self.verdict(list.others))
        text.chains[name] = rules
    }

    private static func verdict(_ target: Target) -> String { target.map { "goto \($0)" } ?? "accept" }

    /// The end of the way: a counter that names the object.
    private static func rules(_ decision: PolicyDecision) -> [String] {
        func remember(_ set: String) -> [String] {
            [("ip", "4"), ("ip6", "6")].map { word, suffix in
                "update @\(set)\(suffix) { \(word) saddr . \(word) daddr . meta l4proto . th dport counter }"
            }
        }
        if let audited = decision.audited {
            let comment = NFTables.comment("audit: would be dropped: \(audited)")
            return ["counter comment \(comment)"] + remember("audited") + ["accept"]
        }
        let comment = NFTables.comment("\(decision.cause)")
        if decision.isAllowed { return ["counter accept comment \(comment)"] }
        return remember("dropped") + ["counter drop comment \(comment)"]
    }

    /// The table with its hooks, empty: every pod is closed.
    static func base() -> [String] {
        let table = "inet \(table)"
        var lines = [
            "add table \(table)", "delete table \(table)",
            "add table \(table) { comment \(NFTables.comment("skein: network policies")); }",
        ]
        for set in ["dropped", "audited"] {
            for (suffix, type) in [("4", "ipv4_addr"), ("6", "ipv6_addr")] {
                lines.append(
                    "add set \(table) \(set)\(suffix) { type \(type) . \(type) . inet_proto . inet_service; "
                        + "size \(rememberedFlows); flags dynamic,timeout; timeout 15m; }")
            }
        }
        // After service addresses have been translated, and before anything else of ours accepts.
        lines.append("add chain \(table) egress { type filter hook forward priority -20; }")
        lines.append("add chain \(table) ingress { type filter hook forward priority -10; }")
        return lines
    }

    /// The rules of the hooks; the maps must be there.
    ///
    /// The host's own packets are not forwarded and so not asked about (N-5); replies belong to an allowed connection.
    static func hooks() -> [String] {
        let table = "inet \(table)"
        var lines: [String] = []
        for (chain, group, field) in [("egress", "iifgroup", "saddr"), ("ingress", "oifgroup", "daddr")] {
            lines.append("add rule \(table) \(chain) ct state established,related accept")
            lines.append("add rule \(table) \(chain) \(group) != \(Ownership.podGroup) accept")
            // The middle of a connection that was ended because policies changed: both ends are told, and it is not
            // taken for a new one in the direction in which its next packet happens to go.
            lines.append(
                "add rule \(table) \(chain) tcp flags & (syn | ack) != syn counter reject with tcp reset comment "
                    + "\"of no connection\"")
            for (word, suffix) in [("ip", "4"), ("ip6", "6")] {
                lines.append("add rule \(table) \(chain) \(word) saddr . \(word) daddr @self\(suffix) accept")
                lines.append("add rule \(table) \(chain) \(word) \(field) vmap @\(chain)\(suffix)")
            }
            lines.append("add rule \(table) \(chain) counter drop comment \"a pod that is not known yet\"")
        }
        return lines
    }
}

extension PolicyProgram.Text {
    /// One transaction that leads from `old` to this; empty when nothing changes.
    ///
    /// Without `old` the table is made anew, whatever was in it.
    func transaction(from old: PolicyProgram.Text?) -> String {
        let table = "inet \(PolicyProgram.table)"
        var lines = old == nil ? PolicyProgram.base() : []
        let before = old ?? PolicyProgram.Text()
        for (map, entries) in before.elements.sorted(by: { $0.key < $1.key }) where maps[map] != nil {
            let gone = entries.filter { elements[map]?[$0.key] != $0.value }
            lines += Self.elements("delete", table, map, gone)
        }
        let changed = chains.filter { before.chains[$0.key] != $0.value }.sorted { $0.key < $1.key }
        let gone = before.chains.keys.filter { chains[$0] == nil }.sorted()
        // Chains come before maps: elements of a map of ranges are sent with the map, and lead to chains.
        for (name, _) in changed where before.chains[name] == nil { lines.append("add chain \(table) \(name)") }
        for (name, declaration) in maps.sorted(by: { $0.key < $1.key }) where before.maps[name] == nil {
            let kind = declaration.contains("verdict") ? "map" : "set"
            lines.append("add \(kind) \(table) \(name) { \(declaration) }")
        }
        for name in changed.map(\.key).filter({ before.chains[$0] != nil }) + gone {
            lines.append("flush chain \(table) \(name)")
        }
        for (name, rules) in changed { lines += rules.map { "add rule \(table) \(name) \($0)" } }
        for name in before.maps.keys.filter({ maps[$0] == nil }).sorted() {
            lines.append("delete map \(table) \(name)")
        }
        lines += gone.map { "delete chain \(table) \($0)" }
        for (map, entries) in elements.sorted(by: { $0.key < $1.key }) {
            let new = entries.filter { before.elements[map]?[$0.key] != $0.value }
            lines += Self.elements("add", table, map, new)
        }
        if old == nil { lines += PolicyProgram.hooks() }
        return lines.isEmpty ? "" : lines.joined(separator: "\n") + "\n"
    }

    /// Elements in lines of a bearable length.
    private static func elements(
        _ verb: String, _ table: String, _ map: String, _ entries: [String: String]
    ) -> [String] {
        let all = entries.sorted { $0.key < $1.key }.map { $0.value.isEmpty ? $0.key : "\($0.key) : \($0.value)" }
        return stride(from: 0, to: all.count, by: 100).map { start in
            "\(verb) element \(table) \(map) " + NFTables.set(all[start..<min(start + 100, all.count)])
        }
    }
}
