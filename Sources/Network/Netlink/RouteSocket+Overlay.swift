internal import CNetlink
internal import Glibc
internal import IO
internal import Netlink

// VXLAN devices, and what leads packets into them.
extension RouteSocket {
    /// A VXLAN device as it was made.
    struct Overlay: Hashable {
        var identifier: UInt32
        var port: UInt16
        /// The address from which packets are sent.
        var local: IPAddress?
        var hardware: [UInt8]
        var mtu: Int
    }

    /// Makes a VXLAN device, up, which learns nothing and floods nothing.
    func addOverlay(_ name: String, _ overlay: Overlay, group: Int) throws(NetworkError) {
        var header = ifinfomsg()
        header.ifi_flags = UInt32(IFF_UP)
        header.ifi_change = UInt32(IFF_UP)
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWLINK), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL))
        message.append(header)
        message.attribute(Int(IFLA_IFNAME), name)
        message.attribute(Int(IFLA_MTU), UInt32(overlay.mtu))
        message.attribute(Int(IFLA_GROUP), UInt32(group))
        message.attribute(Int(IFLA_ADDRESS), overlay.hardware)
        message.nested(Int(IFLA_LINKINFO)) { info in
            info.attribute(Int(IFLA_INFO_KIND), "vxlan")
            info.nested(Int(IFLA_INFO_DATA)) { data in
                data.attribute(1, overlay.identifier)  // IFLA_VXLAN_ID
                if let local = overlay.local { data.attribute(local.isV6 ? 17 : 4, local.bytes) }  // …_LOCAL6, …_LOCAL
                data.attribute(7, UInt8(0))  // IFLA_VXLAN_LEARNING
                data.attribute(15, bigEndian: overlay.port)  // IFLA_VXLAN_PORT
            }
        }
        do throws(NetworkError) { try socket.request(message, "make VXLAN device \(name)") } catch {
            if case .system(let error) = error, error.errno == EOPNOTSUPP {
                throw .invalid("this kernel has no VXLAN (\(error)); use the driver host-gw")
            }
            throw error
        }
    }

    /// How a VXLAN device was made; nil when there is none of that name.
    func overlay(_ name: String) throws(NetworkError) -> Overlay? {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
        message.append(ifinfomsg())
        message.attribute(Int(IFLA_IFNAME), name)
        let reply: NetlinkReply?
        do throws(NetworkError) { reply = try socket.exchange(message, "look for link \(name)").first } catch {
            if case .system(let error) = error, error.errno == ENODEV { return nil }
            throw error
        }
        guard let attributes = reply?.attributes(after: MemoryLayout<ifinfomsg>.size) else { return nil }
        let info = NetlinkReply.attributes(attributes[Int(IFLA_LINKINFO)] ?? [])
        guard info[Int(IFLA_INFO_KIND)]?.text == "vxlan" else { return nil }
        let data = NetlinkReply.attributes(info[Int(IFLA_INFO_DATA)] ?? [])
        return Overlay(
            identifier: data[1]?.number(0, as: UInt32.self) ?? 0,
            port: UInt16(bigEndian: data[15]?.number(0, as: UInt16.self) ?? 0),
            local: (data[4] ?? data[17]).flatMap { IPAddress(bytes: $0) }.flatMap { $0.isUnspecified ? nil : $0 },
            hardware: Array(attributes[Int(IFLA_ADDRESS)] ?? []),
            mtu: Int(attributes[Int(IFLA_MTU)]?.number(0, as: UInt32.self) ?? 0))
    }

    /// Makes a link a port of a bridge, and brings it up.
    func setMaster(_ name: String, _ bridge: Int32) throws(NetworkError) {
        var message = NetlinkMessage(type: UInt16(RTM_SETLINK), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
        message.append(ifinfomsg())
        message.attribute(Int(IFLA_IFNAME), name)
        message.attribute(Int(IFLA_MASTER), UInt32(bitPattern: bridge))
        try socket.request(message, "make \(name) a port")
    }

    /// Brings a link up or down.
    func setUp(_ name: String, _ isUp: Bool) throws(NetworkError) {
        var header = ifinfomsg()
        header.ifi_flags = isUp ? UInt32(IFF_UP) : 0
        header.ifi_change = UInt32(IFF_UP)
        var message = NetlinkMessage(type: UInt16(RTM_SETLINK), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
        message.append(header)
        message.attribute(Int(IFLA_IFNAME), name)
        try socket.request(message, "bring \(name) \(isUp ? "up" : "down")")
    }

    private static func entry(_ family: Int32, _ device: Int32, isOwn: Bool = false) -> ndmsg {
        var header = ndmsg()
        header.ndm_family = UInt8(family)
        header.ndm_ifindex = device
        header.ndm_state = UInt16(NUD_PERMANENT)
        header.ndm_flags = isOwn ? UInt8(NTF_SELF) : 0
        return header
    }

    /// Says for ever which node has a hardware address.
    func setForwarding(_ hardware: [UInt8], to node: IPAddress, device: Int32) throws(NetworkError) {
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWNEIGH), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE))
        message.append(RouteSocket.entry(AF_BRIDGE, device, isOwn: true))
        message.attribute(Int(NDA_LLADDR), hardware)
        message.attribute(Int(NDA_DST), node.bytes)
        try socket.request(message, "lead packets to node \(node)")
    }

    /// Forgets it; one that is gone is well.
    func deleteForwarding(_ hardware: [UInt8], to node: IPAddress, device: Int32) throws(NetworkError) {
        var message = NetlinkMessage(type: UInt16(RTM_DELNEIGH), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
        message.append(RouteSocket.entry(AF_BRIDGE, device, isOwn: true))
        message.attribute(Int(NDA_LLADDR), hardware)
        message.attribute(Int(NDA_DST), node.bytes)
        try forget(message, "lead no more packets to node \(node)")
    }

    /// Forgets a neighbour; one that is gone is well.
    func deleteNeighbour(_ address: IPAddress, device: Int32) throws(NetworkError) {
        var message = NetlinkMessage(type: UInt16(RTM_DELNEIGH), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
        message.append(RouteSocket.entry(address.isV6 ? AF_INET6 : AF_INET, device))
        message.attribute(Int(NDA_DST), address.bytes)
        try forget(message, "forget neighbour \(address)")
    }

    private func forget(_ message: NetlinkMessage, _ operation: String) throws(NetworkError) {
        do throws(NetworkError) { try socket.request(message, operation) } catch {
            if case .system(let error) = error, error.errno == ENOENT { return }
            throw error
        }
    }

    /// The neighbours of a device that were told for ever.
    func neighbours(device: Int32) throws(NetworkError) -> [IPAddress: [UInt8]] {
        var result: [IPAddress: [UInt8]] = [:]
        for family in [AF_INET, AF_INET6] {
            for (attributes, _) in try entries(family, device) {
                guard let address = (attributes[Int(NDA_DST)]).flatMap({ IPAddress(bytes: $0) }) else { continue }
                result[address] = Array(attributes[Int(NDA_LLADDR)] ?? [])
            }
        }
        return result
    }

    /// Which node a VXLAN device sends packets for a hardware address to.
    func forwarding(device: Int32) throws(NetworkError) -> [[UInt8]: IPAddress] {
        var result: [[UInt8]: IPAddress] = [:]
        for (attributes, _) in try entries(AF_BRIDGE, device) {
            guard let node = (attributes[Int(NDA_DST)]).flatMap({ IPAddress(bytes: $0) }) else { continue }
            result[Array(attributes[Int(NDA_LLADDR)] ?? [])] = node
        }
        return result
    }

    private func entries(
        _ family: Int32, _ device: Int32
    ) throws(NetworkError) -> [(attributes: [Int: ArraySlice<UInt8>], state: UInt16)] {
        var message = NetlinkMessage(type: UInt16(RTM_GETNEIGH), flags: UInt16(NLM_F_REQUEST | NLM_F_DUMP))
        var header = ndmsg()
        header.ndm_family = UInt8(family)
        message.append(header)
        return try socket.exchange(message, "list neighbours").compactMap { reply in
            let state = reply.payload.number(8, as: UInt16.self)
            guard reply.payload.number(4, as: Int32.self) == device, state & UInt16(NUD_PERMANENT) != 0 else {
                return nil
            }
            return (reply.attributes(after: MemoryLayout<ndmsg>.size), state)
        }
    }

    /// The device over which an address is reached, and the router when there is one between.
    func way(to address: IPAddress) throws(NetworkError) -> (device: Int32, gateway: IPAddress?)? {
        var header = rtmsg()
        header.rtm_family = UInt8(address.isV6 ? AF_INET6 : AF_INET)
        header.rtm_dst_len = UInt8(address.bitCount)
        var message = NetlinkMessage(type: UInt16(RTM_GETROUTE), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
        message.append(header)
        message.attribute(1, address.bytes)  // RTA_DST
        let reply: NetlinkReply?
        do throws(NetworkError) { reply = try socket.exchange(message, "look for the way to \(address)").first } catch {
            guard case .system(let error) = error, [ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL].contains(error.errno)
            else { throw error }
            return nil
        }
        guard let attributes = reply?.attributes(after: MemoryLayout<rtmsg>.size), let device = attributes[4] else {
            return nil
        }
        return (device.number(0, as: Int32.self), attributes[5].flatMap { IPAddress(bytes: $0) })
    }
}
