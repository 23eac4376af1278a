public import IO

/// Network policies with their selectors resolved: who is selected, who is a peer, which ports.
///
/// A value without references to objects: what the rules and `skein explain --packet` are computed from.
public struct PolicySet: Sendable, Hashable {
    /// A pod of the cluster.
    public struct Pod: Sendable, Hashable {
        /// `namespace/name`.
        public var name: String
        /// Its addresses, of both families.
        public var addresses: [IPAddress]
        /// Ports of its containers that have names.
        public var ports: [NamedPort]
        /// Whether it is one of this node's, so that policies on it are enforced here.
        public var isLocal: Bool

        /// A pod of the cluster.
        public init(name: String, addresses: [IPAddress], ports: [NamedPort] = [], isLocal: Bool = true) {
            self.name = name
            self.addresses = addresses
            self.ports = ports
            self.isLocal = isLocal
        }
    }

    /// A port of a container that has a name.
    public struct NamedPort: Sendable, Hashable {
        /// The name.
        public var name: String
        /// Its protocol.
        public var transport: Transport
        /// The number.
        public var port: UInt16

        /// A port that has a name.
        public init(name: String, transport: Transport, port: UInt16) {
            self.name = name
            self.transport = transport
            self.port = port
        }
    }

    /// A range of addresses, without parts of it (`ipBlock`).
    public struct Block: Sendable, Hashable {
        /// The range.
        public var range: Prefix
        /// What of it does not count.
        public var excepted: [Prefix]

        /// A range without parts of it.
        public init(_ range: Prefix, except excepted: [Prefix] = []) {
            self.range = range
            self.excepted = excepted
        }

        func contains(_ address: IPAddress) -> Bool {
            range.contains(address) && !excepted.contains { $0.contains(address) }
        }
    }

    /// Ports of one protocol.
    public enum Ports: Sendable, Hashable {
        /// These numbers.
        case numbers(Transport, ClosedRange<UInt16>)
        /// What the pod that is connected to calls so (N-7).
        case named(Transport, String)
    }

    /// What a rule says of the packets that it matches.
    public enum Action: String, Sendable, Hashable {
        /// They may pass.
        case allow = "Allow"
        /// They may not.
        case deny = "Deny"
        /// No later rule of the administrator's policies counts; NetworkPolicies decide.
        case pass = "Pass"
    }

    /// One entry of `ingress` or `egress`.
    public struct Rule: Sendable, Hashable {
        /// Where it is written: `NetworkPolicy shop/web spec.ingress[0]`.
        public var provenance: String
        /// What it says.
        public var action: Action
        /// Everybody is a peer: `from` is absent or empty (N-4).
        public var isForEveryone: Bool
        /// Whether selectors name peers, even when nobody matches them now.
        public var selectsPods: Bool
        /// Peers among the pods, as indices into `pods`.
        public var members: Set<Int>
        /// Peers by address.
        public var blocks: [Block]
        /// Ports; nil: all, and protocols without ports too.
        public var ports: [Ports]?

        /// One entry of `ingress` or `egress`.
        public init(
            provenance: String, action: Action = .allow, isForEveryone: Bool = false, selectsPods: Bool = false,
            members: Set<Int> = [], blocks: [Block] = [], ports: [Ports]? = nil
        ) {
            self.provenance = provenance
            self.action = action
            self.isForEveryone = isForEveryone
            self.selectsPods = selectsPods || !members.isEmpty
            self.members = members
            self.blocks = blocks
            self.ports = ports
        }
    }

    /// Whose policy it is; tiers are asked in this order.
    public enum Tier: Sendable, Hashable, Comparable {
        /// AdminNetworkPolicy; lower priorities first.
        case admin(priority: Int)
        /// NetworkPolicy: isolates, and adds up.
        case network
        /// BaselineAdminNetworkPolicy.
        case baseline
    }

    /// One policy.
    public struct Policy: Sendable, Hashable {
        /// Which object it is: `NetworkPolicy shop/web`.
        public var provenance: String
        /// Its tier.
        public var tier: Tier
        /// The pods it is about, as indices into `pods`.
        public var subjects: Set<Int>
        /// Rules for connections to them; nil: it says nothing of those.
        public var ingress: [Rule]?
        /// Rules for connections from them; nil: it says nothing of those.
        public var egress: [Rule]?
        /// Whether it is only watched what it would drop.
        public var isAudit: Bool

        /// One policy.
        public init(
            provenance: String, tier: Tier = .network, subjects: Set<Int>, ingress: [Rule]? = nil,
            egress: [Rule]? = nil, isAudit: Bool = false
        ) {
            self.provenance = provenance
            self.tier = tier
            self.subjects = subjects
            self.ingress = ingress
            self.egress = egress
            self.isAudit = isAudit
        }

        func rules(_ direction: Direction) -> [Rule]? { direction == .ingress ? ingress : egress }
    }

    /// To a pod or from it.
    public enum Direction: String, Sendable, Hashable, CaseIterable {
        /// To the pod.
        case ingress
        /// From the pod.
        case egress
    }

    /// The pods.
    public var pods: [Pod]
    /// The policies, in any order.
    public var policies: [Policy]

    /// Policies and the pods that they are about.
    public init(pods: [Pod] = [], policies: [Policy] = []) {
        self.pods = pods
        self.policies = policies
    }
}

/// What policies say of the first packet of a connection.
public struct PolicyDecision: Sendable, Hashable {
    /// What decided.
    public enum Cause: Sendable, Hashable {
        /// No policy has a word in it (N-1).
        case nothing
        /// A rule, by its provenance.
        case rule(String)
        /// These policies select the pod, and none of their rules matches.
        case isolation([String])
        /// The rules do not know the pod yet: it is closed until they do (ATK-42).
        case unknownPod
    }

    /// Whether it may pass.
    public var isAllowed: Bool
    /// What decided.
    public var cause: Cause
    /// What would drop it if policies in audit mode were in force; nil: nothing would.
    public var audited: Cause?

    /// Passes, for no policy says otherwise.
    static let open = PolicyDecision(isAllowed: true, cause: .nothing, audited: nil)
}

extension PolicyDecision.Cause: CustomStringConvertible {
    /// `NetworkPolicy shop/web spec.ingress[0]`.
    public var description: String {
        switch self {
        case .nothing: "no policy"
        case .rule(let provenance): provenance
        case .isolation(let policies):
            policies.count > 1
                ? "no rule of \(policies.first ?? "") and \(policies.count - 1) more"
                : "no rule of \(policies.first ?? "")"
        case .unknownPod: "the pod is not known to the rules yet"
        }
    }
}
