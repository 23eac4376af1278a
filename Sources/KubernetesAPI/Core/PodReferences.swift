import Serialization

/// A Secret or ConfigMap that a pod uses, in the pod's namespace.
public struct PodReference: Sendable, Hashable {
    /// `.secret` or `.configMap`.
    public var kind: ResourceKind
    /// Its name.
    public var name: String

    /// The object of that kind and name.
    public init(_ kind: ResourceKind, _ name: String) {
        self.kind = kind
        self.name = name
    }
}

extension PodSpec {
    /// The Secrets and ConfigMaps that the pod's volumes, its containers' environments and its images need, optional ones
    /// included.
    public var references: Set<PodReference> {
        var found: Set<PodReference> = []
        func add(_ kind: ResourceKind, _ name: JSON?) {
            if let name = name?.string, !name.isEmpty { found.insert(PodReference(kind, name)) }
        }
        for volume in json["volumes"]?.array ?? [] {
            add(.secret, volume["secret"]?["secretName"])
            add(.configMap, volume["configMap"]?["name"])
            for source in volume["projected"]?["sources"]?.array ?? [] {
                add(.secret, source["secret"]?["name"])
                add(.configMap, source["configMap"]?["name"])
            }
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in json[list]?.array ?? [] {
                for source in container["envFrom"]?.array ?? [] {
                    add(.secret, source["secretRef"]?["name"])
                    add(.configMap, source["configMapRef"]?["name"])
                }
                for variable in container["env"]?.array ?? [] {
                    add(.secret, variable["valueFrom"]?["secretKeyRef"]?["name"])
                    add(.configMap, variable["valueFrom"]?["configMapKeyRef"]?["name"])
                }
            }
        }
        for secret in json["imagePullSecrets"]?.array ?? [] { add(.secret, secret["name"]) }
        return found
    }
}
