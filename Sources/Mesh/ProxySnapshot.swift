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

    /// A message that is encoded already; whoever makes it sees to it that equal content has an equal version.
    init(name: String, version: String, message: AnyMessage) {
        self.name = name
        self.version = version
        self.message = message
    }
}

/// Everything that one proxy is to know: consistent in itself, since all of it comes from one model.
///
/// A short list of layers that many proxies share; their names do not overlap. The properties gather them, which costs
/// as much as there are resources: for tools and tests.
public struct ProxySnapshot: Sendable, Hashable {
    /// The parts.
    public var layers: [MeshLayer]

    /// Puts parts together.
    public init(layers: [MeshLayer] = []) { self.layers = layers }

    /// All resources.
    public var resources: MeshResources {
        var all = MeshResources()
        for layer in layers { all.merge(layer.resources) }
        return all
    }

    /// Clusters by name.
    public var clusters: [String: MeshResource] { gathered(\.clusters) }
    /// Endpoints by the name of their cluster.
    public var endpoints: [String: MeshResource] { gathered(\.endpoints) }
    /// Listeners by name.
    public var listeners: [String: MeshResource] { gathered(\.listeners) }
    /// Route configurations by name.
    public var routes: [String: MeshResource] { gathered(\.routes) }
    /// Secrets by name: certificates with their keys, authorities.
    ///
    /// Never to be shown.
    public var secrets: [String: MeshResource] { gathered(\.secrets) }

    private func gathered(_ part: KeyPath<MeshResources, [String: MeshResource]>) -> [String: MeshResource] {
        let filled = layers.map { $0.resources[keyPath: part] }.filter { !$0.isEmpty }
        guard var all = filled.first else { return [:] }
        for other in filled.dropFirst() { all.merge(other) { _, new in new } }
        return all
    }

    /// Whether both have equal resources, however they are divided.
    public static func == (left: ProxySnapshot, right: ProxySnapshot) -> Bool {
        if left.layers.count == right.layers.count, zip(left.layers, right.layers).allSatisfy({ $0 === $1 }) {
            return true
        }
        return left.resources == right.resources
    }

    /// By the resources.
    public func hash(into hasher: inout Hasher) { hasher.combine(resources) }
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
