public import APIServer
public import KubernetesAPI
public import Mesh

/// One change of an object, as controllers see it.
public struct ObjectEvent: Sendable {
    /// The kind.
    public var kind: ResourceKind
    /// The object now, or as it last was.
    public var object: KubernetesObject
    /// The object before; `nil` when it is new.
    public var previous: KubernetesObject?
    /// Whether it is gone.
    public var isDeleted: Bool
}

/// The objects of some kinds, kept up to date by the feeds of a source.
///
/// Loop-owned. Nothing changes behind the back of a reader: changes wait until `drain` is called.
public final class ObjectCache {
    private var objects: [ResourceKind: [String: [String: KubernetesObject]]] = [:]
    private var feeds: [(kind: ResourceKind, feed: any ObjectFeed)] = []
    private var indexes: [ResourceKind: [ObjectIndex]]
    /// How many objects were handed out in lists: what a reader does grows with it.
    public private(set) var visitCount = 0

    /// Takes what there is of `kinds`, and follows them; `wake` is called when `drain` has something to give.
    ///
    /// Objects can be asked for by `indexes`.
    public init(
        _ source: any ObjectSource, kinds: [ResourceKind], indexes: [ObjectIndex] = [], wake: @escaping () -> Void
    ) throws(StatusError) {
        self.indexes = Dictionary(grouping: indexes, by: \.kind)
        for kind in kinds {
            let feed = try source.follow(kind, wake: wake)
            feeds.append((kind, feed))
            for change in feed.take() { _ = apply(change, kind) }
        }
    }

    deinit { feeds.forEach { $0.feed.cancel() } }

    /// The object of that kind and name.
    public func object(_ kind: ResourceKind, _ key: NamespacedName) -> KubernetesObject? {
        objects[kind]?[key.namespace]?[key.name]
    }

    /// All objects of a kind.
    public func objects(_ kind: ResourceKind) -> [KubernetesObject] {
        counted((objects[kind] ?? [:]).values.flatMap { $0.values })
    }

    /// The objects of a kind in one namespace.
    public func objects(_ kind: ResourceKind, namespace: String) -> [KubernetesObject] {
        counted((objects[kind]?[namespace] ?? [:]).values.map { $0 })
    }

    /// The objects of one namespace that an index has under a value; all of its kind when it has no such index.
    public func objects(_ kind: ResourceKind, by index: ObjectIndex.Name, _ value: String, namespace: String)
        -> [KubernetesObject]
    {
        guard let found = indexes[kind]?.first(where: { $0.name == index }) else {
            return objects(kind, namespace: namespace)
        }
        let objects = objects[kind]?[namespace] ?? [:]
        return counted(found.names(value, namespace: namespace).compactMap { objects[$0] })
    }

    /// The objects of one namespace that may have all of those labels, of a kind with an index by label: some do not, and none that does is missing.
    public func candidates(_ kind: ResourceKind, labels: [String: String], namespace: String) -> [KubernetesObject] {
        let index = indexes[kind]?.first { $0.name == .label }
        let sizes = labels.map { pair in
            let value = ObjectIndex.pair(pair.key, pair.value)
            return (value: value, count: index?.names(value, namespace: namespace).count ?? 0)
        }
        guard let least = sizes.min(by: { ($0.count, $0.value) < ($1.count, $1.value) }) else {
            return objects(kind, namespace: namespace)
        }
        return objects(kind, by: .label, least.value, namespace: namespace)
    }

    private func counted(_ objects: [KubernetesObject]) -> [KubernetesObject] {
        visitCount += objects.count
        return objects
    }

    /// Takes what has changed since the last call, in order of each kind.
    public func drain() -> [ObjectEvent] {
        feeds.flatMap { kind, feed in feed.take().flatMap { apply($0, kind) } }
    }

    private func apply(_ change: FeedChange, _ kind: ResourceKind) -> [ObjectEvent] {
        switch change {
        case .set(let object):
            let previous = self.object(kind, object.key)
            store(kind, object)
            return [ObjectEvent(kind: kind, object: object, previous: previous, isDeleted: false)]
        case .deleted(let object):
            // What is told twice, after a place was taken up again, happened once.
            guard let previous = self.object(kind, object.key) else { return [] }
            objects[kind]?[object.namespace]?[object.name] = nil
            reindex(kind, from: previous, to: nil)
            return [ObjectEvent(kind: kind, object: object, previous: previous, isDeleted: true)]
        case .replaced(let all): return replace(all, kind)
        }
    }

    private func store(_ kind: ResourceKind, _ object: KubernetesObject) {
        reindex(kind, from: self.object(kind, object.key), to: object)
        objects[kind, default: [:]][object.namespace, default: [:]][object.name] = object
    }

    private func reindex(_ kind: ResourceKind, from old: KubernetesObject?, to now: KubernetesObject?) {
        guard let count = indexes[kind]?.count else { return }
        for place in 0..<count { indexes[kind]?[place].replace(old, now) }
    }

    /// Everything is looked at again, and what is gone is told.
    private func replace(_ all: [KubernetesObject], _ kind: ResourceKind) -> [ObjectEvent] {
        let before = objects[kind] ?? [:]
        objects[kind] = [:]
        for place in (indexes[kind] ?? []).indices { indexes[kind]?[place].removeAll() }
        var events: [ObjectEvent] = []
        for object in all {
            store(kind, object)
            let previous = before[object.namespace]?[object.name]
            if previous != object {
                events.append(ObjectEvent(kind: kind, object: object, previous: previous, isDeleted: false))
            }
        }
        for object in before.values.flatMap(\.values) where self.object(kind, object.key) == nil {
            events.append(ObjectEvent(kind: kind, object: object, previous: object, isDeleted: true))
        }
        return events
    }
}
