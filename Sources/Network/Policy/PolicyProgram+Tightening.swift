internal import IO
internal import Netlink

// What a program denies that an earlier one did not: which connections are to be asked about anew.
extension PolicyProgram {
    /// What finds every connection that this program denies and `before` did not; may find more.
    ///
    /// By the pods whose rules are others, or by the peers that their rules let through no longer, whichever are fewer. A rule that
    /// only allows more needs no look at all.
    func tightened(since before: PolicyProgram) -> Set<ConnectionTable.Search> {
        var result: Set<ConnectionTable.Search> = []
        var known: [String: Set<IPAddress>?] = [:]
        for direction in PolicySet.Direction.allCases {
            // To a pod, it is who answers; from a pod, it is who began.
            let (own, other): (ConnectionTable.Search.End, ConnectionTable.Search.End) =
                direction == .ingress ? (.answerer, .client) : (.client, .answerer)
            var pods: [String: [IPAddress]] = [:]
            for (address, profile) in subjects[direction] ?? [:] {
                guard let profile else { continue }
                if before.subjects[direction]?[address] == .some(.some(profile)) {
                    pods[profile, default: []].append(address)
                } else {
                    result.insert(.init(own, address))
                }
            }
            for (profile, addresses) in pods {
                let peers: Set<IPAddress>? = known[profile] ?? deniedPeers(ofProfile: profile, since: before)
                known[profile] = .some(peers)
                if let peers, peers.count <= addresses.count {
                    result.formUnion(peers.map { ConnectionTable.Search(other, $0) })
                } else {
                    result.formUnion(addresses.map { ConnectionTable.Search(own, $0) })
                }
            }
        }
        return result
    }

    /// The peers that a profile denies at some port and did not deny before; nil: more than can be said one by one.
    private func deniedPeers(ofProfile name: String, since before: PolicyProgram) -> Set<IPAddress>? {
        guard let profile = profiles[name], before.profiles[name] == profile else { return nil }
        var result: Set<IPAddress> = []
        for name in Set(profile.segments.map(\.list) + [profile.others]) {
            guard let list = lists[name] else { continue }
            guard let old = before.lists[name], let peers = denied(list, since: (old, before)) else { return nil }
            result.formUnion(peers)
        }
        return result
    }

    private func denied(_ list: List, since old: (list: List, program: PolicyProgram)) -> Set<IPAddress>? {
        // Names of verdicts say what they mean, so that the same name is the same.
        if list == old.list { return [] }
        func isNew(_ target: Target, _ before: Target) -> Bool { isDenied(target) && !old.program.isDenied(before) }
        guard !isNew(list.others, old.list.others) else { return nil }
        var result: Set<IPAddress> = []
        for isV6 in [false, true] {
            let (now, then) = (RangeTable(list, isV6: isV6), RangeTable(old.list, isV6: isV6))
            let bounds = Set(now.bounds + then.bounds).sorted()
            for (place, first) in bounds.enumerated() where isNew(now.target(first), then.target(first)) {
                guard place + 1 < bounds.count, bounds[place + 1] == first &+ 1 else { return nil }
                result.insert(IPAddress(number: first, isV6: isV6))
            }
        }
        for address in Set(list.pods.keys).union(old.list.pods.keys)
        where isNew(list.target(of: address), old.list.target(of: address)) {
            result.insert(address)
        }
        return result
    }

    private func isDenied(_ target: Target) -> Bool {
        target.flatMap { verdicts[$0] }.map { !$0.isAllowed } ?? false
    }

    /// The ranges of one family, to look addresses up in.
    private struct RangeTable {
        private let ranges: [(first: UInt128, last: UInt128, target: Target)]
        private let others: Target

        init(_ list: List, isV6: Bool) {
            ranges = list.ranges.filter { $0.first.isV6 == isV6 }.map { ($0.first.number, $0.last.number, $0.target) }
            others = list.others
        }

        /// Where the target may change.
        var bounds: [UInt128] { ranges.flatMap { [$0.first, $0.last &+ 1] } }

        func target(_ number: UInt128) -> Target {
            var (low, high) = (0, ranges.count)
            while low < high {
                let middle = (low + high) / 2
                if ranges[middle].last < number { low = middle + 1 } else { high = middle }
            }
            return low < ranges.count && ranges[low].first <= number ? ranges[low].target : others
        }
    }
}
