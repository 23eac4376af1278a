import EnvoyAPI
public import Serialization

/// One named resource of a snapshot.
public struct MeshResource: Sendable, Hashable {
    /// The name that proxies ask for.
    public let name: String
    /// A hash of the content: equal content has an equal version, on every run.
    public let version: String
    /// The message.
    public let message: AnyMessage

    /// Packs a message under a name.
    public init(name: String, _ message: some Message) {
        self.name = name
        self.message = AnyMessage(packing: message)
        version = ContentHash.text(self.message.value)
    }
}

/// Everything that one proxy is to know: consistent in itself, since all of it comes from one model.
public struct ProxySnapshot: Sendable, Hashable {
    /// Clusters by name.
    public var clusters: [String: MeshResource] = [:]
    /// Endpoints by the name of their cluster.
    public var endpoints: [String: MeshResource] = [:]
    /// Listeners by name.
    public var listeners: [String: MeshResource] = [:]
    /// Route configurations by name.
    public var routes: [String: MeshResource] = [:]
    /// Secrets by name: certificates with their keys, authorities.
    ///
    /// Never to be shown.
    public var secrets: [String: MeshResource] = [:]

    /// An empty snapshot.
    public init() {}

    mutating func add(_ cluster: Cluster) { clusters[cluster.name] = MeshResource(name: cluster.name, cluster) }
    mutating func add(_ assignment: ClusterLoadAssignment) {
        endpoints[assignment.clusterName] = MeshResource(name: assignment.clusterName, assignment)
    }
    mutating func add(_ listener: Listener) { listeners[listener.name] = MeshResource(name: listener.name, listener) }
    mutating func add(_ routes: RouteConfiguration) {
        self.routes[routes.name] = MeshResource(name: routes.name, routes)
    }
    mutating func add(_ secret: Secret) { secrets[secret.name] = MeshResource(name: secret.name, secret) }
}

/// A hash that is the same on every run and machine; against accidents, not against attackers.
enum ContentHash {
    /// 128 bits in hexadecimal: FNV-1a, and a second function with another multiplier and a final mix.
    static func text(_ bytes: [UInt8]) -> String {
        var first: UInt64 = 0xcbf2_9ce4_8422_2325
        var second: UInt64 = 0x9e37_79b9_7f4a_7c15 ^ UInt64(bytes.count)
        for byte in bytes {
            first = (first ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
            second = (second &+ UInt64(byte) &+ 1) &* 0xff51_afd7_ed55_8ccd
            second ^= second >> 32
        }
        return hexadecimal(first) + hexadecimal(second)
    }

    /// 64 bits of a text.
    static func number(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash ^= hash >> 33
        hash = hash &* 0xff51_afd7_ed55_8ccd
        return hash ^ (hash >> 33)
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
