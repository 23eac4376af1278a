import EnvoyAPI
import Mesh
import Serialization
import XDS

/// Translations as tables of encoded resources, each encoded once, whoever sees it.
///
/// A layer that many proxies share becomes tables that their snapshots share, found by the layer's identity.
struct SnapshotTables {
    private struct Made {
        /// Keeps the object alive whose identity is the key.
        var layer: MeshLayer
        var tables: [ResourceTable]
    }

    private static let types: [(typeURL: String, resources: @Sendable (MeshLayer) -> [String: MeshResource])] = [
        (Cluster.typeURL, { $0.clusters }), (ClusterLoadAssignment.typeURL, { $0.endpoints }),
        (Listener.typeURL, { $0.listeners }), (RouteConfiguration.typeURL, { $0.routes }),
    ]
    private static let empty = ResourceTable()

    private var made: [ObjectIdentifier: Made] = [:]
    /// Of the generation before; what nobody has asked for since is forgotten with the next.
    private var old: [ObjectIdentifier: Made] = [:]

    /// A new generation begins.
    mutating func begin() {
        old = made
        made = [:]
    }

    /// What a translation says; parts that are as in `previous` are the same tables.
    mutating func snapshot(_ translation: ProxySnapshot, generation: Int, previous: Snapshot?) -> Snapshot {
        var snapshot = Snapshot(version: String(generation))
        var columns = Self.types.map { _ in [ResourceTable]() }
        for (index, layer) in translation.layers.enumerated() {
            let tables = tables(layer) { type in
                let before = previous?[Self.types[type].typeURL] ?? []
                return before.indices.contains(index) ? before[index] : nil
            }
            for type in columns.indices { columns[type].append(tables[type]) }
        }
        for (type, column) in zip(Self.types, columns) { snapshot[type.typeURL] = column }
        return snapshot
    }

    private mutating func tables(_ layer: MeshLayer, _ before: (Int) -> ResourceTable?) -> [ResourceTable] {
        let key = ObjectIdentifier(layer)
        if let known = made[key] { return known.tables }
        if let known = old[key] {
            made[key] = known
            return known.tables
        }
        let tables = Self.types.indices.map { Self.table(Self.types[$0].resources(layer), like: before($0)) }
        made[key] = Made(layer: layer, tables: tables)
        return tables
    }

    private static func table(_ resources: [String: MeshResource], like before: ResourceTable?) -> ResourceTable {
        if resources.isEmpty { return empty }
        var isSame = before?.resources.count == resources.count
        let encoded = resources.mapValues { resource in
            if let known = before?.resources[resource.name], known.version == resource.version { return known }
            isSame = false
            return EncodedResource(name: resource.name, version: resource.version, message: resource.message)
        }
        if isSame, let before { return before }
        return ResourceTable(encoded)
    }
}
