internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Network
internal import Serialization
internal import Workloads

/// `skein explain --packet FROM TO PORT[/PROTO]`.
struct ExplainPacket {
    static let kinds = [
        ("networking.k8s.io", "NetworkPolicy"), ("policy.networking.k8s.io", "AdminNetworkPolicy"),
        ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy"),
    ]

    let objects: KnownObjects
    let files: ObjectFiles
    let namespace: String?

    /// Explains every way that a connection may take: one for a pod, one for each endpoint of a service.
    func explain(_ operands: [String]) throws(CommandError) -> [PacketExplanation] {
        guard operands.count == 3 else {
            throw CommandError.usage("explain", "--packet needs FROM, TO and PORT, such as 80 or 53/udp")
        }
        if let problem = objects.problem {
            throw CommandError("\(problem); without it policies are not known", status: 2)
        }
        let parts = operands[2].split(separator: "/", omittingEmptySubsequences: false).map { $0.lowercased() }
        let transport = parts.count == 2 ? Transport(rawValue: parts[1]) : .tcp
        guard parts.count <= 2, let transport, let port = UInt16(parts[0]), port > 0 else {
            throw CommandError.usage("explain", "\(operands[2]): not a port with tcp, udp or sctp")
        }
        let policies = Self.kinds.flatMap { objects.all($0.1) }
        var namespaces: [String: [String: String]] = [:]
        for object in objects.all("Namespace") { namespaces[object.name] = object.metadata.labels }
        let state = PolicyObjects(
            nodeName: "", pods: objects.all("Pod").compactMap { PolicyPod($0) }, namespaces: namespaces,
            policies: policies)
        let sources = try addresses(operands[0])
        var found: [PacketExplanation] = []
        for target in try targets(operands[1], port, transport) {
            guard let source = sources.first(where: { $0.isV6 == target.address.isV6 }) else { continue }
            let packet = PolicySet.Packet(from: source, to: target.address, transport, port: target.port)
            found.append(PacketExplanation(state, packet))
        }
        guard !found.isEmpty else {
            throw CommandError("\(operands[0]) and \(operands[1]) have no address of one family", status: 2)
        }
        return found
    }

    /// Places of rules in files: `NetworkPolicy shop/web spec.ingress[0]`.
    func place(_ provenance: String) -> String? {
        let words = provenance.split(separator: " ").map(String.init)
        guard words.count == 3 else { return nil }
        let name = words[1].split(separator: "/").map(String.init)
        guard let last = name.last else { return nil }
        let key = NamespacedName(namespace: name.count == 2 ? name[0] : "", name: last)
        return files.place(Provenance(kind: words[0], object: key, field: words[2]))
    }

    private func addresses(_ text: String) throws(CommandError) -> [IPAddress] {
        if let address = IPAddress(text) { return [address] }
        let pod = try objects.pod(text, namespace: namespace)
        let all = (pod.status["podIPs"]?.array ?? []).compactMap { IPAddress($0["ip"]?.string ?? "") }
        let found = all.isEmpty ? [pod.status["podIP"]?.string ?? ""].compactMap { IPAddress($0) } : all
        guard !found.isEmpty else {
            throw CommandError("pod \(pod.namespace)/\(pod.name) has no address yet", status: 2)
        }
        return found
    }

    private struct Target {
        var address: IPAddress
        var port: UInt16
    }

    /// A pod, an address, or where a service leads: policies see addresses after translation.
    private func targets(_ text: String, _ port: UInt16, _ transport: Transport) throws(CommandError) -> [Target] {
        guard text.hasPrefix("service/") || text.hasPrefix("svc/") else {
            return try addresses(text).map { Target(address: $0, port: port) }
        }
        let name = PodName(String(text.drop { $0 != "/" }.dropFirst()), namespace: namespace)
        guard let service = objects.object("Service", NamespacedName(namespace: name.namespace, name: name.pod)) else {
            throw CommandError("there is no service \(name)", status: 2)
        }
        let entry = (service.spec["ports"]?.array ?? []).first {
            $0["port"]?.int == Int(port) && ($0["protocol"]?.string ?? "TCP").lowercased() == transport.rawValue
        }
        guard let entry else { throw CommandError("service \(name) has no port \(port)/\(transport)", status: 2) }
        var found: [Target] = []
        for slice in objects.all("EndpointSlice")
        where slice.namespace == name.namespace && slice.metadata.labels["kubernetes.io/service-name"] == name.pod {
            let ports = (slice.json["ports"]?.array ?? []).filter {
                ($0["name"]?.string ?? "") == (entry["name"]?.string ?? "")
            }
            for number in ports.compactMap({ $0["port"]?.int.flatMap { UInt16(exactly: $0) } }) {
                for endpoint in slice.json["endpoints"]?.array ?? []
                where endpoint["conditions"]?["ready"]?.bool ?? true {
                    found += (endpoint["addresses"]?.array ?? []).compactMap { IPAddress($0.string ?? "") }
                        .map { Target(address: $0, port: number) }
                }
            }
        }
        guard !found.isEmpty else { throw CommandError("service \(name) has no ready endpoint: refused", status: 1) }
        return found
    }
}
