internal import CNetlink
internal import Glibc
internal import IO
internal import Netlink
internal import Serialization

/// A key of WireGuard: 32 bytes, a private one or the public one that belongs to it (X25519, RFC 7748).
///
/// It has no description, so that no message shows a private one by accident.
public struct WireGuardKey: Sendable, Hashable, Comparable {
    /// The 32 bytes.
    public let bytes: [UInt8]

    /// A key of these bytes; nil when they are not 32.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// Reads base64, as wg(8) writes it; nil when it is no key.
    public init?(text: String) {
        guard text.utf8.count == 44, let bytes = Base64.decode(text) else { return nil }
        self.init(bytes)
    }

    /// Base64, as wg(8) reads it.
    public var text: String { Base64.encode(bytes) }

    /// By their bytes.
    public static func < (one: WireGuardKey, other: WireGuardKey) -> Bool {
        one.bytes.lexicographicallyPrecedes(other.bytes)
    }
}

/// By what another node says that packets to it are encrypted.
public struct PeerEncryption: Sendable, Hashable {
    /// Its public key; nil when what it has published is none.
    public var key: WireGuardKey?
    /// The UDP port at which it listens.
    public var port: UInt16

    /// That key, at that port.
    public init(key: WireGuardKey?, port: UInt16) {
        self.key = key
        self.port = port
    }
}

/// WireGuard between nodes: what this one has for it.
///
/// It takes the place of VXLAN and of routes over other nodes' addresses: a node without a key is not reached, and nothing goes to
/// it or comes from it unencrypted.
public struct NodeEncryption: Sendable, Hashable {
    /// The key that only this node knows.
    public var privateKey: WireGuardKey
    /// What others know it by.
    public var publicKey: WireGuardKey
    /// The UDP port at which it listens.
    public var port: UInt16

    /// The port that WireGuard has by custom.
    public static let standardPort: UInt16 = 51820
    /// Seconds between two packets that say nothing, so that no firewall between forgets the way.
    static let keepalive: UInt16 = 25

    /// Those keys, at that port.
    public init(privateKey: WireGuardKey, publicKey: WireGuardKey, port: UInt16 = standardPort) {
        self.privateKey = privateKey
        self.publicKey = publicKey
        self.port = port
    }

    /// Bytes that WireGuard adds to a packet: its header 16, its tag 16, UDP 8, and IP 20 or 40 (N-14).
    static func overhead(over address: IPAddress) -> Int { 16 + 16 + 8 + (address.isV6 ? 40 : 20) }

    /// Refuses it with the reason where it cannot be had: packets are never sent in the clear instead.
    public static func check() throws(NetworkError) {
        guard try RouteSocket().hasKind("wireguard") else { throw missing }
    }

    static let missing = NetworkError.invalid(
        "this kernel has no WireGuard (it knows no link of that kind); load the module, or leave --encrypt out and rely on the "
            + "mTLS of the mesh")
}

extension RouteSocket {
    /// Whether the kernel can make links of a kind: one is made, down, and deleted at once.
    func hasKind(_ kind: String) throws(NetworkError) -> Bool {
        let name = "skprobe\(Environment.processID % 100_000)"
        do throws(NetworkError) { try addLink(name, kind: kind, mtu: nil, group: 0) } catch {
            if case .system(let error) = error, error.errno == EOPNOTSUPP { return false }
            throw error
        }
        try deleteLink(name)
        return true
    }

    /// Makes a link of a kind that needs nothing else, down.
    func addLink(_ name: String, kind: String, mtu: Int?, group: Int) throws(NetworkError) {
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWLINK), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL))
        message.append(ifinfomsg())
        message.attribute(Int(IFLA_IFNAME), name)
        if let mtu { message.attribute(Int(IFLA_MTU), UInt32(clamping: mtu)) }
        message.attribute(Int(IFLA_GROUP), UInt32(clamping: group))
        message.nested(Int(IFLA_LINKINFO)) { $0.attribute(Int(IFLA_INFO_KIND), kind) }
        try socket.request(message, "make a link of kind \(kind)")
    }
}
