import EnvoyAPI
import Mesh
import Serialization
import XDS

/// Translations as tables of encoded resources, each encoded once, whoever sees it.
///
/// A layer that many proxies share becomes tables that their snapshots share, found by the layer's identity.
struct SnapshotTables {
    private struct Made {
        /// Keeps the objects alive whose identities are the key.
        var layers: [MeshLayer]
        var part: SnapshotPart
    }

    private static let types: [(typeURL: String, resources: @Sendable (MeshLayer) -> [String: MeshResource])] = [
        (Cluster.typeURL, { $0.clusters }), (ClusterLoadAssignment.typeURL, { $0.endpoints }),
        (Listener.typeURL, { $0.listeners }), (RouteConfiguration.typeURL, { $0.routes }),
        (Secret.typeURL, { $0.secrets }),
    ]
    private static let empty = ResourceTable()
    /// The table of the layer that says whose addresses are, which all proxies share.
    private var workloads: (layer: MeshLayer, table: ResourceTable)?

    private var made: [[ObjectIdentifier]: Made] = [:]
    /// Of the generation before; what nobody has asked for since is forgotten with the next.
    private var old: [[ObjectIdentifier]: Made] = [:]

    /// A new generation begins.
    mutating func begin() {
        old = made
        made = [:]
    }

    /// What a translation says: a part that many share, and the proxy's own.
    ///
    /// Tables that are as in `previous` are the same tables.
    mutating func snapshot(_ translation: ProxySnapshot, generation: Int, previous: Snapshot?) -> Snapshot {
        func before(_ index: Int) -> SnapshotPart? {
            guard let parts = previous?.parts, parts.indices.contains(index) else { return nil }
            return parts[index]
        }
        let shared = Array(translation.layers.dropLast())
        var parts = [part(shared, like: before(0))]
        if let own = translation.layers.last { parts.append(part([own], like: before(1))) }
        return Snapshot(version: String(generation), parts: parts)
    }

    /// The tables of layers that belong together; those that are as in `before` are the same.
    mutating func part(_ layers: [MeshLayer], like before: SnapshotPart?) -> SnapshotPart {
        let key = layers.map(ObjectIdentifier.init)
        if let known = made[key] { return known.part }
        if let known = old[key] {
            made[key] = known
            return known.part
        }
        var tables: [String: [ResourceTable]] = [:]
        for type in Self.types {
            let last = before?.tables[type.typeURL] ?? []
            tables[type.typeURL] = layers.enumerated().map { index, layer in
                Self.table(type.resources(layer), like: last.indices.contains(index) ? last[index] : nil)
            }
        }
        tables[Workload.typeURL] = layers.last { !$0.workloads.isEmpty }.map { [workloadTable($0)] } ?? []
        let part = SnapshotPart(tables)
        made[key] = Made(layers: layers, part: part)
        return part
    }

    /// Only who names an address gets something.
    private mutating func workloadTable(_ layer: MeshLayer) -> ResourceTable {
        if let workloads, workloads.layer === layer { return workloads.table }
        let before = workloads?.table.resources ?? [:]
        let encoded = layer.workloads.mapValues { resource in
            if let known = before[resource.name], known.version == resource.version { return known }
            return EncodedResource(name: resource.name, version: resource.version, message: resource.message)
        }
        let table = ResourceTable(encoded, isNamedOnly: true)
        workloads = (layer, table)
        return table
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
