public import IO
internal import KubernetesAPI
public import Network
internal import Serialization

/// Policy objects with their selectors resolved.
///
/// Pure. What cannot be read allows nothing and is told.
public struct PolicyTranslation: Sendable {
    /// The annotation of a policy that drops nothing and counts what it would drop: `"true"`.
    public static let auditAnnotation = "skein.dev/policy-audit"

    /// Policies and pods for the compiler.
    public private(set) var set = PolicySet()
    /// What could not be read, with the object and field.
    public private(set) var problems: [String] = []

    private let objects: PolicyObjects
    private var byNamespace: [String: [Int]] = [:]
    private var selections: [Selection: Set<Int>] = [:]

    /// A pair of selectors; without the first, the namespace.
    private struct Selection: Hashable {
        var namespace: String
        var namespaces: LabelMatcher?
        var pods: LabelMatcher
    }

    /// Resolves the policies.
    ///
    /// - Parameters:
    ///   - given: addresses that this node gave to its pods, by uid: they are known before any status tells them.
    ///   - allAudit: whether every policy is taken for one in audit mode.
    public init(_ objects: PolicyObjects, given: [String: [IPAddress]] = [:], allAudit: Bool = false) {
        self.objects = objects
        for pod in objects.pods.sorted(by: { ($0.namespace, $0.name, $0.uid) < ($1.namespace, $1.name, $1.uid) }) {
            let own = given[pod.uid]
            byNamespace[pod.namespace, default: []].append(set.pods.count)
            set.pods.append(
                PolicySet.Pod(
                    name: "\(pod.namespace)/\(pod.name)", addresses: own ?? pod.addresses.compactMap { IPAddress($0) },
                    ports: pod.ports, isLocal: own != nil || pod.node == objects.nodeName))
            labels.append(pod.labels)
        }
        for object in objects.policies {
            let isAudit = allAudit || object.metadata.annotations[Self.auditAnnotation] == "true"
            let policy: PolicySet.Policy? =
                switch object.kind {
                case "NetworkPolicy": networkPolicy(object)
                case "AdminNetworkPolicy": adminPolicy(object, .admin(priority: object.spec["priority"]?.int ?? 1000))
                case "BaselineAdminNetworkPolicy": adminPolicy(object, .baseline)
                default: nil
                }
            guard var policy else { continue }
            policy.isAudit = isAudit
            set.policies.append(policy)
        }
    }

    private var labels: [[String: String]] = []

    // MARK: Selectors

    private mutating func members(_ namespace: String, _ namespaces: JSON?, _ pods: JSON?) -> Set<Int> {
        let selection = Selection(
            namespace: namespaces == nil ? namespace : "",
            namespaces: namespaces.map { LabelSelector(json: $0).matcher },
            pods: LabelSelector(json: pods ?? [:]).matcher)
        if let known = selections[selection] { return known }
        let names =
            selection.namespaces.map { matcher in
                byNamespace.keys.filter { matcher.matches(namespaceLabels($0)) }
            } ?? [namespace]
        var found: Set<Int> = []
        for name in names {
            for index in byNamespace[name] ?? [] where selection.pods.matches(labels[index]) { found.insert(index) }
        }
        selections[selection] = found
        return found
    }

    private func namespaceLabels(_ name: String) -> [String: String] {
        var labels = objects.namespaces[name] ?? [:]
        // Every namespace has it; a client cannot take it away.
        labels["kubernetes.io/metadata.name"] = name
        return labels
    }

    // MARK: NetworkPolicy

    private mutating func networkPolicy(_ object: KubernetesObject) -> PolicySet.Policy {
        let namespace = object.namespace.isEmpty ? "default" : object.namespace
        let name = "NetworkPolicy \(namespace)/\(object.name)"
        let spec = object.spec
        let ingress = spec["ingress"]?.array ?? []
        let egress = spec["egress"]?.array ?? []
        var types = (spec["policyTypes"]?.array ?? []).compactMap(\.string)
        // N-2: Ingress always, Egress when there are such rules.
        if types.isEmpty { types = egress.isEmpty ? ["Ingress"] : ["Ingress", "Egress"] }
        var policy = PolicySet.Policy(provenance: name, subjects: members(namespace, nil, spec["podSelector"]))
        if types.contains("Ingress") {
            policy.ingress = ingress.enumerated().map { rule($1, "from", namespace, "\(name) spec.ingress[\($0)]") }
        }
        if types.contains("Egress") {
            policy.egress = egress.enumerated().map { rule($1, "to", namespace, "\(name) spec.egress[\($0)]") }
        }
        return policy
    }

    private mutating func rule(
        _ json: JSON, _ field: String, _ namespace: String, _ provenance: String
    ) -> PolicySet.Rule {
        var rule = PolicySet.Rule(provenance: provenance)
        let peers = json[field]?.array ?? []
        rule.isForEveryone = peers.isEmpty
        for (index, peer) in peers.enumerated() {
            if let block = peer["ipBlock"] {
                if let found = self.block(block, "\(provenance).\(field)[\(index)].ipBlock") {
                    rule.blocks.append(found)
                }
            } else if peer["podSelector"] != nil || peer["namespaceSelector"] != nil {
                rule.selectsPods = true
                rule.members.formUnion(members(namespace, peer["namespaceSelector"], peer["podSelector"]))
            }
        }
        let ports = json["ports"]?.array ?? []
        if !ports.isEmpty { rule.ports = ports.enumerated().compactMap { self.port($1, "\(provenance).ports[\($0)]") } }
        return rule
    }

