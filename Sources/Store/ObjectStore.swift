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
        if left.resource != right.resource { return left.resource < right.resource }
        return left.namespace == right.namespace ? left.name < right.name : left.namespace < right.namespace
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
    /// The revision of `previous`; 0 when there is none.
    public var previousRevision: Revision

    /// A change.
    public init(kind: Kind, object: StoredObject, previous: JSON?, previousRevision: Revision = 0) {
        self.kind = kind
        self.object = object
        self.previous = previous
        self.previousRevision = previousRevision
    }
}

/// How much a write hurries.
///
/// Both are equally safe once they are settled, and both hurry when somebody waits for its `settlement`.
public enum Durability: Sendable, Hashable {
    /// At the end of this pass of the loop.
    ///
    /// For what a user has written.
    case synced
    /// It waits a few milliseconds for company, so that many share one step to the disk.
    ///
    /// For what controllers write in crowds: status, events, leases.
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
    /// The object has more bytes than a home takes.
    case tooLarge(StoreKey, bytes: Int)
    /// Another server wrote first: what was written was taken back; look again and do it again.
    case overtaken
    /// The home cannot be reached, or is too far behind; whether the write was stored is unknown if it was under way.
    case unavailable(String)
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
        case .corrupted(let path, let detail) where path.hasPrefix("etcd "):
            "\(path): what is there is not what Skein writes (\(detail)); it was not changed. Put a snapshot of etcd back"
        case .corrupted(let path, let detail):
            "\(path): the database is damaged (\(detail)); it was not changed. Restore it with `skein restore FILE`, or move "
                + "it and its -wal file away to start empty"
        case .inUse(let path): "\(path): another process has the database open; stop it first (`skein down`)"
        case .failed(let path, let detail): path.isEmpty ? detail : "\(path): \(detail)"
        case .tooLarge(let key, let bytes):
            "\(key.resource) \(key.namespace)/\(key.name) has \(bytes) bytes; \(ReplicaStore.objectBytesMax) is the most"
        case .overtaken: "another server wrote first; nothing was changed"
        case .unavailable(let detail): "the store is not available: \(detail)"
        }
    }
}

/// A revisioned store of objects with watch.
///
/// One interface for SQLite inside and etcd outside. Reads and writes are synchronous, on memory; a `Settlement` is where one
/// waits for the disk or the cluster, and `refreshed` for other servers.
///
/// Loop-owned: all calls come from one event loop.
public protocol ObjectStore: AnyObject {
    /// The revision of the last write.
    var revision: Revision { get }
    /// Everything up to this revision is safe, and watchers have it.
    var settledRevision: Revision { get }
    /// Whether other servers write to the same home.
    var isShared: Bool { get }
    /// What it did, and which limits it hit.
    var counters: StoreCounters { get }
    /// Takes note of writes of other servers, before watchers see them.
    var onForeignWrite: ((StoreEvent) -> Void)? { get set }
    /// Called when unsettled writes were taken back, or everything was read anew.
    var onReset: [() -> Void] { get set }
    /// The object at `key`.
    func get(_ key: StoreKey) -> StoredObject?
    /// All objects of a resource, of one namespace or of all, ordered by namespace and name.
    func list(_ resource: String, namespace: String?) -> [StoredObject]
    /// The same as it was at a revision; `expired` when that is forgotten.
    func list(_ resource: String, namespace: String?, at revision: Revision) throws(StoreError) -> [StoredObject]
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
    /// Does several writes as one: all are stored or none.
    func transaction<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result
    /// Every change of a resource after `revision`, once it is settled; `wake` is called when there is something to take.
    ///
    /// It is called in the midst of a write: it only schedules, and neither takes nor writes itself.
    func watch(
        _ resource: String, from revision: Revision, wake: @escaping () -> Void
    ) throws(StoreError) -> StoreWatch
    /// What becomes of everything written so far; nil when it is safe.
    ///
    /// Nothing may be awaited between a write and this.
    func settlement() throws(StoreError) -> Settlement?
    /// Waits until memory has everything that any server had written when this was called.
    func refreshed() async throws(StoreError)
    /// Settles what is written and lets go of the home; nothing is written any more.
    func close() async
}
