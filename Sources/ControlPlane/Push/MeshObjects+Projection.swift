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
            "labels": meta.member("labels") ?? [:],
        ]
        var annotations = meta.annotations.filter {
            Self.meshAnnotations.contains($0.key)
        }
        // Nothing else of who made a pod matters here.
        let owner = kind == "Pod" ? workloadName : ""
        annotations[Self.workloadAnnotation] = owner.isEmpty ? nil : owner
        if !annotations.isEmpty { kept["annotations"] = .object(annotations.mapValues { .string($0) }) }
        var object: JSON = [
            "apiVersion": .string(apiVersion), "kind": .string(kind), "metadata": kept,
        ]
        switch kind {
        case "Pod":
            object["spec"] = [
                "containers": Self.ports(spec["containers"]), "initContainers": Self.ports(spec["initContainers"]),
                "serviceAccountName": spec["serviceAccountName"] ?? "default",
                "nodeName": spec["nodeName"] ?? "", "hostNetwork": spec["hostNetwork"] ?? false,
            ]
            object["status"] = status["podIP"].map { ["podIP": $0, "conditions": Self.readiness(status)] }
            if status["podIPs"]?.array?.count ?? 0 > 1 { object["status"]?["podIPs"] = status["podIPs"] }
        case "EndpointSlice":
            for member in ["addressType", "ports", "endpoints"] { object[member] = content[member] }
        case "ConfigMap": object["data"] = content["data"]
        case "Secret":
            object["type"] = content["type"]
            object["data"] = content["data"]
        case "Node": break  // Its labels tell where it stands; its heartbeats concern nobody here.
        case "WorkloadEntry":
            object["spec"] = content["spec"]
            // Of its health only whether it takes traffic.
            if meta.annotations[MeshModel.healthAnnotation] != nil {
                object["status"] = ["conditions": Self.condition("Healthy", status)]
            }
        default: object["spec"] = content["spec"]
        }
        return KubernetesObject(json: object)
    }

    /// What a pod belongs to, in the projection alone.
    private static let workloadAnnotation = WorkloadIdentity.annotation

    /// The annotations that the mesh reads.
    private static let meshAnnotations: Set<String> = [
        "kubernetes.io/ingress.class", "networking.istio.io/exportTo", "sidecar.istio.io/inject",
        "ingressclass.kubernetes.io/is-default-class", "networking.istio.io/traffic-distribution",
        "skein.dev/gateway", "istio.io/dry-run", "skein.dev/proxyless", "inject.istio.io/templates",
        WorkloadRegistration.groupAnnotation, MeshModel.healthAnnotation,
    ]

    /// Of the conditions the one that says whether a pod takes traffic, for ServiceEntries that select pods.
    private static func readiness(_ status: JSON) -> JSON { condition("Ready", status) }

    private static func condition(_ type: String, _ status: JSON) -> JSON {
        let found = (status["conditions"]?.array ?? []).first { $0["type"]?.string == type }
        return .array(found.map { [["type": .string(type), "status": $0["status"] ?? "False"]] } ?? [])
    }

    private static func ports(_ containers: JSON?) -> JSON {
        .array((containers?.array ?? []).map { ["ports": $0["ports"] ?? []] })
    }
}
