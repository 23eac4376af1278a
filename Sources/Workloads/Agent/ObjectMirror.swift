internal import KubernetesAPI
internal import Serialization

/// What the agent knows of the API's objects besides its pods.
struct ObjectMirror: PodReferences {
    /// A kind that is mirrored.
    enum Kind: String, CaseIterable, Sendable {
        case configMap = "/api/v1/configmaps"
        case secret = "/api/v1/secrets"
        case namespace = "/api/v1/namespaces"
        case service = "/api/v1/services"
        case slice = "/apis/discovery.k8s.io/v1/endpointslices"
        case networkPolicy = "/apis/networking.k8s.io/v1/networkpolicies"
        case adminNetworkPolicy = "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies"
        case baselineAdminNetworkPolicy = "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies"
        case node = "/api/v1/nodes"
        case claim = "/api/v1/persistentvolumeclaims"
        case volume = "/api/v1/persistentvolumes"

        var objectKind: String {
            switch self {
            case .configMap: "ConfigMap"
            case .secret: "Secret"
            case .namespace: "Namespace"
            case .service: "Service"
            case .slice: "EndpointSlice"
            case .networkPolicy: "NetworkPolicy"
            case .adminNetworkPolicy: "AdminNetworkPolicy"
            case .baselineAdminNetworkPolicy: "BaselineAdminNetworkPolicy"
            case .node: "Node"
            case .claim: "PersistentVolumeClaim"
            case .volume: "PersistentVolume"
            }
        }
    }

    private var objects: [Kind: [String: KubernetesObject]] = [:]

    func all(_ kind: Kind) -> [KubernetesObject] { Array((objects[kind] ?? [:]).values) }

    func configMap(_ namespace: String, _ name: String) -> KubernetesObject? {
        objects[.configMap]?["\(namespace)/\(name)"]
    }

    func secret(_ namespace: String, _ name: String) -> KubernetesObject? { objects[.secret]?["\(namespace)/\(name)"] }

    func claim(_ namespace: String, _ name: String) -> KubernetesObject? { objects[.claim]?["\(namespace)/\(name)"] }

    func volume(_ name: String) -> KubernetesObject? { objects[.volume]?["/\(name)"] }

    /// The labels of a node; of one that is not known its name.
    func nodeLabels(_ name: String) -> [String: String] {
        objects[.node]?["/\(name)"]?.metadata.labels ?? [LocalStorage.nodeLabel: name]
    }

    func namespaceLabels(_ name: String) -> [String: String] {
        objects[.namespace]?["/\(name)"]?.metadata.labels ?? [:]
    }

    mutating func replace(_ kind: Kind, _ items: [JSON]) {
        var all: [String: KubernetesObject] = [:]
        for item in items {
            let object = Self.complete(item, kind)
            all[Self.key(object)] = object
        }
        objects[kind] = all
    }

    mutating func set(_ kind: Kind, _ item: JSON) {
        let object = Self.complete(item, kind)
        objects[kind, default: [:]][Self.key(object)] = object
    }

    mutating func remove(_ kind: Kind, _ item: JSON) {
        objects[kind]?[Self.key(KubernetesObject(json: item))] = nil
    }

    /// Items of a list do not say their kind, which tells a Secret's values from a ConfigMap's.
    private static func complete(_ item: JSON, _ kind: Kind) -> KubernetesObject {
        var item = item
        if item["kind"] == nil { item["kind"] = .string(kind.objectKind) }
        return KubernetesObject(json: item)
    }

    private static func key(_ object: KubernetesObject) -> String { "\(object.namespace)/\(object.name)" }
}
