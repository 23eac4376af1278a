import EnvoyAPI
import Mesh
import Serialization
import XDS

/// Translations as tables of encoded resources, each encoded once, whoever sees it.
struct SnapshotTables {
    /// Every so many generations what nobody uses any more is forgotten.
    private static let sweepEvery = 16

    private struct Key: Hashable {
        var typeURL: String
        var name: String
        var version: String
    }

    private var encoded: [Key: EncodedResource] = [:]

    /// What a translation says; parts that are as in `previous` are the same tables.
    mutating func snapshot(_ made: ProxySnapshot, generation: Int, previous: Snapshot?) -> Snapshot {
        var snapshot = Snapshot(version: String(generation))
        func set(_ typeURL: String, _ resources: [String: MeshResource]) {
            snapshot[typeURL] = [table(typeURL, resources, previous?[typeURL].first)]
        }
        set(Cluster.typeURL, made.clusters)
        set(ClusterLoadAssignment.typeURL, made.endpoints)
        set(Listener.typeURL, made.listeners)
        set(RouteConfiguration.typeURL, made.routes)
        return snapshot
    }

    private mutating func table(
        _ typeURL: String, _ resources: [String: MeshResource], _ previous: ResourceTable?
    ) -> ResourceTable {
        if let previous, previous.resources.count == resources.count,
            resources.allSatisfy({ previous.resources[$0.key]?.version == $0.value.version })
        {
            return previous
        }
        return ResourceTable(
            resources.mapValues { resource in
                let key = Key(typeURL: typeURL, name: resource.name, version: resource.version)
                if let known = encoded[key] { return known }
                let made = EncodedResource(name: resource.name, version: resource.version, message: resource.message)
                encoded[key] = made
                return made
            })
    }

    /// Forgets what no table holds any more.
    mutating func sweep(generation: Int) {
        guard generation % Self.sweepEvery == 0 else { return }
        for key in Array(encoded.keys) {
            guard var resource = encoded.removeValue(forKey: key) else { continue }
            if !isKnownUniquelyReferenced(&resource) { encoded[key] = resource }
        }
    }
}
