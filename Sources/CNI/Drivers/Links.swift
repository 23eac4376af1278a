internal import Glibc
internal import IO
internal import Netlink

/// What a driver made, in the order of the result's interfaces.
struct MadeLinks {
    /// Interfaces on the host, with the one to the container last.
    var host: [CNIResult.Interface] = []
    var container: LinkSocket.Link
    /// The host's end of the pair, if there is one.
    var hostEnd: LinkSocket.Link?
    var bridge: LinkSocket.Link?
    /// Whether this call has made the bridge.
    var bridgeIsNew = false
}

extension Attachment {
    /// The hardware address of the host's ends of routed links: what the containers' fixed neighbour entries say.
    static let routedHardware: [UInt8] = [0x02, 0x73, 0x6b, 0, 0, 2]
    /// Through what routed containers reach everything; an address of every host's end.
    static let routedGateway = (v4: IPAddress.v4(0xa9fe_0101), v6: IPAddress.v6(high: 0xfe80 << 48, low: 1))

    /// Makes the links of the driver, in their namespaces; those of the container are down yet.
    func makeLinks(_ container: ContainerNamespace, _ addresses: [InterfaceAddress]) throws(CNIError) -> MadeLinks {
        switch configuration.driver {
        case .bridge, .overlay: return try makeBridged(container, addresses)
        case .routed, .hostGateway, .ptp: return try makeRouted(container, addresses)
        case .macvlan, .ipvlan, .vlan: return try makeSub(container, addresses)
        case .host, .none, .chained:
            throw CNIError(.invalidConfiguration, "driver \(configuration.driver.rawValue) makes no link")
        }
    }

    private func own(_ container: ContainerNamespace, _ addresses: [InterfaceAddress]) throws(CNIError)
        -> LinkSocket.Wish
    {
        LinkSocket.Wish(
            name: request.interface, kind: "", mtu: configuration.link.mtu, hardware: try hardware(addresses),
            namespace: container.namespace.fd)
    }

    private func made(_ container: ContainerNamespace) throws(CNIError) -> LinkSocket.Link {
        guard let link = try reporting({ () throws(SystemError) in try container.links.link(request.interface) }) else {
            throw CNIError(.inputOutput, "the interface \(request.interface) has gone")
        }
        return link
    }

    /// The group of a link until it has its alias.
    var unnamedGroup: UInt32 { LinkGroup.unnamed(Attachment.notePrefix(configuration.name)) }

    private func madeHere(_ name: String, group: UInt32 = 0) throws(CNIError) -> LinkSocket.Link {
        guard let link = try reporting({ () throws(SystemError) in try host.link(name) }) else {
            throw CNIError(.inputOutput, "the link \(name) has gone")
        }
        try reporting { () throws(SystemError) in try host.setAlias(link.index, note, group: group) }
        return link
    }

    // MARK: bridge

    private func makeBridged(_ container: ContainerNamespace, _ addresses: [InterfaceAddress]) throws(CNIError)
        -> MadeLinks
    {
        let mtu = try packetSize()
        let (bridge, isNew) = try findBridge(mtu)
        do throws(CNIError) {
            try makeTunnel(mtu)
            var made = try makePort(of: bridge, container, addresses, mtu)
            made.bridgeIsNew = isNew
            return made
        } catch {
            if isNew { removeEmpty(bridge) }
            throw error
        }
    }

    /// Takes a bridge away that this call has made, unless another one has put a port into it meanwhile.
    func removeEmpty(_ bridge: LinkSocket.Link) {
        guard let links = try? host.links() else { return }
        if let end = links.first(where: { $0.name == owner.hostLink }) { _ = try? host.delete(end.index) }
        let ports = links.filter { $0.master == bridge.index && $0.name != owner.hostLink }
        guard ports.allSatisfy(isTunnel) else { return }
        removeTunnel()
        _ = try? host.delete(bridge.index)
    }

    private func makePort(
        of bridge: LinkSocket.Link, _ container: ContainerNamespace, _ addresses: [InterfaceAddress], _ mtu: Int?
    ) throws(CNIError) -> MadeLinks {
        let options = configuration.link
        var peer = try own(container, addresses)
        peer.mtu = mtu
        let other = peer
        try reporting { () throws(SystemError) in
            try host.addPair(
                LinkSocket.Wish(
                    name: owner.hostLink, kind: "veth", mtu: mtu, master: bridge.index, isUp: true, group: unnamedGroup),
                peer: other)
        }
        let end = try madeHere(owner.hostLink)
        try reporting { () throws(SystemError) in
            if options.hairpinMode { try host.setPort(end.index) { $0.attribute(4, 1 as UInt8) } }
            if let vlan = options.vlan {
                try host.portVLAN(end.index, vlan, adds: true)
                if !options.preserveDefaultVLAN, vlan != 1 { try host.portVLAN(end.index, 1, adds: false) }
            }
        }
        let container = try made(container)
        return MadeLinks(
            host: [
                .init(name: bridge.name, mac: HardwareAddress.text(bridge.hardware)),
                .init(name: end.name, mac: HardwareAddress.text(end.hardware)),
            ], container: container, hostEnd: end, bridge: bridge)
    }

