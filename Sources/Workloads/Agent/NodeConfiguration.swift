package import Docker
public import IO
public import Serialization

/// How a node agent is set up.
public struct NodeConfiguration: Sendable {
    /// Where containers whose image is not in the store get their programs from.
    public enum ImageMode: String, Sendable {
        /// The host's own file system, read-only.
        case host
        /// Nowhere: they wait until the image is imported.
        case store
    }

    /// Directories.
    public var layout: NodeLayout
    /// Name of this node; pods with another `spec.nodeName` are not ours.
    public var nodeName: String
    /// Addresses that are shown as `status.hostIPs`, the preferred one first.
    public var hostAddresses: [String]
    /// Where pods find the API: the address of the service `kubernetes`.
    public var apiAddress = "10.96.0.1"
    /// Where containers get their programs from.
    public var imageMode: ImageMode
    /// The proxy's program; nil when pods get no sidecar at all (tests).
    public var proxyProgram: String?
    /// Further arguments of a sidecar.
    public var proxyArguments: [String] = []
    /// What pods ask for names: the gateway address.
    public var nameserver: String
    /// Addresses on which DNS sockets are bound and handed to the control plane.
    public var dnsAddresses: [SocketAddress] = []
    /// The control plane on another machine; nil: the one beside this agent, over unix sockets.
    public var controlPlane: RemoteControlPlane?
    /// What makes containers.
    package var runtime = RuntimeChoice.runc
    /// The networks of `skein network create`; nil where there are none.
    package var networks: ContainerNetworks?
    /// Whether Secrets and ConfigMaps are followed one by one also beside the API server (tests).
    var followsReferencesByName = false
    /// Called on the agent's loop with the services that have changed, first of all with the whole of them.
    public var servicesChanged: (@Sendable (ServiceChanges) -> Void)?
    /// Told what of other nodes cannot be reached, in words, whenever that changes.
    public var waysChanged: (@Sendable ([String]) -> Void)?
    /// Called on the agent's loop with what the control plane says of names besides services.
    public var namesTold: (@Sendable (JSON) -> Void)?
    /// Answers what the dashboard asks of this machine, on the agent's loop; nil: nothing is answered.
    public var questions: (@Sendable (NodeQuestion) async -> NodeAnswer)?
    /// Connections at once over which a control plane elsewhere may ask this agent; counted when there are too many.
    public var dialedMax = 512
    /// User and group of the control plane, which may ask for logs.
    public var controlPlaneUser: UInt32 = 7533

    /// The agent of that node.
    public init(
        layout: NodeLayout, nodeName: String, hostAddresses: [String], imageMode: ImageMode, proxyProgram: String?,
        nameserver: String
    ) {
        self.layout = layout
        self.nodeName = nodeName
        self.hostAddresses = hostAddresses
        self.imageMode = imageMode
        self.proxyProgram = proxyProgram
        self.nameserver = nameserver
    }

    /// The API as root sees it.
    public var apiSocket: String { layout.runDirectory + "/api.sock" }
    /// Where descriptors are handed to the control plane.
    public var agentSocket: String { layout.runDirectory + "/agent.sock" }
    /// Where the control plane asks for logs.
    public var kubeletSocket: String { layout.runDirectory + "/kubelet.sock" }
}