    private mutating func block(_ json: JSON, _ path: String) -> PolicySet.Block? {
        guard let range = Prefix(json["cidr"]?.string ?? "") else {
            problems.append("\(path).cidr: '\(json["cidr"]?.string ?? "")' is not an address range; nobody matches it")
            return nil
        }
        var block = PolicySet.Block(range)
        for text in (json["except"]?.array ?? []).map({ $0.string ?? "" }) {
            guard let excepted = Prefix(text), range.contains(excepted.address), excepted.length >= range.length else {
                problems.append("\(path).except: '\(text)' does not lie in \(range); nobody matches this block")
                return nil
            }
            block.excepted.append(excepted)
        }
        return block
    }

    private mutating func port(_ json: JSON, _ path: String) -> PolicySet.Ports? {
        guard let transport = Transport(protocolName: json["protocol"]?.string) else {
            problems.append("\(path).protocol: none of TCP, UDP, SCTP; nothing matches it")
            return nil
        }
        guard let port = json["port"] else { return .numbers(transport, 0...UInt16.max) }
        if let name = port.string { return .named(transport, name) }
        let last = json["endPort"]?.int ?? port.int ?? 0
        guard let first = port.int.flatMap({ UInt16(exactly: $0) }), let last = UInt16(exactly: last), first <= last
        else {
            problems.append("\(path): the ports are none; nothing matches it")
            return nil
        }
        return .numbers(transport, first...last)
    }

    // MARK: The administrator's policies

    private mutating func adminPolicy(_ object: KubernetesObject, _ tier: PolicySet.Tier) -> PolicySet.Policy {
        let name = "\(object.kind) \(object.name)"
        let spec = object.spec
        var policy = PolicySet.Policy(
            provenance: name, tier: tier, subjects: adminMembers(spec["subject"] ?? [:]) ?? [])
        // Absent or empty, a direction has no rules, and without rules nothing is isolated.
        policy.ingress = (spec["ingress"]?.array ?? []).enumerated().compactMap {
            adminRule($1, "from", "\(name) spec.ingress[\($0)]", tier)
        }
        policy.egress = (spec["egress"]?.array ?? []).enumerated().compactMap {
            adminRule($1, "to", "\(name) spec.egress[\($0)]", tier)
        }
        return policy
    }

    /// The pods that `namespaces` or `pods` choose; nil when there is neither.
    private mutating func adminMembers(_ json: JSON) -> Set<Int>? {
        if let namespaces = json["namespaces"] { return members("", namespaces, nil) }
        guard let pods = json["pods"] else { return nil }
        return members("", pods["namespaceSelector"] ?? [:], pods["podSelector"])
    }

    private mutating func adminRule(
        _ json: JSON, _ field: String, _ provenance: String, _ tier: PolicySet.Tier
    ) -> PolicySet.Rule? {
        guard let action = PolicySet.Action(rawValue: json["action"]?.string ?? ""),
            action != .pass || tier != .baseline
        else {
            problems.append(
                "\(provenance).action: '\(json["action"]?.string ?? "")' is no action; the rule is left out")
            return nil
        }
        var rule = PolicySet.Rule(provenance: provenance, action: action)
        for (index, peer) in (json[field]?.array ?? []).enumerated() {
            if let found = adminMembers(peer) {
                rule.selectsPods = true
                rule.members.formUnion(found)
            }
            for text in (peer["networks"]?.array ?? []).map({ $0.string ?? "" }) {
                guard let range = Prefix(text) else {
                    problems.append("\(provenance).\(field)[\(index)].networks: '\(text)' is not an address range")
                    continue
                }
                rule.blocks.append(PolicySet.Block(range))
            }
        }
        let ports = json["ports"]?.array ?? []
        if !ports.isEmpty {
            rule.ports = ports.enumerated().flatMap { adminPort($1, "\(provenance).ports[\($0)]") }
        }
        return rule
    }

    private mutating func adminPort(_ json: JSON, _ path: String) -> [PolicySet.Ports] {
        if let name = json["namedPort"]?.string { return Transport.allCases.map { .named($0, name) } }
        let range = json["portRange"] ?? json["portNumber"] ?? [:]
        let first = (range["start"] ?? range["port"])?.int.flatMap { UInt16(exactly: $0) }
        let last = (range["end"] ?? range["port"])?.int.flatMap { UInt16(exactly: $0) }
        guard let transport = Transport(protocolName: range["protocol"]?.string), let first, let last, first <= last
        else {
            problems.append("\(path): the ports are none; nothing matches it")
            return []
        }
        return [.numbers(transport, first...last)]
    }
}
