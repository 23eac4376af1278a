import KubernetesAPI
import Serialization

/// An AuthorizationPolicy (`security.istio.io`, authorization_policy.proto).
struct AuthorizationPolicy: Sendable, Hashable {
    /// What happens to what the policy describes.
    enum Action: String, Sendable, Hashable, CaseIterable {
        case allow = "ALLOW"
        case deny = "DENY"
        case audit = "AUDIT"
        case custom = "CUSTOM"
    }

    /// Who calls: the entries of one `from.source`; all of them hold together.
    struct Source: Sendable, Hashable {
        var json: JSON
        func values(_ name: String) -> [String] { KubernetesObject(json: json).strings(name) }
    }

    /// One of `when`: a key, and the values that it must and must not have.
    struct Condition: Sendable, Hashable {
        var key: String
        var values: [String]
        var notValues: [String]
        var field: String
    }

    /// One of `rules`.
    struct Rule: Sendable, Hashable {
        var sources: [Source]
        var operations: [Source]
        var conditions: [Condition]
        var field: String
    }

    var key: NamespacedName
    var selector: [String: String]?
    /// `targetRef` and `targetRefs`: what the policy is attached to instead of pods.
    var targets: [PolicyTarget]
    var action: Action
    /// `rules`; empty when absent.
    var rules: [Rule]
    /// `provider.name` of CUSTOM.
    var provider: String
    /// The annotation `istio.io/dry-run`: decides nothing, is only counted.
    var isDryRun: Bool

    init(_ object: KubernetesObject) {
        key = NamespacedName(namespace: object.namespace, name: object.name)
        let spec = object.spec
        selector = Selectors.labels(spec)
        targets = PolicyTarget.all(spec)
        action = Action(rawValue: spec["action"]?.string ?? "ALLOW") ?? .deny
        provider = spec["provider"]?["name"]?.string ?? ""
        isDryRun = object.metadata.annotations["istio.io/dry-run"] == "true"
        rules = (spec["rules"]?.array ?? []).enumerated().map { index, rule in
            let field = "spec.rules[\(index)]"
            return Rule(
                sources: (rule["from"]?.array ?? []).map { Source(json: $0["source"] ?? .object([:])) },
                operations: (rule["to"]?.array ?? []).map { Source(json: $0["operation"] ?? .object([:])) },
                conditions: (rule["when"]?.array ?? []).enumerated().map { position, condition in
                    let view = KubernetesObject(json: condition)
                    return Condition(
                        key: view.string("key"), values: view.strings("values"), notValues: view.strings("notValues"),
                        field: "\(field).when[\(position)]")
                }, field: field)
        }
    }

    /// Where it is written, for the names of what is made of it.
    func place(_ field: String) -> Provenance {
        Provenance(kind: "AuthorizationPolicy", object: key, field: field)
    }
}

/// What a policy is attached to by `targetRefs`.
struct PolicyTarget: Sendable, Hashable {
    var group: String
    var kind: String
    var name: String

    static func all(_ spec: JSON) -> [PolicyTarget] {
        let list = (spec["targetRefs"]?.array ?? []) + (spec["targetRef"].map { [$0] } ?? [])
        return list.map {
            let view = KubernetesObject(json: $0)
            return PolicyTarget(group: view.string("group"), kind: view.string("kind"), name: view.string("name"))
        }
    }

    /// The label of the pods of a Gateway of the Gateway API.
    static let gatewayLabel = "gateway.networking.k8s.io/gateway-name"

    /// Whether a pod with these labels is meant: the pods of a Gateway are; Services and classes are waypoints'.
    func covers(_ labels: [String: String]) -> Bool {
        kind == "Gateway" && group == "gateway.networking.k8s.io" && labels[Self.gatewayLabel] == name
    }

    /// Where a Gateway of the Gateway API is, and of which class it is.
    struct Place: Sendable, Hashable {
        var namespace: String
        var name: String
        var className: String
    }

    /// Whether a policy of a namespace with this target is for that Gateway: the target is a Gateway of the policy's own
    /// namespace, or, of a policy in the root namespace, a class.
    func covers(_ gateway: Place, policyNamespace: String) -> Bool {
        guard group == "gateway.networking.k8s.io" else { return false }
        switch kind {
        case "Gateway": return policyNamespace == gateway.namespace && name == gateway.name
        case "GatewayClass": return policyNamespace == Mesh.rootNamespace && name == gateway.className
        default: return false
        }
    }

    /// Why it never covers anything here; nil when it may.
    var problem: String? {
        group == "gateway.networking.k8s.io" && (kind == "Gateway" || kind == "GatewayClass")
            ? nil : "\(kind) \(name): only a Gateway can be attached to here; sidecars are chosen by a selector (A-15)"
    }
}

/// Whether a policy is for a workload: those of the root namespace are for all namespaces.
///
/// - Parameter gateway: The Gateway by which requests enter, where that is known.
func policyApplies(
    _ key: NamespacedName, selector: [String: String]?, targets: [PolicyTarget], namespace: String,
    labels: [String: String], gateway: PolicyTarget.Place? = nil
) -> Bool {
    guard targets.isEmpty else {
        return (key.namespace == namespace && targets.contains { $0.covers(labels) })
            || (gateway.map { place in targets.contains { $0.covers(place, policyNamespace: key.namespace) } } ?? false)
    }
    return (key.namespace == namespace || key.namespace == Mesh.rootNamespace) && Selectors.covers(selector, labels)
}
