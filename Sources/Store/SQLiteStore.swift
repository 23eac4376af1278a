public import Serialization

/// The store inside: one SQLite file, and all objects in memory.
///
/// One machine has thousands of objects, not millions: they are read from the file once, and every list is answered from
/// memory. A write changes the file first, in one transaction, then memory, then it is shown to watchers: what somebody
/// has seen is in the file. The history of changes lives in memory only: after a restart, watchers of older revisions are
/// told to list anew.
///
/// WAL: a writer appends instead of rewriting pages. `synchronous` is FULL for what users write, and NORMAL for status,
/// events and leases, which are found out anew after a power failure; in both cases the file stays consistent, and a
/// killed process loses nothing. The file is locked exclusively: two control planes on one file would each trust their memory.
public final class SQLiteStore: ObjectStore {
    /// The layout of the tables; a file with a larger number was written by a newer Skein.
    static let layout: Int64 = 1
    /// `Skein` in the header of the file, so that a foreign database is not taken for ours.
    static let applicationID: Int64 = 0x536b_656e

    private let database: SQLiteDatabase
    private var objects: [String: [StoreKey: StoredObject]] = [:]
    private var hub: WatchHub
    private var durability = Durability.synced
    /// The revision of the last write.
    public private(set) var revision: Revision

    /// Opens or makes the file at `path`.
    ///
    /// A damaged file is refused and left as it is.
    public init(path: String, historyMax: Int = 8192) throws(StoreError) {
        database = try SQLiteDatabase(path: path)
        revision = 0
        hub = WatchHub(revision: 0, historyMax: historyMax)
        try database.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0")
        try SQLiteStore.check(database)
        try database.execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000; "
                + "PRAGMA journal_size_limit = 8388608")
        try database.execute(
            """
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS objects (
              resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL,
              object TEXT NOT NULL, PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL);
            INSERT OR IGNORE INTO clock VALUES (0, 1);
            PRAGMA application_id = \(SQLiteStore.applicationID);
            PRAGMA user_version = \(SQLiteStore.layout);
            COMMIT
            """)
        try load()
        hub = WatchHub(revision: revision, historyMax: historyMax)
    }

    /// Brings everything from the write-ahead log into the database file, so that the file alone is a backup.
    public func checkpoint() throws(StoreError) { try database.run("PRAGMA wal_checkpoint(TRUNCATE)") { _ in } }

    private static func check(_ database: SQLiteDatabase) throws(StoreError) {
        var result: [String] = []
        try database.run("PRAGMA integrity_check(5)") { result.append($0.text(0)) }
        guard result == ["ok"] else {
            throw StoreError.corrupted(path: database.path, detail: result.first ?? "integrity_check says nothing")
        }
        var layout: Int64 = 0
        var application: Int64 = 0
        var tables: Int64 = 0
        try database.run("PRAGMA user_version") { layout = $0.integer(0) }
        try database.run("PRAGMA application_id") { application = $0.integer(0) }
        try database.run("SELECT count(*) FROM sqlite_schema") { tables = $0.integer(0) }
        if tables > 0, application != applicationID {
            throw StoreError.failed(
                path: database.path,
                detail: "this is a database of another program; it was not changed. Name another file")
        }
        guard layout <= SQLiteStore.layout else {
            throw StoreError.failed(
                path: database.path,
                detail:
                    "written by a newer Skein (layout \(layout), this one knows \(SQLiteStore.layout)); it was not changed. "
                    + "Use the newer Skein")
        }
    }

    private func load() throws(StoreError) {
        var clock: Revision = 0
        var damaged: String?
        try database.run("SELECT revision FROM clock") { clock = $0.integer(0) }
        try database.run("SELECT resource, namespace, name, revision, object FROM objects") { row in
            let key = StoreKey(resource: row.text(0), namespace: row.text(1), name: row.text(2))
            guard let object = try? JSON.parse(row.text(4)) else {
                damaged = "the text of \(key.resource) \(key.namespace)/\(key.name) cannot be read"
                return
            }
            objects[key.resource, default: [:]][key] = StoredObject(key: key, revision: row.integer(3), object: object)
        }
        if let damaged { throw StoreError.corrupted(path: database.path, detail: damaged) }
        revision = clock
    }

    /// The object at `key`.
    public func get(_ key: StoreKey) -> StoredObject? { objects[key.resource]?[key] }

    /// All objects of a resource, of one namespace or of all, ordered by namespace and name.
    public func list(_ resource: String, namespace: String?) -> [StoredObject] {
        guard let all = objects[resource] else { return [] }
        let wanted =
            namespace.map { namespace in all.values.filter { $0.key.namespace == namespace } } ?? Array(all.values)
        return wanted.sorted { $0.key < $1.key }
    }

    /// Stores a new object.
    public func create(_ key: StoreKey, _ object: JSON, _ durability: Durability) throws(StoreError) -> StoredObject {
        guard get(key) == nil else { throw StoreError.alreadyExists(key) }
        return try write(StoreEvent(kind: .added, object: next(key, object), previous: nil), durability)
    }

    /// Replaces an object, if it has the expected revision.
    public func update(
        _ key: StoreKey, _ object: JSON, expected: Revision, _ durability: Durability
    ) throws(StoreError) -> StoredObject {
        let old = try current(key, expected)
        return try write(StoreEvent(kind: .modified, object: next(key, object), previous: old.object), durability)
    }

    /// Removes an object, if it has the expected revision.
    public func delete(_ key: StoreKey, expected: Revision, _ durability: Durability) throws(StoreError) -> StoredObject
    {
        let old = try current(key, expected)
        return try write(StoreEvent(kind: .deleted, object: next(key, old.object), previous: old.object), durability)
    }

    /// Every change of a resource after `revision`.
    public func watch(
        _ resource: String, from revision: Revision, wake: @escaping () -> Void
    ) throws(StoreError) -> StoreWatch {
        try hub.watch(resource, from: revision, now: self.revision, wake: wake)
    }

    private func next(_ key: StoreKey, _ object: JSON) -> StoredObject {
        StoredObject(key: key, revision: revision + 1, object: object)
    }

    private func current(_ key: StoreKey, _ expected: Revision) throws(StoreError) -> StoredObject {
        guard let old = get(key) else { throw StoreError.notFound(key) }
        guard old.revision == expected else {
            throw StoreError.conflict(key, expected: expected, actual: old.revision)
        }
        return old
    }

    /// File, then memory, then watchers; an error leaves all three as they were.
    private func write(_ event: StoreEvent, _ durability: Durability) throws(StoreError) -> StoredObject {
        let stored = event.object
        let key = stored.key
        if durability != self.durability {
            try database.execute("PRAGMA synchronous = \(durability == .synced ? "FULL" : "NORMAL")")
            self.durability = durability
        }
        do throws(StoreError) {
            try database.run("BEGIN IMMEDIATE")
            let place: [SQLiteDatabase.Value] = [.text(key.resource), .text(key.namespace), .text(key.name)]
            if event.kind == .deleted {
                try database.run("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", place)
            } else {
                try database.run(
                    "INSERT OR REPLACE INTO objects (resource, namespace, name, revision, object) VALUES (?, ?, ?, ?, ?)",
                    place + [.integer(stored.revision), .text(stored.object.text)])
            }
            try database.run("UPDATE clock SET revision = ?", [.integer(stored.revision)])
            try database.run("COMMIT")
        } catch {
            // SQLite may have rolled back by itself; then this one fails and says nothing new.
            try? database.run("ROLLBACK")
            throw error
        }
        revision = stored.revision
        objects[key.resource, default: [:]][key] = event.kind == .deleted ? nil : stored
        hub.publish(event)
        return stored
    }
}
