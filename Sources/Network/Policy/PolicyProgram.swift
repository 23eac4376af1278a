internal import IO

/// Policies compiled to what the kernel looks up: a pod, then a group of ports, then a peer, then a verdict.
///
/// Three look-ups for the first packet of a connection, however many pods, policies and peers there are. What decides is
/// worked out here for every group of packets that are treated alike, by `PolicyStack`. Lists are shared between pods and
/// named after the rules they are made of: a pod that comes or goes is one element of a few maps.
///
/// Pure.
struct PolicyProgram: Equatable, Sendable {
    /// Where a look-up ends: nil: accepted without a word; else the name of a verdict.
    typealias Target = String?

    /// Neighbouring addresses that are treated alike.
    struct Range: Hashable, Sendable {
        var first: IPAddress
        var last: IPAddress
        var target: Target
    }

    /// What becomes of a packet whose pod and ports are known, by its peer.
    struct List: Hashable, Sendable {
        var direction: PolicySet.Direction
        /// Whether pods may be in the map at all: the map is there even when it is empty now.
        var hasPods: Bool
        /// Peers among the pods; they come before ranges.
        var pods: [IPAddress: Target]
        /// Disjoint and rising.
        var ranges: [Range]
        /// All other peers.
        var others: Target
    }

    /// Ports of one protocol that have a list of their own.
    struct Segment: Hashable, Sendable {
        var transport: Transport
        var ports: ClosedRange<UInt16>
        var list: String
    }

    /// What pods that the same policies select have in common.
    struct Profile: Hashable, Sendable {
        var segments: [Segment]
        /// The list for everything else.
        var others: String
    }

    /// Pods of this node by address; nil: no policy selects it.
    private(set) var subjects: [PolicySet.Direction: [IPAddress: String?]] = [.ingress: [:], .egress: [:]]
    private(set) var profiles: [String: Profile] = [:]
    private(set) var lists: [String: List] = [:]
    private(set) var verdicts: [String: PolicyDecision] = [:]

    /// Names that are in use, by what they stand for: two things never share one, whoever chose their words.
    private var names: [String: String] = [:]

    init(_ set: PolicySet) {
        let policies = PolicyStack.inOrder(set.policies)
        var selecting: [[Int]] = Array(repeating: [], count: set.pods.count)
        for (index, policy) in policies.enumerated() {
            for pod in policy.subjects where set.pods.indices.contains(pod) { selecting[pod].append(index) }
        }
        let builder = Builder(set)
        for direction in PolicySet.Direction.allCases {
            var known: [Group: String?] = [:]
            for (index, pod) in set.pods.enumerated() where pod.isLocal {
                let mine = selecting[index].filter { policies[$0].rules(direction) != nil }
                let group = Group(policies: mine, ports: direction == .ingress && !mine.isEmpty ? pod.ports : [])
                let profile: String?
                if let found = known[group] {
                    profile = found
                } else {
                    let stack = PolicyStack(mine.map { policies[$0] }, direction)
                    profile = mine.isEmpty ? nil : add(stack, direction, group.ports, builder)
                    known[group] = .some(profile)
                }
                for address in pod.addresses { subjects[direction]?[address] = .some(profile) }
            }
        }
    }

    /// Pods for which the same is compiled.
    private struct Group: Hashable {
        var policies: [Int]
        var ports: [PolicySet.NamedPort]
    }

    static func == (left: PolicyProgram, right: PolicyProgram) -> Bool {
        left.subjects == right.subjects && left.profiles == right.profiles && left.lists == right.lists
            && left.verdicts == right.verdicts
    }

    // MARK: Ports

    /// An entry that counts in a segment; with names, for the pods alone that call the port so.
    private struct Applicable: Hashable {
        var entry: Int
        var names: [String]
    }

    private mutating func add(
        _ stack: PolicyStack, _ direction: PolicySet.Direction, _ own: [PolicySet.NamedPort], _ builder: Builder
    ) -> String {
        let always = stack.entries.indices.filter { stack.entries[$0].rule.ports == nil }
            .map { Applicable(entry: $0, names: []) }
        let others = add(always, nil, stack, direction, builder)
        var segments: [Segment] = []
        for transport in Transport.allCases {
            let claimed = stack.entries.indices.flatMap {
                claims(stack.entries[$0].rule, $0, transport, own, direction, builder)
            }
            let bounds = Set(claimed.flatMap { [Int($0.range.lowerBound), Int($0.range.upperBound) + 1] }).sorted()
            for (low, next) in zip(bounds, bounds.dropFirst()) {
                guard let first = UInt16(exactly: low), let last = UInt16(exactly: next - 1) else { continue }
                var restricted: [Int: Set<String>] = [:]
                for claim in claimed where claim.range.contains(first) {
                    // A claim without a name beats those with one.
                    if let name = claim.name, restricted[claim.entry] != [] {
                        restricted[claim.entry, default: []].insert(name)
                    } else if claim.name == nil {
                        restricted[claim.entry] = []
                    }
                }
                guard !restricted.isEmpty else { continue }
                let more = restricted.map { Applicable(entry: $0.key, names: $0.value.sorted()) }
                let applicable = (always + more).sorted { $0.entry < $1.entry }
                let list = add(applicable, (transport, first), stack, direction, builder)
                if let before = segments.last, before.transport == transport, before.list == list,
                    Int(before.ports.upperBound) + 1 == low
                {
                    segments[segments.count - 1].ports = before.ports.lowerBound...last
                } else if list != others {
                    segments.append(Segment(transport: transport, ports: first...last, list: list))
                }
            }
        }
        let profile = Profile(segments: segments, others: others)
        let name = name("pod", "\(direction) \(profile)")
        profiles[name] = profile
        return name
    }

