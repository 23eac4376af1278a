import KubernetesAPI
import Mesh
import Serialization

extension KubernetesObject {
    /// The object without what the mesh never looks at.
    ///
    /// A pod's status changes often, its address once: what is left out here causes no translation.
    var meshProjection: KubernetesObject {
        let meta = metadata
        var kept: JSON = [
            "name": .string(meta.name), "namespace": .string(meta.namespace), "uid": .string(meta.uid),
            "creationTimestamp": .string(meta.creationTimestamp),
            "labels": .object(meta.labels.mapValues { .string($0) }),
        ]
        let annotations = meta.annotations.filter {
            $0.key == "kubernetes.io/ingress.class" || $0.key == "networking.istio.io/exportTo"
        }
        if !annotations.isEmpty { kept["annotations"] = .object(annotations.mapValues { .string($0) }) }
        var object: JSON = [
            "apiVersion": .string(apiVersion), "kind": .string(kind), "metadata": kept,
        ]
        switch kind {
        case "Pod":
            object["spec"] = [
                "containers": Self.ports(spec["containers"]), "initContainers": Self.ports(spec["initContainers"]),
            ]
            object["status"] = status["podIP"].map { ["podIP": $0] }
        case "EndpointSlice":
            for member in ["addressType", "ports", "endpoints"] { object[member] = json[member] }
        case "ConfigMap": object["data"] = json["data"]
        default: object["spec"] = json["spec"]
        }
        return KubernetesObject(json: object)
    }

    private static func ports(_ containers: JSON?) -> JSON {
        .array((containers?.array ?? []).map { ["ports": $0["ports"] ?? []] })
    }
}
