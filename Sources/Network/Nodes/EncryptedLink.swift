internal import Glibc
internal import IO
internal import Netlink

/// A peer as the kernel was told of it, and when.
struct ToldPeer: Sendable, Hashable {
    var peer: WireGuardPeer
    var since: MonotonicTime
}

/// The WireGuard link of this node, and the socket over which the kernel is told of its peers.
struct EncryptedLink {
    /// The number of the link.
    let link: Int32
    private let socket: NetlinkSocket
    private let family: UInt16

    init(_ link: Int32) throws(NetworkError) {
        self.link = link
        // NETLINK_GENERIC
        socket = try NetlinkSocket(protocol: 16)
        let replies: [NetlinkReply]
        do throws(NetworkError) {
            replies = try socket.exchange(WireGuardMessage.family("wireguard"), "look for WireGuard")
        } catch {
            if case .system(let error) = error, error.errno == ENOENT { throw NodeEncryption.missing }
            throw error
        }
        guard let family = replies.compactMap(WireGuardMessage.family).first else { throw NodeEncryption.missing }
        self.family = family
    }

    /// What the kernel has.
    func device() throws(NetworkError) -> WireGuardDevice {
        WireGuardMessage.device(
            in: try socket.exchange(WireGuardMessage.getDevice(family, link), "list WireGuard peers"))
    }

    /// The peers, each at the place that the kernel was told last: it follows one that moves by itself.
    static func peers(
        _ device: WireGuardDevice, told: [WireGuardKey: ToldPeer]
    ) -> [WireGuardKey: WireGuardPeer] {
        var peers = device.peers
        for (key, last) in told where peers[key] != nil {
            peers[key]?.endpoint = last.peer.endpoint
            peers[key]?.port = last.peer.port
        }
        return peers
    }

    /// The peers that have long been told of and do not answer.
    ///
    /// Both ends send something every 25 s, so that a handshake is never older than the three minutes for which its keys are good.
    static func silent(
        _ device: WireGuardDevice, told: [WireGuardKey: ToldPeer], now: MonotonicTime, wall: Int64
    ) -> Set<WireGuardKey> {
        Set(
            told.filter { key, last in
                now - last.since > .seconds(30) && wall - (device.handshakes[key] ?? 0) > 210
            }.keys)
    }

    func set(_ encryption: NodeEncryption) throws(NetworkError) {
        let message = WireGuardMessage.setDevice(family, link, key: encryption.privateKey, port: encryption.port)
        do throws(NetworkError) { try socket.request(message, "set up WireGuard") } catch {
            throw EncryptedLink.explained(error, encryption)
        }
    }

    func set(_ key: WireGuardKey, _ peer: WireGuardPeer) throws(NetworkError) {
        try socket.request(
            WireGuardMessage.setPeer(family, link, key, peer), "set WireGuard peer \(key.text)")
    }

    func remove(_ key: WireGuardKey) throws(NetworkError) {
        try socket.request(WireGuardMessage.removePeer(family, link, key), "remove WireGuard peer \(key.text)")
    }

    static func explained(_ error: NetworkError, _ encryption: NodeEncryption) -> NetworkError {
        guard case .system(let cause) = error, cause.errno == EADDRINUSE else { return error }
        return .invalid("UDP port \(encryption.port) is taken; say another one with --wireguard-port")
    }
}

extension HostNetwork {
    /// The WireGuard link, made or as it was; nil (and removed) when nothing is encrypted.
    func makeEncrypted(_ own: NodeNetworking) throws(NetworkError) -> EncryptedLink? {
        let name = Ownership.encryptedLink(own.identifier)
        var found = try routes.link(name)
        if let link = found, !Ownership.owns(link) {
            throw .invalid("network device \(name) exists and is not ours; rename or delete it")
        }
        guard let encryption = own.encryption else {
            if found != nil { try routes.deleteLink(name) }
            return nil
        }
        guard let local = own.addresses.first else { throw .invalid("node \(own.name) has no address") }
        let mtu = uplinkMTU - NodeEncryption.overhead(over: local)
        if let link = found, link.mtu != mtu {
            try routes.deleteLink(name)
            found = nil
        }
        if found == nil {
            do throws(NetworkError) {
                try routes.addLink(name, kind: "wireguard", mtu: mtu, group: Ownership.overlayGroup)
            } catch {
                if case .system(let error) = error, error.errno == EOPNOTSUPP { throw NodeEncryption.missing }
                throw error
            }
            found = try routes.link(name)
        }
        guard let link = found else { throw .invalid("network device \(name) has gone") }
        let encrypted = try EncryptedLink(link.index)
        let device = try encrypted.device()
        if device.privateKey != encryption.privateKey || device.port != encryption.port {
            try encrypted.set(encryption)
        }
        if !link.isUp {
            do throws(NetworkError) { try routes.setUp(link.index) } catch {
                throw EncryptedLink.explained(error, encryption)
            }
            try forward(from: name)
        }
        return encrypted
    }

    /// Takes away every way that is not encrypted, before anybody has said which nodes there are.
    func closeUnencrypted(_ own: NodeNetworking) throws(NetworkError) {
        guard own.encryption != nil else { return }
        let overlay = try routes.link(Ownership.overlayLink(own.identifier))?.index
        for block in try presentPaths(overlay).routes.keys {
            try routes.deleteRoute(to: block, device: nil, type: 0)
        }
        if overlay != nil { try routes.deleteLink(Ownership.overlayLink(own.identifier)) }
    }
}