    private struct Claim {
        var entry: Int
        var range: ClosedRange<UInt16>
        var name: String?
    }

    /// The ports of one protocol that an entry is about.
    ///
    /// To a pod, names are the pod's own; from a pod, those of whom it talks to (N-7).
    private func claims(
        _ rule: PolicySet.Rule, _ entry: Int, _ transport: Transport, _ own: [PolicySet.NamedPort],
        _ direction: PolicySet.Direction, _ builder: Builder
    ) -> [Claim] {
        (rule.ports ?? []).flatMap { ports -> [Claim] in
            switch ports {
            case .numbers(transport, let range): return [Claim(entry: entry, range: range)]
            case .numbers: return []
            case .named(let other, _) where other != transport: return []
            case .named(_, let name) where direction == .ingress:
                return own.filter { $0.name == name && $0.transport == transport }
                    .map { Claim(entry: entry, range: $0.port...$0.port) }
            case .named(_, let name):
                return builder.numbers(transport, name).map { Claim(entry: entry, range: $0...$0, name: name) }
            }
        }
    }

    // MARK: Peers

    private mutating func add(
        _ applicable: [Applicable], _ port: (Transport, UInt16)?, _ stack: PolicyStack,
        _ direction: PolicySet.Direction, _ builder: Builder
    ) -> String {
        var words = ["\(direction)"]
        words += stack.isolating.map { "\($0.policy) \($0.isAudit)" }
        for item in applicable {
            let entry = stack.entries[item.entry]
            words.append("\(entry.rule.provenance) \(entry.rule.action) \(entry.tier) \(entry.isAudit) \(item.names)")
            if !item.names.isEmpty, let port { words.append("\(port.0) \(port.1)") }
        }
        let name = name("list", words.joined(separator: "\n"))
        guard lists[name] == nil else { return name }
        var verdict: [[Int]: Target] = [:]
        func target(_ matching: [Int]) -> Target {
            if let known = verdict[matching] { return known }
            let found = self.target(stack.decide(matching), direction)
            verdict[matching] = .some(found)
            return found
        }
        func rule(_ item: Applicable) -> PolicySet.Rule { stack.entries[item.entry].rule }
        let plain = applicable.filter(\.names.isEmpty)
        let everyone = plain.filter { rule($0).isForEveryone }.map(\.entry)
        let blocks = plain.filter { !rule($0).isForEveryone && !rule($0).blocks.isEmpty }
        func byRange(_ address: IPAddress) -> [Int] {
            (everyone + blocks.filter { rule($0).blocks.contains { $0.contains(address) } }.map(\.entry)).sorted()
        }
        var list = List(
            direction: direction, hasPods: false, pods: [:], ranges: [], others: target(everyone))
        for isV6 in [false, true] {
            list.ranges += Self.ranges(blocks.flatMap { rule($0).blocks }, isV6).map {
                Range(first: $0.0, last: $0.1, target: target(byRange($0.0)))
            }.joined(without: list.others)
        }
        // Entries that single pods match, whatever their addresses.
        var selected: [IPAddress: [Int]] = [:]
        for item in applicable {
            let rule = rule(item)
            if item.names.isEmpty {
                guard !rule.isForEveryone, rule.selectsPods else { continue }
                list.hasPods = true
                for address in rule.members.flatMap(builder.addresses) {
                    selected[address, default: []].append(item.entry)
                }
            } else if let port {
                list.hasPods = true
                for pod in item.names.flatMap({ builder.pods(port.0, $0, port.1) }) {
                    let isMember = rule.isForEveryone || rule.members.contains(pod)
                    for address in builder.addresses(pod)
                    where isMember || rule.blocks.contains(where: { $0.contains(address) }) {
                        selected[address, default: []].append(item.entry)
                    }
                }
            }
        }
        for (address, entries) in selected {
            let ranges = byRange(address)
            let found = target(Set(entries + ranges).sorted())
            if found != target(ranges) { list.pods[address] = .some(found) }
        }
        lists[name] = list
        return name
    }

