import EnvoyAPI
import HTTP
import Mesh

/// What proxies call themselves, in Istio's form: `sidecar~IP~POD.NAMESPACE~DOMAIN`.
struct NodeID: Sendable, Hashable {
    static let form = "sidecar~IP~POD.NAMESPACE~DOMAIN"

    /// `sidecar` or `router`.
    var role: String
    var address: String
    var pod: NamespacedName
    var domain: String

    /// Reads a node's id; nil when it is not of that form.
    init?(_ text: String) {
        let parts = text.split(separator: "~", omittingEmptySubsequences: false).map(String.init)
        // Names of pods may hold dots, those of namespaces not.
        guard parts.count == 4, ["sidecar", "router"].contains(parts[0]), let dot = parts[2].lastIndex(of: ".") else {
            return nil
        }
        let (name, namespace) = (parts[2][..<dot], parts[2][parts[2].index(after: dot)...])
        guard !name.isEmpty, !namespace.isEmpty else { return nil }
        role = parts[0]
        address = parts[1]
        pod = NamespacedName(namespace: String(namespace), name: String(name))
        domain = parts[3]
    }
}

extension NodeID {
    /// Refuses a node that says it is another proxy than the one whose stream this is (decision 9).
    static func check(_ node: EnvoyAPI.Node, _ proxy: ProxyIdentity) throws(GRPCStatus) {
        let role = proxy.role == .gateway ? "router" : "sidecar"
        guard let id = NodeID(node.id), id.role == role, id.pod == proxy.pod else {
            throw GRPCStatus(
                .permissionDenied,
                "node \(node.id) is not the proxy of pod \(proxy.pod), whose stream this is "
                    + "(\(role)~IP~\(proxy.pod.name).\(proxy.pod.namespace)~DOMAIN)")
        }
    }
}
