public import APIServer
public import KubernetesAPI
public import Mesh
import Store

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

/// The objects of some kinds, kept up to date by watches on the registry of this process.
///
/// Loop-owned. Nothing changes behind the back of a reader: changes wait until `drain` is called.
public final class ObjectCache {
    private let registry: ObjectRegistry
    private var objects: [ResourceKind: [String: [String: KubernetesObject]]] = [:]
    private var watches: [(kind: ResourceKind, watch: StoreWatch)] = []
    private let wake: () -> Void

    /// Lists and watches `kinds`; `wake` is called when `drain` has something to give.
    public init(_ registry: ObjectRegistry, kinds: [ResourceKind], wake: @escaping () -> Void) throws(StatusError) {
        self.registry = registry
        self.wake = wake
        for kind in kinds {
            watches.append((kind, try registry.watch(kind, wake: wake)))
            for object in registry.list(kind) { store(kind, object) }
        }
    }

    /// The object of that kind and name.
    public func object(_ kind: ResourceKind, _ key: NamespacedName) -> KubernetesObject? {
        objects[kind]?[key.namespace]?[key.name]
    }

    /// All objects of a kind.
    public func objects(_ kind: ResourceKind) -> [KubernetesObject] {
        (objects[kind] ?? [:]).values.flatMap { $0.values }
    }

    /// The objects of a kind in one namespace.
    public func objects(_ kind: ResourceKind, namespace: String) -> [KubernetesObject] {
        (objects[kind]?[namespace] ?? [:]).values.map { $0 }
    }

    /// Takes what has changed since the last call, in order of each kind.
    public func drain() -> [ObjectEvent] {
        var events: [ObjectEvent] = []
        for index in watches.indices {
            let (kind, watch) = watches[index]
            if watch.isLost {
                events += relist(index)
                continue
            }
            for event in watch.take() {
                let object = registry.object(of: event, kind)
                let previous = self.object(kind, object.key)
                if event.kind == .deleted {
                    objects[kind]?[object.namespace]?[object.name] = nil
                } else {
                    store(kind, object)
                }
                events.append(
                    ObjectEvent(
                        kind: kind, object: object, previous: previous, isDeleted: event.kind == .deleted))
            }
        }
        return events
    }

    private func store(_ kind: ResourceKind, _ object: KubernetesObject) {
        objects[kind, default: [:]][object.namespace, default: [:]][object.name] = object
    }

    /// A watch that fell behind: everything is looked at again, and what is gone is told.
    private func relist(_ index: Int) -> [ObjectEvent] {
        let kind = watches[index].kind
        watches[index].watch.cancel()
        guard let watch = try? registry.watch(kind, wake: wake) else { return [] }
        watches[index].watch = watch
        let before = objects[kind] ?? [:]
        objects[kind] = [:]
        var events: [ObjectEvent] = []
        for object in registry.list(kind) {
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
