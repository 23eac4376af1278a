public import KubernetesAPI
public import Mesh
import Serialization

/// The Service that gives a Gateway of the Gateway API an address of its own, with the endpoints behind it.
///
/// The Service stands beside its Gateway, the gateway's pods do not, so that it has no selector: its EndpointSlice is
/// written here, and leads to ports of the pods that are that Gateway's alone. Both are the Gateway's own and go with it.
public enum GatewayServices {
    /// The label with the Gateway's name, as the API defines it.
    public static let gatewayLabel = Mesh.gatewayNameLabel
    /// The label with the Gateway's class.
    static let classLabel = "gateway.networking.k8s.io/gateway-class-name"
    static let managedBy = "gateways.skein.dev"
    static let managedLabel = "endpointslice.kubernetes.io/managed-by"
    /// The longest name of a Service, and the longest value of a label.
    private static let nameMax = 63

    /// The name of a Gateway's Service: as Istio names it, shortened where that is too long for a Service.
    public static func name(_ gateway: String, className: String) -> String { fitted("\(gateway)-\(className)") }

    /// A name that may be a Service's: its dots as dashes, with a hash at the end where something was changed.
    private static func fitted(_ name: String) -> String {
        var fitted = name.replacing(".", with: "-")
        if fitted == name, fitted.utf8.count <= nameMax, fitted.utf8.first.map(isLetter) == true { return fitted }
        if fitted.utf8.first.map(isLetter) != true { fitted = "gateway-" + fitted }
        let hash = SafeText.hash(name)
        return String(fitted.prefix(nameMax - 1 - hash.count)) + "-" + hash
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }

    /// Whether a pod is one of those that serve Gateways of the Gateway API.
    static func isServing(_ pod: KubernetesObject) -> Bool {
        pod.namespace == GatewayObjects.namespace && pod.metadata.annotations["skein.dev/gateway"] == "true"
            && Mesh.ingressGatewayLabels.allSatisfy { pod.metadata.labels[$0.key] == $0.value }
    }

    /// What to do for a Gateway that is to have an address.
    ///
    /// - Parameters:
    ///   - service: The Service of its name, if there is one; somebody else's is left alone.
    ///   - slice: The EndpointSlice of that name.
    ///   - pods: The gateway's pods.
    public static func decide(
        _ address: GatewayAddress, owner: KubernetesObject, service: KubernetesObject?, slice: KubernetesObject?,
        pods: [KubernetesObject]
    ) -> Decision {
        var decision = Decision()
        guard let service else {
            decision.changes.append(.create(.service, KubernetesObject(json: made(address, owner))))
            return decision  // The slice is the Service's own, and comes when that has its identity.
        }
        guard isOwn(service, owner), service.metadata.deletionTimestamp == nil else { return decision }
        let wanted = updated(service.json, address)
        if wanted != service.json { decision.changes.append(.update(.service, KubernetesObject(json: wanted))) }
        let made = self.slice(address, service, pods)
        guard let slice else {
            decision.changes.append(.create(.endpointSlice, KubernetesObject(json: made)))
            return decision
        }
        guard slice.controllerUID == service.metadata.uid else { return decision }
        var changed = slice
        changed.json["ports"] = made["ports"]
        changed.json["endpoints"] = made["endpoints"]
        if changed.json != slice.json { decision.changes.append(.update(.endpointSlice, changed)) }
        return decision
    }

    /// Whether a Service was made for that Gateway.
    static func isOwn(_ service: KubernetesObject, _ gateway: KubernetesObject) -> Bool {
        service.controllerUID == gateway.metadata.uid && !gateway.metadata.uid.isEmpty
    }

    /// Whether a Service was made for a Gateway that is no longer to have one.
    static func isLeft(_ service: KubernetesObject, wanted: Set<NamespacedName>) -> Bool {
        service.metadata.labels[managedByLabel] == managedBy && service.metadata.labels[gatewayLabel] != nil
            && service.metadata.ownerReferences.contains { $0.isController && $0.kind == "Gateway" }
            && !wanted.contains(service.key)
    }

