public import KubernetesAPI
import Mesh
import Serialization

/// Tells where an Ingress is reached: at the address of the gateway's service.
public enum IngressStatus {
    /// What to do for an Ingress; `gateway` is the gateway's service.
    public static func decide(_ object: KubernetesObject, gateway: KubernetesObject?) -> Decision {
        var decision = Decision()
        let name =
            object.spec["ingressClassName"]?.string ?? object.metadata.annotations["kubernetes.io/ingress.class"]
        guard name == nil || ["skein", "istio"].contains(name) else { return decision }
        let addresses = gateway.map { Service(json: $0.content).status.loadBalancer.ingress.compactMap(\.ip) } ?? []
        let wanted: JSON = [
            "loadBalancer": addresses.isEmpty
                ? .object([:]) : ["ingress": .array(addresses.map { ["ip": .string($0)] })]
        ]
        if object.status != wanted { decision.changes = [.updateStatus(.ingress, object.key, wanted)] }
        return decision
    }
}

/// The gateway that is there from the start; the supervisor applies its objects.
public enum GatewayObjects {
    /// The namespace of everything that is ours.
    public static let namespace = "skein-system"
    /// The name of the gateway's Deployment and Service.
    public static let name = "istio-ingressgateway"
}
