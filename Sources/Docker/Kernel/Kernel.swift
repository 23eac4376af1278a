internal import CNI
internal import IO

/// What the plugin needs of a kernel; tests have one of their own.
protocol KernelWork: Sendable {
    /// Does all steps, or none.
    func perform(_ changes: [KernelChange]) throws(SystemError)
    /// Does as many steps as go: for what must be gone in the end; the first problem.
    func performAll(_ changes: [KernelChange]) -> SystemError?
    /// What decisions depend on beside the state.
    func view() throws(SystemError) -> HostView
    /// Whether no program of this machine listens on a port.
    func isFree(_ port: PublishedPort) -> Bool
    /// Removes links and rules of ours that no state knows; what was found.
    func collect(_ state: PluginState) throws(SystemError) -> (links: [String], rules: Int)
}

/// Does steps in the kernel, and looks at what is there.
struct Kernel: KernelWork {
    /// Opens sockets in the namespace of the calling thread.
    private let network: EngineNetwork
    /// Whose links and rules are looked after; those of the other are not touched.
    private let owner: NetworkOwner

    init(owner: NetworkOwner) throws(SystemError) {
        self.owner = owner
        network = try EngineNetwork()
    }

    /// Does all steps, or none.
    func perform(_ changes: [KernelChange]) throws(SystemError) {
        for (count, change) in changes.enumerated() {
            do throws(SystemError) { try perform(change) } catch {
                // A step that has failed may have happened in part.
                for done in changes[...count].reversed() {
                    if let inverse = done.inverse, !(done == change && isTaken(error)) { try? perform(inverse) }
                }
                throw error
            }
        }
    }

    /// Does as many steps as go: for what must be gone in the end; the first problem.
    func performAll(_ changes: [KernelChange]) -> SystemError? {
        var first: SystemError?
        for change in changes {
            do throws(SystemError) { try perform(change) } catch { first = first ?? error }
        }
        return first
    }

    /// Whether somebody else has what was asked for: then it is not ours to take back.
    private func isTaken(_ error: SystemError) -> Bool { error.errno == 17 }

    private func perform(_ change: KernelChange) throws(SystemError) {
        switch change {
        case .forward(let isV6): if isV6 || !owner.forwardsByDevice { try network.forward(isV6: isV6) }
        case .bridge(let it):
            try network.makeBridge(
                it.device, mtu: it.wish.mtu, alias: it.alias, addresses: it.wish.subnets.compactMap(\.gateway),
                isApart: owner.forwardsByDevice)
            if owner.forwardsByDevice { try network.forward(from: it.device) }
            try UserChain.allow(it)
        case .noBridge(let it):
            try UserChain.forget(it)
            if let link = try network.link(it.device), link.alias == it.alias { try network.delete(it.device) }
            try network.forgetLoopback(of: it.device)
        case .tunnel(let it, let tunnel):
            try network.makeTunnel(
                it.tunnelDevice, tunnel, bridge: it.device, mtu: it.wish.mtu, alias: it.alias,
                isIsolated: !it.wish.connectsContainers)
        case .noTunnel(let it, let tunnel): try network.deleteTunnel(it.tunnelDevice, tunnel, alias: it.alias)
        case .pair(let endpoint, let it):
            try network.makePair(
                endpoint.hostLink, peer: endpoint.containerLink, bridge: it.device, mtu: it.wish.mtu,
                hardware: endpoint.hardware, alias: endpoint.note, isIsolated: !it.wish.connectsContainers)
        case .macvlan(let endpoint, let it):
            try network.makeMacvlan(
                endpoint.containerLink, parent: it.wish.parent ?? "", mode: it.wish.mode, mtu: it.wish.mtu,
                hardware: endpoint.hardware, alias: endpoint.note, owner: owner.notePrefix)
        case .noLink(let endpoint):
            try network.delete(endpoint.hostLink)
            try network.delete(endpoint.containerLink)
        case .rules(let member, let purpose, let note): try network.add(member, to: purpose, note: note)
        case .noRules(let member, let purpose, _): try network.remove(member, from: purpose)
        case .publish(let ports, let member, let device, let note):
            try network.publish(ports, to: member, device: device, note: note)
        case .withdraw(let ports, let member, _, _): try network.withdraw(ports, from: member)
        }
    }

    // MARK: What is there

