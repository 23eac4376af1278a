public import KubernetesAPI

/// Namespace and name of an object; ordered by namespace, then name.
public struct NamespacedName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The namespace; empty for cluster-scoped kinds.
    public var namespace: String
    /// The name.
    public var name: String

    /// Makes the pair.
    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// `namespace/name`.
    public var description: String { "\(namespace)/\(name)" }

    /// By namespace, then name.
    public static func < (left: NamespacedName, right: NamespacedName) -> Bool {
        (left.namespace, left.name) < (right.namespace, right.name)
    }
}

/// The objects that the mesh is made of, as the watch delivered them.
public struct MeshObjects: Sendable, Hashable {
    /// The kinds that matter to the mesh.
    public enum Kind: String, CaseIterable, Sendable, Hashable {
        /// `v1` Service.
        case service = "Service"
        /// `discovery.k8s.io/v1` EndpointSlice.
        case endpointSlice = "EndpointSlice"
        /// `v1` Pod.
        case pod = "Pod"
        /// `v1` Namespace.
        case namespace = "Namespace"
        /// `networking.istio.io` VirtualService.
        case virtualService = "VirtualService"
        /// `networking.istio.io` DestinationRule.
        case destinationRule = "DestinationRule"
        /// `networking.istio.io` Gateway.
        case gateway = "Gateway"
        /// `networking.k8s.io/v1` Ingress.
        case ingress = "Ingress"
        /// `networking.k8s.io/v1` IngressClass.
        case ingressClass = "IngressClass"
        /// `v1` ConfigMap; only the mesh configuration is kept.
        case configMap = "ConfigMap"

        /// The API group of the kind.
        public var group: String {
            switch self {
            case .service, .pod, .namespace, .configMap: ""
            case .endpointSlice: "discovery.k8s.io"
            case .virtualService, .destinationRule, .gateway: "networking.istio.io"
            case .ingress, .ingressClass: "networking.k8s.io"
            }
        }
    }

    private var objects: [Kind: [NamespacedName: KubernetesObject]] = [:]

    /// No objects.
    public init() {}

    /// The objects of that list.
    public init(_ list: some Sequence<KubernetesObject>) {
        for object in list { set(object) }
    }

    /// The kind of the object, if it matters to the mesh.
    public static func kind(of object: KubernetesObject) -> Kind? {
        guard let kind = Kind(rawValue: object.kind), kind.group == object.group else { return nil }
        if kind == .configMap && (object.namespace != Mesh.rootNamespace || object.name != "istio") { return nil }
        return kind
    }

    /// Adds or replaces an object and tells its kind when the mesh differs afterwards; other kinds are left out.
    @discardableResult
    public mutating func set(_ object: KubernetesObject) -> Kind? {
        guard let kind = Self.kind(of: object) else { return nil }
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        guard objects[kind]?[key] != object else { return nil }
        objects[kind, default: [:]][key] = object
        return kind
    }

    /// Removes an object and tells its kind when it was there.
    @discardableResult
    public mutating func remove(_ object: KubernetesObject) -> Kind? {
        guard let kind = Self.kind(of: object) else { return nil }
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        return objects[kind]?.removeValue(forKey: key) == nil ? nil : kind
    }

    /// The object of that kind and name.
    public func object(_ kind: Kind, _ key: NamespacedName) -> KubernetesObject? { objects[kind]?[key] }

    /// The objects of one kind, oldest first, then by name and namespace: the order in which configuration counts (H-6).
    public func inOrder(_ kind: Kind) -> [KubernetesObject] {
        (objects[kind] ?? [:]).values
            .map { (creation: $0.metadata.creationTimestamp, name: $0.name, namespace: $0.namespace, object: $0) }
            .sorted { ($0.creation, $0.name, $0.namespace) < ($1.creation, $1.name, $1.namespace) }
            .map(\.object)
    }
}
