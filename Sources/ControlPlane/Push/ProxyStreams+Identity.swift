import EnvoyAPI
import HTTP
import Identity
import KubernetesAPI
import Mesh
import Serialization

// Who a subscriber is.
extension ProxyStreams {
    /// Decision 9: whoever calls itself something else than it is known to be is refused.
    func identify(
        _ who: Subscriber, _ node: EnvoyAPI.Node?
    ) throws(GRPCStatus) -> (ProxyIdentity, uid: String) {
        guard let node else { throw GRPCStatus(.invalidArgument, "the first request says no node") }
        if let (registration, account) = try registration(who, node) { return try registered(registration, account) }
        let key: NamespacedName
        switch who {
        case .pod(let pod, let uid): key = try present(pod, uid: uid)
        case .serviceAccount(let account): key = try named(node, of: account)
        case .token(let token):
            if let pod = token.pod {
                key = try present(NamespacedName(namespace: pod.namespace, name: pod.name), uid: pod.uid)
            } else {
                key = try named(node, of: NamespacedName(namespace: token.namespace, name: token.serviceAccount))
            }
        }
        guard let object = cache?.object(.pod, key) else { throw GRPCStatus(.unavailable, "there is no pod \(key)") }
        let isGateway =
            object.metadata.annotations["skein.dev/gateway"] == "true" && key.namespace == GatewayObjects.namespace
        let proxy = ProxyIdentity(pod: key, role: isGateway ? .gateway : .sidecar)
        try NodeID.check(node, proxy)
        return (proxy, object.metadata.uid)
    }

    /// A pod that is known to be the caller, if it is still there.
    private func present(_ pod: NamespacedName, uid: String) throws(GRPCStatus) -> NamespacedName {
        guard let object = cache?.object(.pod, pod), object.metadata.uid == uid else {
            throw GRPCStatus(.unavailable, "there is no pod \(pod) with uid \(uid)")
        }
        return pod
    }

    /// The pod that a node says it is, if it runs as the service account that the caller was verified to be.
    private func named(_ node: EnvoyAPI.Node, of account: NamespacedName) throws(GRPCStatus) -> NamespacedName {
        guard let key = NodeID(node.id)?.pod else {
            throw GRPCStatus(.permissionDenied, "node \(node.id) is not of the form \(NodeID.form)")
        }
        guard let object = cache?.object(.pod, key), object.metadata.deletionTimestamp == nil || isRunning(object)
        else { throw GRPCStatus(.unavailable, "there is no pod \(key)") }
        let own = object.spec["serviceAccountName"]?.string ?? "default"
        guard account == NamespacedName(namespace: key.namespace, name: own) else {
            throw GRPCStatus(.permissionDenied, "pod \(key) runs as service account \(own), not as \(account)")
        }
        return key
    }

    private func isRunning(_ pod: KubernetesObject) -> Bool { pod.status["phase"]?.string == "Running" }
}
