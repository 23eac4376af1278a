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
    /// The keys of the slices of each service.
    private var slices: [String: Set<String>] = [:]
    /// The services that have changed since they were last taken; nil: all may have.
    private var changedServices: Set<String>?

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
        if kind == .slice {
            slices = [:]
            for (key, slice) in all { Self.service(of: slice).map { _ = slices[$0, default: []].insert(key) } }
        }
        if kind == .slice || kind == .service { changedServices = nil }
    }

    mutating func set(_ kind: Kind, _ item: JSON) {
        let object = Self.complete(item, kind)
        let key = Self.key(object)
        touch(kind, key, object)
        objects[kind, default: [:]][key] = object
    }

    mutating func remove(_ kind: Kind, _ item: JSON) {
        let key = Self.key(KubernetesObject(json: item))
        touch(kind, key, nil)
        objects[kind]?[key] = nil
    }

    // MARK: Services

    /// Notes the services that an object of that key is of, and was.
    private mutating func touch(_ kind: Kind, _ key: String, _ now: KubernetesObject?) {
        if kind == .service { changedServices?.insert(key) }
        guard kind == .slice else { return }
        let (old, new) = (objects[.slice]?[key].flatMap(Self.service), now.flatMap(Self.service))
        for service in [old, new].compactMap(\.self) { changedServices?.insert(service) }
        guard old != new else { return }
        if let old {
            slices[old]?.remove(key)
            if slices[old]?.isEmpty == true { slices[old] = nil }
        }
        if let new { slices[new, default: []].insert(key) }
    }

    /// The service that a slice is of.
    private static func service(of slice: KubernetesObject) -> String? {
        slice.json["metadata"]?["labels"]?["kubernetes.io/service-name"]?.string.map { "\(slice.namespace)/\($0)" }
    }

    /// A service with its slices.
    func parts(_ key: String) -> ServiceParts {
        ServiceParts(
            key: key, service: objects[.service]?[key],
            slices: (slices[key] ?? []).sorted().compactMap { objects[.slice]?[$0] })
    }

    /// The services that have changed since this was last asked.
    mutating func takeServiceChanges() -> ServiceChanges {
        defer { changedServices = [] }
        let keys = changedServices ?? Set((objects[.service] ?? [:]).keys)
        return ServiceChanges(isWhole: changedServices == nil, keys.sorted().map(parts))
    }

    /// What was taken did not arrive: everything is to be told anew.
    mutating func tellServicesAnew() { changedServices = nil }

    /// Items of a list do not say their kind, which tells a Secret's values from a ConfigMap's.
    private static func complete(_ item: JSON, _ kind: Kind) -> KubernetesObject {
        var item = item
        if item["kind"] == nil { item["kind"] = .string(kind.objectKind) }
        return KubernetesObject(json: item)
    }

    private static func key(_ object: KubernetesObject) -> String { "\(object.namespace)/\(object.name)" }
}
