import XDS

/// What sidecars of one kind share, kept once for all of them: who wants nothing of a change hears of it when he is looked at next.
///
/// Belongs to the publisher.
final class SharedWorld {
    /// What is shared, at one moment.
    struct State {
        /// As the mesh made it.
        var base: SnapshotPart
        /// As the subscribers get it.
        var adapted: SnapshotPart
        var version: String
        var generation: Int
    }

    /// What one generation has brought.
    struct Step {
        var from: State
        var to: State
        var difference: SnapshotDifference
    }

    var state: State
    /// The last step; nil when the last generation brought nothing.
    var step: Step?
    /// The streams that follow it, each at its place.
    private(set) var members: [ProxyStream] = []
    /// What each of them may want; nil: to be found out when it is looked at.
    private var interests: [Interest?] = []
    /// How many there are.
    var count: Int { members.count }

    init(_ state: State) { self.state = state }

    /// One more follows; returns its place.
    func add(_ stream: ProxyStream) -> Int {
        members.append(stream)
        interests.append(nil)
        return members.count - 1
    }

    /// Who is at that place goes; the last one takes it.
    func remove(at place: Int) {
        members.swapAt(place, members.count - 1)
        interests.swapAt(place, interests.count - 1)
        members.removeLast()
        interests.removeLast()
        if place < members.count { members[place].moved(to: place) }
    }

    /// Who is at that place asks for something else.
    func forgetInterest(at place: Int) { interests[place] = nil }

    /// The members that a step may concern; the others are not looked at.
    func concerned(by step: Step) -> [ProxyStream] {
        var found: [ProxyStream] = []
        for place in members.indices {
            if let interest = interests[place] {
                guard step.difference.mayConcern(interest) else { continue }
            }
            let member = members[place]
            // Of other differences some come out of with other names.
            interests[place] = step.difference.isOfNames ? (interests[place] ?? member.interest) : nil
            found.append(member)
        }
        return found
    }

    /// What the streams have that have not heard of that generation yet.
    func state(before generation: Int) -> State {
        if let step, step.to.generation == generation { return step.from }
        return state
    }
}

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

    /// What streams follow, by kind and whether they ask on demand.
    private var followed: [Key: SharedWorld] = [:]

    /// The world of a kind that streams follow, if there are any.
    mutating func followed(_ kind: Int, _ asksOnDemand: Bool) -> SharedWorld? {
        let key = Key(kind: kind, asksOnDemand: asksOnDemand)
        guard let found = followed[key] else { return nil }
        guard found.count > 0 else {
            followed[key] = nil
            return nil
        }
        return found
    }

    /// All that streams follow, with whose they are.
    var all: [(kind: Int, asksOnDemand: Bool, world: SharedWorld)] {
        followed.map { ($0.key.kind, $0.key.asksOnDemand, $0.value) }
    }

    /// From now on streams of that kind may follow this.
    mutating func follow(_ world: SharedWorld, _ kind: Int, _ asksOnDemand: Bool) {
        followed = followed.filter { $0.value.count > 0 }
        followed[Key(kind: kind, asksOnDemand: asksOnDemand)] = world
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
