internal import IO

/// Capture in a pod's namespace, compiled to nftables text.
///
/// The order is Istio's: what never is captured first, then the sidecar's way back to its own application, then the
/// sidecar's and loopback traffic, then the choice by destination. Packets of a connection after its first follow the
/// connection's entry and see none of this.
enum CaptureRules {
    static let table = "skein_capture"

    /// One transaction that puts the rules in place of older ones.
    ///
    /// `owner` says whose they are, in comments.
    static func compile(_ options: CaptureOptions, owner: String) -> String {
        var lines = [
            "add table inet \(table)",
            "delete table inet \(table)",
            "add table inet \(table) { comment \(NFTables.comment("skein: capture of \(owner)")); }",
            "add chain inet \(table) inbound { type nat hook prerouting priority -100; }",
            "add chain inet \(table) outbound { type nat hook output priority -100; }",
            "add chain inet \(table) guard { type filter hook input priority 0; }",
        ]
        lines += inbound(options).map { "add rule inet \(table) inbound \($0)" }
        lines += outbound(options).map { "add rule inet \(table) outbound \($0)" }
        // A connection to a capture port itself has no original destination: the sidecar would connect to itself.
        let own = NFTables.set([options.outboundPort, options.inboundPort])
        lines.append(
            "add rule inet \(table) guard tcp dport \(own) ct original proto-dst \(own) reject with tcp reset")
        return lines.joined(separator: "\n") + "\n"
    }

    private static func inbound(_ options: CaptureOptions) -> [String] {
        var rules = ["meta l4proto != tcp return", "iifname lo return"]
        rules += CaptureOptions.probeSources.map { "\($0.isV6 ? "ip6" : "ip") saddr \($0) return" }
        let excluded = (CaptureOptions.sidecarPorts + options.excludeInboundPorts).unique
        rules.append("tcp dport \(NFTables.set(excluded)) return")
        switch options.includeInboundPorts {
        case .all: rules.append("meta l4proto tcp redirect to :\(options.inboundPort)")
        case .only(let ports) where ports.isEmpty: break
        case .only(let ports):
            rules.append("tcp dport \(NFTables.set(ports.unique)) redirect to :\(options.inboundPort)")
        }
        return rules
    }

    private static func outbound(_ options: CaptureOptions) -> [String] {
        let user = "meta skuid \(options.proxyUID)"
        let toInbound = "meta l4proto tcp redirect to :\(options.inboundPort)"
        let toOutbound = "meta l4proto tcp redirect to :\(options.outboundPort)"
        var rules = [
            "meta l4proto != tcp return",
            // The sidecar talking to its own application.
            "oifname lo ip saddr 127.0.0.6 return",
            "oifname lo ip6 saddr ::6 return",
        ]
        if !options.excludeOutboundPorts.isEmpty {
            rules.append("tcp dport \(NFTables.set(options.excludeOutboundPorts.unique)) return")
        }
        rules += [
            // The sidecar calling a service that turned out to be its own pod: in by the front door.
            "oifname lo \(user) ip daddr != 127.0.0.0/8 \(toInbound)",
            "oifname lo \(user) ip6 daddr != ::1 \(toInbound)",
            "\(user) return",
            // The application with itself, and the agent's probes.
            "oifname lo return",
        ]
        rules += matches("daddr", options.excludeOutboundIPRanges).map { "\($0) return" }
        if !options.includeOutboundPorts.isEmpty {
            rules.append("tcp dport \(NFTables.set(options.includeOutboundPorts.unique)) \(toOutbound)")
        }
        switch options.includeOutboundIPRanges {
        case .all: rules.append(toOutbound)
        case .only(let ranges): rules += matches("daddr", ranges).map { "\($0) \(toOutbound)" }
        }
        return rules
    }

    /// One match per family that occurs.
    private static func matches(_ field: String, _ ranges: [Prefix]) -> [String] {
        [(false, "ip"), (true, "ip6")].compactMap { isV6, word in
            let family = ranges.filter { $0.address.isV6 == isV6 }.disjoint
            guard !family.isEmpty else { return nil }
            // 0.0.0.0/0 is no element of a set.
            if family.contains(where: { $0.length == 0 }) { return "meta nfproto \(isV6 ? "ipv6" : "ipv4")" }
            return "\(word) \(field) \(NFTables.set(family))"
        }
    }
}

extension Array where Element: Hashable {
    /// Every element once, in the order of first appearance: a set with a repeated element is refused.
    var unique: [Element] {
        var seen = Set<Element>()
        return filter { seen.insert($0).inserted }
    }
}

extension Array where Element == Prefix {
    /// The ranges without those that lie in others: overlapping elements are refused.
    var disjoint: [Prefix] {
        let all = unique
        return all.filter { range in
            !all.contains { $0 != range && $0.length <= range.length && $0.contains(range.address) }
        }
    }
}
