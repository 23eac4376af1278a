import KubernetesAPI
import Store

/// A request that goes on to a port of a pod, or to the agent of a node.
public struct ProxyRequest: Sendable, Hashable {
    /// Where it goes.
    public enum Place: Sendable, Hashable {
        /// A port of a pod on a node; over TLS, whose certificate nobody looks at, with `isEncrypted`.
        case pod(namespace: String, name: String, node: String, port: UInt16, isEncrypted: Bool)
        /// The agent of a node.
        case node(String)
    }

    /// Where it goes.
    public var place: Place
    /// Path and query there.
    public var path: String
    /// The path of this API before it, without a slash at its end: what answers say of places begins with it.
    public var prefix: String
}

// The sub-resource `proxy` of pods, services and nodes: HTTP through the API server.
//
// Nothing but pods of the store and the agents of its nodes can be reached: no address comes from the request or from an object.
extension APIRouter {
    /// A name as it stands before `/proxy`: `name`, `name:port` or `scheme:name:port`.
    struct ProxyName: Hashable {
        var scheme = ""
        var name = ""
        var port = ""

        /// Nil for what is none.
        init?(_ text: String) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            switch parts.count {
            case 1: name = parts[0]
            case 2: (name, port) = (parts[0], parts[1])
            case 3: (scheme, name, port) = (parts[0], parts[1], parts[2])
            default: return nil
            }
            guard !name.isEmpty, ["", "http", "https"].contains(scheme) else { return nil }
        }
    }

    /// What agents answer of what a kubelet does: nothing that changes anything, and no commands in containers.
    private static let agentPages: Set<String> = ["healthz", "pods", "containerLogs"]

    func proxy(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        guard let wanted = ProxyName(name) else {
            throw .badRequest("invalid \(target.kind.singular) request \"\(name)\"")
        }
        let depth = target.namespace == nil ? 5 : 7
        let (prefix, rest, query) = Self.split(request.target, after: depth)
        if rest.isEmpty, ["GET", "HEAD"].contains(request.method) {
            var response = APIResponse(status: 301, contentType: "text/plain", body: .bytes([]))
            response.location = prefix + "/" + query
            return response
        }
        let place: ProxyRequest.Place
        switch target.kind {
        case .pod: place = try podPlace(wanted, target)
        case .service: place = try servicePlace(wanted, target, name)
        default: place = try agentPlace(wanted, request, Array(request.path.dropFirst(depth)))
        }
        return APIResponse(
            contentType: "",
            body: .proxy(ProxyRequest(place: place, path: (rest.isEmpty ? "/" : rest) + query, prefix: prefix)))
    }

    /// The target's first `depth` parts, what follows them, and the query with its question mark.
    static func split(_ target: String, after depth: Int) -> (prefix: String, rest: String, query: String) {
        let bytes = Array(target.utf8)
        let end = bytes.firstIndex(of: 0x3f) ?? bytes.count
        var (position, parts) = (0, 0)
        while position < end, parts < depth {
            while position < end, bytes[position] == 0x2f { position += 1 }
            while position < end, bytes[position] != 0x2f { position += 1 }
            parts += 1
        }
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        return (text(0..<position), text(position..<end), text(end..<bytes.count))
    }

    private func podPlace(_ wanted: ProxyName, _ target: Target) throws(StatusError) -> ProxyRequest.Place {
        let namespace = target.namespace ?? ""
        let pod = Pod(json: try registry.stored(.pod, namespace, wanted.name).object)
        var port = wanted.scheme == "https" ? 443 : 80
        if wanted.port.isEmpty {
            port = pod.spec.containers.flatMap(\.ports).first?.containerPort ?? port
        } else {
            let named = pod.spec.containers.flatMap(\.ports).first { $0.name == wanted.port }?.containerPort
            guard let number = Int(wanted.port) ?? named else {
                throw .badRequest("invalid pod request \"\(wanted.name):\(wanted.port)\"")
            }
            port = number
        }
        return try place(pod, port, wanted)
    }

    private func place(_ pod: Pod, _ port: Int, _ wanted: ProxyName) throws(StatusError) -> ProxyRequest.Place {
        let name = pod.metadata.name
        guard let port = UInt16(exactly: port), port > 0 else {
            throw .badRequest("pod \(name): \(port) is no port number")
        }
        guard !pod.spec.nodeName.isEmpty, !pod.status.podIP.isEmpty else {
            throw StatusError(
                code: 503, reason: "ServiceUnavailable", message: "pod \"\(name)\" has no address: it does not run yet")
        }
        return .pod(
            namespace: pod.metadata.namespace, name: name, node: pod.spec.nodeName, port: port,
            isEncrypted: wanted.scheme == "https")
    }

    /// A pod behind a service, that is ready.
    private func servicePlace(
        _ wanted: ProxyName, _ target: Target, _ request: String
    ) throws(StatusError) -> ProxyRequest.Place {
        func unavailable(_ message: String) -> StatusError {
            StatusError(code: 503, reason: "ServiceUnavailable", message: message)
        }
        let namespace = target.namespace ?? ""
        let service = Service(json: try registry.stored(.service, namespace, wanted.name).object)
        var portName = wanted.port
        if let number = Int(wanted.port) {
            guard let port = service.spec.ports.first(where: { $0.port == number }) else {
                throw unavailable("no service port \(number) found for service \"\(wanted.name)\"")
            }
            portName = port.name
        }
        var places: [(pod: Pod, port: Int)] = []
        for object in registry.list(.endpointSlice, namespace: namespace)
        where object.metadata.labels["kubernetes.io/service-name"] == wanted.name {
            let slice = EndpointSlice(json: object.json)
            guard let port = slice.ports.first(where: { $0.name == portName && $0.protocol == "TCP" })?.port else {
                continue
            }
            for endpoint in slice.endpoints where endpoint.conditions.ready {
                // Addresses that somebody has written are not asked: the pod that is meant is.
                guard let reference = endpoint.targetRef, reference.kind == "Pod",
                    let stored = registry.store.get(registry.key(.pod, namespace, reference.name))
                else { continue }
                let pod = Pod(json: stored.object)
                guard endpoint.addresses.contains(pod.status.podIP) else { continue }
                places.append((pod, port))
            }
        }
        guard let chosen = registry.oneOf(places) else {
            throw unavailable("no endpoints available for service \"\(request)\"")
        }
        return try place(chosen.pod, chosen.port, wanted)
    }

    private func agentPlace(
        _ wanted: ProxyName, _ request: APIRequest, _ path: [String]
    ) throws(StatusError) -> ProxyRequest.Place {
        _ = try registry.stored(.node, "", wanted.name)
        guard ["GET", "HEAD"].contains(request.method) else { throw .methodNotAllowed() }
        guard wanted.port.isEmpty || wanted.port == "10250", let page = path.first, Self.agentPages.contains(page)
        else {
            throw StatusError(
                code: 404, reason: "NotFound",
                message: "the agent of a node answers \(Self.agentPages.sorted().joined(separator: ", ")) here, "
                    + "and nothing else")
        }
        return .node(wanted.name)
    }
}
