public import Serialization

/// The store's logical clock: every write has its own, later writes have larger ones.
public typealias Revision = Int64

/// Where an object lives.
public struct StoreKey: Sendable, Hashable, Comparable {
    /// Group and plural of the kind: `apps/deployments`, `core/pods`.
    public var resource: String
    /// The namespace; empty for cluster-scoped kinds.
    public var namespace: String
    /// The object's name.
    public var name: String

    /// A place.
    public init(resource: String, namespace: String, name: String) {
        self.resource = resource
        self.namespace = namespace
        self.name = name
    }

    /// Lists are ordered by namespace and name.
    public static func < (left: StoreKey, right: StoreKey) -> Bool {
        (left.resource, left.namespace, left.name) < (right.resource, right.namespace, right.name)
    }
}

/// An object with the revision of its last write.
public struct StoredObject: Sendable, Hashable {
    /// Where it lives.
    public var key: StoreKey
    /// Its last write.
    public var revision: Revision
    /// The object itself.
    public var object: JSON

    /// An object as it is stored.
    public init(key: StoreKey, revision: Revision, object: JSON) {
        self.key = key
        self.revision = revision
        self.object = object
    }
}

/// One change, as watchers see it.
public struct StoreEvent: Sendable, Hashable {
    /// What happened.
    public enum Kind: Sendable, Hashable {
        /// A new object.
        case added
        /// A changed object.
        case modified
        /// A removed object.
        case deleted
    }

    /// What happened.
    public var kind: Kind
    /// The object after the change, or as it last was; its revision is that of the change.
    public var object: StoredObject
    /// The object before the change: tells a watcher with a selector whether the object left its selection.
    public var previous: JSON?

    /// A change.
    public init(kind: Kind, object: StoredObject, previous: JSON?) {
        self.kind = kind
        self.object = object
        self.previous = previous
    }
}

/// How long a write may be lost when the machine loses power; a killed process never loses one.
public enum Durability: Sendable, Hashable {
    /// Not at all: on disk before the call returns.
    ///
    /// For what a user has written.
    case synced
    /// Until the next synced write.
    ///
    /// For what is found out anew after a power failure: status, events, leases.
    case relaxed
}

/// Why the store refuses or fails.
public enum StoreError: Error, Sendable, Hashable, CustomStringConvertible {
    /// No object of that key.
    case notFound(StoreKey)
    /// There is one already.
    case alreadyExists(StoreKey)
    /// The object has another revision than expected.
    case conflict(StoreKey, expected: Revision, actual: Revision)
    /// The changes since that revision are forgotten.
    case expired(Revision, oldest: Revision)
    /// No space left; nothing was changed.
    case diskFull(path: String)
    /// The file is damaged or no database; nothing was changed.
    case corrupted(path: String, detail: String)
    /// Another process has the database open.
    case inUse(path: String)
    /// Anything else the library reports; nothing was changed.
    case failed(path: String, detail: String)

    /// What, where and what to do.
    public var description: String {
        switch self {
        case .notFound(let key): "\(key.resource) \(key.namespace)/\(key.name) not found"
        case .alreadyExists(let key): "\(key.resource) \(key.namespace)/\(key.name) already exists"
        case .conflict(let key, let expected, let actual):
            "\(key.resource) \(key.namespace)/\(key.name) has revision \(actual), not \(expected)"
        case .expired(let revision, let oldest): "too old resource version: \(revision) (\(oldest))"
        case .diskFull(let path):
            "\(path): no space left on the device; nothing was changed. Free some space and try again"
        case .corrupted(let path, let detail):
            "\(path): the database is damaged (\(detail)); it was not changed. Restore it with `skein restore FILE`, or move "
                + "it and its -wal file away to start empty"
        case .inUse(let path): "\(path): another process has the database open; stop it first (`skein down`)"
        case .failed(let path, let detail): "\(path): \(detail)"
        }
    }
}

/// A revisioned store of objects with watch.
///
/// One interface for SQLite inside and etcd outside.
///
/// Loop-owned: all calls come from one event loop.
public protocol ObjectStore: AnyObject {
    /// The revision of the last write.
    var revision: Revision { get }
    /// The object at `key`.
    func get(_ key: StoreKey) -> StoredObject?
    /// All objects of a resource, of one namespace or of all, ordered by namespace and name.
    func list(_ resource: String, namespace: String?) -> [StoredObject]
    /// Stores a new object.
    func create(_ key: StoreKey, _ object: JSON, _ durability: Durability) throws(StoreError) -> StoredObject
    /// Replaces an object, if it has the expected revision.
    func update(
        _ key: StoreKey, _ object: JSON, expected: Revision, _ durability: Durability
    ) throws(StoreError) -> StoredObject
    /// Removes an object, if it has the expected revision.
    ///
    /// The deletion has a revision of its own.
    func delete(_ key: StoreKey, expected: Revision, _ durability: Durability) throws(StoreError) -> StoredObject
    /// Every change of a resource after `revision`; `wake` is called when there is something to take.
    ///
    /// It is called in the midst of a write: it only schedules, and neither takes nor writes itself.
    func watch(
        _ resource: String, from revision: Revision, wake: @escaping () -> Void
    ) throws(StoreError) -> StoreWatch
}
