internal import Glibc
internal import IO
internal import Netlink

/// Links, addresses, routes and bridge ports of one network namespace, as far as a plugin makes them.
///
/// Numbers without a name are those of <linux/rtnetlink.h>, <linux/if_link.h> and <linux/if_bridge.h>.
final class LinkSocket: Sendable {
    struct Link: Hashable, Sendable {
        var index: Int32
        var name: String
        var kind: String
        var flags: UInt32
        var mtu: Int
        var hardware: [UInt8]
        var master: Int32
        var alias: String
        var group: UInt32 = 0

        var isUp: Bool { flags & 1 != 0 }  // IFF_UP
        var isPromiscuous: Bool { flags & 0x100 != 0 }  // IFF_PROMISC
    }

    /// Marks our routes (rtm_protocol).
    static let origin: UInt8 = 0x54

    let channel: NetlinkChannel

    /// Opens it in the namespace of the calling thread; `watching` also hears of links that come and go.
    init(watching: Bool = false) throws(SystemError) {
        channel = try NetlinkChannel(NetlinkChannel.route, groups: watching ? [1] : [])  // RTNLGRP_LINK
    }

    // MARK: Links

    private static func message(_ type: UInt16, _ flags: UInt16, index: Int32 = 0, set: UInt32 = 0, mask: UInt32 = 0)
        -> NetlinkMessage
    {
        var message = NetlinkMessage(type: type, flags: flags)
        message.append(UInt32(0))  // ifi_family, ifi_type
        message.append(index)
        message.append(set)
        message.append(mask)
        return message
    }

    /// The message that deletes a link.
    static func deletion(_ index: Int32) -> NetlinkMessage { message(17, NetlinkChannel.change, index: index) }

    func link(_ name: String) throws(SystemError) -> Link? {
        var message = LinkSocket.message(18, NetlinkChannel.change)
        message.attribute(3, name)  // IFLA_IFNAME
        return try link(message, "look for link \(name)")
    }

    func link(_ index: Int32) throws(SystemError) -> Link? {
        try link(LinkSocket.message(18, NetlinkChannel.change, index: index), "look for link \(index)")
    }

    private func link(_ message: NetlinkMessage, _ operation: String) throws(SystemError) -> Link? {
        do throws(SystemError) { return try channel.exchange(message, operation).first.map(LinkSocket.link) } catch {
            if error.errno == ENODEV { return nil }
            throw error
        }
    }

    func links() throws(SystemError) -> [Link] {
        try channel.exchange(LinkSocket.message(18, NetlinkChannel.dump), "list links").map(LinkSocket.link)
    }

    static func link(_ reply: NetlinkReply) -> Link {
        let attributes = reply.attributes(after: 16)
        let info = NetlinkReply.attributes(attributes[18] ?? [])  // IFLA_LINKINFO
        return Link(
            index: reply.payload.number(4, as: Int32.self), name: attributes[3]?.text ?? "",
            kind: info[1]?.text ?? "", flags: reply.payload.number(8, as: UInt32.self),
            mtu: Int(attributes[4]?.number(0, as: UInt32.self) ?? 0), hardware: Array(attributes[1] ?? []),
            master: attributes[10]?.number(0, as: Int32.self) ?? 0, alias: attributes[20]?.text ?? "",
            group: attributes[27]?.number(0, as: UInt32.self) ?? 0)
    }

    /// What a new link is like.
    struct Wish {
        var name: String
        var kind: String
        var mtu: Int?
        var hardware: [UInt8] = []
        var master: Int32?
        /// The device below: macvlan, ipvlan, vlan.
        var parent: Int32?
        /// Where it begins its life.
        var namespace: Int32?
        var isUp = false
        var group: UInt32?
        /// Fills IFLA_INFO_DATA.
        var data: ((inout NetlinkMessage) -> Void)?
    }

    /// Makes a link; EEXIST when the name is taken.
    func add(_ wish: Wish) throws(SystemError) {
        var message = LinkSocket.message(
            16, NetlinkChannel.make, set: wish.isUp ? 1 : 0, mask: wish.isUp ? 1 : 0)
        LinkSocket.fill(&message, wish)
        try channel.request(message, "make \(wish.kind) \(wish.name)")
    }

    /// Makes a pair of virtual Ethernet devices.
    func addPair(_ here: Wish, peer: Wish) throws(SystemError) {
        var here = here
        here.data = { data in
            data.nested(1) { other in  // VETH_INFO_PEER
                // A peer cannot be brought up before its other end exists.
                for _ in 0..<4 { other.append(UInt32(0)) }
                LinkSocket.fill(&other, peer)
            }
        }
        try add(here)
    }

