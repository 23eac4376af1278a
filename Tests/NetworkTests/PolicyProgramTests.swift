import IO
import Testing

@testable import Network

@Suite("Network policies, compiled")
struct PolicyProgramTests {
    @Test("N-1 to N-7 what is looked up is what asking rule after rule says, for any policies (60 of them)")
    func equivalence() {
        for number in 0..<60 as Range<UInt64> {
            let set = RandomPolicies.random(number)
            let program = PolicyProgram(set)
            var stacks: [PolicySet.Direction: [PolicyStack]] = [:]
            for direction in PolicySet.Direction.allCases {
                stacks[direction] = set.pods.indices.map { set.stack($0, direction) }
            }
            var numbers = RandomPolicies.Numbers(state: number)
            for packet in RandomPolicies.packets(set).shuffled(using: &numbers).prefix(600) {
                for direction in PolicySet.Direction.allCases {
                    let own = direction == .ingress ? packet.destination : packet.source
                    let pod = set.pods.firstIndex { $0.isLocal && $0.addresses.contains(own) }
                    let expected = pod.flatMap { pod in
                        stacks[direction].flatMap { set.decide(packet, direction, pod, $0[pod]) }
                    }
                    let found = program.decide(packet, direction)
                    guard found == expected else {
                        Issue.record("case \(number), \(direction) \(packet): \(found as Any), not \(expected as Any)")
                        return
                    }
                }
            }
        }
    }

    private func small(members: Set<Int> = [1], block: String = "10.0.0.0/8") -> PolicySet {
        PolicySet(
            pods: [
                .init(name: "shop/web", addresses: [RandomPolicies.address("10.244.0.5")]),
                .init(name: "shop/client", addresses: [RandomPolicies.address("10.244.0.6")]),
                .init(name: "shop/far", addresses: [RandomPolicies.address("10.244.1.6")], isLocal: false),
            ],
            policies: [
                .init(
                    provenance: "NetworkPolicy shop/web", subjects: [0],
                    ingress: [
                        .init(
                            provenance: "NetworkPolicy shop/web spec.ingress[0]", selectsPods: true, members: members,
                            blocks: [
                                .init(RandomPolicies.range(block), except: [RandomPolicies.range("10.244.0.0/16")])
                            ],
                            ports: [.numbers(.tcp, 80...81)])
                    ])
            ])
    }

    @Test("a policy is a profile, lists by ports and peers, and a counter with its name")
    func golden() {
        let text = PolicyProgram(small()).text.transaction(from: nil)
        let lines = text.split(separator: "\n").map(String.init)
        func has(_ parts: String...) -> Bool { lines.contains { line in parts.allSatisfy(line.contains) } }
        #expect(lines.prefix(2) == ["add table inet skein_policy", "delete table inet skein_policy"])
        #expect(has("map inet skein_policy ports_pod_", "type inet_proto . inet_service : verdict; flags interval;"))
        #expect(has("add element inet skein_policy ports_pod_", "{ tcp . 80-81 : goto list_"))
        #expect(has("add element inet skein_policy peers4_list_", "{ 10.244.0.6 : goto allow_"))
        #expect(has("{ 10.0.0.0-10.243.255.255 : goto allow_", "10.245.0.0-10.255.255.255 : goto allow_"))
        #expect(
            has(
                "add rule inet skein_policy allow_", #"counter accept comment "NetworkPolicy shop/web spec.ingress[0]""#
            ))
        #expect(has("add rule inet skein_policy deny_", #"counter drop comment "no rule of NetworkPolicy shop/web""#))
        #expect(has("add element inet skein_policy ingress4 { 10.244.0.5 : goto pod_", "10.244.0.6 : accept }"))
        #expect(has("egress4 { 10.244.0.5 : accept, 10.244.0.6 : accept }"))
    }

    @Test("the same again is nothing, a pod that comes is one element of each map that it is in")
    func difference() {
        let before = PolicyProgram(small(members: [1])).text
        #expect(before.transaction(from: before) == "")
        let after = PolicyProgram(small(members: [1, 2])).text.transaction(from: before).split(separator: "\n")
        #expect(after.count == 1)
        #expect(after.first?.hasPrefix("add element inet skein_policy peers4_list_") == true)
        #expect(after.first?.contains("{ 10.244.1.6 : goto allow_") == true)
        let gone = PolicyProgram(PolicySet(pods: small().pods)).text.transaction(from: before)
        #expect(gone.contains("delete element inet skein_policy ingress4 { 10.244.0.5 : goto pod_"))
        #expect(gone.contains("add element inet skein_policy ingress4 { 10.244.0.5 : accept }"))
        #expect(!gone.contains("add chain"))
    }
}
