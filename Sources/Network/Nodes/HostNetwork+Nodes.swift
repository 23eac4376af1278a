internal import IO
internal import Synchronization

// The ways to the pods of other nodes. The kernel itself is what is remembered: a restarted agent compares with that.
extension HostNetwork {
    /// Makes the kernel reach the pods of exactly these nodes, over VXLAN or by routes; returns what cannot be, in words.
    ///
    /// Only what differs is changed, so connections that go on are not disturbed, and doing it again repairs what
    /// somebody has taken away.
    @discardableResult
    public func apply(nodes others: [PeerNode]) throws(NetworkError) -> [String] {
        guard let own = configuration.nodes else { return [] }
        let desired = NodePaths(from: own, blocks: configuration.families.map(\.nodeBlock), to: others)
        let outcome = state.withLock { (state) -> Result<[String], NetworkError> in
            do throws(NetworkError) {
                let problems = try lead(own, to: desired)
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
    func presentPaths(_ overlay: Int32?) throws(NetworkError) -> NodePaths {
        var present = NodePaths()
        for route in try routes.routes() {
            guard route.origin == Int(RouteSocket.origin), route.type == 1, route.table == 254,
                let block = route.destination, let gateway = route.gateway,
                configuration.families.contains(where: { $0.pool.contains(block.address) })
            else { continue }
            present.routes[block] = route.device == overlay ? .overlay(via: gateway) : .direct(gateway)
        }
        if let overlay {
            present.neighbours = try routes.neighbours(device: overlay)
            present.forwarding = try routes.forwarding(device: overlay)
        }
        return present
    }

    private func lead(_ own: NodeNetworking, to desired: NodePaths) throws(NetworkError) -> [String] {
        var overlay = try routes.link(Ownership.overlayLink(own.identifier))?.index
        if desired.needsOverlay { overlay = try makeOverlay(own) }
        var problems: [String] = []
        for step in NodePaths.steps(from: try presentPaths(overlay), to: desired) {
            do throws(NetworkError) { try perform(step, overlay) } catch {
                // One node that cannot be reached must not cut off the others.
                problems.append("\(error)")
            }
        }
        return problems
    }

    private func perform(_ step: NodePaths.Step, _ overlay: Int32?) throws(NetworkError) {
        switch step {
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
        try KernelSettings.write("ipv4/conf/\(name)/forwarding", "1")
        if configuration.v6 != nil {
            try KernelSettings.write("ipv6/conf/\(name)/accept_ra", "0")
            if File.exists("/proc/sys/net/ipv6/conf/\(name)/force_forwarding") {
                try KernelSettings.write("ipv6/conf/\(name)/force_forwarding", "1")
            }
        }
        return link.index
    }
}
