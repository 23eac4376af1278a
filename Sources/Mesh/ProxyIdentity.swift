/// Whose configuration is asked for: the pod behind an xDS stream.
public struct ProxyIdentity: Sendable, Hashable {
    /// What kind of proxy runs in the pod.
    public enum Role: Sendable, Hashable {
        /// The sidecar of the pod's own containers.
        case sidecar
        /// A gateway: the proxy is what the pod is for.
        case gateway
    }

    /// Namespace and name of the pod.
    public var pod: NamespacedName
    /// Sidecar or gateway.
    public var role: Role

    /// Names a proxy.
    public init(pod: NamespacedName, role: Role) {
        self.pod = pod
        self.role = role
    }
}
