import KubernetesAPI

/// Something about the mesh that a result may depend on.
///
/// The narrow ones change with few edits, the kinds with every edit of an object of the kind.
enum Fact: Sendable, Hashable {
    /// Any object of that kind.
    case kind(MeshObjects.Kind)
    /// Which services a host has, and what they say.
    case service(String)
    /// The endpoints of the services of a host.
    case endpoints(String)
    /// The VirtualServices with a host that covers this one.
    case rules(String)
    /// The DestinationRules with a host that covers this one.
    case policies(String)
    /// The DestinationRules that name Secrets.
    case credentialPolicies
    /// The external names that stand for a host.
    case aliases(String)
    /// What is known of a pod.
    case workload(NamespacedName)
    /// Which services lead to a pod, and what they say.
    case servicesOf(NamespacedName)
}

/// What an edit touched.
struct Touched: Sendable {
    /// The facts that differ now.
    var facts: Set<Fact> = []
    /// Hosts of VirtualServices that came, went or changed; wildcards touch every host that they cover.
    var ruleHosts: Set<String> = []
    /// The same of DestinationRules.
    var policyHosts: Set<String> = []
    /// Whether something changed on which anything may depend.
    var everything = false

    /// Whether nothing differs.
    var isEmpty: Bool { facts.isEmpty && ruleHosts.isEmpty && policyHosts.isEmpty && !everything }
}

/// The facts that are read while one result is made.
///
/// Whoever makes something hangs a log into its own copy of the model, and every question to that copy is noted. It is
/// used by the one thread that makes the result and given away with it: `@unchecked Sendable`, since the model that
/// carries it is `Sendable`.
final class ReadLog: @unchecked Sendable {
    /// What was read.
    private(set) var facts: Set<Fact> = []

    func note(_ fact: Fact) { facts.insert(fact) }
}