    private static func fill(_ message: inout NetlinkMessage, _ wish: Wish) {
        message.attribute(3, wish.name)
        if let mtu = wish.mtu { message.attribute(4, UInt32(mtu)) }
        if !wish.hardware.isEmpty { message.attribute(1, wish.hardware) }
        if let parent = wish.parent { message.attribute(5, UInt32(bitPattern: parent)) }
        if let master = wish.master { message.attribute(10, UInt32(bitPattern: master)) }
        if let namespace = wish.namespace { message.attribute(28, UInt32(bitPattern: namespace)) }  // IFLA_NET_NS_FD
        if let group = wish.group { message.attribute(27, group) }
        guard !wish.kind.isEmpty else { return }
        message.nested(18) { info in
            info.attribute(1, wish.kind)
            if let data = wish.data { info.nested(2) { data(&$0) } }
        }
    }

    /// Brings a link up or down, or changes flags of it.
    func setFlags(_ index: Int32, _ set: UInt32, mask: UInt32) throws(SystemError) {
        try channel.request(
            LinkSocket.message(19, NetlinkChannel.change, index: index, set: set, mask: mask), "set up link \(index)")
    }

    func setUp(_ index: Int32) throws(SystemError) { try setFlags(index, 1, mask: 1) }

    /// Moves a link into another namespace, where it gets another name.
    func move(_ index: Int32, to namespace: Int32, name: String) throws(SystemError) {
        var message = LinkSocket.message(19, NetlinkChannel.change, index: index)
        message.attribute(28, UInt32(bitPattern: namespace))  // IFLA_NET_NS_FD
        message.attribute(3, name)
        try channel.request(message, "move link \(index) to \(name)")
    }

    func setMTU(_ index: Int32, _ mtu: Int) throws(SystemError) {
        var message = LinkSocket.message(19, NetlinkChannel.change, index: index)
        message.attribute(4, UInt32(mtu))
        try channel.request(message, "set the MTU of link \(index)")
    }

    /// Gives a link a note for people and for GC, which a new link cannot be given, and with it the group that it stays in.
    func setAlias(_ index: Int32, _ alias: String, group: UInt32? = nil) throws(SystemError) {
        var message = LinkSocket.message(19, NetlinkChannel.change, index: index)
        if let group { message.attribute(27, group) }
        message.attribute(20, Array(alias.utf8.prefix(255)))
        try channel.request(message, "name link \(index)")
    }

    /// Changes attributes of a bridge.
    func setBridge(_ index: Int32, _ data: (inout NetlinkMessage) -> Void) throws(SystemError) {
        var message = LinkSocket.message(16, NetlinkChannel.change, index: index)
        message.nested(18) { info in
            info.attribute(1, "bridge")
            info.nested(2, data)
        }
        try channel.request(message, "change bridge \(index)")
    }

    /// Changes attributes of a bridge's port.
    func setPort(_ index: Int32, _ data: (inout NetlinkMessage) -> Void) throws(SystemError) {
        var message = LinkSocket.message(16, NetlinkChannel.change, index: index)
        message.nested(18) { info in
            info.attribute(4, "bridge")  // IFLA_INFO_SLAVE_KIND
            info.nested(5, data)  // IFLA_INFO_SLAVE_DATA
        }
        try channel.request(message, "change bridge port \(index)")
    }

    /// Adds a VLAN to a bridge's port, as the one of its untagged frames, or takes one away.
    func portVLAN(_ index: Int32, _ vlan: Int, adds: Bool) throws(SystemError) {
        var message = NetlinkMessage(type: adds ? 19 : 17, flags: NetlinkChannel.change)
        message.append(UInt32(7))  // AF_BRIDGE
        message.append(index)
        message.append(UInt32(0))
        message.append(UInt32(0))
        message.nested(26) { spec in  // IFLA_AF_SPEC
            // IFLA_BRIDGE_VLAN_INFO: flags PVID 2 and UNTAGGED 4, number.
            spec.attribute(2, UInt32(adds ? 6 : 0) | UInt32(vlan) << 16)
        }
        try channel.request(message, "\(adds ? "add" : "remove") VLAN \(vlan) of bridge port \(index)")
    }

