import Mesh
import XDS

// From what the mesh is now to what each stream is sent of it.
extension SnapshotPublisher {
    /// Translates what has changed, for every connected proxy; returns what is to be sent.
    ///
    /// `revision` is the store's, up to which the objects are known.
    public mutating func flush(revision: Int64 = 0) -> Output {
        var output: Output = []
        refresh()
        revisions.reached(revision, at: generation)
        // A new stream may have had the mesh translated meanwhile: then the others have not heard of it.
        guard publishedGeneration != generation else { return output }
        publishedGeneration = generation
        let touched = translator.takeTouched()
        worlds.begin()
        for stream in concerned(touched) where stream.hasBase {
            let messages: [DiscoveryMessage]
            if touched.all || touched.pods.contains(stream.proxy.pod) {
                stream.leave(before: generation)
                messages = publish(to: stream)
            } else if let world = stream.world, let kind = stream.kind {
                // Of one that is not looked at here the world has made the same step.
                guard let step = step(world, kind, stream.onDemand) else { continue }
                messages = stream.publish(step, &maker)
            } else if let kind = stream.kind {
                messages = publish(to: stream, of: kind)
                join(stream, kind)
            } else {
                messages = publish(to: stream)
            }
            guard !messages.isEmpty else { continue }
            stream.traffic.sent(messages)
            changeTraffic.sent(messages)
            output.append((stream.number, messages))
        }
        return output
    }

    /// The streams that the present generation may concern, in order.
    private mutating func concerned(_ touched: (all: Bool, pods: Set<NamespacedName>)) -> [ProxyStream] {
        guard touched.all == false, touched.pods.isEmpty else { return order }
        let all = worlds.all
        // Mostly everybody follows some world: then nobody is looked at to find out.
        let following = all.reduce(0) { $0 + $1.world.count }
        var found = following == order.count ? [] : order.filter { $0.world == nil }
        for (kind, asksOnDemand, world) in all {
            if let step = step(world, kind, asksOnDemand) { found += world.concerned(by: step) }
        }
        return found.sorted { $0.number < $1.number }
    }

    /// What the present generation has brought to a world, found when it is asked for first; nil when it is what it was.
    private mutating func step(_ world: SharedWorld, _ kind: Int, _ asksOnDemand: Bool) -> SharedWorld.Step? {
        let state = world.state
        guard state.generation != generation else { return world.step }
        let next = self.world(kind, asksOnDemand, base: state.base, adapted: state.adapted)
        world.state = SharedWorld.State(
            base: next.base, adapted: next.adapted,
            version: next.base === state.base ? state.version : String(generation), generation: generation)
        world.step =
            next.base === state.base
            ? nil : SharedWorld.Step(from: state, to: world.state, difference: next.difference)
        return world.step
    }

    /// Has a stream that is up to date follow what others of its kind have too.
    private mutating func join(_ stream: ProxyStream, _ kind: Int) {
        guard stream.kind == kind, let base = stream.base?.parts.first,
            let adapted = stream.server.snapshot?.parts.first, stream.server.form == .delta
        else { return }
        let asksOnDemand = stream.asksOnDemand
        if let world = worlds.followed(kind, asksOnDemand) {
            _ = step(world, kind, asksOnDemand)
            // A resource that was made anew alike may stand in another part: with the next change all have the same.
            guard world.state.base === base, world.state.adapted === adapted else { return }
            stream.join(world)
        } else {
            let world = SharedWorld(
                SharedWorld.State(base: base, adapted: adapted, version: String(generation), generation: generation))
            worlds.follow(world, kind, asksOnDemand)
            stream.join(world)
        }
    }

    mutating func publish(to stream: ProxyStream) -> [DiscoveryMessage] {
        stream.leave()
        let made = translator.snapshot(for: stream.proxy)
        let base = tables.snapshot(made, generation: generation, previous: stream.base)
        var snapshot = adapted(base, to: stream)
        if let secrets = stream.secrets, !snapshot.parts.contains(where: { $0 === secrets }) {
            snapshot.parts.append(secrets)
        }
        stream.base = base
        snapshot = stream.quarantine.applied(to: snapshot)
        // What is made for this stream alone cannot be published to it as one of its kind.
        let isAlone =
            base.parts.count != 2 || stream.client != .skein || AgentlessResources.isAgentless(stream.server.node)
            || !stream.quarantine.isEmpty || (stream.asksOnDemand && forms.onDemand.needsShared(base))
        stream.kind = isAlone ? nil : translator.kind(of: stream.proxy)
        return stream.server.publish(snapshot, generation: generation, &changes, &maker)
    }

    /// Publishes to a stream of which only that can be different what all of its kind share: found once for all of them.
    private mutating func publish(to stream: ProxyStream, of kind: Int) -> [DiscoveryMessage] {
        guard let first = stream.base?.parts.first, let last = stream.server.snapshot?.parts.first else { return [] }
        let world = world(kind, stream.asksOnDemand, base: first, adapted: last)
        if world.base === first {
            stream.server.advance(to: generation)
            return []
        }
        let version = String(generation)
        stream.base?.parts[0] = world.base
        stream.base?.version = version
        guard stream.server.isConcerned(by: world.difference) else {
            stream.server.follow(shared: world.adapted, version: version, generation: generation)
            return []
        }
        return stream.server.publish(
            shared: world.adapted, version: version, generation: generation, world.difference, &maker)
    }

    /// What a kind shares in the present generation, against what it had.
    private mutating func world(
        _ kind: Int, _ asksOnDemand: Bool, base first: SnapshotPart, adapted last: SnapshotPart
    ) -> SharedWorlds.World {
        if let known = worlds.world(kind, asksOnDemand, from: last) { return known }
        let shared = tables.part(translator.shared(kind), like: first)
        let adapted = forms.part(shared, asksOnDemand: asksOnDemand, like: first)
        let (old, next) = (Snapshot(parts: [last]), Snapshot(parts: [adapted]))
        let world = SharedWorlds.World(
            base: shared, adapted: adapted, difference: changes.all(from: old, to: next))
        worlds.add(world, kind, asksOnDemand, from: last)
        return world
    }

    /// What a proxy gets of a translation: some clients want it in another form.
    mutating func adapted(_ base: Snapshot, to stream: ProxyStream) -> Snapshot {
        guard stream.client == .grpc else { return forms.snapshot(base, of: stream) }
        if let old = stream.base, let last = stream.server.snapshot, ProxylessResources.isSame(old, base) {
            var same = last
            same.version = base.version
            return same
        }
        return ProxylessResources.snapshot(base, for: stream.server.node)
    }

    mutating func refresh() {
        guard isStale else { return }
        isStale = false
        waiting = nil
        generation += 1
        changes.reset()
        maker.reset()
        forms.begin()
        translator.refresh()
        tables.begin()
    }
}
