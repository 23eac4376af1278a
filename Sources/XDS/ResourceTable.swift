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

/// Other names under which resources are asked for (VHDS), with the names that they have.
///
/// Apart from the resources, since they stay when those change: the same object means the same names.
public final class ResourceAliases: Sendable {
    /// Name asked for to name of the resource.
    public let names: [String: String]

    /// Names.
    public init(_ names: [String: String]) { self.names = names }

    static let none = ResourceAliases([:])
}

/// An immutable set of resources of one type, shared by all streams that see it.
public final class ResourceTable: Sendable {
    /// The resources by name.
    public let resources: [String: EncodedResource]
    /// Other names under which resources are asked for (VHDS), with the names that they have here.
    public var aliases: [String: String] { names.names }
    /// Those names in the form in which tables share them.
    public let names: ResourceAliases
    /// What is answered for a name that is neither; nil when there is nothing.
    public let resolver: ResourceResolver?
    /// Whether only those get something of it who name it, and not who asks for everything.
    public let isNamedOnly: Bool

    /// A table.
    public init(
        _ resources: [String: EncodedResource] = [:], aliases: ResourceAliases? = nil,
        resolver: ResourceResolver? = nil, isNamedOnly: Bool = false
    ) {
        self.resources = resources
        self.isNamedOnly = isNamedOnly
        names = aliases ?? .none
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
    ///
    /// - Parameter isNamed: Whether it was asked for by its name, and not among all there are.
    public func resource(_ typeURL: String, _ name: String, isNamed: Bool = true) -> EncodedResource? {
        for part in parts {
            for table in part.tables[typeURL] ?? [] where isNamed || !table.isNamedOnly {
                if let found = table.resources[name] { return found }
            }
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

    /// The same, with the name that was asked for as the tables have it; nil when it stands for no other.
    func alias(_ typeURL: String, _ name: String) -> (asked: String, name: String)? {
        for part in parts {
            for table in part.tables[typeURL] ?? [] {
                guard let index = table.aliases.index(forKey: name) else { continue }
                let found = table.aliases[index]
                return (found.key, found.value)
            }
        }
        return nil
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
    /// Those of tables of which only those get something who name it.
    var namedOnly: [String] = []
    /// Names that stand for other resources than before.
    var aliases: [String] = []
    /// Whether names that are only known when they are asked for may mean something else.
    var isResolverOther = false

    var isEmpty: Bool { names.isEmpty && namedOnly.isEmpty && aliases.isEmpty && !isResolverOther }

    /// Whether it takes no more than names to tell what changes, of one kind of tables, and few enough that each can have a bit.
    var isOfNames: Bool {
        aliases.isEmpty && !isResolverOther && (names.isEmpty || namedOnly.isEmpty)
            && names.count + namedOnly.count <= PreparedPushes.namesMax
    }

    /// Which of the changed names are wanted by who named those, or all; a bit for each.
    ///
    /// Nil when it takes more than names to tell what changes.
    func wanted(by names: Set<String>, isWildcard: Bool) -> UInt64? {
        guard isOfNames else { return nil }
        let count = sole.count
        if isWildcard, namedOnly.isEmpty { return count == 64 ? .max : (1 << UInt64(count)) - 1 }
        var bits: UInt64 = 0
        for index in 0..<count where names.contains(sole[index]) { bits |= 1 << UInt64(index) }
        return bits
    }

    /// The names then.
    var sole: [String] { names.isEmpty ? namedOnly : names }

    mutating func add(_ other: TypeChanges) {
        if isEmpty {
            self = other
        } else if !other.isEmpty {
            names += other.names
            namedOnly += other.namedOnly
            aliases += other.aliases
            isResolverOther = isResolverOther || other.isResolverOther
        }
    }
}

/// What is different between two snapshots, by type: found once for all streams that go from one to the other.
public struct SnapshotDifference {
    let types: [(typeURL: String, changes: TypeChanges)]
    /// What was made of it for streams that are sent the same.
    let prepared = PreparedPushes()
    private let probe: InterestProbe

    init(_ types: [String: TypeChanges]) {
        let types = types.filter { !$0.value.isEmpty }.sorted {
            ResourceOrder.place($0.key) < ResourceOrder.place($1.key)
        }
        .map { (typeURL: $0.key, changes: $0.value) }
        self.types = types
        probe = InterestProbe(types)
    }

    /// Whether there is none.
    public var isEmpty: Bool { types.isEmpty }

    /// Whether names alone tell who is concerned, so that nobody asks for other names afterwards.
    public var isOfNames: Bool { probe.isOfNames }

    /// Whether somebody with that interest may be concerned; who is not is not at all.
    public func mayConcern(_ interest: Interest) -> Bool { probe.concerns(interest) }
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

    /// What is different in all types that the snapshots have.
    public mutating func all(from old: Snapshot?, to new: Snapshot) -> SnapshotDifference {
        var types: [String: TypeChanges] = [:]
        for part in (old?.parts ?? []) + new.parts {
            for typeURL in part.tables.keys where types[typeURL] == nil {
                types[typeURL] = find(typeURL, from: old, to: new)
            }
        }
        return SnapshotDifference(types)
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
        if old?.names !== new?.names || new == nil {
            for (name, target) in new?.aliases ?? [:] where old?.aliases[name] != target { aliases.append(name) }
            for name in (old?.aliases ?? [:]).keys where new?.aliases[name] == nil { aliases.append(name) }
        }
        let names = ResourceTable.changes(from: old, to: new)
        let isNamedOnly = (new ?? old)?.isNamedOnly ?? false
        return TypeChanges(
            names: isNamedOnly ? [] : names, namedOnly: isNamedOnly ? names : [], aliases: aliases.sorted(),
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

    /// What types are sorted by: those in order, all others after them by name.
    static func place(_ typeURL: String) -> (Int, String) { (rank(typeURL) ?? .max, typeURL) }

    /// Those types in order.
    static func sorted(_ types: some Sequence<String>) -> [String] { types.sorted { place($0) < place($1) } }
}

/// A peer broke the protocol or one of our bounds: the stream must end.
public struct ProtocolViolation: Error, Hashable, Sendable, CustomStringConvertible {
    /// What it did.
    public var description: String

    init(_ description: String) { self.description = description }
}
