import APIServer
public import KubernetesAPI

/// Finds the objects of a kind by something that is in them, within a namespace.
///
/// A controller that went through all objects for each that changes would cost more the more there are.
public struct ObjectIndex {
    /// By what objects are found.
    public enum Name: Hashable, Sendable {
        /// `KEY=VALUE` of each label.
        case label
        /// The uid of the controlling owner.
        case controller
        /// One label that an object's selector wants (`KEY=VALUE`, or several for a set of values); empty when it wants none.
        case selector
        /// The Service that an EndpointSlice is of.
        case service
        /// The claims that a pod uses.
        case claim
    }

    /// The kind of the objects.
    public let kind: ResourceKind
    /// By what they are found.
    public let name: Name
    private let values: (KubernetesObject) -> [String]

    private struct Place: Hashable {
        var namespace: String
        var value: String
    }

    private var found: [Place: Set<String>] = [:]

    /// An index of a kind by the values that a function finds in an object.
    public init(_ kind: ResourceKind, by name: Name, values: @escaping (KubernetesObject) -> [String]) {
        self.kind = kind
        self.name = name
        self.values = values
    }

    /// The names of the objects with a value.
    func names(_ value: String, namespace: String) -> Set<String> {
        found[Place(namespace: namespace, value: value)] ?? []
    }

    /// An object has come, changed or gone.
    mutating func replace(_ old: KubernetesObject?, _ now: KubernetesObject?) {
        let before = Set(old.map(values) ?? [])
        let after = Set(now.map(values) ?? [])
        guard before != after else { return }
        if let old {
            for value in before.subtracting(after) {
                let place = Place(namespace: old.namespace, value: value)
                found[place]?.remove(old.name)
                if found[place]?.isEmpty == true { found[place] = nil }
            }
        }
        if let now {
            for value in after.subtracting(before) {
                found[Place(namespace: now.namespace, value: value), default: []].insert(now.name)
            }
        }
    }

    /// Everything is gone.
    mutating func removeAll() { found = [:] }
}

extension ObjectIndex {
    /// A label as a value.
    static func pair(_ key: String, _ value: String) -> String { "\(key)=\(value)" }

    /// The values under which what may select an object with those labels is found.
    static func selectors(of labels: [String: String]) -> [String] { [""] + labels.map { pair($0.key, $0.value) } }

    /// By every label.
    static func labels(_ kind: ResourceKind) -> ObjectIndex {
        ObjectIndex(kind, by: .label) { $0.metadata.labels.map { pair($0.key, $0.value) } }
    }

    /// By the controlling owner.
    static func controllers(_ kind: ResourceKind) -> ObjectIndex {
        ObjectIndex(kind, by: .controller) { $0.controllerUID.map { [$0] } ?? [] }
    }

    /// What owns others by a label selector.
    static func selectors(_ kind: ResourceKind) -> ObjectIndex {
        ObjectIndex(kind, by: .selector) { owner in
            let wanted = Adoption.selector(owner).requirements.filter { $0.operator == .in }
            guard let first = wanted.min(by: { $0.key < $1.key }) else { return [""] }
            return first.values.map { pair(first.key, $0) }
        }
    }

    /// Services by their selectors; those without one select nothing.
    static var serviceSelectors: ObjectIndex {
        ObjectIndex(.service, by: .selector) { service in
            Service(json: service.content).spec.selector.min { ($0.key, $0.value) < ($1.key, $1.value) }
                .map { [pair($0.key, $0.value)] } ?? []
        }
    }

    /// Pods by the claims that they use.
    static var claimsOfPods: ObjectIndex {
        ObjectIndex(.pod, by: .claim) { PodSpec(json: $0.spec).claimNames }
    }

    /// EndpointSlices by their Services.
    static var slicesOfServices: ObjectIndex {
        ObjectIndex(.endpointSlice, by: .service) {
            $0.metadata.labels[EndpointSliceController.serviceLabel].map { [$0] } ?? []
        }
    }
}
