/// Layers with the same content, held once: the copies of a workload have the same way in.
struct SharedLayers: Sendable {
    /// After so many that nobody holds any more they are let go of.
    private static let goneMax = 64

    private var known: [MeshResources: MeshLayer] = [:]
    private var gone = 0

    /// How many different ones are known.
    var count: Int { known.count }

    /// The layer that was there before with that content, else this one.
    mutating func layer(like made: MeshLayer) -> MeshLayer {
        if let found = known[made.resources] { return found }
        known[made.resources] = made
        return made
    }

    /// So many results have been forgotten; `live` holds the others.
    mutating func forget(_ count: Int, live: Memo<some Hashable & Sendable, MeshLayer>) {
        gone += count
        guard gone > Self.goneMax else { return }
        gone = 0
        let held = Set(live.values.map(ObjectIdentifier.init))
        known = known.filter { held.contains(ObjectIdentifier($0.value)) }
    }
}
