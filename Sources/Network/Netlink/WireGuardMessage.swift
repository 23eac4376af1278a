internal import IO
internal import Netlink

/// One other end of a WireGuard link.
struct WireGuardPeer: Hashable {
    /// Where it listens.
    var endpoint: IPAddress?
    var port: UInt16 = 0
    /// The addresses that are behind it: what goes to them goes there, and what it sends must be from them.
    var allowed: Set<Prefix> = []
    /// Seconds between two packets that say nothing; 0: none.
    var keepalive: UInt16 = NodeEncryption.keepalive
}

/// A WireGuard link as the kernel has it.
struct WireGuardDevice: Equatable {
    var privateKey: WireGuardKey?
    var port: UInt16 = 0
    var peers: [WireGuardKey: WireGuardPeer] = [:]
    /// When the last handshake with a peer was, unix seconds; 0: never.
    var handshakes: [WireGuardKey: Int64] = [:]
}

/// The messages of the generic netlink family "wireguard" (linux/wireguard.h), and of the family that knows the others' numbers.
///
/// Pure.
enum WireGuardMessage {
    /// NLA_F_NESTED, without which the kernel refuses lists of a family that checks strictly.
    private static let nested = 0x8000
    private static let request: UInt16 = 0x5  // NLM_F_REQUEST | NLM_F_ACK
    private static let dump: UInt16 = 0x305  // … | NLM_F_DUMP
    private static let headerLength = 4

    /// genlmsghdr: command, version, two bytes of nothing.
    private static func message(_ family: UInt16, _ flags: UInt16, command: UInt8) -> NetlinkMessage {
        var message = NetlinkMessage(type: family, flags: flags)
        message.append(command)
        message.append(UInt8(1))
        message.append(UInt16(0))
        return message
    }

    /// Asks for the number of a family.
    static func family(_ name: String) -> NetlinkMessage {
        var message = message(0x10, request, command: 3)  // GENL_ID_CTRL, CTRL_CMD_GETFAMILY
        message.attribute(2, name)  // CTRL_ATTR_FAMILY_NAME
        return message
    }

    /// The number in the answer.
    static func family(in reply: NetlinkReply) -> UInt16? {
        reply.attributes(after: headerLength)[1]?.number(0, as: UInt16.self)  // CTRL_ATTR_FAMILY_ID
    }

    private static func change(_ family: UInt16, _ link: Int32) -> NetlinkMessage {
        var message = message(family, request, command: 1)  // WG_CMD_SET_DEVICE
        message.attribute(1, UInt32(bitPattern: link))  // WGDEVICE_A_IFINDEX
        return message
    }

    /// Gives a link its key and port.
    static func setDevice(_ family: UInt16, _ link: Int32, key: WireGuardKey, port: UInt16) -> NetlinkMessage {
        var message = change(family, link)
        message.attribute(3, key.bytes)  // WGDEVICE_A_PRIVATE_KEY
        message.attribute(6, port)  // WGDEVICE_A_LISTEN_PORT
        return message
    }

    /// Makes a peer so, whatever it was before.
    static func setPeer(_ family: UInt16, _ link: Int32, _ key: WireGuardKey, _ peer: WireGuardPeer) -> NetlinkMessage {
        var message = change(family, link)
        message.nested(8 | nested) { peers in  // WGDEVICE_A_PEERS
            peers.nested(0 | nested) { one in
                one.attribute(1, key.bytes)  // WGPEER_A_PUBLIC_KEY
                one.attribute(3, UInt32(2))  // WGPEER_A_FLAGS: WGPEER_F_REPLACE_ALLOWEDIPS
                // WGPEER_A_ENDPOINT
                if let endpoint = peer.endpoint { one.attribute(4, bytes(of: endpoint, peer.port)) }
                one.attribute(5, peer.keepalive)  // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL
                one.nested(9 | nested) { list in  // WGPEER_A_ALLOWEDIPS
                    for prefix in peer.allowed.sorted(by: { $0.description < $1.description }) {
                        list.nested(0 | nested) { range in
                            range.attribute(1, UInt16(prefix.address.isV6 ? 10 : 2))  // WGALLOWEDIP_A_FAMILY
                            range.attribute(2, prefix.address.bytes)  // WGALLOWEDIP_A_IPADDR
                            range.attribute(3, UInt8(clamping: prefix.length))  // WGALLOWEDIP_A_CIDR_MASK
                        }
                    }
                }
            }
        }
        return message
    }

