import IO
import KubernetesAPI
import Serialization

/// The addresses of services, inside and for `type: LoadBalancer`, and their ports of all nodes.
///
/// All are given at admission, so the answer to the POST already shows them.
struct ServiceAddresses {
    let ranges: ServiceRanges
    private var cluster: [String: AddressPool]
    private var external: [String: AddressPool]
    private var nodePorts = NodePorts()

    /// The ranges, with the address of the service `kubernetes` kept for it.
    init(_ ranges: ServiceRanges) {
        func pools(_ ranges: [Prefix]) -> [String: AddressPool] {
            Dictionary(
                ranges.map { (ServiceRanges.family($0.address), AddressPool($0)) }, uniquingKeysWith: { one, _ in one })
        }
        self.ranges = ranges
        cluster = pools(ranges.cluster)
        external = pools(ranges.balancers)
        _ = take(ranges.kubernetes)
    }

    private mutating func take(_ address: IPAddress) -> Bool {
        cluster[ServiceRanges.family(address)]?.take(address) ?? false
    }

    private mutating func release(_ address: IPAddress) {
        cluster[ServiceRanges.family(address)]?.release(address)
    }

    private mutating func releaseOutside(_ address: IPAddress) {
        external[ServiceRanges.family(address)]?.release(address)
    }

    /// Lets the service `kubernetes`, and nobody before it, take the reserved address.
    mutating func openReserved() { release(ranges.kubernetes) }

    /// Takes what a stored service holds.
    mutating func adopt(_ service: JSON) {
        for address in Self.held(service) { _ = take(address) }
        for address in Self.heldOutside(service) { _ = external[ServiceRanges.family(address)]?.take(address) }
        nodePorts.adopt(service)
    }

    /// Gives back what a removed service held.
    mutating func release(_ service: JSON) {
        for address in Self.held(service) where address != ranges.kubernetes { release(address) }
        for address in Self.heldOutside(service) { releaseOutside(address) }
        nodePorts.release(service)
    }

    private static func held(_ service: JSON) -> [IPAddress] {
        let spec = ServiceSpec(json: service["spec"] ?? .null)
        return (spec.clusterIPs.isEmpty ? [spec.clusterIP] : spec.clusterIPs).compactMap { IPAddress($0) }
    }

    private static func heldOutside(_ service: JSON) -> [IPAddress] {
        ServiceStatus(json: service["status"] ?? .null).loadBalancer.ingress.compactMap(\.ip).compactMap {
            IPAddress($0)
        }
    }

    /// Fills in the addresses of a new or changed service; `old` is what it held.
    ///
    /// When it throws, what was taken meanwhile is to be forgotten with it: the caller keeps the value of before.
    mutating func assign(_ service: inout JSON, old: JSON?) throws(StatusError) {
        let name = service["metadata"]?["name"]?.string ?? ""
        var spec = service["spec"] ?? .object([:])
        let view = ServiceSpec(json: spec)
        // What belongs to a type goes with it, unless somebody has said it anew.
        for (field, isKept) in [
            ("externalTrafficPolicy", view.isReachedFromOutside),
            ("allocateLoadBalancerNodePorts", view.type == "LoadBalancer"),
        ] where !isKept && old != nil && spec[field] == old?["spec"]?[field] { spec[field] = nil }
        let held = old.map(Self.held) ?? []
        if view.type == "ExternalName" {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] { spec[field] = nil }
            for address in held { release(address) }
        } else {
            let before = old.map { ServiceSpec(json: $0["spec"] ?? .null) }
            let wish = try ServiceFamilies(view, before: before, configured: ranges.families, name)
            let given = try give(wish, held: held, name)
            for address in held where !given.contains(address) { release(address) }
            let texts = wish.isHeadless ? ["None"] : given.map(\.description)
            spec["clusterIP"] = .string(texts.first ?? "None")
            spec["clusterIPs"] = .array(texts.map { .string($0) })
            spec["ipFamilies"] = .array(wish.families.map { .string($0) })
            spec["ipFamilyPolicy"] = .string(wish.policy)
        }
        service["spec"] = spec
        try nodePorts.assign(&service, old: old)
        assignOutside(&service, ServiceSpec(json: spec), old: old)
    }

    /// An address of each family: the one that is asked for, the one that it has, or the next.
    private mutating func give(
        _ wish: ServiceFamilies, held: [IPAddress], _ name: String
    ) throws(StatusError) -> [IPAddress] {
        guard !wish.isHeadless else { return [] }
        var given: [IPAddress] = []
        for (index, family) in wish.families.enumerated() {
            guard let range = cluster[family]?.range else { continue }
            guard index < wish.addresses.count else {
                guard let address = cluster[family]?.next() else {
                    throw .internalError("no service address is left in \(range): delete services that are not needed")
                }
                given.append(address)
                continue
            }
            let wanted = wish.addresses[index]
            given.append(wanted)
            guard !held.contains(wanted) else { continue }
            let isInside = cluster[family]?.contains(wanted) ?? false
            guard !isInside || !take(wanted) else { continue }
            let reason =
                isInside
                ? "provided IP is already allocated"
                : "the provided IP is not in the valid range. The range of valid IPs is \(range)"
            let shown = "[" + wish.addresses.map { "\"\($0)\"" }.joined(separator: ",") + "]"
            throw .invalid(
                .service, name, [.invalid("spec.clusterIPs", shown, "failed to allocate IP \(wanted): \(reason)")])
        }
        return given
    }

    /// A load balancer of another class is somebody else's.
    private mutating func assignOutside(_ service: inout JSON, _ spec: ServiceSpec, old: JSON?) {
        let held = old.map(Self.heldOutside) ?? []
        var status = service["status"] ?? .object([:])
        if spec.type == "LoadBalancer", spec.loadBalancerClass == nil {
            let wanted = IPAddress(spec.loadBalancerIP)
            let isAskedAnew = spec.loadBalancerIP != old?["spec"]?["loadBalancerIP"]?.string ?? ""
            var addresses: [IPAddress] = []
            for family in spec.ipFamilies {
                let asked = wanted.flatMap { ServiceRanges.family($0) == family ? $0 : nil }
                if let kept = held.first(where: { ServiceRanges.family($0) == family }) {
                    // Asked for another one: it is given up when that one is free, and kept otherwise.
                    if let asked, isAskedAnew, asked != kept, external[family]?.take(asked) == true {
                        addresses.append(asked)
                    } else {
                        addresses.append(kept)
                    }
                    continue
                }
                let isTaken = asked.map { external[family]?.take($0) ?? false } ?? false
                // Without an address the service waits with EXTERNAL-IP <pending>, as it does elsewhere.
                if let address = isTaken ? asked : external[family]?.next() { addresses.append(address) }
            }
            guard addresses != held else { return }
            for address in held where !addresses.contains(address) { releaseOutside(address) }
            status["loadBalancer"] = [
                "ingress": .array(addresses.map { ["ip": .string($0.description), "ipMode": "VIP"] })
            ]
        } else {
            for address in held { releaseOutside(address) }
            if spec.loadBalancerClass == nil || old == nil { status["loadBalancer"] = .object([:]) }
        }
        service["status"] = status
    }
}