    /// Deletes a link and waits for the end of it.
    ///
    /// Returns whether there was one.
    @discardableResult
    func delete(_ index: Int32) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try channel.request(LinkSocket.deletion(index), "delete link \(index)")
            return true
        } catch {
            if error.errno == ENODEV { return false }
            throw error
        }
    }

    /// Sends frames of unknown hardware addresses, and those for everybody, to another machine, too; one that is told already is well.
    func addForwarding(to machine: IPAddress, device: Int32) throws(SystemError) {
        // NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND
        var message = NetlinkMessage(type: 28, flags: 0xc05)
        message.append(UInt32(7))  // AF_BRIDGE
        message.append(device)
        message.append(UInt16(0x80))  // NUD_PERMANENT
        message.append(UInt8(2))  // NTF_SELF: of the device, not of its bridge
        message.append(UInt8(0))
        message.attribute(2, [UInt8](repeating: 0, count: 6))
        message.attribute(1, machine.bytes)
        do throws(SystemError) { try channel.request(message, "send frames to \(machine)") } catch {
            guard error.errno == EEXIST else { throw error }
        }
    }

    /// Sends no frames to a machine any more: neither those for everybody nor those for what was heard from there.
    ///
    /// What others have told the device for ever about single hardware addresses stays.
    func removeForwarding(to machine: IPAddress, device: Int32) throws(SystemError) {
        // ndmsg: AF_BRIDGE, any device
        var list = NetlinkMessage(type: 30, flags: NetlinkChannel.dump)
        for number in [7, 0, 0] as [UInt32] { list.append(number) }
        for reply in try channel.exchange(list, "list forwarding entries") {
            let attributes = reply.attributes(after: 12)
            let hardware = Array(attributes[2] ?? [])
            // NUD_PERMANENT 0x80, NUD_NOARP 0x40: told and not learned.
            let isLearned = reply.payload.number(8, as: UInt16.self) & 0xc0 == 0
            guard reply.payload.number(4, as: Int32.self) == device, hardware.count == 6,
                (attributes[1]).flatMap({ IPAddress(bytes: $0) }) == machine,
                isLearned || hardware.allSatisfy({ $0 == 0 })
            else { continue }
            var message = NetlinkMessage(type: 29, flags: NetlinkChannel.change)
            message.append(UInt32(7))  // AF_BRIDGE
            message.append(device)
            message.append(UInt16(0))
            message.append(UInt8(2))  // NTF_SELF
            message.append(UInt8(0))
            message.attribute(2, hardware)
            message.attribute(1, machine.bytes)
            do throws(SystemError) { try channel.request(message, "send no frames to \(machine)") } catch {
                guard error.errno == ENOENT else { throw error }
            }
        }
    }

    // MARK: Addresses

    private static func family(_ address: IPAddress) -> UInt8 { UInt8(address.isV6 ? AF_INET6 : AF_INET) }

    /// Adds an address; one that is there already is well.
    func addAddress(
        _ address: InterfaceAddress, to index: Int32, hasRoute: Bool = true, looksForDuplicate: Bool = false
    ) throws(SystemError) {
        var message = NetlinkMessage(type: 20, flags: NetlinkChannel.replace)
        message.append(LinkSocket.family(address.address))
        message.append(UInt8(address.length))
        message.append(UInt16(0))
        message.append(index)
        message.attribute(2, address.address.bytes)  // IFA_LOCAL
        message.attribute(1, address.address.bytes)  // IFA_ADDRESS
        if let network = address.network, !address.address.isV6, address.length < 31 {
            message.attribute(4, network.last.bytes)  // IFA_BROADCAST
        }
        // IFA_FLAGS: NODAD 2 (looking for a duplicate costs a second, and the pool knows better), NOPREFIXROUTE 0x200.
        message.attribute(
            8, UInt32(address.address.isV6 && !looksForDuplicate ? 2 : 0) | UInt32(hasRoute ? 0 : 0x200))
        try channel.request(message, "add address \(address)")
    }

    func deleteAddress(_ address: InterfaceAddress, from index: Int32) throws(SystemError) {
        var message = NetlinkMessage(type: 21, flags: NetlinkChannel.change)
        message.append(LinkSocket.family(address.address))
        message.append(UInt8(address.length))
        message.append(UInt16(0))
        message.append(index)
        message.attribute(2, address.address.bytes)
        try channel.request(message, "delete address \(address)")
    }

    /// All addresses of both families.
    func addresses() throws(SystemError) -> [(device: Int32, address: InterfaceAddress)] {
        var message = NetlinkMessage(type: 22, flags: NetlinkChannel.dump)
        message.append(UInt64(0))
        return try channel.exchange(message, "list addresses").compactMap { reply in
            let attributes = reply.attributes(after: 8)
            guard let address = IPAddress(bytes: attributes[2] ?? attributes[1] ?? []) else { return nil }
            let length = Int(reply.payload.number(1, as: UInt8.self))
            return (reply.payload.number(4, as: Int32.self), InterfaceAddress(address, length: length))
        }
    }

    // MARK: Routes

    struct Route: Hashable, Sendable {
        var destination: Prefix
        var gateway: IPAddress?
        var source: IPAddress?
        var device: Int32
        /// Whether the gateway is reached over the device although no address of it says so.
        var isOnLink = false
        var mtu: Int?
        var advertisedMSS: Int?
        var priority: Int?
        var table: Int?
        var scope: Int?
    }

    /// Adds a route, in place of one to the same destination.
    func add(_ route: Route) throws(SystemError) {
        try channel.request(
            LinkSocket.message(24, NetlinkChannel.replace, route), "add route to \(route.destination)")
    }

    /// Removes a route of ours; one that is gone is well.
    func deleteRoute(to destination: Prefix, via gateway: IPAddress) throws(SystemError) {
        let route = Route(destination: destination, gateway: gateway, device: 0)
        do throws(SystemError) {
            try channel.request(
                LinkSocket.message(25, NetlinkChannel.change, route), "delete route to \(destination)")
        } catch {
            guard error.errno == ESRCH else { throw error }
        }
    }

    private static func message(_ type: UInt16, _ flags: UInt16, _ route: Route) -> NetlinkMessage {
        let isV6 = route.destination.address.isV6
        var message = NetlinkMessage(type: type, flags: flags)
        message.append(UInt8(isV6 ? AF_INET6 : AF_INET))
        message.append(UInt8(route.destination.length))
        message.append(UInt16(0))  // source length, type of service
        let table = route.table ?? 254
        message.append(UInt8(table < 256 ? table : 0))
        message.append(origin)
        // RT_SCOPE_LINK 253 for what is on the link; IPv6 knows no scopes.
        message.append(UInt8(route.scope ?? (route.gateway == nil && !isV6 ? 253 : 0)))
        message.append(UInt8(1))  // RTN_UNICAST
        message.append(UInt32(route.isOnLink ? 4 : 0))  // RTNH_F_ONLINK
        if route.destination.length > 0 { message.attribute(1, route.destination.address.bytes) }
        if let gateway = route.gateway { message.attribute(5, gateway.bytes) }
        if let source = route.source { message.attribute(7, source.bytes) }
        if route.device != 0 { message.attribute(4, UInt32(bitPattern: route.device)) }
        if let priority = route.priority { message.attribute(6, UInt32(truncatingIfNeeded: priority)) }
        if table > 255 { message.attribute(15, UInt32(truncatingIfNeeded: table)) }
        if route.mtu != nil || route.advertisedMSS != nil {
            message.nested(8) { metrics in  // RTA_METRICS
                if let mtu = route.mtu { metrics.attribute(2, UInt32(mtu)) }
                if let mss = route.advertisedMSS { metrics.attribute(8, UInt32(mss)) }
            }
        }
        return message
    }

    /// The routes of the main table.
    func routes() throws(SystemError) -> [Route] {
        var result: [Route] = []
        for family in [UInt32(AF_INET), UInt32(AF_INET6)] {
            var message = NetlinkMessage(type: 26, flags: NetlinkChannel.dump)
            message.append(family)
            message.append(UInt64(0))
            for reply in try channel.exchange(message, "list routes") {
                let attributes = reply.attributes(after: 12)
                let table = attributes[15].map { Int($0.number(0, as: UInt32.self)) }
                guard (table ?? Int(reply.payload.number(4, as: UInt8.self))) == 254 else { continue }
                let zero = IPAddress(bytes: [UInt8](repeating: 0, count: family == UInt32(AF_INET) ? 4 : 16))
                let length = Int(reply.payload.number(1, as: UInt8.self))
                guard let address = attributes[1].flatMap({ IPAddress(bytes: $0) }) ?? zero,
                    let destination = Prefix(address, length: length)
                else { continue }
                result.append(
                    Route(
                        destination: destination, gateway: attributes[5].flatMap { IPAddress(bytes: $0) },
                        device: attributes[4]?.number(0, as: Int32.self) ?? 0,
                        priority: attributes[6].map { Int($0.number(0, as: UInt32.self)) }))
            }
        }
        return result
    }

    /// Says for ever which hardware address has an IP address.
    func addNeighbour(_ address: IPAddress, hardware: [UInt8], device: Int32) throws(SystemError) {
        var message = NetlinkMessage(type: 28, flags: NetlinkChannel.replace)
        message.append(UInt32(LinkSocket.family(address)))
        message.append(device)
        message.append(UInt16(0x80))  // NUD_PERMANENT
        message.append(UInt16(0))
        message.attribute(1, address.bytes)
        message.attribute(2, hardware)
        try channel.request(message, "add neighbour \(address)")
    }
}
