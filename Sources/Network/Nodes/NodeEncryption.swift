internal import CNetlink
internal import Glibc
internal import IO
internal import Netlink

/// WireGuard between nodes: whether this kernel can.
public enum NodeEncryption {
    /// Bytes that WireGuard adds to a packet over IPv4; 20 more over IPv6 (N-14).
    public static let overhead = 60

    /// Refuses it with the reason where it cannot be had: packets are never sent in the clear instead.
    public static func check(_ driver: NodeDriver) throws(NetworkError) {
        let routes = try RouteSocket()
        guard try routes.hasKind("wireguard") else {
            throw .invalid(
                "this kernel has no WireGuard (it knows no link of that kind); load the module, or leave --encrypt out and "
                    + "rely on the mTLS of the mesh")
        }
        throw .invalid("keys of nodes are not exchanged yet; leave --encrypt out and rely on the mTLS of the mesh")
    }
}

extension RouteSocket {
    /// Whether the kernel can make links of a kind: one is made, down, and deleted at once.
    func hasKind(_ kind: String) throws(NetworkError) -> Bool {
        let name = "skprobe\(Environment.processID % 100_000)"
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWLINK), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL))
        message.append(ifinfomsg())
        message.attribute(Int(IFLA_IFNAME), name)
        message.nested(Int(IFLA_LINKINFO)) { $0.attribute(Int(IFLA_INFO_KIND), kind) }
        do throws(NetworkError) { try socket.request(message, "make a link of kind \(kind)") } catch {
            if case .system(let error) = error, error.errno == EOPNOTSUPP { return false }
            throw error
        }
        try deleteLink(name)
        return true
    }
}
