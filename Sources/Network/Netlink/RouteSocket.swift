internal import CNetlink
internal import Glibc
internal import IO
internal import Netlink

/// Links, addresses, routes and neighbours of one network namespace.
///
/// Everything we make carries a mark by which it is found again: links a group, routes a protocol number.
final class RouteSocket: Sendable {
    struct Link {
        var index: Int32
        var name: String
        var mtu: Int
        var group: Int
        var isUp: Bool
        var alias: String
        var kind: String
    }

    struct Route {
        /// `nil` is the default route.
        var destination: Prefix?
        var gateway: IPAddress?
        var device: Int32
        var table: Int
        var type: Int
        var origin: Int
        var isV6: Bool
    }

    struct Address {
        var device: Int32
        var address: IPAddress
        var length: Int
    }

    /// Marks our routes (rtm_protocol); the numbers from 5 to 255 are free for routing programs.
    static let origin: UInt8 = 0x53

    let socket: NetlinkSocket

    /// Opens it in the namespace of the calling thread.
    init() throws(NetworkError) { socket = try NetlinkSocket() }

    private static let make = UInt16(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    private static let replace = UInt16(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
    private static let change = UInt16(NLM_F_REQUEST | NLM_F_ACK)
    private static let dump = UInt16(NLM_F_REQUEST | NLM_F_DUMP)

    private static func linkHeader(index: Int32 = 0, up: Bool = false) -> ifinfomsg {
        var header = ifinfomsg()
        header.ifi_family = UInt8(AF_UNSPEC)
        header.ifi_index = index
        if up {
            header.ifi_flags = UInt32(IFF_UP)
            header.ifi_change = UInt32(IFF_UP)
        }
        return header
    }

    // MARK: Links

    /// Makes a bridge without ports, up.
    func addBridge(_ name: String, mtu: Int, group: Int) throws(NetworkError) {
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: RouteSocket.make)
        message.append(RouteSocket.linkHeader(up: true))
        message.attribute(Int(IFLA_IFNAME), name)
        message.attribute(Int(IFLA_MTU), UInt32(mtu))
        message.attribute(Int(IFLA_GROUP), UInt32(group))
        message.nested(Int(IFLA_LINKINFO)) { $0.attribute(Int(IFLA_INFO_KIND), "bridge") }
        try socket.request(message, "make bridge \(name)")
    }

    /// Makes a pair of virtual Ethernet devices: one here, up, and one in the namespace of that descriptor, down.
    func addVirtualPair(
        _ name: String, hardware: [UInt8], group: Int, mtu: Int, peer: String, peerHardware: [UInt8],
        peerNamespace: Int32
    ) throws(NetworkError) {
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: RouteSocket.make)
        message.append(RouteSocket.linkHeader(up: true))
        message.attribute(Int(IFLA_IFNAME), name)
        message.attribute(Int(IFLA_MTU), UInt32(mtu))
        message.attribute(Int(IFLA_GROUP), UInt32(group))
        message.attribute(Int(IFLA_ADDRESS), hardware)
        message.nested(Int(IFLA_LINKINFO)) { info in
            info.attribute(Int(IFLA_INFO_KIND), "veth")
            info.nested(Int(IFLA_INFO_DATA)) { data in
                data.nested(Int(VETH_INFO_PEER)) { other in
                    // A peer cannot be brought up before its other end exists (ENOTCONN).
                    other.append(RouteSocket.linkHeader())
                    other.attribute(Int(IFLA_IFNAME), peer)
                    other.attribute(Int(IFLA_MTU), UInt32(mtu))
                    other.attribute(Int(IFLA_ADDRESS), peerHardware)
                    other.attribute(Int(IFLA_NET_NS_FD), UInt32(bitPattern: peerNamespace))
                }
            }
        }
        try socket.request(message, "make link \(name)")
    }

    /// Gives a link a note for people (`ip link` shows it).
    func setAlias(_ index: Int32, _ alias: String) throws(NetworkError) {
        var message = NetlinkMessage(type: UInt16(RTM_SETLINK), flags: RouteSocket.change)
        message.append(RouteSocket.linkHeader(index: index))
        message.attribute(Int(IFLA_IFALIAS), String(alias.prefix(200)))
        try socket.request(message, "name link \(index)")
    }

    func setUp(_ index: Int32) throws(NetworkError) {
        var message = NetlinkMessage(type: UInt16(RTM_SETLINK), flags: RouteSocket.change)
        message.append(RouteSocket.linkHeader(index: index, up: true))
        try socket.request(message, "bring up link \(index)")
    }

