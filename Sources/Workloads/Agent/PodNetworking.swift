public import KubernetesAPI

/// A pod's place in the network.
public struct PodPlace: Sendable, Hashable {
    /// Addresses, IPv4 first.
    public var addresses: [String]
    /// Path of the network namespace.
    public var namespacePath: String

    /// A place in the network.
    public init(addresses: [String], namespacePath: String) {
        self.addresses = addresses
        self.namespacePath = namespacePath
    }
}

/// The network as the node agent needs it.
///
/// Calls block.
public protocol PodNetworking: Sendable {
    /// Gives the pod addresses and a namespace; the same again for a pod that has them.
    func attach(_ pod: PodManifest, captures: Bool) throws(WorkloadError) -> PodPlace
    /// Takes them away.
    ///
    /// Harmless when they are gone.
    func detach(uid: String) throws(WorkloadError)
    /// Takes away what pods have that are not among these.
    func keep(only uids: Set<String>) throws(WorkloadError)
    /// Serves services as they are now, first of all the whole of them; all that cannot be served as asked comes back.
    ///
    /// After an error the next changes have to be whole.
    /// `zone`: where this node is (`topology.kubernetes.io/zone`), for endpoints with hints; nil: it does not say.
    func serve(_ changes: ServiceChanges, zone: String?) throws(WorkloadError) -> [String]
    /// How many addresses of the node's pods are in use, and how many there are; nil when nobody counts.
    var addressUse: (used: Int, size: Int)? { get }
    /// Takes note of policies and pods, for the next `attach` to enforce: a pod's rules stand before its link does.
    func learn(_ policies: PolicyObjects)
    /// Makes the kernel enforce these policies; what could not be read comes back.
    func enforce(_ policies: PolicyObjects) throws(WorkloadError) -> [String]
    /// Makes the pods of these nodes reachable; what cannot be comes back.
    func reach(nodes: [KubernetesObject]) throws(WorkloadError) -> [String]
    /// Makes the host's gateway ports lead to this pod; nil when there is no gateway pod.
    func lead(gatewayTo address: String?) throws(WorkloadError)
}

extension PodNetworking {
    /// Nobody counts.
    public var addressUse: (used: Int, size: Int)? { nil }
    /// A network of one machine has no others.
    public func reach(nodes: [KubernetesObject]) throws(WorkloadError) -> [String] { [] }
}
