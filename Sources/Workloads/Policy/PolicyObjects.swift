internal import IO
public import KubernetesAPI
public import Network
internal import Serialization

/// What network policies are about, as the API has it at one time.
public struct PolicyObjects: Sendable {
    /// Rises with every change, so that an older state never replaces a newer one.
    public var revision: Int
    /// The node whose pods are protected here.
    public var nodeName: String
    /// The pods of the cluster.
    public var pods: [PolicyPod]
    /// Labels of namespaces, by name.
    public var namespaces: [String: [String: String]]
    /// NetworkPolicies, AdminNetworkPolicies, BaselineAdminNetworkPolicies.
    public var policies: [KubernetesObject]

    /// The state of the API at one time.
    public init(
        revision: Int = 0, nodeName: String, pods: [PolicyPod], namespaces: [String: [String: String]],
        policies: [KubernetesObject]
    ) {
        self.revision = revision
        self.nodeName = nodeName
        self.pods = pods
        self.namespaces = namespaces
        self.policies = policies
    }
}

/// A pod as policies see it.
public struct PolicyPod: Sendable, Hashable {
    /// Identity over the pod's life.
    public var uid: String
    /// Namespace.
    public var namespace: String
    /// Name.
    public var name: String
    /// Labels.
    public var labels: [String: String]
    /// The addresses that its status tells.
    public var addresses: [String]
    /// The node it is on; empty: none yet.
    public var node: String
    /// Ports of its containers that have names.
    public var ports: [PolicySet.NamedPort]

    /// Reads a Pod; nil when it is the host as far as policies see (`hostNetwork`), or has ended and its address may be another's.
    public init?(_ object: KubernetesObject) {
        let (spec, status) = (object.spec, object.status)
        guard spec["hostNetwork"]?.bool != true, !["Succeeded", "Failed"].contains(status["phase"]?.string ?? "") else {
            return nil
        }
        uid = object.metadata.uid
        namespace = object.namespace.isEmpty ? "default" : object.namespace
        name = object.name
        labels = object.metadata.labels
        var texts = (status["podIPs"]?.array ?? []).compactMap { $0["ip"]?.string }
        if texts.isEmpty, let one = status["podIP"]?.string, !one.isEmpty { texts = [one] }
        addresses = texts
        node = spec["nodeName"]?.string ?? ""
        // A native sidecar's ports are the pod's, too.
        let containers = (spec["containers"]?.array ?? []) + (spec["initContainers"]?.array ?? [])
        var found: [PolicySet.NamedPort] = []
        for port in containers.flatMap({ $0["ports"]?.array ?? [] }) {
            guard let name = port["name"]?.string, let number = port["containerPort"]?.int,
                let number = UInt16(exactly: number)
            else { continue }
            found.append(
                PolicySet.NamedPort(
                    name: name, transport: Transport(protocolName: port["protocol"]?.string) ?? .tcp, port: number))
        }
        ports = found
    }
}

extension Transport {
    /// `TCP`, `UDP`, `SCTP`; nothing is TCP.
    init?(protocolName: String?) {
        switch protocolName {
        case nil, "TCP": self = .tcp
        case "UDP": self = .udp
        case "SCTP": self = .sctp
        default: return nil
        }
    }
}
