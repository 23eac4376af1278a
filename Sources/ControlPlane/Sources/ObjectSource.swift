public import APIServer
public import KubernetesAPI
public import Mesh
public import Serialization
public import Store

/// Something that changed among the objects of a kind.
public enum FeedChange: Sendable {
    /// These are all there are; what is not among them is gone.
    case replaced([KubernetesObject])
    /// A new object, or one that is different now.
    case set(KubernetesObject)
    /// The object is gone; this is how it last was.
    case deleted(KubernetesObject)
}

/// The changes of one kind, for one reader.
///
/// Loop-owned.
public protocol ObjectFeed: AnyObject {
    /// What has changed since the last call; the first call tells all that is there.
    func take() -> [FeedChange]
    /// Ends it.
    func cancel()
}

/// Where the control plane learns about the world and writes what came of it: our own API, or a Kubernetes API elsewhere.
///
/// One way of reading for both (ARCHITECTURE decision 2). Loop-owned. Writes may be done when the call returns, or later;
/// `done` is called once, on the loop.
public protocol ObjectSource: AnyObject {
    /// How far the source is known: no change up to this revision is missing.
    var revision: Int64 { get }
    /// Whether this process writes: one of several does.
    var isWriter: Bool { get }
    /// Called when `isWriter` has changed.
    var writerChanged: [() -> Void] { get set }
    /// How many objects there are of each kind.
    var counts: [(kind: ResourceKind, count: Int)] { get }
    /// What the store counts; `nil` where objects are somebody else's.
    var storeCounters: StoreCounters? { get }
    /// Follows a kind; `wake` is called when there is something to take, in the midst of what made it.
    func follow(_ kind: ResourceKind, wake: @escaping () -> Void) throws(StatusError) -> any ObjectFeed
    /// The object as it is known here.
    func known(_ kind: ResourceKind, _ key: NamespacedName) -> KubernetesObject?
    /// All objects of a kind that are known here, in no order.
    func all(_ kind: ResourceKind) -> [KubernetesObject]
    /// Changes an object: `change` gets it as it is, again when somebody else was faster, and gives it as it should be.
    func modify(
        _ kind: ResourceKind, _ key: NamespacedName, subresource: String, _ change: @escaping (JSON) -> JSON,
        _ done: @escaping (StatusError?) -> Void)
    /// Makes an object; `done` gets its name.
    func create(
        _ kind: ResourceKind, _ object: JSON, namespace: String,
        _ done: @escaping (Result<String, StatusError>) -> Void)
    /// Deletes the object with that identity; one of the same name that came since is left alone (409).
    func delete(_ kind: ResourceKind, _ key: NamespacedName, uid: String, _ done: @escaping (StatusError?) -> Void)
}

/// Our own API in this process as a source.
public final class RegistrySource: ObjectSource {
    private let registry: ObjectRegistry

    /// The objects of `registry`.
    public init(_ registry: ObjectRegistry) { self.registry = registry }

    /// The revision of the last write that the store's home has.
    public var revision: Int64 { registry.store.settledRevision }
    /// Of several servers over one store the leader; alone always.
    public var isWriter = true {
        didSet { if isWriter != oldValue { writerChanged.forEach { $0() } } }
    }
    /// Called when the leader changes.
    public var writerChanged: [() -> Void] = []
    /// How many objects the store has of each kind.
    public var counts: [(kind: ResourceKind, count: Int)] {
        registry.kinds.all.map { ($0, registry.store.list($0.storeResource, namespace: nil).count) }
    }

    /// What our store counts.
    public var storeCounters: StoreCounters? { registry.store.counters }

    /// Watches the store.
    public func follow(_ kind: ResourceKind, wake: @escaping () -> Void) throws(StatusError) -> any ObjectFeed {
        try RegistryFeed(registry, kind, wake: wake)
    }

    /// The object in the store.
    public func known(_ kind: ResourceKind, _ key: NamespacedName) -> KubernetesObject? {
        try? registry.get(kind, key.namespace, key.name)
    }

    /// All objects of a kind in the store.
    public func all(_ kind: ResourceKind) -> [KubernetesObject] { registry.list(kind) }

    /// Done when it returns.
    public func modify(
        _ kind: ResourceKind, _ key: NamespacedName, subresource: String, _ change: @escaping (JSON) -> JSON,
        _ done: @escaping (StatusError?) -> Void
    ) {
        do throws(StatusError) {
            _ = try registry.modify(kind, key.namespace, key.name, subresource: subresource) {
                (json) throws(StatusError) in change(json)
            }
            done(nil)
        } catch {
            done(error)
        }
    }

    /// Done when it returns.
    public func create(
        _ kind: ResourceKind, _ object: JSON, namespace: String,
        _ done: @escaping (Result<String, StatusError>) -> Void
    ) {
        do throws(StatusError) {
            done(.success(try registry.create(object, kind, namespace: namespace).object.name))
        } catch {
            done(.failure(error))
        }
    }

    /// Done when it returns.
    public func delete(
        _ kind: ResourceKind, _ key: NamespacedName, uid: String, _ done: @escaping (StatusError?) -> Void
    ) {
        var options = DeleteOptions()
        options.uid = uid
        do throws(StatusError) {
            try registry.delete(kind, key.namespace, key.name, options: options)
            done(nil)
        } catch {
            done(error)
        }
    }
}
