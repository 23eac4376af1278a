internal import IO

/// What holds between nodes, compiled to nftables text: who may send us packets of other nodes' pods.
///
/// Pure.
enum NodeRules {
    static let table = "skein_nodes"

    /// One transaction that puts the table in place of an older one; the nodes that were known go on being known.
    static func compile(_ configuration: HostNetworkConfiguration, _ nodes: NodeNetworking, known: [IPAddress])
        -> String
    {
        let table = "inet \(NodeRules.table)"
        let devices =
            "{ \"\(Ownership.overlayLink(nodes.identifier))\", \"\(Ownership.encryptedLink(nodes.identifier))\" }"
        var lines = [
            "add table \(table)", "delete table \(table)",
            "add table \(table) { comment \(NFTables.comment("skein: other nodes")); }",
            "add set \(table) nodes4 { type ipv4_addr; }", "add set \(table) nodes6 { type ipv6_addr; }",
            "add chain \(table) prerouting { type filter hook prerouting priority -290; }",
            "add chain \(table) input { type filter hook input priority -10; }",
            "add chain \(table) segments { type filter hook forward priority -150; }",
            "add chain \(table) own { type route hook output priority -150; }",
            "add chain \(table) forward { type filter hook forward priority -10; }",
        ]
        for family in configuration.families {
            let word = family.gateway.isV6 ? "ip6" : "ip"
            // A pod of another node: the way back to it must be the device it came from.
            lines.append(
                "add rule \(table) prerouting iifgroup != \(Ownership.podGroup) iifname != lo "
                    + "\(word) saddr \(family.pool) fib saddr . iif oif missing counter drop comment \"no node's pod\"")
        }
        // The identifier stands 12 bytes after the beginning of the UDP header: other users of the port are left alone.
        for (word, set) in [("ip", "nodes4"), ("ip6", "nodes6")] {
            lines.append(
                "add rule \(table) input udp dport \(nodes.port) @th,96,24 \(nodes.identifier) "
                    + "\(word) saddr != @\(set) counter drop comment \"VXLAN of no node\"")
        }
        // Path MTU discovery may be blocked somewhere: a connection says from the start how much fits (N-14).
        for chain in ["segments", "own"] {
            lines.append(
                "add rule \(table) \(chain) oifname \(devices) tcp flags & (syn|rst) == syn "
                    + "tcp option maxseg size set rt mtu")
        }
        lines.append(
            "add rule \(table) forward iifname \(devices) oifgroup != \(Ownership.podGroup) counter drop "
                + "comment \"to no pod\"")
        return (lines + elements(known)).joined(separator: "\n") + "\n"
    }

    /// One transaction after which exactly these nodes may send VXLAN packets.
    static func nodes(_ addresses: [IPAddress]) -> String {
        let table = "inet \(NodeRules.table)"
        return (["flush set \(table) nodes4", "flush set \(table) nodes6"] + elements(addresses))
            .joined(separator: "\n") + "\n"
    }

    private static func elements(_ addresses: [IPAddress]) -> [String] {
        let table = "inet \(NodeRules.table)"
        return [(false, "nodes4"), (true, "nodes6")].compactMap { (isV6, set) in
            let members = addresses.filter { $0.isV6 == isV6 }.sorted()
            guard !members.isEmpty else { return nil }
            return "add element \(table) \(set) { \(members.map(\.description).joined(separator: ", ")) }"
        }
    }
}