    /// Whether there was one.
    @discardableResult
    func deleteLink(_ name: String) throws(NetworkError) -> Bool {
        var message = NetlinkMessage(type: UInt16(RTM_DELLINK), flags: RouteSocket.change)
        message.append(RouteSocket.linkHeader())
        message.attribute(Int(IFLA_IFNAME), name)
        do throws(NetworkError) {
            try socket.request(message, "delete link \(name)")
            return true
        } catch {
            if case .system(let error) = error, error.errno == ENODEV { return false }
            throw error
        }
    }

    func link(_ name: String) throws(NetworkError) -> Link? {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
        message.append(RouteSocket.linkHeader())
        message.attribute(Int(IFLA_IFNAME), name)
        do throws(NetworkError) {
            return try socket.exchange(message, "look for link \(name)").first.map(RouteSocket.link)
        } catch {
            if case .system(let error) = error, error.errno == ENODEV { return nil }
            throw error
        }
    }

    func links() throws(NetworkError) -> [Link] {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: RouteSocket.dump)
        message.append(RouteSocket.linkHeader())
        return try socket.exchange(message, "list links").map(RouteSocket.link)
    }

    private static func link(_ reply: NetlinkReply) -> Link {
        let attributes = reply.attributes(after: MemoryLayout<ifinfomsg>.size)
        let info = NetlinkReply.attributes(attributes[Int(IFLA_LINKINFO)] ?? [])
        return Link(
            index: reply.payload.number(4, as: Int32.self), name: attributes[Int(IFLA_IFNAME)]?.text ?? "",
            mtu: Int(attributes[Int(IFLA_MTU)]?.number(0, as: UInt32.self) ?? 0),
            group: Int(attributes[Int(IFLA_GROUP)]?.number(0, as: UInt32.self) ?? 0),
            isUp: reply.payload.number(8, as: UInt32.self) & UInt32(IFF_UP) != 0,
            alias: attributes[Int(IFLA_IFALIAS)]?.text ?? "", kind: info[Int(IFLA_INFO_KIND)]?.text ?? "")
    }

    // MARK: Addresses

    /// Adds an address; one that is there already is well.
    func addAddress(_ address: IPAddress, length: Int, to index: Int32) throws(NetworkError) {
        var header = ifaddrmsg()
        header.ifa_family = RouteSocket.family(address)
        header.ifa_prefixlen = UInt8(length)
        header.ifa_index = UInt32(index)
        // Our addresses come from a pool that we keep: asking the link for a duplicate would cost a second.
        header.ifa_flags = address.isV6 ? UInt8(IFA_F_NODAD) : 0
        var message = NetlinkMessage(type: UInt16(RTM_NEWADDR), flags: RouteSocket.replace)
        message.append(header)
        message.attribute(Int(IFA_LOCAL), address.bytes)
        message.attribute(Int(IFA_ADDRESS), address.bytes)
        try socket.request(message, "add address \(address)/\(length)")
    }

    func addresses() throws(NetworkError) -> [Address] {
        var message = NetlinkMessage(type: UInt16(RTM_GETADDR), flags: RouteSocket.dump)
        message.append(ifaddrmsg())
        return try socket.exchange(message, "list addresses").compactMap { reply in
            let attributes = reply.attributes(after: MemoryLayout<ifaddrmsg>.size)
            let bytes = attributes[Int(IFA_LOCAL)] ?? attributes[Int(IFA_ADDRESS)] ?? []
            guard let address = IPAddress(bytes: bytes) else { return nil }
            return Address(
                device: reply.payload.number(4, as: Int32.self), address: address,
                length: Int(reply.payload.number(1, as: UInt8.self)))
        }
    }

    // MARK: Routes

    /// Adds or replaces a route that is ours.
    ///
    /// `destination` nil is the default route of the gateway's family.
    ///
    /// - Parameters:
    ///   - gateway: reached directly over the device, although no prefix says so.
    ///   - source: the address that the host itself talks from.
    ///   - device: nil makes the destination unreachable.
    func addRoute(
        to destination: Prefix?, via gateway: IPAddress? = nil, source: IPAddress? = nil, device: Int32?
    ) throws(NetworkError) {
        let message = route(UInt16(RTM_NEWROUTE), RouteSocket.replace, destination, gateway, source, device)
        try socket.request(message, "add route to \(destination?.description ?? "everywhere")")
    }

    /// Removes our route; one that is gone is well.
    ///
    /// - Parameter type: nil: of the kind that such a device makes; 0: of any.
    func deleteRoute(to destination: Prefix, device: Int32?, type: UInt8? = nil) throws(NetworkError) {
        let message = route(UInt16(RTM_DELROUTE), RouteSocket.change, destination, nil, nil, device, type: type)
        do throws(NetworkError) {
            try socket.request(message, "delete route to \(destination)")
        } catch {
            if case .system(let error) = error, error.errno == ESRCH { return }
            throw error
        }
    }

    private func route(
        _ type: UInt16, _ flags: UInt16, _ destination: Prefix?, _ gateway: IPAddress?, _ source: IPAddress?,
        _ device: Int32?, type kind: UInt8? = nil
    ) -> NetlinkMessage {
        let isV6 = (destination?.address ?? gateway)?.isV6 ?? false
        var header = rtmsg()
        header.rtm_family = UInt8(isV6 ? AF_INET6 : AF_INET)
        header.rtm_dst_len = UInt8(destination?.length ?? 0)
        header.rtm_table = 254  // RT_TABLE_MAIN
        header.rtm_protocol = RouteSocket.origin
        // RT_SCOPE_LINK 253 for what is on the link, RT_SCOPE_UNIVERSE 0 for the rest; IPv6 knows no scopes.
        // What is taken away whatever its kind may have any: RT_SCOPE_NOWHERE 255.
        header.rtm_scope = kind == 0 ? 255 : device != nil && gateway == nil && !isV6 ? 253 : 0
        header.rtm_type = kind ?? (device == nil ? 7 : 1)  // RTN_UNREACHABLE, RTN_UNICAST
        if gateway != nil { header.rtm_flags = UInt32(RTNH_F_ONLINK) }
        var message = NetlinkMessage(type: type, flags: flags)
        message.append(header)
        if let destination { message.attribute(1, destination.address.bytes) }  // RTA_DST
        if let gateway { message.attribute(5, gateway.bytes) }  // RTA_GATEWAY
        if let source { message.attribute(7, source.bytes) }  // RTA_PREFSRC
        if let device { message.attribute(4, UInt32(bitPattern: device)) }  // RTA_OIF
        return message
    }

    /// The routes of all tables and both families, without those of the kernel's own "local" table.
    func routes() throws(NetworkError) -> [Route] {
        var result: [Route] = []
        for family in [AF_INET, AF_INET6] {
            var header = rtmsg()
            header.rtm_family = UInt8(family)
            var message = NetlinkMessage(type: UInt16(RTM_GETROUTE), flags: RouteSocket.dump)
            message.append(header)
            for reply in try socket.exchange(message, "list routes") {
                let attributes = reply.attributes(after: MemoryLayout<rtmsg>.size)
                let table = attributes[15].map { Int($0.number(0, as: UInt32.self)) }  // RTA_TABLE
                let route = Route(
                    destination: (attributes[1].flatMap { IPAddress(bytes: $0) }).flatMap {
                        Prefix($0, length: Int(reply.payload.number(1, as: UInt8.self)))
                    },
                    gateway: attributes[5].flatMap { IPAddress(bytes: $0) },
                    device: attributes[4]?.number(0, as: Int32.self) ?? 0,
                    table: table ?? Int(reply.payload.number(4, as: UInt8.self)),
                    type: Int(reply.payload.number(7, as: UInt8.self)),
                    origin: Int(reply.payload.number(5, as: UInt8.self)), isV6: family == AF_INET6)
                if route.table != 255 { result.append(route) }
            }
        }
        return result
    }

    // MARK: Neighbours

    /// Says for ever which hardware address has an IP address, so that nobody needs to be asked (or believed).
    func addNeighbour(_ address: IPAddress, hardware: [UInt8], device: Int32) throws(NetworkError) {
        var header = ndmsg()
        header.ndm_family = RouteSocket.family(address)
        header.ndm_ifindex = device
        header.ndm_state = UInt16(NUD_PERMANENT)
        var message = NetlinkMessage(type: UInt16(RTM_NEWNEIGH), flags: RouteSocket.replace)
        message.append(header)
        message.attribute(Int(NDA_DST), address.bytes)
        message.attribute(Int(NDA_LLADDR), hardware)
        try socket.request(message, "add neighbour \(address)")
    }

    private static func family(_ address: IPAddress) -> UInt8 { UInt8(address.isV6 ? AF_INET6 : AF_INET) }
}
