public import IO

/// How packets get from one node to the pods of another.
public enum NodeDriver: String, Sendable, Hashable, CaseIterable {
    /// In VXLAN packets (RFC 7348) between the nodes' addresses, over any network.
    case overlay
    /// As they are, by a route over the other node's address: both are on one link.
    case hostGateway = "host-gw"

    /// How two nodes reach each other: unwrapped only when both have said so.
    static func between(_ one: NodeDriver, _ other: NodeDriver) -> NodeDriver {
        one == .hostGateway && other == .hostGateway ? .hostGateway : .overlay
    }
}

/// A node of the cluster as the others see it.
public struct PeerNode: Sendable, Hashable {
    /// The name of its object.
    public var name: String
    /// Where other nodes reach it, the preferred one first.
    public var addresses: [IPAddress]
    /// The ranges of its pods' addresses.
    public var blocks: [Prefix]
    /// What it was told to use.
    public var driver: NodeDriver
    /// By what packets between it and others are encrypted; nil: they are not.
    public var encryption: PeerEncryption?

    /// A node with those addresses and ranges.
    public init(
        name: String, addresses: [IPAddress], blocks: [Prefix], driver: NodeDriver, encryption: PeerEncryption? = nil
    ) {
        self.name = name
        self.addresses = addresses
        self.blocks = blocks
        self.driver = driver
        self.encryption = encryption
    }
}

/// What a node must know to be one of several.
public struct NodeNetworking: Sendable, Hashable {
    /// This node's own name.
    public var name: String
    /// Where the others reach it; a device of this machine has the first one.
    public var addresses: [IPAddress]
    /// How its pods reach those of others.
    public var driver: NodeDriver
    /// The VXLAN network identifier of the pods' network, 24 bits.
    public var identifier: UInt32
    /// The UDP port of VXLAN.
    public var port: UInt16
    /// By what packets to other nodes are encrypted, which is then the only way to them; nil: they are not.
    public var encryption: NodeEncryption?

    /// The port that IANA has given to VXLAN.
    public static let standardPort: UInt16 = 4789
    /// The identifier of the pods' own network; further networks have higher ones.
    public static let podNetwork: UInt32 = 7533

    /// A node of several.
    public init(
        name: String, addresses: [IPAddress], driver: NodeDriver, identifier: UInt32 = podNetwork,
        port: UInt16 = standardPort, encryption: NodeEncryption? = nil
    ) {
        self.name = name
        self.addresses = addresses
        self.driver = driver
        self.identifier = identifier
        self.port = port
        self.encryption = encryption
    }

    /// Bytes that VXLAN adds to a packet: Ethernet 14, VXLAN 8, UDP 8, and IP 20 or 40 (N-14).
    static func overhead(over address: IPAddress) -> Int { 14 + 8 + 8 + (address.isV6 ? 40 : 20) }

    /// What a pod's packet must leave free of the uplink's.
    var overhead: Int {
        guard let address = addresses.first else { return 0 }
        if encryption != nil { return NodeEncryption.overhead(over: address) }
        guard driver == .overlay else { return 0 }
        return NodeNetworking.overhead(over: address)
    }

    /// Refuses what cannot be.
    func check() throws(NetworkError) {
        guard !addresses.isEmpty else { throw .invalid("node \(name): it has no address for other nodes") }
        guard (1..<1 << 24).contains(identifier) else {
            throw .invalid("VXLAN network identifier \(identifier): 1 to 16777215 are possible")
        }
        guard port > 0 else { throw .invalid("VXLAN port 0: 1 to 65535 are possible") }
        if let encryption, encryption.port == 0 { throw .invalid("WireGuard port 0: 1 to 65535 are possible") }
    }
}
