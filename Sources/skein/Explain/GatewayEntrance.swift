internal import ControlPlane
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// The own address of a Gateway of the Gateway API, at one of its ports.
struct GatewayEntrance: Sendable {
    /// Where it is.
    var words: String
    /// The pod that serves it.
    var pod: KubernetesObject
    /// The pod's port behind the Gateway's.
    var port: Int

    /// `gateway/NAME[.NAMESPACE]`; nil for any other text.
    ///
    /// Its Service is asked, which leads to a port of the gateway's pod that is nobody else's (decision 0013).
    static func find(
        _ text: String, _ target: ExplainTarget, in objects: KnownObjects, namespace: String?
    ) throws(CommandError) -> GatewayEntrance? {
        let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2, ["gateway", "gateways", "gtw"].contains(parts[0]) else { return nil }
        let name = PodName(parts[1], namespace: namespace)
        let key = NamespacedName(namespace: name.namespace, name: name.pod)
        let services = objects.all("Service").filter {
            // The label may have had to be shortened.
            $0.namespace == key.namespace && $0.metadata.labels[GatewayServices.gatewayLabel] != nil
                && ($0.metadata.json["ownerReferences"]?.array ?? []).contains {
                    $0["kind"] == "Gateway" && $0["name"]?.string == key.name
                }
        }
        guard let service = services.first else {
            throw CommandError(
                "Gateway \(key) has no address of its own: there is none of that name, or it is reached at the gateway pod's ports (ask about gateway)"
            )
        }
        let ports = (service.spec["ports"]?.array ?? []).compactMap { port -> (number: Int, name: String)? in
            port["port"]?.int.map { ($0, port["name"]?.string ?? "") }
        }
        let wanted = target.port ?? (target.isTLS ? 443 : 80)
        guard let port = ports.first(where: { $0.number == wanted }) ?? (target.port == nil ? only(ports) : nil) else {
            throw CommandError(
                "Gateway \(key) has no port \(wanted); it has "
                    + ports.map { "\($0.number)" }.joined(separator: ", "))
        }
        for slice in objects.all("EndpointSlice")
        where slice.namespace == key.namespace
            && slice.metadata.labels["kubernetes.io/service-name"] == service.name
        {
            let number = (slice.json["ports"]?.array ?? []).first { ($0["name"]?.string ?? "") == port.name }?["port"]?
                .int
            for endpoint in slice.json["endpoints"]?.array ?? [] where endpoint["conditions"]?["ready"]?.bool != false {
                guard let number, let address = endpoint["addresses"]?.array?.first?.string,
                    let pod = objects.pod(at: address)
                else { continue }
                let addresses = (service.status["loadBalancer"]?["ingress"]?.array ?? []).compactMap {
                    $0["ip"]?.string
                }
                let place = addresses.first ?? service.spec["clusterIP"]?.string ?? ""
                return GatewayEntrance(
                    words: "at the address of Gateway \(key), \(place) port \(port.number): port \(number) of the pod",
                    pod: pod, port: number)
            }
        }
        throw CommandError("Gateway \(key) has no gateway pod that is ready")
    }

    private static func only(_ ports: [(number: Int, name: String)]) -> (number: Int, name: String)? {
        ports.count == 1 ? ports.first : nil
    }
}
