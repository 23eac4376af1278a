package import IO
internal import Netlink

/// A VXLAN device (RFC 7348) by which bridges of several machines are one network.
extension EngineNetwork {
    /// Where frames for the other machines go.
    package struct Tunnel: Hashable, Sendable {
        /// The network's number, the same on all of its machines: 1 to 16777215.
        package var identifier: UInt32
        /// The UDP port, the same on all of its machines.
        package var port: UInt16
        /// The address of this machine from which the packets come; nil: whichever leads to the other.
        package var own: IPAddress?
        /// The machines, all of one family; those that are this machine are passed over.
        package var peers: [IPAddress]

        /// A tunnel of that number to those machines.
        package init(identifier: UInt32, port: UInt16, own: IPAddress?, peers: [IPAddress]) {
            self.identifier = identifier
            self.port = port
            self.own = own
            self.peers = peers
        }

        /// Whether the packets between the machines are IPv6.
        package var isV6: Bool { peers.first?.isV6 ?? false }

        /// Bytes that it adds to a packet: Ethernet 14, VXLAN 8, UDP 8, and IP 20 or 40 (N-14).
        package var overhead: Int { 14 + 8 + 8 + (isV6 ? 40 : 20) }

        /// What says that only its machines may send into it.
        func elements(_ peers: [IPAddress], note: String) -> [RuleElement] {
            // What is there of an earlier start stays: at no moment is the tunnel open.
            [RuleElement(set: isV6 ? "tunnels6" : "tunnels4", key: place, note: note, isShared: true)]
                + peerElements(peers, note: note)
        }

        /// What says that these machines may.
        func peerElements(_ peers: [IPAddress], note: String) -> [RuleElement] {
            let (set, place) = (isV6 ? "peers6" : "peers4", place)
            return peers.map { RuleElement(set: set, key: place + $0.bytes, note: note, isShared: true) }
        }

        /// Its number and its port as rules see them, four bytes each.
        var place: [UInt8] {
            withUnsafeBytes(of: (identifier << 8).bigEndian) { [UInt8]($0) }
                + withUnsafeBytes(of: port.bigEndian) { [UInt8]($0) } + [0, 0]
        }
    }

    /// A tunnel that is a port of a bridge, and up; one of that name and alias is brought up to date.
    ///
    /// Frames whose hardware address is known go to its machine, all others to every machine; nobody else's frames come in.
    /// EEXIST when a device of that name, or another tunnel of that number and port, is there.
    ///
    /// - Parameter isIsolated: the containers of the network do not reach each other, across machines neither.
    package func makeTunnel(
        _ name: String, _ tunnel: Tunnel, bridge: String, mtu: Int?, alias: String, isIsolated: Bool
    ) throws(SystemError) {
        guard let bridge = try links.link(bridge) else { throw SystemError(19, "find bridge \(bridge)") }
        let mine = Set(try links.addresses().map(\.address.address))
        let peers = tunnel.peers.filter { !mine.contains($0) }
        var found = try links.link(name)
        // A device without an alias is of a call that was ended between its two steps.
        if let found, found.kind != "vxlan" || found.alias != alias && !found.alias.isEmpty {
            throw SystemError(17, "make tunnel \(name)")
        }
        // The rules stand before the device: nothing comes in that they would stop.
        try rules.add(tunnel.elements(peers, note: alias), to: .tunnels)
        if found == nil {
            var wish = LinkSocket.Wish(name: name, kind: "vxlan", mtu: mtu, master: bridge.index)
            wish.data = { data in
                data.attribute(1, tunnel.identifier)  // IFLA_VXLAN_ID
                let nowhere = [UInt8](repeating: 0, count: tunnel.isV6 ? 16 : 4)
                data.attribute(tunnel.isV6 ? 17 : 4, tunnel.own?.bytes ?? nowhere)  // IFLA_VXLAN_LOCAL6, _LOCAL
                data.attribute(7, 1 as UInt8)  // IFLA_VXLAN_LEARNING
                data.attribute(15, bigEndian: tunnel.port)  // IFLA_VXLAN_PORT
            }
            do throws(SystemError) { try links.add(wish) } catch {
                _ = try? collectRules(in: .tunnels) { $0 == alias }
                throw error
            }
            found = try links.link(name)
        }
        guard let found else { throw SystemError(19, "make tunnel \(name)") }
        if found.alias.isEmpty { try links.setAlias(found.index, alias) }
        for peer in peers { try links.addForwarding(to: peer, device: found.index) }
        try forgetPeers(of: tunnel, device: found.index, but: peers, alias: alias)
        if isIsolated { try links.setPort(found.index) { $0.attribute(33, 1 as UInt8) } }  // IFLA_BRPORT_ISOLATED
        try links.setUp(found.index)
    }

    /// Nothing goes any more to machines that the list does not name, and nothing comes in from them; a tunnel that is gone is well.
    package func forgetPeers(_ name: String, _ tunnel: Tunnel, alias: String) throws(SystemError) {
        guard let link = try links.link(name), link.kind == "vxlan", link.alias == alias else { return }
        let mine = Set(try links.addresses().map(\.address.address))
        try forgetPeers(of: tunnel, device: link.index, but: tunnel.peers.filter { !mine.contains($0) }, alias: alias)
    }

    /// What is written down of the machines that were told earlier is the rule that lets them in: it goes last.
    private func forgetPeers(
        of tunnel: Tunnel, device: Int32, but peers: [IPAddress], alias: String
    ) throws(SystemError) {
        let (place, wanted) = (tunnel.place, Set(tunnel.peerElements(peers, note: alias).map(\.key)))
        let stale = try rules.elements(of: tunnel.isV6 ? "peers6" : "peers4", in: .tunnels).filter {
            $0.note == alias && $0.key.starts(with: place) && !wanted.contains($0.key)
        }
        for element in stale {
            guard let machine = IPAddress(bytes: element.key.dropFirst(place.count)) else { continue }
            try links.removeForwarding(to: machine, device: device)
        }
        try rules.remove(stale, from: .tunnels)
    }

    /// Takes a tunnel away, and who may send into it; one that is gone is well.
    package func deleteTunnel(_ name: String, _ tunnel: Tunnel, alias: String) throws(SystemError) {
        if let link = try links.link(name), link.alias == alias || link.alias.isEmpty { try links.delete(link.index) }
        _ = try collectRules(in: .tunnels) { $0 == alias }
    }
}
