internal import IO
internal import Netlink
internal import Synchronization

/// The node's side of the pod network: the gateway address, routes, rules and settings, and the pods attached to it.
///
/// All calls are synchronous and belong on a thread whose network namespace is the host's. Safe from several threads.
public final class HostNetwork: Sendable {
    /// The ranges and names it was made with.
    public let configuration: HostNetworkConfiguration
    /// The link group of the pods' host ends.
    public static var podGroup: Int { Ownership.podGroup }
    /// The device to the outside, if there is one.
    public let uplink: String?
    /// The largest packet of a pod: the uplink's, so that nothing on the way out needs to be cut, less what VXLAN adds (N-14).
    public let mtu: Int
    let uplinkMTU: Int
    /// What an operator should know, found while setting up.
    public let warnings: [String]

    let routes: RouteSocket
    let state: Mutex<State>

    /// What the kernel was last told.
    struct State {
        var ports: [HostPort]?
        var services: CompiledServices?
        var policies: PolicyProgram?
        var policyText: PolicyProgram.Text?
        /// Among which connections there may be some that policies deny and that have not been ended; nil: among all.
        var toCut: Set<ConnectionTable.Search>? = []
        /// How often policies have changed.
        var policyChanges: UInt64 = 0
        /// Who may send VXLAN packets; nil: not told yet.
        var tunnelEnds: Set<IPAddress>?
        /// The peers of the WireGuard link, as the kernel was told of them.
        var peers: [WireGuardKey: ToldPeer] = [:]
    }

    private init(
        _ configuration: HostNetworkConfiguration, _ routes: RouteSocket, _ uplink: RouteSocket.Link?,
        warnings: [String]
    ) {
        self.configuration = configuration
        self.routes = routes
        self.uplink = uplink?.name
        self.warnings = warnings
        uplinkMTU = uplink?.mtu ?? 1500
        mtu = uplinkMTU - (configuration.nodes?.overhead ?? 0)
        state = Mutex(State())
    }

    /// Makes the network, or takes over the one that an earlier process left behind (its pods stay connected).
    ///
    /// Refuses ranges that overlap a route or address of the host that is not ours, before anything is changed.
    public static func setUp(_ configuration: HostNetworkConfiguration) throws(NetworkError) -> HostNetwork {
        try configuration.check()
        let routes = try RouteSocket()
        let links = try routes.links()
        try OverlapCheck(routes: try routes.routes(), addresses: try routes.addresses(), links: links)
            .check(configuration)
        let uplink = try findUplink(configuration, routes, links)
        try makeGateway(configuration, routes, links, mtu: uplink?.mtu ?? 1500)
        let settings = KernelSettings(file: configuration.settingsFile)
        let guarded = try turnForwardingOn(configuration, uplink?.name, settings)
        let network = HostNetwork(
            configuration, routes, uplink, warnings: foreignForwardChains())
        if let nodes = configuration.nodes {
            try network.closeUnencrypted(nodes)
            // The nodes of an earlier life go on being known until somebody says which there are.
            let sets = nodes.encryption == nil ? ["nodes4", "nodes6"] : []
            let known = sets.flatMap { (try? NFTables.elements(of: $0, in: NodeRules.table)) ?? [] }
            try NFTables.run(NodeRules.compile(configuration, nodes, known: known.compactMap { IPAddress($0) }))
        }
        try NFTables.run(HostRules.compile(configuration, guardedUplink: guarded))
        try NFTables.run(CompiledServices.base(configuration))
        return network
    }

    private static func findUplink(
        _ configuration: HostNetworkConfiguration, _ routes: RouteSocket, _ links: [RouteSocket.Link]
    ) throws(NetworkError) -> RouteSocket.Link? {
        if let name = configuration.uplink {
            guard let link = links.first(where: { $0.name == name }) else {
                throw .invalid("uplink \(name): there is no such network device")
            }
            return link
        }
        if let address = configuration.nodes?.addresses.first {
            guard let device = try routes.addresses().first(where: { $0.address == address })?.device,
                let link = links.first(where: { $0.index == device })
            else { throw .invalid("node address \(address): no network device of this machine has it") }
            return link
        }
        let routed = try routes.routes().first {
            $0.destination == nil && !$0.isV6 && $0.table == 254 && $0.device != 0
        }
        return links.first { $0.index == routed?.device }
    }

    private static func makeGateway(
        _ configuration: HostNetworkConfiguration, _ routes: RouteSocket, _ links: [RouteSocket.Link], mtu: Int
    ) throws(NetworkError) {
        let name = Ownership.gatewayLink
        if let link = links.first(where: { $0.name == name }) {
            guard Ownership.owns(link) else {
                throw .invalid("network device \(name) exists and is not ours; rename or delete it")
            }
        } else {
            try routes.addBridge(name, mtu: mtu, group: Ownership.gatewayGroup)
        }
        guard let bridge = try routes.link(name) else { throw .invalid("network device \(name) has gone") }
        for family in configuration.families {
            try routes.addAddress(family.gateway, length: family.gateway.bitCount, to: bridge.index)
            // A pod address that nobody has must not leave by the default route.
            try routes.addRoute(to: family.pool, device: nil)
            for services in family.servicePools {
                // The host needs some way to a service address, or its own connections end before the rules see them.
                try routes.addRoute(to: services, source: family.gateway, device: bridge.index)
            }
        }
    }

    /// Turns forwarding on for the uplink alone (pods' links get it as they come).
    ///
    /// Returns the uplink when it was off.
    private static func turnForwardingOn(
        _ configuration: HostNetworkConfiguration, _ uplink: String?, _ settings: KernelSettings
    ) throws(NetworkError) -> String? {
        var guarded: String?
        if let uplink {
            let old = try settings.set("ipv4/conf/\(uplink)/forwarding", "1")
            if old == "0" { guarded = uplink }
        }
        guard configuration.v6 != nil else { return guarded }
        if File.exists("/proc/sys/net/ipv6/conf/all/force_forwarding") {
            if let uplink { try settings.set("ipv6/conf/\(uplink)/force_forwarding", "1") }
        } else {
            // Older kernels forward for all devices or none, and a router ignores router advertisements unless told.
            if let uplink, try KernelSettings.read("ipv6/conf/\(uplink)/accept_ra") == "1" {
                try settings.set("ipv6/conf/\(uplink)/accept_ra", "2")
            }
            try settings.set("ipv6/conf/all/forwarding", "1")
        }
        return guarded
    }

    /// A foreign forward chain that drops by default wins over every accept of ours.
    private static func foreignForwardChains() -> [String] {
        guard let chains = try? NFTables.chains() else { return [] }
        return chains.filter { $0.hook == "forward" && $0.dropsByDefault && !$0.table.hasPrefix(Ownership.tablePrefix) }
            .map {
                "the chain \($0.name) of the nftables table \($0.table) drops forwarded packets by default: pods are "
                    + "cut off until it lets devices of group \(Ownership.podGroup) through"
            }
    }
}