    /// The addresses of a Gateway; none as long as its Service does not lead where it should.
    static func addresses(_ address: GatewayAddress, owner: KubernetesObject, service: KubernetesObject?) -> [String] {
        guard let service, isOwn(service, owner), updated(service.json, address) == service.json else { return [] }
        return Service(json: service.content).status.loadBalancer.ingress.compactMap { $0.ip ?? $0.hostname }
    }

    private static let managedByLabel = "app.kubernetes.io/managed-by"

    private static func labels(_ address: GatewayAddress) -> [String: String] {
        // What the API gives a meaning cannot be changed by the Gateway's author.
        address.labels.merging([
            gatewayLabel: fitted(address.gateway.name), classLabel: address.className, managedByLabel: managedBy,
        ]) { _, ours in ours }
    }

    private static func made(_ address: GatewayAddress, _ owner: KubernetesObject) -> JSON {
        let json: JSON = [
            "apiVersion": "v1", "kind": "Service",
            "metadata": [
                "name": .string(name(address.gateway.name, className: address.className)),
                "namespace": .string(address.gateway.namespace),
                "ownerReferences": [owner.controllerReference(.gatewayAPIGateway)],
            ],
            "spec": ["type": "LoadBalancer"],
        ]
        return updated(json, address)
    }

    /// The Service as it should be; what others have added to it stays.
    private static func updated(_ service: JSON, _ address: GatewayAddress) -> JSON {
        var service = service
        var metadata = service["metadata"] ?? .object([:])
        func merged(_ member: String, _ wanted: [String: String]) {
            guard !wanted.isEmpty else { return }
            var present = metadata[member] ?? .object([:])
            for (name, value) in wanted { present[name] = .string(value) }
            metadata[member] = present
        }
        merged("labels", labels(address))
        merged("annotations", address.annotations)
        service["metadata"] = metadata
        var spec = service["spec"] ?? .object([:])
        if spec["loadBalancerIP"]?.string != address.address {
            spec["loadBalancerIP"] = address.address.map { .string($0) }
        }
        let known = spec["ports"]?.array ?? []
        spec["ports"] = .array(
            address.ports.map { port in
                // What is there keeps its node port.
                var entry =
                    known.first {
                        $0["port"]?.int == port.port.number && ($0["protocol"] == "UDP") == port.port.isDatagram
                    } ?? .object([:])
                entry["name"] = .string(port.name)
                entry["port"] = .integer(Int64(port.port.number))
                entry["targetPort"] = .integer(Int64(port.target))
                entry["protocol"] = port.port.isDatagram ? "UDP" : "TCP"
                return entry
            })
        service["spec"] = spec
        return service
    }

    private static func slice(
        _ address: GatewayAddress, _ service: KubernetesObject, _ pods: [KubernetesObject]
    ) -> JSON {
        let ready = pods.compactMap(endpoint).sorted { $0.address < $1.address }.map(\.json)
        return [
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": [
                "name": .string(service.name), "namespace": .string(service.namespace),
                "labels": [
                    EndpointSliceController.serviceLabel: .string(service.name), managedLabel: .string(managedBy),
                ],
                "ownerReferences": [service.controllerReference(.service)],
            ],
            "addressType": "IPv4",
            "ports": .array(
                address.ports.map { port in
                    [
                        "name": .string(port.name), "port": .integer(Int64(port.target)),
                        "protocol": port.port.isDatagram ? "UDP" : "TCP",
                    ]
                }), "endpoints": .array(ready),
        ]
    }

    /// A pod as an endpoint.
    ///
    /// It names no pod: that would be one of another namespace than the slice's.
    private static func endpoint(_ pod: KubernetesObject) -> (address: String, json: JSON)? {
        let state = PodState(pod)
        guard let address = pod.status["podIP"]?.string, !address.isEmpty, !state.isFinished else { return nil }
        var json: JSON = [
            "addresses": [.string(address)],
            "conditions": [
                "ready": .bool(state.isReady && !state.isTerminating), "serving": .bool(state.isReady),
                "terminating": .bool(state.isTerminating),
            ],
        ]
        if let node = pod.spec["nodeName"], node.string?.isEmpty == false { json["nodeName"] = node }
        return (address, json)
    }
}
