import IO

@testable import Network

/// Policies made from a number, for comparing what should be the same.
enum RandomPolicies {
    /// A generator of our own, so that a failing case can be made again from its number.
    struct Numbers: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var value = state
            value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
            value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
            return value ^ (value >> 31)
        }
    }

    static func address(_ text: String) -> IPAddress { IPAddress(text) ?? .v4(0) }
    static func range(_ text: String) -> Prefix { Prefix(text) ?? Prefix(.v4(0), length: 32).unsafelyUnwrapped }

    private static let blocks = [
        "0.0.0.0/0", "10.0.0.0/8", "10.244.0.0/24", "10.244.0.4/30", "10.244.0.5/32", "192.0.2.0/24", "::/0",
        "fd00:244::/64", "fd00:244::4/127", "255.255.255.255/32", "128.0.0.0/1",
    ]

    /// Any policies over six pods: every tier, every kind of peer and port.
    static func random(_ number: UInt64) -> PolicySet {
        var numbers = Numbers(state: number)
        var set = PolicySet()
        for pod in 1...6 {
            let ports = ["a", "b"].filter { _ in Bool.random(using: &numbers) }.map { name in
                PolicySet.NamedPort(
                    name: name, transport: Transport.allCases.randomElement(using: &numbers) ?? .tcp,
                    port: [80, 81, 90].randomElement(using: &numbers) ?? 80)
            }
            set.pods.append(
                PolicySet.Pod(
                    name: "test/\(pod)",
                    addresses: [address("10.244.0.\(pod)"), address("fd00:244::\(pod)")].filter { _ in
                        Int.random(in: 0..<5, using: &numbers) > 0
                    }, ports: ports, isLocal: Int.random(in: 0..<5, using: &numbers) > 0))
        }
        for index in 0..<Int.random(in: 0...6, using: &numbers) {
            let tier: PolicySet.Tier =
                [.network, .network, .network, .admin(priority: index % 3), .baseline]
                .randomElement(using: &numbers) ?? .network
            var policy = PolicySet.Policy(
                provenance: "Policy \(index)", tier: tier, subjects: subset(&numbers),
                isAudit: Int.random(in: 0..<4, using: &numbers) == 0)
            for direction in PolicySet.Direction.allCases where Int.random(in: 0..<4, using: &numbers) > 0 {
                let rules = (0..<Int.random(in: 0...3, using: &numbers)).map {
                    rule("Policy \(index) spec.\(direction)[\($0)]", tier, &numbers)
                }
                if direction == .ingress { policy.ingress = rules } else { policy.egress = rules }
            }
            set.policies.append(policy)
        }
        return set
    }

    private static func subset(_ numbers: inout Numbers) -> Set<Int> {
        Set((0..<6).filter { _ in Bool.random(using: &numbers) })
    }

    private static func rule(
        _ name: String, _ tier: PolicySet.Tier, _ numbers: inout Numbers
    ) -> PolicySet.Rule {
        var rule = PolicySet.Rule(provenance: name)
        switch tier {
        case .network: rule.action = .allow
        case .baseline: rule.action = Bool.random(using: &numbers) ? .allow : .deny
        case .admin: rule.action = [.allow, .deny, .pass].randomElement(using: &numbers) ?? .deny
        }
        switch Int.random(in: 0..<4, using: &numbers) {
        case 0: rule.isForEveryone = true
        case 1: rule.members = subset(&numbers)
        case 2:
            rule.members = subset(&numbers)
            fallthrough
        default:
            for _ in 0..<Int.random(in: 1...3, using: &numbers) {
                let block = range(blocks.randomElement(using: &numbers) ?? "")
                let holes = blocks.map(range).filter {
                    block.contains($0.address) && $0.length > block.length && Bool.random(using: &numbers)
                }
                rule.blocks.append(PolicySet.Block(block, except: holes))
            }
        }
        rule.selectsPods = !rule.isForEveryone && rule.blocks.isEmpty || !rule.members.isEmpty
        if Bool.random(using: &numbers) {
            rule.ports = (0..<Int.random(in: 1...3, using: &numbers)).map { _ in
                let transport = Transport.allCases.randomElement(using: &numbers) ?? .tcp
                let low = [0, 1, 80, 81, 90, 65535].randomElement(using: &numbers) ?? 80
                let high = [low, 81, 90, 65535].filter { $0 >= low }.randomElement(using: &numbers) ?? low
                if Bool.random(using: &numbers) { return .named(transport, Bool.random(using: &numbers) ? "a" : "b") }
                return .numbers(transport, UInt16(low)...UInt16(high))
            }
        }
        return rule
    }

    /// Every pod and a few strangers with each other, over ports at the edges of ranges.
    static func packets(_ set: PolicySet) -> [PolicySet.Packet] {
        let pods = set.pods.flatMap(\.addresses)
        let strangers = ["192.0.2.7", "8.8.8.8", "10.9.9.9", "255.255.255.255", "2001:db8::1", "fd00:244::99"]
        let all = pods + strangers.map(address)
        var packets: [PolicySet.Packet] = []
        for source in all {
            for destination in all where source.isV6 == destination.isV6 {
                for port in [0, 1, 79, 80, 81, 82, 90, 91, 65535] as [UInt16] {
                    for transport in Transport.allCases {
                        packets.append(.init(from: source, to: destination, transport, port: port))
                    }
                }
                packets.append(.init(from: source, to: destination, nil, port: 0))
            }
        }
        return packets
    }
}
