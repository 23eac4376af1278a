public import IO

/// What a pod's network needs to be made.
public struct PodAttachment: Sendable, Hashable {
    /// The pod's uid; names its namespace.
    public var uid: String
    /// `namespace/name` of the pod, for people.
    public var name: String
    /// Its IPv4 address, out of the node's block.
    public var address: IPAddress
    /// Its IPv6 address, when the node has such a block.
    public var address6: IPAddress?
    /// What its sidecar gets; nil when it has none.
    public var capture: CaptureOptions?
    /// How fast it may send and receive.
    public var bandwidth: PodBandwidth
    /// The path of the namespace that somebody else has made for it; nil when it gets one of ours.
    public var foreignNamespace: String?

    /// What a pod's network needs.
    public init(
        uid: String, name: String, address: IPAddress, address6: IPAddress? = nil, capture: CaptureOptions? = nil,
        bandwidth: PodBandwidth = PodBandwidth(), foreignNamespace: String? = nil
    ) {
        self.uid = uid
        self.name = name
        self.address = address
        self.address6 = address6
        self.capture = capture
        self.bandwidth = bandwidth
        self.foreignNamespace = foreignNamespace
    }
}
