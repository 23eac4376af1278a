import XDS

/// Resources of the mesh in another form, which some proxies get: made once for all of them, and kept as long as what it was made of is in use.
///
/// A resource in which nothing changes is the same object as before, and so is a table of only such.
struct AdaptedResources {
    private let types: [String]
    private let change: (EncodedResource) -> EncodedResource

    /// - Parameters:
    ///   - types: What is looked at; resources of other types stay as they are.
    ///   - change: The other form of a resource; the same object where it has none.
    init(_ types: [String], _ change: @escaping (EncodedResource) -> EncodedResource) {
        self.types = types
        self.change = change
    }

    private struct MadePart {
        var source: SnapshotPart
        var part: SnapshotPart
    }

    private struct MadeTable {
        var source: ResourceTable
        var table: ResourceTable
    }

    private struct MadeResource {
        var source: EncodedResource
        var resource: EncodedResource
    }

    private var parts: [ObjectIdentifier: MadePart] = [:]
    private var oldParts: [ObjectIdentifier: MadePart] = [:]
    private var tables: [ObjectIdentifier: MadeTable] = [:]
    private var oldTables: [ObjectIdentifier: MadeTable] = [:]
    private var resources: [ObjectIdentifier: MadeResource] = [:]

    /// A new generation begins: what no snapshot of the last one used is forgotten.
    mutating func begin() {
        guard !parts.isEmpty || !oldParts.isEmpty else { return }
        oldParts = parts
        parts = [:]
        oldTables = tables
        tables = [:]
        let live = oldTables.values.reduce(0) { $0 + $1.source.resources.count }
        guard resources.count > 2 * live else { return }
        var kept: [ObjectIdentifier: MadeResource] = [:]
        for table in oldTables.values {
            for source in table.source.resources.values {
                let key = ObjectIdentifier(source)
                if let known = resources[key] { kept[key] = known }
            }
        }
        resources = kept
    }

    /// A snapshot in the other form.
    mutating func snapshot(_ base: Snapshot) -> Snapshot {
        var snapshot = base
        for index in snapshot.parts.indices { snapshot.parts[index] = part(base.parts[index]) }
        return snapshot
    }

    /// A part of a snapshot in the other form.
    mutating func part(_ base: SnapshotPart) -> SnapshotPart {
        let key = ObjectIdentifier(base)
        if let known = parts[key] { return known.part }
        let known = oldParts[key]
        var made = base.tables
        for typeURL in types {
            made[typeURL] = base.tables[typeURL]?.map { table($0) }
        }
        let part = known?.part ?? SnapshotPart(made)
        parts[key] = MadePart(source: base, part: part)
        return part
    }

    private mutating func table(_ base: ResourceTable) -> ResourceTable {
        let key = ObjectIdentifier(base)
        if let known = tables[key] ?? oldTables[key] {
            tables[key] = known
            return known.table
        }
        var changed = base.resources
        var isOther = false
        for (name, resource) in base.resources {
            let made = self.resource(resource)
            guard made !== resource else { continue }
            changed[name] = made
            isOther = true
        }
        let table = isOther ? ResourceTable(changed, aliases: base.names, resolver: base.resolver) : base
        tables[key] = MadeTable(source: base, table: table)
        return table
    }

    private mutating func resource(_ base: EncodedResource) -> EncodedResource {
        let key = ObjectIdentifier(base)
        if let known = resources[key] { return known.resource }
        let made = change(base)
        if made !== base { resources[key] = MadeResource(source: base, resource: made) }
        return made
    }
}
