internal import IO
public import Network
public import Serialization

/// What network policies do with the first packet of a connection, and which object says so.
///
/// Pure: the rules that the kernel has are made from the same objects by the same compiler.
public struct PacketExplanation: Sendable {
    /// One end of the connection that is a pod.
    public struct End: Sendable {
        /// To the pod or from it.
        public var direction: PolicySet.Direction
        /// `namespace/name`.
        public var pod: String
        /// What policies say there.
        public var decision: PolicyDecision
        /// The policies of this direction that select the pod, in the order in which they are asked.
        public var policies: [String]
    }

    /// `shop/client (10.244.0.6)`.
    public let source: String
    /// `shop/web (10.244.0.5)`.
    public let destination: String
    /// `TCP 80`.
    public let port: String
    /// First where it comes from, then where it goes.
    public let ends: [End]

    /// Whether nothing drops it.
    public var isAllowed: Bool { ends.allSatisfy(\.decision.isAllowed) }

    /// Asks the policies.
    public init(_ objects: PolicyObjects, _ packet: PolicySet.Packet) {
        var set = PolicyTranslation(objects).set
        // Here every node's pods are asked about.
        for index in set.pods.indices { set.pods[index].isLocal = true }
        let compiled = PolicySet.Compiled(set)
        func pod(_ address: IPAddress) -> Int? { set.pods.firstIndex { $0.addresses.contains(address) } }
        func shown(_ address: IPAddress) -> String {
            pod(address).map { "\(set.pods[$0].name) (\(address))" } ?? "\(address)"
        }
        source = shown(packet.source)
        destination = shown(packet.destination)
        port = packet.transport.map { "\($0.rawValue.uppercased()) \(packet.port)" } ?? "no port"
        ends = [(PolicySet.Direction.egress, packet.source), (.ingress, packet.destination)].compactMap { end in
            guard let index = pod(end.1), let decision = compiled.decide(packet, end.0) else { return nil }
            let policies = set.policies.filter {
                $0.subjects.contains(index) && (end.0 == .ingress ? $0.ingress : $0.egress) != nil
            }
            let names = policies.sorted { ($0.tier, $0.provenance) < ($1.tier, $1.provenance) }
                .map { $0.isAudit ? "\($0.provenance) (audit)" : $0.provenance }
            return End(direction: end.0, pod: set.pods[index].name, decision: decision, policies: names)
        }
    }

    /// A few lines, the verdict first.
    ///
    /// - Parameters:
    ///   - place: the file and line of an object's field: `NetworkPolicy shop/web spec.ingress[0]`.
    ///   - counters: what the kernel of this machine has counted.
    public func text(place: (String) -> String? = { _ in nil }, counters: [PolicyCounter] = []) -> String {
        var lines = ["\(isAllowed ? "passes" : "dropped"): \(port) from \(source) to \(destination)"]
        for end in ends {
            let decision = end.decision
            let (word, preposition) = end.direction == .egress ? ("egress", "of") : ("ingress", "to")
            var line =
                "  \(word) \(preposition) \(end.pod): \(decision.isAllowed ? "allowed" : "dropped"), \(decision.cause)"
            if case .rule(let rule) = decision.cause, let place = place(rule) { line += " (\(place))" }
            lines.append(line)
            if let audited = decision.audited { lines.append("    would be dropped if audit were off: \(audited)") }
            lines.append(
                end.policies.isEmpty
                    ? "    no policy of this direction selects it"
                    : "    selected by " + end.policies.joined(separator: ", "))
            let comment = PolicyCounter.comment(decision.cause)
            let counted = counters.filter { $0.cause == comment && $0.isAllowed == decision.isAllowed }
            if !counted.isEmpty {
                lines.append("    counted on this node: \(counted.reduce(0) { $0 &+ $1.packets }) first packets")
            }
        }
        if ends.isEmpty { lines.append("  no pod at either end: policies are for pods (or it talks to itself)") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The same for programs.
    public var json: JSON {
        [
            "verdict": .string(isAllowed ? "passes" : "dropped"), "source": .string(source),
            "destination": .string(destination), "port": .string(port),
            "ends": .array(
                ends.map { end in
                    var entry: [String: JSON] = [
                        "direction": .string(end.direction.rawValue), "pod": .string(end.pod),
                        "allowed": .bool(end.decision.isAllowed), "cause": .string("\(end.decision.cause)"),
                        "policies": .array(end.policies.map { .string($0) }),
                    ]
                    if let audited = end.decision.audited { entry["audited"] = .string("\(audited)") }
                    return .object(entry)
                }),
        ]
    }
}
