import XDS

/// What the sidecars of one kind share, and what of it is different for those who had another: found once in each generation.
struct SharedWorlds {
    struct World {
        /// As the mesh made it.
        var base: SnapshotPart
        /// As the subscriber gets it.
        var adapted: SnapshotPart
        /// Against what it had.
        var difference: SnapshotDifference
    }

    private struct Key: Hashable {
        var kind: Int
        var asksOnDemand: Bool
        var old: ObjectIdentifier?
    }

    private var known: [Key: World] = [:]
    /// Keeps the parts alive whose identities are keys.
    private var parts: [SnapshotPart?] = []
    /// Nearly always the same is asked for again.
    private var last: (key: Key, world: World)?

    /// A new generation begins.
    mutating func begin() {
        known = [:]
        parts = []
        last = nil
    }

    mutating func world(_ kind: Int, _ asksOnDemand: Bool, from old: SnapshotPart?) -> World? {
        let key = Key(kind: kind, asksOnDemand: asksOnDemand, old: old.map(ObjectIdentifier.init))
        if let last, last.key == key { return last.world }
        guard let found = known[key] else { return nil }
        last = (key, found)
        return found
    }

    mutating func add(_ world: World, _ kind: Int, _ asksOnDemand: Bool, from old: SnapshotPart?) {
        let key = Key(kind: kind, asksOnDemand: asksOnDemand, old: old.map(ObjectIdentifier.init))
        known[key] = world
        parts.append(old)
        last = (key, world)
    }
}