    /// The pieces into which blocks cut a family's addresses, without what lies outside all of them.
    private static func ranges(_ blocks: [PolicySet.Block], _ isV6: Bool) -> [(IPAddress, IPAddress)] {
        var bounds: Set<UInt128> = []
        let prefixes = blocks.filter { $0.range.address.isV6 == isV6 }.flatMap { [$0.range] + $0.excepted }
            .filter { $0.address.isV6 == isV6 }
        let end: UInt128 = isV6 ? .max : UInt128(UInt32.max)
        var isOpen = false
        for prefix in prefixes {
            let first = prefix.address.number
            let last = first | (prefix.length == 0 ? end : end >> UInt128(prefix.length))
            bounds.insert(first)
            if last == end { isOpen = true } else { bounds.insert(last + 1) }
        }
        let sorted = bounds.sorted()
        var result = zip(sorted, sorted.dropFirst()).map {
            (IPAddress(number: $0, isV6: isV6), IPAddress(number: $1 - 1, isV6: isV6))
        }
        if isOpen, let last = sorted.last {
            result.append((IPAddress(number: last, isV6: isV6), IPAddress(number: end, isV6: isV6)))
        }
        return result
    }

    private mutating func target(_ decision: PolicyDecision, _ direction: PolicySet.Direction) -> Target {
        guard decision != .open else { return nil }
        let kind = !decision.isAllowed ? "deny" : decision.audited == nil ? "allow" : "audit"
        let name = name(kind, "\(direction) \(decision)")
        verdicts[name] = decision
        return name
    }

    private mutating func name(_ kind: String, _ meaning: String) -> String {
        var name = "\(kind)_\(hex(fnv1a(meaning)))"
        while let other = names[name], other != meaning { name += "x" }
        names[name] = meaning
        return name
    }

    /// The pods in the forms in which the compiler looks for them.
    private final class Builder {
        let set: PolicySet
        private var named: [Transport: [String: [UInt16: [Int]]]] = [:]

        init(_ set: PolicySet) {
            self.set = set
            for (index, pod) in set.pods.enumerated() {
                for port in Set(pod.ports) {
                    named[port.transport, default: [:]][port.name, default: [:]][port.port, default: []].append(index)
                }
            }
        }

        func addresses(_ pod: Int) -> [IPAddress] {
            set.pods.indices.contains(pod) ? set.pods[pod].addresses : []
        }

        /// The numbers that pods call so.
        func numbers(_ transport: Transport, _ name: String) -> [UInt16] {
            (named[transport]?[name] ?? [:]).keys.sorted()
        }

        /// The pods that call this number so.
        func pods(_ transport: Transport, _ name: String, _ port: UInt16) -> [Int] {
            named[transport]?[name]?[port] ?? []
        }
    }

    // MARK: Evaluation

    /// What the compiled rules do with a packet at one end: the look-ups of the kernel, in Swift.
    ///
    /// Nil when there is no pod of this node at that end, or when the pod talks to itself.
    func decide(_ packet: PolicySet.Packet, _ direction: PolicySet.Direction) -> PolicyDecision? {
        let own = direction == .ingress ? packet.destination : packet.source
        let other = direction == .ingress ? packet.source : packet.destination
        guard own != other, let profile = subjects[direction]?[own] else { return nil }
        guard let profile, let found = profiles[profile] else { return .open }
        let segment = found.segments.first { $0.transport == packet.transport && $0.ports.contains(packet.port) }
        guard let list = lists[segment?.list ?? found.others] else { return .open }
        return list.target(of: other).flatMap { verdicts[$0] } ?? .open
    }
}

extension PolicyProgram.List {
    /// Where the look-up of a peer ends.
    func target(of peer: IPAddress) -> PolicyProgram.Target {
        if let pod = pods[peer] { return pod }
        if let range = ranges.first(where: { $0.contains(peer) }) { return range.target }
        return others
    }
}

extension PolicyProgram.Range {
    func contains(_ address: IPAddress) -> Bool {
        address.isV6 == first.isV6 && first <= address && address <= last
    }
}

extension Array where Element == PolicyProgram.Range {
    /// Neighbours that are treated alike as one, and without those that are treated as everybody is.
    fileprivate func joined(without others: PolicyProgram.Target) -> [PolicyProgram.Range] {
        var result: [PolicyProgram.Range] = []
        for range in self where range.target != others {
            if let before = result.last, before.target == range.target,
                before.last.number &+ 1 == range.first.number
            {
                result[result.count - 1].last = range.last
            } else {
                result.append(range)
            }
        }
        return result
    }
}

extension IPAddress {
    /// The address as a number, whose family is not said.
    var number: UInt128 {
        switch self {
        case .v4(let value): UInt128(value)
        case .v6(let high, let low): UInt128(high) << 64 | UInt128(low)
        }
    }

    /// The address with that number.
    init(number: UInt128, isV6: Bool) {
        self =
            isV6
            ? .v6(high: UInt64(truncatingIfNeeded: number >> 64), low: UInt64(truncatingIfNeeded: number))
            : .v4(UInt32(truncatingIfNeeded: number))
    }
}
