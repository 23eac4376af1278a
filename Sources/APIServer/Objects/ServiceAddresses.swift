import KubernetesAPI
import Serialization

/// The addresses of services: 10.96.0.0/16 inside, 10.97.0.0/24 for `type: LoadBalancer`, and their ports of all nodes.
///
/// All are given at admission, so the answer to the POST already shows them.
struct ServiceAddresses {
    private var cluster = AddressPool(base: 0x0a60_0000, length: 16)
    private var external = AddressPool(base: 0x0a61_0000, length: 24)
    private var nodePorts = NodePorts()

    /// The address of the service `kubernetes` in `default`.
    static let kubernetes = "10.96.0.1"

    init() {
        _ = cluster.take(Self.kubernetes)
    }

    /// Lets the service `kubernetes`, and nobody before it, take the reserved address.
    mutating func openReserved() { cluster.release(Self.kubernetes) }

    /// Takes what a stored service holds.
    mutating func adopt(_ service: JSON) {
        for address in Self.held(service) { _ = cluster.take(address) }
        for address in Self.heldOutside(service) { _ = external.take(address) }
        nodePorts.adopt(service)
    }

    /// Gives back what a removed service held.
    mutating func release(_ service: JSON) {
        for address in Self.held(service) where address != Self.kubernetes { cluster.release(address) }
        for address in Self.heldOutside(service) { external.release(address) }
        nodePorts.release(service)
    }

    private static func held(_ service: JSON) -> [String] {
        let address = ServiceSpec(json: service["spec"] ?? .null).clusterIP
        return address.isEmpty || address == "None" ? [] : [address]
    }

    private static func heldOutside(_ service: JSON) -> [String] {
        ServiceStatus(json: service["status"] ?? .null).loadBalancer.ingress.compactMap(\.ip)
    }

    /// Fills in the addresses of a new or changed service; `old` is what it held.
    ///
    /// Nothing is taken when it throws.
    mutating func assign(_ service: inout JSON, old: JSON?) throws(StatusError) {
        let name = service["metadata"]?["name"]?.string ?? ""
        var spec = service["spec"] ?? .object([:])
        let view = ServiceSpec(json: spec)
        // What belongs to a type goes with it, unless somebody has said it anew.
        for (field, isKept) in [
            ("externalTrafficPolicy", view.isReachedFromOutside),
            ("allocateLoadBalancerNodePorts", view.type == "LoadBalancer"),
        ] where !isKept && old != nil && spec[field] == old?["spec"]?[field] { spec[field] = nil }
        let before = old.map { ServiceSpec(json: $0["spec"] ?? .null).clusterIP } ?? ""
        var wanted = view.clusterIP.isEmpty ? view.clusterIPs.first ?? "" : view.clusterIP
        if view.type == "ExternalName" {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] { spec[field] = nil }
            if !before.isEmpty, before != "None" { cluster.release(before) }
        } else {
            try checkFamilies(view, name)
            if wanted.isEmpty { wanted = before }
            if wanted.isEmpty {
                guard let address = cluster.next() else {
                    throw .internalError(
                        "no service address is left in 10.96.0.0/16: delete services that are not needed")
                }
                wanted = address
            } else if wanted != "None", wanted != before {
                guard cluster.contains(wanted) else {
                    throw .invalid(
                        .service, name,
                        [
                            .invalid(
                                "spec.clusterIPs", "[\"\(wanted)\"]",
                                "failed to allocate IP \(wanted): the provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/16"
                            )
                        ])
                }
                guard cluster.take(wanted) else {
                    throw .invalid(
                        .service, name,
                        [
                            .invalid(
                                "spec.clusterIPs", "[\"\(wanted)\"]",
                                "failed to allocate IP \(wanted): provided IP is already allocated")
                        ])
                }
            }
            spec["clusterIP"] = .string(wanted)
            spec["clusterIPs"] = [.string(wanted)]
            spec["ipFamilies"] = spec["ipFamilies"] ?? ["IPv4"]
            spec["ipFamilyPolicy"] = spec["ipFamilyPolicy"] ?? "SingleStack"
        }
        service["spec"] = spec
        try nodePorts.assign(&service, old: old)
        assignOutside(&service, ServiceSpec(json: spec), old: old)
    }

    /// Service addresses are IPv4: a service that needs another family is refused as Kubernetes does without dual stack (N-16).
    private func checkFamilies(_ spec: ServiceSpec, _ name: String) throws(StatusError) {
        var problems: [FieldProblem] = []
        for (index, family) in spec.ipFamilies.enumerated() where family != "IPv4" {
            problems.append(
                .invalid("spec.ipFamilies[\(index)]", "\"\(family)\"", "not configured on this cluster"))
        }
        if spec.ipFamilyPolicy == "RequireDualStack" {
            problems.append(
                .invalid(
                    "spec.ipFamilyPolicy", "\"RequireDualStack\"",
                    "this cluster is not configured for dual-stack services"))
        }
        guard problems.isEmpty else { throw .invalid(.service, name, problems) }
    }

    /// A load balancer of another class is somebody else's.
    private mutating func assignOutside(_ service: inout JSON, _ spec: ServiceSpec, old: JSON?) {
        let held = old.map(Self.heldOutside) ?? []
        var status = service["status"] ?? .object([:])
        if spec.type == "LoadBalancer", spec.loadBalancerClass == nil {
            let wanted = spec.loadBalancerIP
            if let present = held.first {
                // Asked for another one: it is given up when that one is free, and kept otherwise.
                let before = old?["spec"]?["loadBalancerIP"]?.string ?? ""
                guard !wanted.isEmpty, wanted != before, wanted != present, external.take(wanted) else { return }
                held.forEach { external.release($0) }
                status["loadBalancer"] = ["ingress": [["ip": .string(wanted), "ipMode": "VIP"]]]
                service["status"] = status
                return
            }
            let address = !wanted.isEmpty && external.take(wanted) ? wanted : external.next()
            // Without an address the service waits with EXTERNAL-IP <pending>, as it does elsewhere.
            if let address { status["loadBalancer"] = ["ingress": [["ip": .string(address), "ipMode": "VIP"]]] }
        } else {
            for address in held { external.release(address) }
            if spec.loadBalancerClass == nil || old == nil { status["loadBalancer"] = .object([:]) }
        }
        service["status"] = status
    }
}
