package import IO
internal import Netlink

/// What a container engine that makes and fills its own namespaces asks of the kernel: links that it takes in, rules, ports.
///
/// Everything is done in the network namespace of the thread that made this object, and waits for the kernel. Each call is whole:
/// it has happened when it returns, and what is there already is well, so that a call may be made again after a crash.
package final class EngineNetwork: Sendable {
    let links: LinkSocket
    let rules: RuleSocket

    /// A link of this machine, as far as an owner of links looks at it.
    package struct Link: Hashable, Sendable {
        /// The name of the device.
        package var name: String
        /// `bridge`, `veth` …; empty for a device of the machine itself.
        package var kind: String
        /// The note that `alias` has put there.
        package var alias: String
        /// Bytes of its largest packet.
        package var mtu: Int
        /// The bridge whose port it is; empty for none.
        package var master = ""
        /// Of which maker it is while it has no alias yet.
        package var group: UInt32 = 0

        /// A link of that name and kind.
        package init(name: String, kind: String, alias: String, mtu: Int, master: String = "", group: UInt32 = 0) {
            self.name = name
            self.kind = kind
            self.alias = alias
            self.mtu = mtu
            self.master = master
            self.group = group
        }
    }

    /// The group of a maker's links between their first moment and their alias, by what its aliases begin with.
    package static func unnamedGroup(of owner: String) -> UInt32 { LinkGroup.unnamed(owner) }

    /// Opens it in the namespace of the calling thread.
    package init() throws(SystemError) {
        links = try LinkSocket()
        rules = try RuleSocket()
    }

    /// `02:73:0a:01:00:05`.
    package static func text(hardware: [UInt8]) -> String { HardwareAddress.text(hardware) }

    // MARK: What is there

    /// All links.
    package func allLinks() throws(SystemError) -> [Link] {
        let all = try links.links()
        let names = Dictionary(all.map { ($0.index, $0.name) }, uniquingKeysWith: { first, _ in first })
        return all.map { link in
            var result = Self.link(link)
            result.master = names[link.master] ?? ""
            return result
        }
    }

    /// The link of that name; nil when there is none.
    package func link(_ name: String) throws(SystemError) -> Link? { try links.link(name).map(Self.link) }

    private static func link(_ link: LinkSocket.Link) -> Link {
        Link(name: link.name, kind: link.kind, alias: link.alias, mtu: link.mtu, group: link.group)
    }

    /// The networks in which this machine has an address, with the device.
    package func connectedPrefixes() throws(SystemError) -> [(prefix: Prefix, device: String)] {
        let names = Dictionary(try links.links().map { ($0.index, $0.name) }, uniquingKeysWith: { first, _ in first })
        return try links.addresses().compactMap { entry in
            entry.address.network.map { ($0, names[entry.device] ?? "") }
        }
    }

    /// The networks to which routes lead, without the default route.
    package func routedPrefixes() throws(SystemError) -> [Prefix] {
        try links.routes().map(\.destination).filter { $0.length > 0 }
    }

    // MARK: Links

    /// A bridge, up, with those addresses.
    ///
    /// EEXIST when a device of that name is there that does not bear `alias`.
    ///
    /// - Parameter isApart: whether the pods of this machine's node agent do not reach it.
    package func makeBridge(
        _ name: String, mtu: Int?, alias: String, addresses: [InterfaceAddress], isApart: Bool = false
    ) throws(SystemError) {
        var found = try links.link(name)
        if let found, found.alias != alias { throw SystemError(17, "make bridge \(name)") }
        if found == nil {
            // A fixed address: one that follows the ports would change under the containers' neighbour entries.
            let hash = AttachmentOwner(containerID: name, interface: "").key
            let hardware = [0x02, 0x73, 0x6b, 1] + (0..<2).map { UInt8(truncatingIfNeeded: hash >> UInt128(8 * $0)) }
            try links.add(
                LinkSocket.Wish(
                    name: name, kind: "bridge", mtu: mtu, hardware: hardware, group: isApart ? LinkGroup.apart : nil))
            found = try links.link(name)
        }
        guard let found else { throw SystemError(19, "make bridge \(name)") }  // ENODEV
        if found.alias.isEmpty { try links.setAlias(found.index, alias) }
        if addresses.contains(where: \.address.isV6) {
            try KernelSetting.write("ipv6/conf/\(name)/disable_ipv6", "0")
            try KernelSetting.write("ipv6/conf/\(name)/accept_ra", "0")
        }
        for address in addresses { try links.addAddress(address, to: found.index) }
        try links.setUp(found.index)
    }

    /// A pair of virtual Ethernet devices: one end is a port of the bridge and up, the other waits for the engine to take it.
    ///
    /// One of that name from an earlier try is replaced.
    package func makePair(
        _ name: String, peer: String, bridge: String, mtu: Int?, hardware: [UInt8], alias: String, isIsolated: Bool
    ) throws(SystemError) {
        guard let bridge = try links.link(bridge) else { throw SystemError(19, "find bridge \(bridge)") }
        for name in [name, peer] { try delete(name) }
        try links.addPair(
            LinkSocket.Wish(name: name, kind: "veth", mtu: mtu, master: bridge.index, isUp: true),
            peer: LinkSocket.Wish(name: peer, kind: "", mtu: mtu, hardware: hardware))
        guard let end = try links.link(name) else { throw SystemError(19, "make link \(name)") }
        try links.setAlias(end.index, alias)
        // A container may speak to itself by a published port (N-13).
        try links.setPort(end.index) { port in
            port.attribute(4, 1 as UInt8)  // IFLA_BRPORT_MODE: hairpin
            if isIsolated { port.attribute(33, 1 as UInt8) }  // IFLA_BRPORT_ISOLATED
        }
    }

    /// A macvlan on a device of this machine, which waits for the engine to take it.
    ///
    /// - Parameters:
    ///   - mode: `bridge`, `private`, `vepa` or `passthru`.
    ///   - owner: what its maker's aliases begin with; by `unnamedGroup` it knows what a call that was ended has left.
    package func makeMacvlan(
        _ name: String, parent: String, mode: String, mtu: Int?, hardware: [UInt8], alias: String, owner: String
    ) throws(SystemError) {
        guard let parent = try links.link(parent) else { throw SystemError(19, "find device \(parent)") }
        guard let number = LinkOptions.macvlanModes[mode] else { throw SystemError(22, "mode \(mode)") }  // EINVAL
        try delete(name)
        var wish = LinkSocket.Wish(
            name: name, kind: "macvlan", mtu: mtu, hardware: hardware, parent: parent.index,
            group: LinkGroup.unnamed(owner))
        wish.data = { $0.attribute(1, number) }
        try links.add(wish)
        guard let link = try links.link(name) else { throw SystemError(19, "make link \(name)") }
        try links.setAlias(link.index, alias, group: 0)
    }

    /// Deletes a link, and with one end of a pair the other.
    package func delete(_ name: String) throws(SystemError) {
        guard let link = try links.link(name) else { return }
        try links.delete(link.index)
    }

    /// Lets this machine forward packets of a family.
    package func forward(isV6: Bool) throws(SystemError) {
        try KernelSetting.write(isV6 ? "ipv6/conf/all/forwarding" : "ipv4/ip_forward", "1")
    }

    /// Lets this machine forward what comes from a device, and from no other by this.
    package func forward(from device: String) throws(SystemError) {
        try KernelSetting.write("ipv4/conf/\(device)/forwarding", "1")
    }

    // MARK: Rules

    /// What becomes of a container's packets beyond its network.
    package enum Purpose: Hashable, Sendable, CaseIterable {
        /// What leaves the network gets an address of this machine.
        case masquerade
        /// Containers of other networks are kept out; published ports stay reachable.
        case isolation
        /// Nothing is forwarded beyond the network, neither out nor in.
        case enclosure
        /// Containers on bridges of others are kept out; published ports stay reachable.
        case seclusion

        var table: RuleTable {
            switch self {
            case .masquerade: .masquerade
            case .isolation: .isolation
            case .enclosure: .enclosure
            case .seclusion: .seclusion
            }
        }
    }

    /// A container's address, with the network it belongs to.
    package struct Member: Hashable, Sendable {
        /// The address.
        package var address: IPAddress
        /// The subnet that holds it.
        package var network: Prefix
        /// Further subnets of the same network.
        package var others: [Prefix]

        /// The address in a subnet of the network.
        package init(_ address: IPAddress, in network: Prefix, others: [Prefix] = []) {
            self.address = address
            self.network = network
            self.others = others
        }

        /// What stands for it in the sets of one purpose.
        func elements(note: String) -> [RuleElement] {
            ([network] + others).enumerated().flatMap { number, network in
                let both = ContainerElements.member(interface, network: network, note: note)
                return number == 0 ? both : both.filter { $0.keyEnd != nil }
            }
        }

        var interface: InterfaceAddress { InterfaceAddress(address, length: network.length) }
    }

    /// Adds the rules of a container; EEXIST when somebody else's are there for its address.
    package func add(_ member: Member, to purpose: Purpose, note: String) throws(SystemError) {
        try addAnew(member.elements(note: note), to: purpose.table)
    }

    /// Takes the rules of a container away.
    package func remove(_ member: Member, from purpose: Purpose) throws(SystemError) {
        try rules.remove(
            member.elements(note: ""), from: purpose.table)
    }

    /// Leads ports of this machine to a container, also from its loopback and from the container's own network.
    ///
    /// EEXIST when one of them leads elsewhere already.
    package func publish(
        _ ports: [PublishedPort], to member: Member, device: String, note: String
    ) throws(SystemError) {
        var elements = Self.elements(ports, member, note)
        guard !elements.isEmpty else { return }
        let hasLoopback = !member.address.isV6
        if hasLoopback {
            elements.append(RuleElement(set: "loopback", key: Attachment.key(device), note: "", isShared: true))
        }
        try addAnew(elements, to: .ports)
        // The rules that guard the loopback are there: now it may be routed.
        if hasLoopback { try KernelSetting.write("ipv4/conf/\(device)/route_localnet", "1") }
        // Clients whose datagrams went to the host itself are led anew (N-15).
        try DatagramFlows.forget(to: Set(ports.filter { $0.transport == 17 }.map(\.hostPort)))
    }

    /// Takes published ports away.
    package func withdraw(_ ports: [PublishedPort], from member: Member) throws(SystemError) {
        try rules.remove(Self.elements(ports, member, ""), from: .ports)
        guard ports.contains(where: { $0.transport == 17 }) else { return }
        try DatagramFlows.forget(answeredBy: [member.address])
    }

    /// Forgets that a device's loopback packets are guarded, when the device has gone.
    package func forgetLoopback(of device: String) throws(SystemError) {
        try rules.remove([RuleElement(set: "loopback", key: Attachment.key(device), note: "")], from: .ports)
    }

    /// Removes the rules whose note begins so and meets no other condition; how many that were.
    package func collectRules(notePrefix: String, keeping valid: Set<String>) throws(SystemError) -> Int {
        var count = 0
        for table in RuleTable.all {
            count += try collectRules(in: table) { $0.hasPrefix(notePrefix) && !valid.contains($0) }
        }
        return count
    }

    /// Removes the rules of a table whose note meets a condition; how many that were.
    func collectRules(in table: RuleTable, where isLost: (String) -> Bool) throws(SystemError) -> Int {
        var count = 0
        for set in table.sets {
            let lost = try rules.elements(of: set.name, in: table).filter { isLost($0.note) }
            try rules.remove(lost, from: table)
            count += lost.count
        }
        return count
    }

    /// Adds elements; our own of an earlier try are replaced, a stranger's are an error.
    private func addAnew(_ elements: [RuleElement], to table: RuleTable) throws(SystemError) {
        do throws(SystemError) { try rules.add(elements, to: table) } catch {
            guard error.errno == 17, let note = elements.first?.note else { throw error }
            for name in Set(elements.filter { !$0.isShared }.map(\.set)) {
                let mine = try rules.elements(of: name, in: table).filter { $0.note == note }
                try rules.remove(
                    mine.filter { old in elements.contains { $0.set == old.set && $0.key == old.key } }, from: table)
            }
            try rules.add(elements, to: table)
        }
    }

    private static func elements(_ ports: [PublishedPort], _ member: Member, _ note: String) -> [RuleElement] {
        let mappings = ports.map {
            PortMapping(
                hostPort: $0.hostPort, containerPort: $0.containerPort, transport: $0.transport,
                hostAddress: $0.hostAddress)
        }
        return ContainerElements.ports(
            mappings, member.interface, network: member.network, mapsSource: true, note: note)
    }
}

/// A port of this machine that leads to a container.
package struct PublishedPort: Hashable, Sendable {
    /// The port of this machine.
    package var hostPort: UInt16
    /// The port of the container.
    package var containerPort: UInt16
    /// IPPROTO_TCP 6, IPPROTO_UDP 17, IPPROTO_SCTP 132.
    package var transport: UInt8
    /// Only connections to this address of the machine; nil is every one.
    package var hostAddress: IPAddress?

    /// A port of this machine, and where it leads.
    package init(hostPort: UInt16, containerPort: UInt16, transport: UInt8, hostAddress: IPAddress? = nil) {
        self.hostPort = hostPort
        self.containerPort = containerPort
        self.transport = transport
        self.hostAddress = hostAddress
    }
}
