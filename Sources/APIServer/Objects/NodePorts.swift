import KubernetesAPI
import Serialization

/// The ports of all nodes that services hold: 30000 to 32767 (N-15).
///
/// Pure. A number may be held for several protocols by one service.
struct NodePorts {
    static let range = 30_000...32_767

    private var holders: [Int: Int] = [:]
    private var cursor = range.lowerBound

    /// Takes what a stored service holds.
    mutating func adopt(_ service: JSON) {
        for port in Self.held(service) { holders[port, default: 0] += 1 }
    }

    /// Gives back what a service held.
    mutating func release(_ service: JSON) {
        for port in Self.held(service) {
            guard let count = holders[port] else { continue }
            holders[port] = count > 1 ? count - 1 : nil
        }
    }

    private static func held(_ service: JSON) -> Set<Int> {
        let spec = service["spec"] ?? .null
        let numbers =
            (spec["ports"]?.array ?? []).compactMap { $0["nodePort"]?.int }
            + [spec["healthCheckNodePort"]?.int].compactMap(\.self)
        return Set(numbers.filter { $0 != 0 })
    }

    /// Fills in the ports of a new or changed service; `old` is what it held.
    mutating func assign(_ service: inout JSON, old: JSON?) throws(StatusError) {
        var spec = service["spec"] ?? .object([:])
        let view = ServiceSpec(json: spec)
        if let old { release(old) }
        let isOpen =
            view.type == "NodePort"
            || view.type == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"]?.bool != false
        let name = service["metadata"]?["name"]?.string ?? ""
        var own: [Int: Set<String>] = [:]
        var ports = spec["ports"]?.array ?? []
        let before = old?["spec"]?["ports"]?.array ?? []
        let wasHeld = old.map(Self.held) ?? []
        for (index, port) in ports.enumerated() {
            var wanted = port["nodePort"]?.int ?? 0
            let path = "spec.ports[\(index)].nodePort"
            guard isOpen || view.type == "LoadBalancer" else {
                if wanted != 0, view.type == "ClusterIP" || view.type == "ExternalName" {
                    // What was given for another type goes with it; what is asked for cannot be had.
                    guard wasHeld.contains(wanted) else {
                        throw .invalid(
                            .service, name, [.forbidden(path, "may not be used when `type` is '\(view.type)'")])
                    }
                }
                ports[index]["nodePort"] = nil
                continue
            }
            if wanted == 0 {
                let same = before.first { $0["port"] == port["port"] && $0["protocol"] == port["protocol"] }
                wanted = same?["nodePort"]?.int ?? 0
            }
            guard wanted != 0 || isOpen else { continue }
            let transport = port["protocol"]?.string ?? "TCP"
            wanted = try take(wanted, path, name, &own, transport)
            ports[index]["nodePort"] = .integer(Int64(wanted))
        }
        if !ports.isEmpty { spec["ports"] = .array(ports) }
        if view.type == "LoadBalancer", view.externalTrafficPolicy == "Local" {
            let wanted = spec["healthCheckNodePort"]?.int ?? old?["spec"]?["healthCheckNodePort"]?.int ?? 0
            spec["healthCheckNodePort"] = .integer(
                Int64(try take(wanted, "spec.healthCheckNodePort", name, &own, "health")))
        } else {
            spec["healthCheckNodePort"] = nil
        }
        service["spec"] = spec
        adopt(service)
    }

    /// A port for one protocol; 0 asks for any.
    private mutating func take(
        _ wanted: Int, _ path: String, _ name: String, _ own: inout [Int: Set<String>], _ transport: String
    ) throws(StatusError) -> Int {
        var port = wanted
        if port == 0 {
            guard let free = next(own) else {
                throw .internalError("no node port is left in 30000-32767: delete services that are not needed")
            }
            port = free
        } else if !Self.range.contains(port) {
            let rule = "provided port is not in the valid range. The range of valid ports is 30000-32767"
            throw .invalid(.service, name, [.invalid(path, String(port), rule)])
        } else if holders[port] != nil || own[port]?.contains(transport) == true {
            throw .invalid(.service, name, [.invalid(path, String(port), "provided port is already allocated")])
        }
        own[port, default: []].insert(transport)
        return port
    }

    private mutating func next(_ own: [Int: Set<String>]) -> Int? {
        for _ in Self.range {
            let port = cursor
            cursor = port == Self.range.upperBound ? Self.range.lowerBound : port + 1
            if holders[port] == nil, own[port] == nil { return port }
        }
        return nil
    }
}
