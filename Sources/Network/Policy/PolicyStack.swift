public import IO

/// The policies that select one pod in one direction, in the order in which they are asked.
///
/// Pure: this is the meaning of policies; the compiler asks it for every group of packets that are treated alike.
struct PolicyStack: Hashable {
    /// A rule with what its policy adds to it.
    struct Entry: Hashable {
        var rule: PolicySet.Rule
        var tier: PolicySet.Tier
        var isAudit: Bool
    }

    /// Rules of the administrator's policies by priority, then those of NetworkPolicies, then the baseline's.
    var entries: [Entry] = []
    /// NetworkPolicies that isolate the pod: what none of their rules matches is dropped (N-1).
    var isolating: [Isolation] = []

    struct Isolation: Hashable {
        var policy: String
        var isAudit: Bool
    }

    /// The stack of a pod out of policies that are sorted already.
    init(_ policies: [PolicySet.Policy], _ direction: PolicySet.Direction) {
        for policy in policies {
            guard let rules = policy.rules(direction) else { continue }
            if policy.tier == .network {
                isolating.append(Isolation(policy: policy.provenance, isAudit: policy.isAudit))
            }
            entries += rules.map { Entry(rule: $0, tier: policy.tier, isAudit: policy.isAudit) }
        }
    }

    /// In the order in which they are asked; of equal ones by name, so that every run decides alike.
    static func inOrder(_ policies: [PolicySet.Policy]) -> [PolicySet.Policy] {
        policies.sorted { ($0.tier, $0.provenance) < ($1.tier, $1.provenance) }
    }

    /// What becomes of packets that exactly these entries match, given by index in rising order.
    func decide(_ matching: [Int]) -> PolicyDecision {
        let matched = matching.map { entries[$0] }
        var decision = verdict(matched.filter { !$0.isAudit }, isolating.filter { !$0.isAudit }.map(\.policy))
        if decision.isAllowed, isolating.contains(where: \.isAudit) || matched.contains(where: \.isAudit) {
            let full = verdict(matched, isolating.map(\.policy))
            if !full.isAllowed { decision.audited = full.cause }
        }
        return decision
    }

    private func verdict(_ matched: [Entry], _ isolating: [String]) -> PolicyDecision {
        admin: for entry in matched {
            guard case .admin = entry.tier else { break }
            switch entry.rule.action {
            case .allow: return PolicyDecision(isAllowed: true, cause: .rule(entry.rule.provenance))
            case .deny: return PolicyDecision(isAllowed: false, cause: .rule(entry.rule.provenance))
            case .pass: break admin
            }
        }
        if !isolating.isEmpty {
            guard let entry = matched.first(where: { $0.tier == .network }) else {
                return PolicyDecision(isAllowed: false, cause: .isolation(isolating))
            }
            return PolicyDecision(isAllowed: true, cause: .rule(entry.rule.provenance))
        }
        guard let entry = matched.first(where: { $0.tier == .baseline }) else { return .open }
        return PolicyDecision(isAllowed: entry.rule.action != .deny, cause: .rule(entry.rule.provenance))
    }
}

extension PolicyDecision {
    init(isAllowed: Bool, cause: Cause) { self.init(isAllowed: isAllowed, cause: cause, audited: nil) }
}

extension PolicySet {
    /// Who sends to whom what; the ports are those after address translation: the pod's own.
    public struct Packet: Sendable, Hashable {
        /// The address it comes from.
        public var source: IPAddress
        /// The address it goes to.
        public var destination: IPAddress
        /// Its protocol; nil: one without ports, such as ICMP.
        public var transport: Transport?
        /// The port it goes to.
        public var port: UInt16

        /// The first packet of a connection.
        public init(from source: IPAddress, to destination: IPAddress, _ transport: Transport?, port: UInt16) {
            self.source = source
            self.destination = destination
            self.transport = transport
            self.port = port
        }
    }

    /// What policies say, by asking rule after rule: slow, and what the compiled form is compared with.
    ///
    /// Nil when there is no pod at that end, or when the pod talks to itself, which nothing can forbid.
    public func decide(_ packet: Packet, _ direction: Direction) -> PolicyDecision? {
        let own = direction == .ingress ? packet.destination : packet.source
        guard let pod = pods.firstIndex(where: { $0.addresses.contains(own) }) else { return nil }
        return decide(packet, direction, pod, stack(pod, direction))
    }

    /// The policies of a pod.
    func stack(_ pod: Int, _ direction: Direction) -> PolicyStack {
        PolicyStack(PolicyStack.inOrder(policies.filter { $0.subjects.contains(pod) }), direction)
    }

    func decide(_ packet: Packet, _ direction: Direction, _ pod: Int, _ stack: PolicyStack) -> PolicyDecision? {
        let other = direction == .ingress ? packet.source : packet.destination
        guard packet.source != packet.destination else { return nil }
        let peer = pods.firstIndex { $0.addresses.contains(other) }
        let target = direction == .ingress ? pod : peer
        return stack.decide(
            stack.entries.indices.filter { index in
                let rule = stack.entries[index].rule
                guard isPort(packet, of: rule, at: target) else { return false }
                if rule.isForEveryone { return true }
                return peer.map(rule.members.contains) == true || rule.blocks.contains { $0.contains(other) }
            })
    }

    private func isPort(_ packet: Packet, of rule: Rule, at pod: Int?) -> Bool {
        guard let ports = rule.ports else { return true }
        return ports.contains { ports in
            switch ports {
            case .numbers(let transport, let range): transport == packet.transport && range.contains(packet.port)
            case .named(let transport, let name):
                transport == packet.transport
                    && pod.map { index in
                        pods[index].ports.contains {
                            $0.name == name && $0.transport == transport && $0.port == packet.port
                        }
                    } == true
            }
        }
    }
}
