import EnvoyAPI
public import Serialization

/// Makes resources whose names are only known when they are asked for.
///
/// The same object stands for the same answers: what it made needs not be made again.
public final class ResourceResolver: Sendable {
    private let make: @Sendable (String) -> EncodedResource?

    /// Must give the same resource for the same name, always; nil when there is none.
    public init(_ make: @escaping @Sendable (String) -> EncodedResource?) { self.make = make }

    /// What it makes of a name.
    public func resolve(_ name: String) -> EncodedResource? { make(name) }
}

/// An immutable set of resources of one type, shared by all streams that see it.
public final class ResourceTable: Sendable {
    /// The resources by name.
    public let resources: [String: EncodedResource]
    /// Other names under which resources are asked for (VHDS), with the names that they have here.
    public let aliases: [String: String]
    /// What is answered for a name that is neither; nil when there is nothing.
    public let resolver: ResourceResolver?

    /// A table.
    public init(
        _ resources: [String: EncodedResource] = [:], aliases: [String: String] = [:],
        resolver: ResourceResolver? = nil
    ) {
        self.resources = resources
        self.aliases = aliases
        self.resolver = resolver
    }

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

/// Tables by type that are shared as a whole: the same object means the same content.
public final class SnapshotPart: Sendable {
    /// The tables of each type; names do not overlap.
    public let tables: [String: [ResourceTable]]

    /// A part.
    public init(_ tables: [String: [ResourceTable]]) { self.tables = tables }
}

/// Everything that one proxy is to know, of one moment: parts with disjoint names, most of them shared with other proxies.
public struct Snapshot: Sendable {
    /// A label for people, sent as `system_version_info`.
    public var version: String
    /// The parts; one that is shared should stand at the same place in all snapshots: then differences are found once.
    public var parts: [SnapshotPart]

    /// A snapshot of parts.
    public init(version: String = "", parts: [SnapshotPart] = []) {
        self.version = version
        self.parts = parts
    }

    /// The tables of a type; setting them makes one part of all, for small snapshots.
    public subscript(typeURL: String) -> [ResourceTable] {
        get { parts.flatMap { $0.tables[typeURL] ?? [] } }
        set {
            var tables: [String: [ResourceTable]] = [:]
            for part in parts { tables.merge(part.tables) { $0 + $1 } }
            tables[typeURL] = newValue
            parts = [SnapshotPart(tables)]
        }
    }

    /// The resource of that name, also one that is only made when it is asked for.
    public func resource(_ typeURL: String, _ name: String) -> EncodedResource? {
        for part in parts {
            for table in part.tables[typeURL] ?? [] { if let found = table.resources[name] { return found } }
        }
        for part in parts {
            for table in part.tables[typeURL] ?? [] { if let made = table.resolver?.resolve(name) { return made } }
        }
        return nil
    }

    /// All resources of a type that have a name of their own, sorted.
    public func resources(_ typeURL: String) -> [EncodedResource] {
        self[typeURL].flatMap(\.resources.values).sorted { $0.name < $1.name }
    }

    /// The name that a resource has which is asked for by another.
    func canonicalName(_ typeURL: String, _ name: String) -> String {
        for part in parts {
            for table in part.tables[typeURL] ?? [] { if let found = table.aliases[name] { return found } }
        }
        return name
    }

    /// Whether there is one of that name that needs not be made.
    func hasOwn(_ typeURL: String, _ name: String) -> Bool {
        parts.contains { part in part.tables[typeURL]?.contains { $0.resources[name] != nil } ?? false }
    }

    /// Adds a cluster, listener, route configuration or other message under that name, in place of one that is there.
    ///
    /// Makes a layer of all layers: for small snapshots.
    public mutating func add<M: Message>(_ message: M, name: String) {
        var resources: [String: EncodedResource] = [:]
        for table in self[M.typeURL] { resources.merge(table.resources) { first, _ in first } }
        resources[name] = EncodedResource(name: name, message: AnyMessage(packing: message))
        self[M.typeURL] = [ResourceTable(resources)]
    }
}

/// What is different between two snapshots in one type.
struct TypeChanges {
    /// The names of resources that differ.
    var names: [String] = []
    /// Names that stand for other resources than before.
    var aliases: [String] = []
    /// Whether names that are only known when they are asked for may mean something else.
    var isResolverOther = false

    var isEmpty: Bool { names.isEmpty && aliases.isEmpty && !isResolverOther }

    mutating func add(_ other: TypeChanges) {
        if isEmpty {
            self = other
        } else if !other.isEmpty {
            names += other.names
            aliases += other.aliases
            isResolverOther = isResolverOther || other.isResolverOther
        }
    }
}

/// What is different between snapshots, found once for all streams that see the same tables.
public struct SnapshotChanges {
    private struct Pair: Hashable {
        var old: ObjectIdentifier?
        var new: ObjectIdentifier?
        /// Of tables the type says itself.
        var typeURL = ""
    }

    private var known: [Pair: TypeChanges] = [:]
    /// Keeps the tables alive whose identities are keys.
    private var tables: [ResourceTable?] = []
    private var parts: [SnapshotPart?] = []

    /// Nothing is known.
    public init() {}

    /// Forgets everything; to be called when a new model is published.
    public mutating func reset() {
        known = [:]
        tables = []
        parts = []
    }

    mutating func find(_ typeURL: String, from old: Snapshot?, to new: Snapshot) -> TypeChanges {
        let (before, after) = (old?.parts ?? [], new.parts)
        var all = TypeChanges()
        for index in 0..<max(before.count, after.count) {
            let left = index < before.count ? before[index] : nil
            let right = index < after.count ? after[index] : nil
            if left === right { continue }
            let pair = Pair(
                old: left.map(ObjectIdentifier.init), new: right.map(ObjectIdentifier.init), typeURL: typeURL)
            if let found = known[pair] {
                all.add(found)
            } else {
                let found = find(left?.tables[typeURL] ?? [], right?.tables[typeURL] ?? [])
                known[pair] = found
                parts += [left, right]
                all.add(found)
            }
        }
        return all
    }

    private mutating func find(_ before: [ResourceTable], _ after: [ResourceTable]) -> TypeChanges {
        var all = TypeChanges()
        for index in 0..<max(before.count, after.count) {
            let left = index < before.count ? before[index] : nil
            let right = index < after.count ? after[index] : nil
            if left === right { continue }
            let pair = Pair(old: left.map(ObjectIdentifier.init), new: right.map(ObjectIdentifier.init))
            if let found = known[pair] {
                all.add(found)
            } else {
                let found = Self.compare(left, right)
                known[pair] = found
                tables += [left, right]
                all.add(found)
            }
        }
        return all
    }

    private static func compare(_ old: ResourceTable?, _ new: ResourceTable?) -> TypeChanges {
        var aliases: [String] = []
        for (name, target) in new?.aliases ?? [:] where old?.aliases[name] != target { aliases.append(name) }
        for name in (old?.aliases ?? [:]).keys where new?.aliases[name] == nil { aliases.append(name) }
        return TypeChanges(
            names: ResourceTable.changes(from: old, to: new), aliases: aliases.sorted(),
            isResolverOther: old?.resolver !== new?.resolver)
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
