public import TLS

/// A bootstrap token: six letters that name it, a dot, and sixteen that are its secret, as Kubernetes has them.
public struct BootstrapToken: Sendable, Hashable {
    /// The public part.
    public let id: String
    /// The secret part.
    public let secret: String

    /// Reads `abcdef.0123456789abcdef`; nil when it is none.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        func isPart(_ text: some StringProtocol, _ count: Int) -> Bool {
            text.utf8.count == count
                && text.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) }
        }
        guard parts.count == 2, isPart(parts[0], 6), isPart(parts[1], 16) else { return nil }
        id = String(parts[0])
        secret = String(parts[1])
    }

    /// Makes one of random bytes, of which it takes 22.
    public init?(random bytes: [UInt8]) {
        let letters = Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)
        // A remainder of 36 favours four of its letters by 1/7: the secret has 82 bits instead of 82.7.
        let text = bytes.prefix(22).map { letters[Int($0) % letters.count] }
        guard text.count == 22 else { return nil }
        let (id, secret) = (text.prefix(6), text.dropFirst(6))
        self.init(String(decoding: id, as: UTF8.self) + "." + String(decoding: secret, as: UTF8.self))
    }

    /// The whole token.
    public var text: String { "\(id).\(secret)" }

    /// What proves that somebody who knows the token names this authority: HMAC-SHA-256 (RFC 2104) under the whole token.
    public func proof(of authority: [UInt8]) -> String {
        var key = Array(text.utf8)
        key += [UInt8](repeating: 0, count: 64 - key.count)
        let inner = SHA256.hash(key.map { $0 ^ 0x36 } + Array("skein node authority\n".utf8) + authority)
        return SHA256.hexadecimal(key.map { $0 ^ 0x5c } + inner)
    }

    /// Whether that is the proof; the time that it takes tells nothing.
    public func accepts(_ proof: String, of authority: [UInt8]) -> Bool {
        let (given, right) = (Array(proof.utf8), Array(self.proof(of: authority).utf8))
        guard given.count == right.count else { return false }
        return zip(given, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

/// What a node is called towards the API, and what it is told when it joins.
public enum NodeJoin {
    /// Every node's group.
    public static let group = "system:nodes"
    /// Of the node's object: how its pods reach those of others.
    public static let driverAnnotation = "skein.dev/network-driver"
    /// Of the node's object: the public key of its WireGuard link, base64; not there when it encrypts nothing.
    public static let keyAnnotation = "skein.dev/wireguard-key"
    /// Of the node's object: the UDP port of that link.
    public static let portAnnotation = "skein.dev/wireguard-port"
    /// Where heartbeats are kept.
    public static let leaseNamespace = "kube-node-lease"
    /// The paths of what nodes ask, below this.
    public static let path = "/skein/v1/node/"
    /// Seconds between two heartbeats.
    public static let heartbeat: Int64 = 10
    /// Seconds after which a node that is not heard of is not ready.
    public static let silence: Int64 = 40

    /// The name of a node as a user of the API.
    public static func user(_ node: String) -> String { "system:node:\(node)" }

    /// The node behind a user; nil when it is none.
    public static func node(user: String, groups: [String]) -> String? {
        guard groups.contains(group), user.hasPrefix("system:node:") else { return nil }
        let name = user.dropFirst("system:node:".count)
        return name.isEmpty ? nil : String(name)
    }

    /// The group of control planes that ask each other for their nodes; it has no rights in the API.
    public static let serverGroup = "skein:control-planes"

    /// The fingerprint of a key.
    public static func fingerprint(_ key: PublicKey) -> String { SHA256.hexadecimal(key.der) }

    /// The fingerprint of a certificate's key.
    public static func fingerprint(_ certificate: Certificate) -> String {
        SHA256.hexadecimal(certificate.publicKeyDER)
    }
}
