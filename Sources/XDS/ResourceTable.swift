import EnvoyAPI
public import Serialization

/// An immutable set of resources of one type, shared by all streams that see it.
public final class ResourceTable: Sendable {
    /// The resources by name.
    public let resources: [String: EncodedResource]
    /// Other names under which resources are asked for (VHDS), with the names that they have here.
    public let aliases: [String: String]
    /// What is answered for a name that is neither; nil when there is nothing.
    let resolve: (@Sendable (String) -> EncodedResource?)?

    /// A table; `resolve` makes resources for names that are only known when they are asked for, always the same for the same name.
    public init(
        _ resources: [String: EncodedResource] = [:], aliases: [String: String] = [:],
        resolve: (@Sendable (String) -> EncodedResource?)? = nil
    ) {
        self.resources = resources
        self.aliases = aliases
        self.resolve = resolve
    }

    /// Whether names mean something here that are not in `resources`.
    var isDynamic: Bool { resolve != nil || !aliases.isEmpty }

    /// The names whose resource differs between two tables, sorted.
    static func changes(from old: ResourceTable?, to new: ResourceTable?) -> [String] {
        if old === new { return [] }
        var names: [String] = []
        for (name, resource) in new?.resources ?? [:] {
            guard let before = old?.resources[name] else {
                names.append(name)
                continue
            }
            if before !== resource, before.version != resource.version { names.append(name) }
        }
        for name in (old?.resources ?? [:]).keys where new?.resources[name] == nil { names.append(name) }
        return names.sorted()
    }
}

/// Everything that one proxy is to know, of one moment: by type URL, layers of tables with disjoint names.
public struct Snapshot: Sendable {
    /// A label for people, sent as `system_version_info`.
    public var version: String
    private var layers: [String: [ResourceTable]] = [:]

    /// An empty snapshot.
    public init(version: String = "") { self.version = version }

    /// The tables of a type.
    ///
    /// A layer that is shared with other snapshots should stand at the same place in all of them: then differences are found once.
    public subscript(typeURL: String) -> [ResourceTable] {
        get { layers[typeURL] ?? [] }
        set { layers[typeURL] = newValue }
    }

    /// The types of which there is something.
    public var typeURLs: [String] { ResourceOrder.sorted(layers.keys) }

    /// The resource of that name, also one that is only made when it is asked for.
    public func resource(_ typeURL: String, _ name: String) -> EncodedResource? {
        guard let tables = layers[typeURL] else { return nil }
        for table in tables { if let found = table.resources[name] { return found } }
        for table in tables { if let made = table.resolve?(name) { return made } }
        return nil
    }

    /// All resources of a type that have a name of their own, sorted.
    public func resources(_ typeURL: String) -> [EncodedResource] {
        self[typeURL].flatMap(\.resources.values).sorted { $0.name < $1.name }
    }

    /// The name that a resource has which is asked for by another.
    func canonicalName(_ typeURL: String, _ name: String) -> String {
        for table in layers[typeURL] ?? [] { if let found = table.aliases[name] { return found } }
        return name
    }

    func isDynamic(_ typeURL: String) -> Bool { layers[typeURL]?.contains(where: \.isDynamic) ?? false }

    /// Adds a cluster, listener, route configuration or other message under that name, in a layer of its own.
    public mutating func add<M: Message>(_ message: M, name: String) {
        let resource = EncodedResource(name: name, message: AnyMessage(packing: message))
        self[M.typeURL].append(ResourceTable([name: resource]))
    }
}

/// What is different between snapshots, found once for all streams that see the same tables.
public struct SnapshotChanges {
    private struct Pair: Hashable {
        var old: ObjectIdentifier?
        var new: ObjectIdentifier?
    }

    private var known: [Pair: [String]] = [:]
    /// Keeps the tables alive whose identities are keys.
    private var tables: [ResourceTable?] = []

    /// Nothing is known.
    public init() {}

    /// Forgets everything; to be called when a new model is published.
    public mutating func reset() {
        known = [:]
        tables = []
    }

    /// The names of the resources of a type that differ.
    mutating func names(_ typeURL: String, from old: Snapshot?, to new: Snapshot) -> [String] {
        let (before, after) = (old?[typeURL] ?? [], new[typeURL])
        var names: [String] = []
        for index in 0..<max(before.count, after.count) {
            let left = index < before.count ? before[index] : nil
            let right = index < after.count ? after[index] : nil
            if left === right { continue }
            let pair = Pair(old: left.map(ObjectIdentifier.init), new: right.map(ObjectIdentifier.init))
            if let found = known[pair] {
                names += found
            } else {
                let found = ResourceTable.changes(from: left, to: right)
                known[pair] = found
                tables += [left, right]
                names += found
            }
        }
        return names
    }
}

/// The order in which types are sent so that nothing refers to what is not there yet: make before break (P-7).
enum ResourceOrder {
    static let typeURLs = [
        Cluster.typeURL, ClusterLoadAssignment.typeURL, Listener.typeURL, RouteConfiguration.typeURL,
        VirtualHost.typeURL,
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
