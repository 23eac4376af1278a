public import IO

/// Addresses and names of a node's network.
public struct HostNetworkConfiguration: Sendable, Hashable {
    /// The address ranges of one family.
    public struct Family: Sendable, Hashable {
        /// Addresses of all pods of the cluster.
        public var pool: Prefix
        /// Those of this node.
        public var nodeBlock: Prefix
        /// The node's own address towards its pods; DNS listens there.
        public var gateway: IPAddress
        /// Addresses that only rules know: cluster IPs and load-balancer addresses.
        public var servicePools: [Prefix]

        /// The ranges of one family.
        public init(pool: Prefix, nodeBlock: Prefix, gateway: IPAddress, servicePools: [Prefix]) {
            self.pool = pool
            self.nodeBlock = nodeBlock
            self.gateway = gateway
            self.servicePools = servicePools
        }
    }

    /// IPv4, always there.
    public var v4: Family
    /// IPv6, when pods get such addresses too.
    public var v6: Family?
    /// Where namespaces and records are kept; on a file system that a reboot empties.
    public var runDirectory: String
    /// The device to the outside; found by the default route when nil.
    public var uplink: String?
    /// Whether connections of the host's root to pods go past their sidecars, as a kubelet's probes must.
    public var letsHostProbe = false
    /// How pods of other nodes are reached; nil on a machine of its own.
    public var nodes: NodeNetworking?

    /// A network of those ranges.
    public init(v4: Family, v6: Family? = nil, runDirectory: String = "/run/skein", uplink: String? = nil) {
        self.v4 = v4
        self.v6 = v6
        self.runDirectory = runDirectory
        self.uplink = uplink
    }

    /// A node's network out of the ranges of a cluster and of the node itself, of one family or two; the first address of a
    /// block is the node's own.
    ///
    /// nil when there is none of IPv4, or a block of IPv6 without a pool.
    public init?(pools: [Prefix], blocks: [Prefix], servicePools: [Prefix], runDirectory: String) {
        func family(_ isV6: Bool) -> Family? {
            guard let pool = pools.first(where: { $0.address.isV6 == isV6 }),
                let block = blocks.first(where: { $0.address.isV6 == isV6 })
            else { return nil }
            let gateway: IPAddress =
                switch block.address {
                case .v4(let first): .v4(first &+ 1)
                case .v6(let high, let low): .v6(high: high, low: low &+ 1)
                }
            return Family(
                pool: pool, nodeBlock: block, gateway: gateway,
                servicePools: servicePools.filter { $0.address.isV6 == isV6 })
        }
        guard let v4 = family(false) else { return nil }
        self.init(v4: v4, v6: family(true), runDirectory: runDirectory)
    }

    /// Where the pods' namespaces are.
    public var namespaceDirectory: String { "\(runDirectory)/netns" }
    /// Which pod has which address.
    public var addressFile: String { "\(runDirectory)/network/addresses" }
    /// What was changed in the kernel's settings, for tear-down.
    var settingsFile: String { "\(runDirectory)/network/settings" }

    /// Refuses ranges that do not fit together.
    func check() throws(NetworkError) {
        try nodes?.check()
        for family in [v4, v6].compactMap(\.self) {
            guard family.pool.address.isV6 == (family == v6 && family != v4) else {
                throw .pool("pool \(family.pool): it is of the other address family")
            }
            guard family.pool.contains(family.nodeBlock.address), family.nodeBlock.length >= family.pool.length else {
                throw .pool("node block \(family.nodeBlock) is not inside the pool \(family.pool)")
            }
            guard family.nodeBlock.contains(family.gateway) else {
                throw .pool("gateway address \(family.gateway) is not inside the node block \(family.nodeBlock)")
            }
            for services in family.servicePools where services.overlaps(family.pool) {
                throw .pool("service pool \(services) overlaps the pod pool \(family.pool)")
            }
        }
    }

    /// The families, IPv4 first.
    public var families: [Family] { [v4] + [v6].compactMap(\.self) }
}
