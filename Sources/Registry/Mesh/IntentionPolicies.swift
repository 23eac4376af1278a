public import Serialization

/// An object that the registry wants in the cluster.
public struct OwnedObject: Sendable, Hashable {
    /// `ServiceEntry` or `AuthorizationPolicy`.
    public var kind: String
    /// Its namespace.
    public var namespace: String
    /// Its name.
    public var name: String
    /// Its spec.
    public var spec: JSON

    /// The label that all of them have, and its value.
    public static let label = (name: "skein.dev/managed-by", value: "registry")
}

/// AuthorizationPolicies that mean what intentions mean.
///
/// A source is the service account of that name, a destination the pods with `app: NAME`. What is said of one destination becomes a DENY
/// policy, which counts before all others; what is said of all (`*`) becomes an ALLOW policy of the namespace, beside which each destination
/// has one with what is allowed to it nevertheless. So Consul's order of precedence holds (a test compares all small cases).
enum IntentionPolicies {
    /// All policies, sorted by namespace and name.
    static func policies(_ intentions: [Intention], trustDomain: String) -> [OwnedObject] {
        let spaces = Dictionary(grouping: intentions, by: \.destinationNamespace)
        return spaces.sorted { $0.key < $1.key }.flatMap { policies(in: $0.key, $0.value, trustDomain) }
    }

    private static func policies(in namespace: String, _ all: [Intention], _ domain: String) -> [OwnedObject] {
        func principals(_ some: [Intention]) -> [JSON] {
            some.map { .string("\(domain)/ns/\($0.sourceNamespace)/sa/\($0.source)") }.sorted { $0.text < $1.text }
        }
        func policy(_ name: String, _ destination: String?, _ action: String, _ rules: [JSON]) -> OwnedObject {
            var spec: JSON = ["action": .string(action)]
            if !rules.isEmpty { spec["rules"] = .array(rules) }
            if let destination { spec["selector"] = ["matchLabels": ["app": .string(destination)]] }
            return OwnedObject(kind: "AuthorizationPolicy", namespace: namespace, name: name, spec: spec)
        }
        func from(_ member: String, _ list: [JSON]) -> JSON { ["from": [["source": .object([member: .array(list)])]]] }
        let everybody: JSON = [:]

        var result: [OwnedObject] = []
        let byDestination = Dictionary(grouping: all, by: \.destination)
        let wide = byDestination[Intention.any] ?? []
        if !wide.isEmpty {
            let named = wide.filter { $0.source != Intention.any }
            let allows = principals(named.filter(\.isAllowed))
            let denies = principals(named.filter { !$0.isAllowed })
            let isOpen = wide.first { $0.source == Intention.any }?.isAllowed ?? true
            let rules: [JSON] =
                isOpen
                ? [denies.isEmpty ? everybody : from("notPrincipals", denies)]
                : allows.isEmpty ? [] : [from("principals", allows)]
            result.append(policy("intentions", nil, "ALLOW", rules))
        }
        for (destination, some) in byDestination.sorted(by: { $0.key < $1.key }) where destination != Intention.any {
            let named = some.filter { $0.source != Intention.any }
            let allows = principals(named.filter(\.isAllowed))
            let denies = principals(named.filter { !$0.isAllowed })
            let general = some.first { $0.source == Intention.any }?.isAllowed
            if general == false {
                let rule = allows.isEmpty ? everybody : from("notPrincipals", allows)
                result.append(policy("intentions-deny-\(destination)", destination, "DENY", [rule]))
            } else if !denies.isEmpty {
                result.append(
                    policy("intentions-deny-\(destination)", destination, "DENY", [from("principals", denies)]))
            }
            guard !wide.isEmpty else { continue }
            if general == true {
                result.append(policy("intentions-allow-\(destination)", destination, "ALLOW", [everybody]))
            } else if !allows.isEmpty {
                result.append(
                    policy("intentions-allow-\(destination)", destination, "ALLOW", [from("principals", allows)]))
            }
        }
        return result
    }
}