    /// Forgets a peer; one that is not there is well.
    static func removePeer(_ family: UInt16, _ link: Int32, _ key: WireGuardKey) -> NetlinkMessage {
        var message = change(family, link)
        message.nested(8 | nested) { peers in
            peers.nested(0 | nested) { one in
                one.attribute(1, key.bytes)
                one.attribute(3, UInt32(1))  // WGPEER_F_REMOVE_ME
            }
        }
        return message
    }

    /// Asks for everything about a link.
    static func getDevice(_ family: UInt16, _ link: Int32) -> NetlinkMessage {
        var message = message(family, dump, command: 0)  // WG_CMD_GET_DEVICE
        message.attribute(1, UInt32(bitPattern: link))
        return message
    }

    /// What the answers say: a peer with many ranges goes on in the next message.
    static func device(in replies: [NetlinkReply]) -> WireGuardDevice {
        var device = WireGuardDevice()
        for reply in replies {
            let attributes = reply.attributes(after: headerLength)
            if let key = attributes[3], let read = WireGuardKey(Array(key)) { device.privateKey = read }
            if let port = attributes[6] { device.port = port.number(0, as: UInt16.self) }
            for entry in NetlinkReply.list(attributes[8] ?? []) {
                let parts = NetlinkReply.attributes(entry)
                guard let bytes = parts[1], let key = WireGuardKey(Array(bytes)) else { continue }
                var peer = device.peers[key] ?? WireGuardPeer(keepalive: 0)
                if let place = parts[4], let (address, port) = endpoint(place) {
                    peer.endpoint = address
                    peer.port = port
                }
                if let seconds = parts[5] { peer.keepalive = seconds.number(0, as: UInt16.self) }
                // __kernel_timespec: seconds, nanoseconds.
                if let time = parts[6] { device.handshakes[key] = time.number(0, as: Int64.self) }
                for range in NetlinkReply.list(parts[9] ?? []) {
                    let fields = NetlinkReply.attributes(range)
                    guard let address = fields[2].flatMap({ IPAddress(bytes: $0) }), let length = fields[3],
                        let prefix = Prefix(address, length: Int(length.number(0, as: UInt8.self)))
                    else { continue }
                    peer.allowed.insert(prefix)
                }
                device.peers[key] = peer
            }
        }
        return device
    }

    /// sockaddr_in or sockaddr_in6.
    static func bytes(of address: IPAddress, _ port: UInt16) -> [UInt8] {
        let family = withUnsafeBytes(of: UInt16(address.isV6 ? 10 : 2)) { [UInt8]($0) }
        let place = family + [UInt8(port >> 8), UInt8(truncatingIfNeeded: port)]
        guard address.isV6 else { return place + address.bytes + [UInt8](repeating: 0, count: 8) }
        return place + [0, 0, 0, 0] + address.bytes + [0, 0, 0, 0]
    }

    private static func endpoint(_ bytes: ArraySlice<UInt8>) -> (IPAddress, UInt16)? {
        let port = UInt16(bigEndian: bytes.number(2, as: UInt16.self))
        let isV6 = bytes.number(0, as: UInt16.self) == 10
        let part = bytes.dropFirst(isV6 ? 8 : 4).prefix(isV6 ? 16 : 4)
        return IPAddress(bytes: part).map { ($0, port) }
    }
}
