import IO
import Netlink
import Testing

@testable import Network

@Suite("Network policies, compared with those before")
struct PolicyTighteningTests {
    /// Whether a look at these connections comes across one with those ends.
    private func finds(_ searches: Set<ConnectionTable.Search>, _ packet: PolicySet.Packet) -> Bool {
        searches.contains(.init(.client, packet.source)) || searches.contains(.init(.answerer, packet.destination))
    }

    /// A packet that is denied now, was not before, and is not looked for.
    private func missed(_ before: PolicySet, _ after: PolicySet, _ numbers: inout RandomPolicies.Numbers) -> String? {
        let (then, now) = (PolicyProgram(before), PolicyProgram(after))
        let searches = now.tightened(since: then)
        for packet in RandomPolicies.packets(after).shuffled(using: &numbers).prefix(400) {
            for direction in PolicySet.Direction.allCases {
                let isNew =
                    now.decide(packet, direction)?.isAllowed == false
                    && then.decide(packet, direction)?.isAllowed != false
                if isNew, !finds(searches, packet) { return "\(direction) \(packet), looked for \(searches)" }
            }
        }
        return nil
    }

    @Test("N-5 whatever changes, what is denied now and was not before is looked for (120 pairs of random policies)")
    func everything() {
        for number in 0..<60 as Range<UInt64> {
            var numbers = RandomPolicies.Numbers(state: number)
            let set = RandomPolicies.random(number)
            let pair = (set, RandomPolicies.random(number + 1000))
            var changed = set
            // One thing is otherwise, as when somebody edits a policy or a pod comes or goes.
            if !changed.policies.isEmpty {
                let place = Int.random(in: changed.policies.indices, using: &numbers)
                switch Int.random(in: 0..<5, using: &numbers) {
                case 0: changed.policies.remove(at: place)
                case 1:
                    changed.policies[place].subjects.formSymmetricDifference([Int.random(in: 0..<6, using: &numbers)])
                case 2:
                    guard let rules = changed.policies[place].ingress, !rules.isEmpty else { break }
                    changed.policies[place].ingress?[0].members
                        .formSymmetricDifference([Int.random(in: 0..<6, using: &numbers)])
                    changed.policies[place].ingress?[0].selectsPods = true
                case 3:
                    guard let rules = changed.policies[place].egress, !rules.isEmpty else { break }
                    changed.policies[place].egress?[0].blocks = []
                default: changed.pods[Int.random(in: 0..<6, using: &numbers)].addresses = []
                }
            }
            for (before, after) in [pair, (pair.1, pair.0), (set, changed), (changed, set)] {
                guard let text = missed(before, after, &numbers) else { continue }
                Issue.record("case \(number): \(text)")
                return
            }
        }
    }

    private func small(members: Set<Int>, block: String = "192.0.2.7/32", subjects: Set<Int> = [0, 1]) -> PolicySet {
        let addresses = ["10.244.0.5", "10.244.0.6", "10.244.0.7", "10.244.1.8"]
        return PolicySet(
            pods: addresses.enumerated().map { place, address in
                .init(name: "shop/\(place)", addresses: [RandomPolicies.address(address)], isLocal: place < 3)
            },
            policies: [
                .init(
                    provenance: "NetworkPolicy shop/web", subjects: subjects,
                    ingress: [
                        .init(
                            provenance: "NetworkPolicy shop/web spec.ingress[0]", selectsPods: true, members: members,
                            blocks: [.init(RandomPolicies.range(block))], ports: [.numbers(.tcp, 80...80)])
                    ])
            ])
    }

    @Test("N-5 what only allows more is not looked for at all, a peer that goes by its address, a pod by its own")
    func few() {
        let before = PolicyProgram(small(members: [2]))
        func searches(_ set: PolicySet) -> Set<ConnectionTable.Search> { PolicyProgram(set).tightened(since: before) }
        let address = RandomPolicies.address
        #expect(searches(small(members: [2])).isEmpty)
        #expect(searches(small(members: [2, 3])).isEmpty)
        #expect(searches(small(members: [])) == [.init(.client, address("10.244.0.7"))])
        #expect(searches(small(members: [2], block: "192.0.2.8/32")) == [.init(.client, address("192.0.2.7"))])
        #expect(searches(small(members: [2], block: "192.0.2.0/24")).isEmpty)
        #expect(searches(small(members: [2], subjects: [0, 1, 2])) == [.init(.answerer, address("10.244.0.7"))])
        #expect(searches(PolicySet(pods: small(members: []).pods)).isEmpty)
        // Half of all addresses is not said one by one.
        let wide = PolicyProgram(small(members: [2], block: "128.0.0.0/1"))
        #expect(
            PolicyProgram(small(members: [2])).tightened(since: wide)
                == [.init(.answerer, address("10.244.0.5")), .init(.answerer, address("10.244.0.6"))])
    }
}