    /// What decisions depend on beside the state.
    func view() throws(SystemError) -> HostView {
        let links = try network.allLinks()
        return HostView(
            connected: try network.connectedPrefixes(), routed: try network.routedPrefixes(),
            links: Dictionary(links.map { ($0.name, $0.alias) }, uniquingKeysWith: { first, _ in first }),
            sizes: Dictionary(links.map { ($0.name, $0.mtu) }, uniquingKeysWith: { first, _ in first }))
    }

    /// Binds the port for a moment: a program that has it would lose its connections to the container.
    func isFree(_ port: PublishedPort) -> Bool {
        let families: [IPAddress] = port.hostAddress.map { [$0] } ?? [.v4(0), .v6(high: 0, low: 0)]
        for address in families {
            do throws(SystemError) {
                if port.transport == 17 {
                    _ = try Socket.datagram(on: .ip(address, port: port.hostPort))
                } else {
                    _ = try Socket.listen(on: .ip(address, port: port.hostPort))
                }
            } catch {
                // A family that this machine does not have, or an address that is not here, has no listener.
                if error.errno == 98 { return false }  // EADDRINUSE
            }
        }
        return true
    }

    /// Whether a call was ended between making a device of a network and giving it its alias.
    private static func isNameless(_ link: EngineNetwork.Link, _ owner: NetworkOwner) -> Bool {
        guard link.alias.isEmpty else { return false }
        return [(DockerNetwork.bridgePrefix, "bridge"), (DockerNetwork.tunnelPrefix, "vxlan")].contains {
            prefix, kind in
            link.kind == kind && link.name.hasPrefix(prefix)
                && NetworkOwner(network: String(link.name.dropFirst(prefix.count))) == owner
        }
    }

    /// Removes links and rules of ours that no state knows; what was found.
    func collect(_ state: PluginState) throws(SystemError) -> (links: [String], rules: Int) {
        let notes = Kernel.notes(state)
        let lost = Kernel.lost(try network.allLinks(), state, owner)
        for name in lost { try network.delete(name) }
        let rules = try network.collectRules(notePrefix: owner.notePrefix, keeping: notes)
        return (lost, rules + (try UserChain.collect(notePrefix: owner.notePrefix, keeping: notes)))
    }

    /// What the aliases and comments of everything say that a state knows.
    private static func notes(_ state: PluginState) -> Set<String> {
        Set(state.endpoints.values.map(\.note)).union(state.networks.values.map(\.alias))
    }

    /// The links of an owner that no state knows, also those of a call that was ended before it gave them their aliases: the link
    /// of a container is then known by the bridge whose port it is, a macvlan by its group.
    ///
    /// Pure.
    static func lost(_ links: [EngineNetwork.Link], _ state: PluginState, _ owner: NetworkOwner) -> [String] {
        let notes = notes(state)
        let known = Set(state.networks.values.flatMap { [$0.device, $0.tunnelDevice] })
        let bridges = Set(
            links.filter {
                $0.kind == "bridge"
                    && (known.contains($0.name) || $0.alias.hasPrefix(owner.notePrefix) || isNameless($0, owner))
            }.map(\.name))
        let ends = Set(state.endpoints.values.map(\.hostLink))
        let unnamed = EngineNetwork.unnamedGroup(of: owner.notePrefix)
        return links.filter { link in
            if isNameless(link, owner) { return !known.contains(link.name) }
            if link.alias.isEmpty, link.kind == "veth", link.name.hasPrefix(DockerEndpoint.hostPrefix) {
                return bridges.contains(link.master) && !ends.contains(link.name)
            }
            // No state knows it: a link is written down after it has its alias.
            if link.alias.isEmpty, link.kind == "macvlan", link.name.hasPrefix(DockerEndpoint.containerPrefix) {
                return link.group == unnamed
            }
            return link.alias.hasPrefix(owner.notePrefix) && !notes.contains(link.alias)
        }.map(\.name)
    }
}

/// What is on this machine beside what the engine has made with us.
struct HostView: Sendable {
    /// Networks in which this machine has an address, with the device.
    var connected: [(prefix: Prefix, device: String)] = []
    /// Networks that routes lead to, but for the default route.
    var routed: [Prefix] = []
    /// Devices, with their aliases.
    var links: [String: String] = [:]
    /// Devices, with the bytes of their largest packets.
    var sizes: [String: Int] = [:]
}