    /// The bridge of the configuration, made when it is missing.
    private func findBridge(_ mtu: Int?) throws(CNIError) -> (link: LinkSocket.Link, isNew: Bool) {
        let options = configuration.link
        let seed = try bridgeSeed()
        var found = try reporting { () throws(SystemError) in try host.link(options.bridge) }
        var isNew = false
        if found == nil {
            isNew = try reporting { () throws(SystemError) in
                // A fixed address: one that follows the ports would change under the containers' neighbour entries.
                let hash = AttachmentOwner(containerID: seed, interface: "").key
                let hardware =
                    [0x02, 0x73, 0x6b, 1] + (0..<2).map { UInt8(truncatingIfNeeded: hash >> UInt128(8 * $0)) }
                var isNew = true
                do throws(SystemError) {
                    try host.add(
                        LinkSocket.Wish(
                            name: options.bridge, kind: "bridge", mtu: mtu, hardware: hardware, isUp: true))
                } catch {
                    // Another call has made it.
                    guard error.errno == EEXIST else { throw error }
                    isNew = false
                }
                try KernelSetting.write("ipv6/conf/\(options.bridge)/accept_ra", "0")
                return isNew
            }
            found = try reporting { () throws(SystemError) in try host.link(options.bridge) }
        }
        guard let bridge = found else { throw CNIError(.inputOutput, "the bridge \(options.bridge) has gone") }
        guard bridge.kind == "bridge" else {
            throw CNIError(
                .invalidConfiguration, "bridge: the network device \(options.bridge) exists and is no bridge")
        }
        try reporting { () throws(SystemError) in
            if !bridge.isUp { try host.setUp(bridge.index) }
            if options.promiscMode, !bridge.isPromiscuous { try host.setFlags(bridge.index, 0x100, mask: 0x100) }
        }
        guard options.vlan != nil else { return (bridge, isNew) }
        do throws(SystemError) { try host.setBridge(bridge.index) { $0.attribute(7, 1 as UInt8) } } catch {
            if isNew { removeEmpty(bridge) }
            guard error.errno == EOPNOTSUPP else { throw CNIError(.inputOutput, error.description) }
            throw CNIError(.invalidConfiguration, "vlan: the bridges of this kernel know no VLANs; leave it out")
        }
        return (bridge, isNew)
    }

    // MARK: routed, ptp

    private func makeRouted(_ container: ContainerNamespace, _ addresses: [InterfaceAddress]) throws(CNIError)
        -> MadeLinks
    {
        guard !addresses.isEmpty else {
            throw CNIError(.invalidConfiguration, "driver \(configuration.driver.rawValue): it needs an ipam")
        }
        let isOwn = configuration.driver.isRouted
        let peer = try own(container, addresses)
        // The container's end asks for the host's address from its first packet on: it is there before.
        try reporting { () throws(SystemError) in
            try host.addPair(
                LinkSocket.Wish(
                    name: owner.hostLink, kind: "veth", mtu: configuration.link.mtu,
                    hardware: isOwn ? Attachment.routedHardware : [], isUp: true, group: unnamedGroup), peer: peer)
        }
        // The container's end is down yet: nothing has come in by the link that the group's rules are about.
        let end = try madeHere(owner.hostLink, group: isOwn ? LinkGroup.routed : 0)
        let container = try made(container)
        return MadeLinks(
            host: [.init(name: end.name, mac: HardwareAddress.text(end.hardware))], container: container, hostEnd: end)
    }

    // MARK: macvlan, ipvlan, vlan

    private func makeSub(_ container: ContainerNamespace, _ addresses: [InterfaceAddress]) throws(CNIError) -> MadeLinks
    {
        let options = configuration.link
        let parent = try master()
        if let mtu = options.mtu, mtu > parent.mtu {
            throw CNIError(.invalidConfiguration, "mtu: \(mtu) is more than that of \(parent.name) (\(parent.mtu))")
        }
        var wish = try own(container, addresses)
        wish.kind = configuration.driver.rawValue
        wish.parent = parent.index
        switch configuration.driver {
        case .macvlan:
            let mode = LinkOptions.macvlanModes[options.mode] ?? 4
            wish.data = { $0.attribute(1, mode) }
        case .ipvlan:
            let mode = LinkOptions.ipvlanModes[options.mode] ?? 0
            wish.hardware = []
            wish.data = { $0.attribute(1, mode) }
        default:
            let number = UInt16(options.vlanID)
            wish.hardware = []
            wish.data = { $0.attribute(1, number) }
        }
        let finished = wish
        do throws(SystemError) { try host.add(finished) } catch {
            guard error.errno == EOPNOTSUPP else { throw CNIError(.inputOutput, error.description) }
            throw CNIError(
                .invalidConfiguration,
                "driver \(wish.kind): this kernel has no devices of that kind; take another driver")
        }
        return MadeLinks(host: [], container: try made(container))
    }

    /// The device below: the configured one, or that of the default route.
    private func master() throws(CNIError) -> LinkSocket.Link {
        if let name = configuration.link.master {
            guard let link = try reporting({ () throws(SystemError) in try host.link(name) }) else {
                throw CNIError(.invalidConfiguration, "master: there is no network device \(name)")
            }
            return link
        }
        let index = try reporting { () throws(SystemError) in
            try host.routes().first { $0.destination.length == 0 && $0.device != 0 }?.device
        }
        guard let index, let link = try reporting({ () throws(SystemError) in try host.link(index) }) else {
            throw CNIError(
                .invalidConfiguration, "master: it is missing, and there is no default route to take it from")
        }
        return link
    }
}
