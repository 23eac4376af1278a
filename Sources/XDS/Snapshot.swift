import EnvoyAPI
public import Serialization

/// One resource of a snapshot.
public struct SnapshotResource: Hashable, Sendable {
    /// Its version; a resource is sent again when this changes.
    public var version: String
    /// The resource.
    public var message: AnyMessage

    /// A resource with a version of its own.
    public init(version: String, message: AnyMessage) {
        self.version = version
        self.message = message
    }

    /// A resource whose version is a hash of its bytes: what did not change is not sent, whoever made the snapshot.
    public init(_ message: AnyMessage) {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325  // FNV-1a. Not against adversaries: only our own messages come here.
        for byte in message.value { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        self.init(version: String(hash, radix: 16), message: message)
    }
}

/// Everything that one proxy is to know, of one moment: resources by type URL and name.
public struct Snapshot: Hashable, Sendable {
    /// A label for people, sent as `system_version_info`.
    public var version: String
    /// The resources.
    public private(set) var resources: [String: [String: SnapshotResource]] = [:]

    /// An empty snapshot.
    public init(version: String = "") { self.version = version }

    /// The resources of that type, by name.
    public subscript(typeURL: String) -> [String: SnapshotResource] {
        get { resources[typeURL] ?? [:] }
        set { resources[typeURL] = newValue }
    }

    /// Adds a cluster, listener, route configuration or other message under that name.
    public mutating func add<M: Message>(_ message: M, name: String) {
        resources[M.typeURL, default: [:]][name] = SnapshotResource(AnyMessage(packing: message))
    }
}

/// The order in which types are sent so that nothing refers to what is not there yet: make before break.
enum ResourceOrder {
    static let typeURLs = [
        Cluster.typeURL, ClusterLoadAssignment.typeURL, Listener.typeURL, RouteConfiguration.typeURL,
    ]

    /// The place of that type; nil for types that wait for no other.
    static func rank(_ typeURL: String) -> Int? { typeURLs.firstIndex(of: typeURL) }

    /// Those types in order, all others after them by name.
    static func sorted(_ types: some Sequence<String>) -> [String] {
        types.sorted { (rank($0) ?? .max, $0) < (rank($1) ?? .max, $1) }
    }
}

/// A peer broke the protocol or one of our bounds: the stream must end.
public struct ProtocolViolation: Error, Hashable, Sendable, CustomStringConvertible {
    /// What it did.
    public var description: String

    init(_ description: String) { self.description = description }
}
