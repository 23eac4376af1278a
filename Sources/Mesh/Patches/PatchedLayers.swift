/// What EnvoyFilters made of layers, kept as long as those are the same objects.
struct PatchedLayers: Sendable {
    /// Whose layers.
    struct Key: Hashable, Sendable {
        var caller: Caller
        /// The pod, for its own part; `nil` for the part that callers of a kind share.
        var pod: NamespacedName?
        /// The gateway that shares nothing with others.
        var gateway: NamespacedName?
        var patches: [NamespacedName]
    }

    private struct Entry: Sendable {
        var sources: [MeshLayer]
        var layer: MeshLayer
    }

    private var entries: [Key: Entry] = [:]

    /// The patched layer: as it was made before, or made now.
    mutating func layer(_ key: Key, _ sources: [MeshLayer], _ change: (inout MeshResources) -> Void) -> MeshLayer {
        if let known = entries[key], known.sources.count == sources.count,
            zip(known.sources, sources).allSatisfy({ $0 === $1 })
        {
            return known.layer
        }
        var resources = MeshResources()
        for source in sources { resources.merge(source.resources) }
        change(&resources)
        let layer = MeshLayer(resources)
        entries[key] = Entry(sources: sources, layer: layer)
        return layer
    }

    /// Forgets what was made for a pod alone.
    mutating func forget(_ pod: NamespacedName) {
        for key in entries.keys where key.pod == pod || key.gateway == pod { entries[key] = nil }
    }
}
