internal import IO

/// What holds for all pods of the node, compiled to nftables text: no forged sources, what is forwarded, and the way out.
enum HostRules {
    static let filterTable = "skein_filter"
    static let natTable = "skein_nat"
    static let portTable = "skein_ports"

    /// One transaction that puts both tables in place of older ones.
    ///
    /// - Parameter guardedUplink: a device on which only we turned forwarding on; nothing else shall be forwarded from it.
    static func compile(
        _ configuration: HostNetworkConfiguration, guardedUplink: String?
    ) -> String {
        (filter(configuration, guardedUplink) + nat(configuration)).joined(separator: "\n") + "\n"
    }

    /// One transaction that makes exactly these ports of the host lead to pods.
    ///
    /// They have a table of their own, which a restart leaves alone: the ports work on meanwhile.
    static func compile(ports: [HostPort], _ configuration: HostNetworkConfiguration) -> String {
        let table = "inet \(portTable)"
        var lines = replace(portTable, "ports of the host")
        lines += [
            "add chain \(table) prerouting { type nat hook prerouting priority -101; }",
            "add chain \(table) output { type nat hook output priority -101; }",
            "add chain \(table) postrouting { type nat hook postrouting priority 98; }",
        ]
        for family in configuration.families {
            let isV6 = family.gateway.isV6
            let targets = ports.map(\.target).filter { $0.isV6 == isV6 }.unique
            guard !targets.isEmpty else { continue }
            // A pod that comes back to itself by a port of the host (N-13).
            let word = isV6 ? "ip6" : "ip"
            let pairs = NFTables.set(targets.map { "\($0) . \($0)" })
            lines.append(
                "add rule \(table) postrouting \(word) saddr . \(word) daddr \(pairs) ct status dnat "
                    + "snat \(word) to \(family.gateway)")
        }
        lines += HostPort.rules(ports, table: table)
        return lines.joined(separator: "\n") + "\n"
    }

    private static func replace(_ table: String, _ purpose: String) -> [String] {
        [
            "add table inet \(table)",
            "delete table inet \(table)",
            "add table inet \(table) { comment \(NFTables.comment("skein: \(purpose)")); }",
        ]
    }

    private static func filter(_ configuration: HostNetworkConfiguration, _ guardedUplink: String?) -> [String] {
        let pods = Ownership.podGroup
        let table = "inet \(filterTable)"
        var lines = replace(filterTable, "pod isolation")
        lines += [
            "add chain \(table) source { type filter hook prerouting priority -300; }",
            "add chain \(table) forward { type filter hook forward priority 0; }",
            "add chain \(table) output { type filter hook output priority 0; }",
        ]
        // Nobody but the host itself has them, and what it sends comes in by no device.
        lines += CaptureOptions.probeSources.map {
            "add rule \(table) source \($0.isV6 ? "ip6" : "ip") saddr \($0) counter drop comment \"a probe's source\""
        }
        lines += [
            // A pod speaks from its own address: the way back to the source must be the link it came from.
            "add rule \(table) source iifgroup \(pods) fib saddr . iif oif missing counter drop"
                + " comment \"forged source\"",
            // route_localnet (for host ports) must not open the host's loopback services to pods (CVE-2020-8558).
            "add rule \(table) source iifgroup \(pods) ip daddr 127.0.0.0/8 counter drop comment \"host loopback\"",
            "add rule \(table) forward oifgroup \(pods) ct state invalid counter drop comment \"no such connection\"",
            "add rule \(table) forward ct state established,related accept",
            "add rule \(table) forward iifgroup \(pods) oifgroup \(Ownership.networkGroup) ct status & dnat == 0"
                + " counter drop comment \"another network\"",
            "add rule \(table) forward iifgroup \(pods) accept",
            "add rule \(table) forward oifgroup \(pods) ct status dnat accept",
        ]
        if configuration.nodes != nil {
            // `NodeRules` has let pass only what came from the node that has the address.
            for family in configuration.families {
                let word = family.gateway.isV6 ? "ip6" : "ip"
                lines.append("add rule \(table) forward oifgroup \(pods) \(word) saddr \(family.pool) accept")
            }
        }
        lines += [
            "add rule \(table) forward oifgroup \(pods) counter drop comment \"from outside, to no service\""
        ]
        if let guardedUplink {
            // A port of the host that somebody has published leads on.
            lines.append("add rule \(table) forward iifname \"\(guardedUplink)\" ct status dnat accept")
            lines.append(
                "add rule \(table) forward iifname \"\(guardedUplink)\" counter drop comment \"host is no router\"")
        }
        for family in configuration.families where !family.servicePools.isEmpty {
            // From the host itself; the service table has had its turn, and its way leads to no device.
            let word = family.gateway.isV6 ? "ip6" : "ip"
            let pools = "\(word) daddr \(NFTables.set(family.servicePools.disjoint))"
            lines.append("add rule \(table) output \(pools) meta l4proto tcp reject with tcp reset")
            lines.append("add rule \(table) output \(pools) reject")
        }
        return lines
    }

    private static func nat(_ configuration: HostNetworkConfiguration) -> [String] {
        let table = "inet \(natTable)"
        let pods = Ownership.podGroup
        var lines = replace(natTable, "the way out")
        lines += [
            "add chain \(table) postrouting { type nat hook postrouting priority 100; }",
            // A host port on 127.0.0.1: the pod cannot answer to a loopback address.
            "add rule \(table) postrouting oifgroup \(pods) ip saddr 127.0.0.0/8 snat ip to \(configuration.v4.gateway)",
        ]
        if configuration.letsHostProbe {
            for family in configuration.families {
                // By root's own sockets, straight to a pod: connections by a service's address pass the sidecar like all others.
                let source = CaptureOptions.probeSources.first { $0.isV6 == family.gateway.isV6 }
                let word = family.gateway.isV6 ? "ip6" : "ip"
                lines += [source].compactMap(\.self).map {
                    "add rule \(table) postrouting oifgroup \(pods) \(word) daddr \(family.nodeBlock) meta l4proto tcp"
                        + " meta skuid 0 fib saddr type local ct status & dnat == 0 snat \(word) to \($0)"
                }
            }
        }
        for family in configuration.families {
            let word = family.gateway.isV6 ? "ip6" : "ip"
            lines.append(
                "add rule \(table) postrouting \(word) saddr \(family.pool) \(word) daddr != \(family.pool)"
                    + " oifgroup != \(pods) oifname != lo oifname != \"\(Ownership.gatewayLink)\" masquerade")
        }
        return lines
    }
}
