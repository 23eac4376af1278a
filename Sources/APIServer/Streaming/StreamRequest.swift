import HTTP
import KubernetesAPI
import Serialization
import Store

/// A command in a container, a container's own streams, or ports of a pod, for a client that stays connected.
public struct StreamRequest: Sendable, Hashable {
    /// The sub-resource.
    public enum Purpose: String, Sendable, CaseIterable {
        /// `pods/exec`.
        case exec
        /// `pods/attach`.
        case attach
        /// `pods/portforward`.
        case portForward = "portforward"
    }

    /// The sub-resource.
    public var purpose: Purpose
    /// Namespace of the pod.
    public var namespace: String
    /// The pod.
    public var pod: String
    /// The container; empty for ports.
    public var container = ""
    /// The node that the pod is bound to.
    public var node = ""
    /// Program and arguments, for `exec`.
    public var command: [String] = []
    /// Whether the client sends input.
    public var hasInput = false
    /// Whether the client wants output.
    public var hasOutput = false
    /// Whether the client wants errors.
    public var hasErrors = false
    /// Whether it is a terminal, whose errors come with its output.
    public var hasTerminal = false
    /// Ports that are named beforehand: where channels have numbers.
    public var ports: [UInt16] = []

    /// The node agent's path for it; `port` for one connection to a port.
    public func agentPath(port: UInt16? = nil) -> String {
        func encoded(_ text: String) -> String { PercentEncoding.encoded(text) }
        let place = "\(encoded(namespace))/\(encoded(pod))"
        switch purpose {
        case .portForward: return "/portForward/\(place)?port=\(port ?? 0)"
        case .exec, .attach:
            var items = command.map { "command=" + encoded($0) }
            for (name, isWanted) in [
                ("stdin", hasInput), ("stdout", hasOutput), ("stderr", hasErrors), ("tty", hasTerminal),
            ] where isWanted { items.append(name + "=true") }
            return "/\(purpose.rawValue)/\(place)/\(encoded(container))?" + items.joined(separator: "&")
        }
    }
}

extension APIRouter {
    /// Checks who wants which streams of which pod.
    ///
    /// The right that counts is `create`, for GET too: WebSocket clients cannot send anything else, and to look at
    /// something is not to run programs in it.
    func stream(
        _ request: APIRequest, _ target: Target, _ name: String, _ purpose: StreamRequest.Purpose
    ) throws(StatusError) -> APIResponse {
        guard request.method == "GET" || request.method == "POST" else { throw .methodNotAllowed() }
        let pod = Pod(json: try registry.stored(.pod, target.namespace ?? "", name).object)
        var wish = StreamRequest(purpose: purpose, namespace: target.namespace ?? "", pod: name)
        if purpose == .portForward {
            for text in request.values("ports").flatMap({ $0.split(separator: ",") }) {
                guard let port = UInt16(text), port > 0 else {
                    throw .badRequest("query parameter ports: \(text) is no port number")
                }
                wish.ports.append(port)
            }
            guard wish.ports.count <= PortForwarder.portsMax else {
                throw .badRequest("query parameter ports: at most \(PortForwarder.portsMax) at once")
            }
        } else {
            wish.container = try container(request, pod, name)
            wish.command = request.values("command")
            wish.hasInput = request.flag("stdin")
            wish.hasOutput = request.flag("stdout")
            wish.hasTerminal = request.flag("tty")
            wish.hasErrors = request.flag("stderr") && !wish.hasTerminal
            guard purpose == .attach || !wish.command.isEmpty else {
                throw .badRequest("you must specify at least one command for the container")
            }
            guard wish.hasInput || wish.hasOutput || wish.hasErrors else {
                throw .badRequest("you must specify at least 1 of stdin, stdout, stderr")
            }
        }
        guard !pod.spec.nodeName.isEmpty else { throw .badRequest("pod \(name) does not have a host assigned") }
        wish.node = pod.spec.nodeName
        return APIResponse(status: 101, contentType: "", body: .streams(wish))
    }

    /// The container of a pod that a request means.
    func container(_ request: APIRequest, _ pod: Pod, _ name: String) throws(StatusError) -> String {
        let added = (pod.spec.json["ephemeralContainers"]?.array ?? []).compactMap { $0["name"]?.string }
        let names = (pod.spec.initContainers + pod.spec.containers).map(\.name) + added
        var container = request.query["container"] ?? ""
        if container.isEmpty {
            let preferred = pod.metadata.annotations["kubectl.kubernetes.io/default-container"]
            guard let only = preferred ?? (pod.spec.containers.count == 1 ? pod.spec.containers.first?.name : nil)
            else {
                throw .badRequest(
                    "a container name must be specified for pod \(name), choose one of: [\(pod.spec.containers.map(\.name).joined(separator: " "))]"
                )
            }
            container = only
        }
        if !names.contains(container), !["skein-proxy", "istio-proxy"].contains(container) {
            throw .badRequest("container \(container) is not valid for pod \(name)")
        }
        return container
    }
}
