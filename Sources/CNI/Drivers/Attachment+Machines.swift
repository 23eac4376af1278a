internal import Glibc
internal import IO
internal import Netlink

// Networks that span machines: a tunnel in the bridge, or routes over the other machines.
extension Attachment {
    /// What a tunnel is known by; GC of containers does not take it for one.
    private var tunnelNote: String { String(Attachment.notePrefix(configuration.name).dropLast()) }

    private func tunnelLink(_ tunnel: EngineNetwork.Tunnel) -> String { "skt\(tunnel.identifier)" }

    /// The configured ranges of other machines: those that this machine leads to itself are its own.
    private func otherBlocks() throws(SystemError) -> [MachineOptions.Block] {
        let mine = Set(try host.addresses().map(\.address.address))
        return configuration.machines.blocks.filter { !mine.contains($0.machine) }
    }

    /// Bytes of the largest packet of a container: what the tunnel leaves of the machines' (N-14).
    func packetSize() throws(CNIError) -> Int? {
        guard let tunnel = configuration.machines.tunnel else { return configuration.link.mtu }
        let (addresses, links) = try reporting { () throws(SystemError) in (try host.addresses(), try host.links()) }
        let ways = addresses.filter {
            $0.address.address.isV6 == tunnel.isV6 && !$0.address.address.isLoopback
        }
        var devices: Set<Int32> = []
        for peer in tunnel.peers {
            let direct = ways.filter { $0.address.network?.contains(peer) ?? false }.map(\.device)
            // Behind a router: any of the devices might lead there.
            devices.formUnion(direct.isEmpty ? ways.map(\.device) : direct)
        }
        guard let packet = links.filter({ devices.contains($0.index) && $0.kind != "bridge" }).map(\.mtu).min() else {
            throw CNIError(
                .invalidConfiguration, "peers: this machine has no \(tunnel.isV6 ? "IPv6" : "IPv4") address for others")
        }
        let room = packet - tunnel.overhead
        guard room >= 68 else {
            throw CNIError(.invalidConfiguration, "peers: packets of \(packet) bytes have no room for a tunnel")
        }
        guard let wished = configuration.link.mtu else { return room }
        guard wished <= room else {
            throw CNIError(
                .invalidConfiguration,
                "mtu: \(wished) is more than the \(room) bytes that the tunnel leaves of the machines' \(packet)")
        }
        return wished
    }

    /// What makes this machine's bridge another one than that of the other machines.
    func bridgeSeed() throws(CNIError) -> String {
        let name = configuration.link.bridge
        guard let tunnel = configuration.machines.tunnel else { return name }
        let mine = try reporting { () throws(SystemError) in try host.addresses().map(\.address.address) }
        let own = tunnel.own ?? tunnel.peers.first(where: mine.contains)
        return "\(name) \(own?.description ?? "")"
    }

    /// The tunnel as a port of the bridge; one that is there is brought up to date.
    func makeTunnel(_ mtu: Int?) throws(CNIError) {
        guard let tunnel = configuration.machines.tunnel else { return }
        do throws(SystemError) {
            let network = try EngineNetwork()
            try network.makeTunnel(
                tunnelLink(tunnel), tunnel, bridge: configuration.link.bridge, mtu: mtu, alias: tunnelNote,
                isIsolated: false)
        } catch {
            switch error.errno {
            case EEXIST:
                throw CNIError(
                    .invalidConfiguration,
                    "vni: \(tunnel.identifier) at port \(tunnel.port) is that of another network of this machine")
            case EOPNOTSUPP:
                throw CNIError(.invalidConfiguration, "driver overlay: this kernel has no VXLAN; take another driver")
            default: throw CNIError(.inputOutput, error.description)
            }
        }
    }

    /// Machines that the list no longer names are out of the network.
    func forgetPeers() throws(CNIError) {
        guard let tunnel = configuration.machines.tunnel else { return }
        try reporting { () throws(SystemError) in
            try EngineNetwork().forgetPeers(tunnelLink(tunnel), tunnel, alias: tunnelNote)
        }
    }

    /// Whether a port of the bridge is the tunnel, which goes with it.
    func isTunnel(_ link: LinkSocket.Link) -> Bool {
        guard let tunnel = configuration.machines.tunnel else { return false }
        return link.name == tunnelLink(tunnel) && link.kind == "vxlan" && link.alias == tunnelNote
    }

    /// Takes the tunnel away, and who may send into it.
    func removeTunnel() {
        guard let tunnel = configuration.machines.tunnel, let network = try? EngineNetwork() else { return }
        try? network.deleteTunnel(tunnelLink(tunnel), tunnel, alias: tunnelNote)
    }

    /// Ways to the containers of the other machines, each over that machine's address, which must be on a link of ours.
    func leadToMachines() throws(CNIError) {
        guard !configuration.machines.blocks.isEmpty else { return }
        let connected = try reporting { () throws(SystemError) in try host.addresses() }
        for block in try reporting({ () throws(SystemError) in try otherBlocks() }) {
            let ways = connected.filter { $0.address.network?.contains(block.machine) ?? false }
            guard let way = ways.max(by: { $0.address.length < $1.address.length }) else {
                throw CNIError(
                    .invalidConfiguration,
                    "machines: \(block.machine) is on no link of this machine, which host-gw needs; take the driver overlay"
                )
            }
            try reporting { () throws(SystemError) in
                try host.add(
                    LinkSocket.Route(destination: block.prefix, gateway: block.machine, device: way.device))
            }
        }
    }

    /// After GC without any container: what the network has on this machine beside them.
    func removeNetwork() throws(CNIError) {
        try reporting { () throws(SystemError) in
            for block in try otherBlocks() {
                try host.deleteRoute(to: block.prefix, via: block.machine)
            }
        }
        guard configuration.driver == .overlay,
            let bridge = try reporting({ () throws(SystemError) in try host.link(configuration.link.bridge) }),
            bridge.kind == "bridge"
        else { return }
        removeEmpty(bridge)
    }

    /// Pairs of a container and the ranges of other machines: no way out, so that they see its own address.
    func machinePairs(_ address: IPAddress) -> [RuleElement] {
        configuration.machines.blocks.filter { $0.prefix.address.isV6 == address.isV6 }.map { block in
            RuleElement(
                set: address.isV6 ? "local6" : "local4", key: address.bytes + block.prefix.address.bytes,
                keyEnd: address.bytes + block.prefix.last.bytes, note: note)
        }
    }
}
