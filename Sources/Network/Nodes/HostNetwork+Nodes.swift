internal import IO
internal import Synchronization

// The ways to the pods of other nodes. The kernel itself is what is remembered: a restarted agent compares with that.
extension HostNetwork {
    /// Makes the kernel reach the pods of exactly these nodes, over VXLAN, by routes or by WireGuard; returns what cannot be, in words.
    ///
    /// Only what differs is changed, so connections that go on are not disturbed, and doing it again repairs what
    /// somebody has taken away.
    @discardableResult
    public func apply(nodes others: [PeerNode]) throws(NetworkError) -> [String] {
        guard let own = configuration.nodes else { return [] }
        let desired = NodePaths(from: own, blocks: configuration.families.map(\.nodeBlock), to: others)
        let outcome = state.withLock { (state) -> Result<[String], NetworkError> in
            do throws(NetworkError) {
                let problems = try lead(own, to: desired, &state)
                if state.tunnelEnds != desired.tunnelEnds {
                    try NFTables.run(NodeRules.nodes(Array(desired.tunnelEnds)))
                    state.tunnelEnds = desired.tunnelEnds
                }
                return .success(problems)
            } catch {
                return .failure(error)
            }
        }
        return desired.problems + (try outcome.get())
    }

    /// The ways as the kernel has them now.
    func presentPaths(_ overlay: Int32?, encrypted: Int32? = nil) throws(NetworkError) -> NodePaths {
        var present = NodePaths()
        for route in try routes.routes() {
            guard route.origin == Int(RouteSocket.origin), route.type == 1, route.table == 254,
                let block = route.destination,
                configuration.families.contains(where: { $0.pool.contains(block.address) })
            else { continue }
            if route.gateway == nil, route.device == encrypted { present.routes[block] = .encrypted }
            guard let gateway = route.gateway else { continue }
            present.routes[block] = route.device == overlay ? .overlay(via: gateway) : .direct(gateway)
        }
        if let overlay {
            present.neighbours = try routes.neighbours(device: overlay)
            present.forwarding = try routes.forwarding(device: overlay)
        }
        return present
    }

    private func lead(
        _ own: NodeNetworking, to desired: NodePaths, _ state: inout State
    ) throws(NetworkError) -> [String] {
        var overlay = try routes.link(Ownership.overlayLink(own.identifier))?.index
        if desired.needsOverlay { overlay = try makeOverlay(own) }
        let encrypted = try makeEncrypted(own)
        var present = try presentPaths(overlay, encrypted: encrypted?.link)
        var problems: [String] = []
        if let encrypted {
            let device = try encrypted.device()
            present.peers = EncryptedLink.peers(device, told: state.peers)
            let silent = EncryptedLink.silent(device, told: state.peers, now: .now, wall: WallClock.now.seconds)
            problems = silent.compactMap { desired.names[$0] }.sorted().map {
                "node \($0) does not answer over WireGuard: it is away, its UDP port is not reached, or it has another key"
            }
        }
        for step in NodePaths.steps(from: present, to: desired) {
            do throws(NetworkError) {
                try perform(step, overlay, encrypted)
                if case .setPeer(let key, let peer) = step { state.peers[key] = ToldPeer(peer: peer, since: .now) }
                if case .removePeer(let key) = step { state.peers[key] = nil }
            } catch {
                // One node that cannot be reached must not cut off the others.
                problems.append("\(error)")
            }
        }
        return problems
    }

    private func perform(
        _ step: NodePaths.Step, _ overlay: Int32?, _ encrypted: EncryptedLink?
    ) throws(NetworkError) {
        switch step {
        case .setPeer(let key, let peer): try encrypted?.set(key, peer)
        case .removePeer(let key): try encrypted?.remove(key)
        case .setRoute(let block, .encrypted):
            if let encrypted { try routes.addRoute(to: block, source: source(for: block), device: encrypted.link) }
        case .setForwarding(let hardware, let node):
            if let overlay { try routes.setForwarding(hardware, to: node, device: overlay) }
        case .setNeighbour(let address, let hardware):
            if let overlay { try routes.addNeighbour(address, hardware: hardware, device: overlay) }
        case .setRoute(let block, .overlay(let gateway)):
            if let overlay {
                try routes.addRoute(to: block, via: gateway, source: source(for: block), device: overlay)
            }
        case .setRoute(let block, .direct(let gateway)):
            guard let way = try routes.way(to: gateway) else {
                throw .invalid("\(block): there is no way to its node \(gateway)")
            }
            guard way.gateway == nil else {
                throw .invalid(
                    "\(block): its node \(gateway) is behind the router \(way.gateway, default: "-"), and host-gw needs "
                        + "one link; use the driver overlay")
            }
            try routes.addRoute(to: block, via: gateway, source: source(for: block), device: way.device)
        case .removeRoute(let block): try routes.deleteRoute(to: block, device: nil, type: 0)
        case .removeNeighbour(let address):
            if let overlay { try routes.deleteNeighbour(address, device: overlay) }
        case .removeForwarding(let hardware, let node):
            if let overlay { try routes.deleteForwarding(hardware, to: node, device: overlay) }
        }
    }

    /// The host itself speaks to pods of other nodes from its gateway address, to which they have a way back.
    private func source(for block: Prefix) -> IPAddress? {
        configuration.families.first { $0.gateway.isV6 == block.address.isV6 }?.gateway
    }

    /// The VXLAN device; one that is otherwise than it must be (the node has another address now) is made anew.
    func makeOverlay(_ own: NodeNetworking) throws(NetworkError) -> Int32 {
        let name = Ownership.overlayLink(own.identifier)
        guard let local = own.addresses.first else { throw .invalid("node \(own.name) has no address") }
        let wanted = RouteSocket.Overlay(
            identifier: own.identifier, port: own.port, local: local,
            hardware: NodePaths.hardware(of: configuration.families.map(\.nodeBlock)),
            mtu: uplinkMTU - NodeNetworking.overhead(over: local))
        if let link = try routes.link(name) {
            guard Ownership.owns(link) else {
                throw .invalid("network device \(name) exists and is not ours; rename or delete it")
            }
            if try routes.overlay(name) == wanted, link.isUp { return link.index }
            try routes.deleteLink(name)
        }
        try routes.addOverlay(name, wanted, group: Ownership.overlayGroup)
        guard let link = try routes.link(name) else { throw .invalid("network device \(name) has gone") }
        try forward(from: name)
        return link.index
    }

    /// Lets packets that come in by a link of ours go on.
    func forward(from name: String) throws(NetworkError) {
        try KernelSettings.write("ipv4/conf/\(name)/forwarding", "1")
        if configuration.v6 != nil {
            try KernelSettings.write("ipv6/conf/\(name)/accept_ra", "0")
            if File.exists("/proc/sys/net/ipv6/conf/\(name)/force_forwarding") {
                try KernelSettings.write("ipv6/conf/\(name)/force_forwarding", "1")
            }
        }
    }
}
