internal import IO
internal import Serialization

/// The database file of a store: its layout, its checks, and what is done to it.
///
/// `@unchecked Sendable`: used by one thread at a time: by the opener, then by the store's writer alone (docs/threads.md).
final class SQLiteFile: @unchecked Sendable {
    /// The layout of the tables; a file with a larger number was written by a newer Skein.
    ///
    /// 1: the text of each object; 2: the form of `ObjectText`, in which Secrets are encrypted.
    static let layout: Int64 = 2
    /// `Sken` in the header of the file, so that a foreign database is not taken for ours.
    static let applicationID: Int64 = 0x536b_656e
    /// A file is made smaller when more than a quarter of it, and so many pages, are free.
    private static let freePagesMax: Int64 = 1024

    let path: String
    private var database: SQLiteDatabase?
    private(set) var text = ObjectText()

    /// Opens or makes the file; a damaged, foreign or newer one is refused and left as it is.
    init(path: String, keyFile: String?) throws(StoreError) {
        self.path = path
        let database = try SQLiteDatabase(path: path)
        self.database = database
        try database.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0")
        let found = try Self.check(database)
        if let keyFile {
            text.key = try SecretKey.key(at: keyFile, isNewStore: found < 2 ? true : try Self.hasNoSecrets(database))
        }
        if found > 0, found < Self.layout { try backUpBeforeMigration(database, from: found) }
        try database.execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000; "
                + "PRAGMA journal_size_limit = 8388608")
        // A file that is as it should be is opened without a write: a full disk does not keep anybody from reading.
        if found < Self.layout { try migrate(database, from: found) }
        try compact(database)
    }

    private func migrate(_ database: SQLiteDatabase, from found: Int64) throws(StoreError) {
        try database.execute(
            """
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS objects (
              resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL,
              object TEXT NOT NULL, PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL);
            INSERT OR IGNORE INTO clock VALUES (0, 1);
            """)
        if found == 1 { try migrateTexts(database) }
        try database.execute(
            "PRAGMA application_id = \(Self.applicationID); PRAGMA user_version = \(Self.layout); COMMIT")
    }

    private func open() throws(StoreError) -> SQLiteDatabase {
        guard let database else { throw .unavailable("\(path) is closed") }
        return database
    }

    // MARK: Checks

    /// The layout of the file, 0 for a new one.
    @discardableResult
    static func check(_ database: SQLiteDatabase) throws(StoreError) -> Int64 {
        var result: [String] = []
        try database.run("PRAGMA integrity_check(5)") { result.append($0.text(0)) }
        guard result == ["ok"] else {
            throw .corrupted(path: database.path, detail: result.first ?? "integrity_check says nothing")
        }
        var layout: Int64 = 0
        var application: Int64 = 0
        var tables: Int64 = 0
        try database.run("PRAGMA user_version") { layout = $0.integer(0) }
        try database.run("PRAGMA application_id") { application = $0.integer(0) }
        try database.run("SELECT count(*) FROM sqlite_schema") { tables = $0.integer(0) }
        if tables > 0, application != applicationID {
            throw .failed(
                path: database.path,
                detail: "this is a database of another program; it was not changed. Name another file")
        }
        guard layout <= Self.layout else {
            throw .failed(
                path: database.path,
                detail:
                    "written by a newer Skein (layout \(layout), this one knows \(Self.layout)); it was not changed. "
                    + "Use the newer Skein")
        }
        return tables == 0 ? 0 : layout
    }

    private static func hasNoSecrets(_ database: SQLiteDatabase) throws(StoreError) -> Bool {
        var count: Int64 = 0
        try database.run("SELECT count(*) FROM objects WHERE substr(object, 1, 1) = CAST('s' AS BLOB)") {
            count = $0.integer(0)
        }
        return count == 0
    }

    // MARK: Migration

    private func backUpBeforeMigration(_ database: SQLiteDatabase, from layout: Int64) throws(StoreError) {
        let copy = "\(path).layout-\(layout)"
        // A copy that is there already is of an earlier attempt, which changed nothing: the migration is one transaction.
        if File.exists(copy) { try? File.remove(copy) }
        try database.run("VACUUM INTO ?", [.text(copy)])
        do throws(SystemError) { try File.chmod(copy, 0o600) } catch {
            throw .failed(path: copy, detail: "\(error)")
        }
    }

    private func migrateTexts(_ database: SQLiteDatabase) throws(StoreError) {
        var rows: [(key: StoreKey, text: String)] = []
        try database.run("SELECT resource, namespace, name, object FROM objects") { row in
            rows.append((StoreKey(resource: row.text(0), namespace: row.text(1), name: row.text(2)), row.text(3)))
        }
        for row in rows {
            let object: JSON
            do throws(JSONError) { object = try JSON.parse(row.text) } catch {
                try? database.run("ROLLBACK")
                throw .corrupted(
                    path: path, detail: "the text of \(row.key.resource) \(row.key.namespace)/\(row.key.name): \(error)"
                )
            }
            try database.run(
                "UPDATE objects SET object = ? WHERE resource = ? AND namespace = ? AND name = ?",
                [.blob(try text.write(object, at: row.key))] + Self.place(row.key))
        }
    }

    private func compact(_ database: SQLiteDatabase) throws(StoreError) {
        var free: Int64 = 0
        var pages: Int64 = 0
        try database.run("PRAGMA freelist_count") { free = $0.integer(0) }
        try database.run("PRAGMA page_count") { pages = $0.integer(0) }
        if free > Self.freePagesMax, free > pages / 4 {
            // It needs room for a second file: without it the file stays as large as it is.
            try? database.run("VACUUM")
        }
    }

    // MARK: Reading and writing

    private static func place(_ key: StoreKey) -> [SQLiteDatabase.Value] {
        [.text(key.resource), .text(key.namespace), .text(key.name)]
    }

    /// All objects, and the revision of the last write.
    func load() throws(StoreError) -> (objects: [StoredObject], revision: Revision) {
        let database = try open()
        var revision: Revision = 0
        var objects: [StoredObject] = []
        var damage: StoreError?
        try database.run("SELECT revision FROM clock") { revision = $0.integer(0) }
        try database.run("SELECT resource, namespace, name, revision, object FROM objects") { row in
            let key = StoreKey(resource: row.text(0), namespace: row.text(1), name: row.text(2))
            do throws(StoreError) {
                objects.append(
                    StoredObject(key: key, revision: row.integer(3), object: try text.read(row.bytes(4), at: key)))
            } catch {
                damage = damage ?? error
            }
        }
        if let damage { throw damage.at(path) }
        return (objects, revision)
    }

    /// Writes changes as one transaction: all are on the disk when it returns, or none.
    func commit(_ events: [StoreEvent]) throws(StoreError) {
        let database = try open()
        do throws(StoreError) {
            try database.run("BEGIN IMMEDIATE")
            for event in events {
                let stored = event.object
                if event.kind == .deleted {
                    try database.run(
                        "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", Self.place(stored.key))
                } else {
                    try database.run(
                        "INSERT OR REPLACE INTO objects (resource, namespace, name, revision, object) VALUES (?, ?, ?, ?, ?)",
                        Self.place(stored.key)
                            + [.integer(stored.revision), .blob(try text.write(stored.object, at: stored.key))])
                }
            }
            if let last = events.last {
                try database.run("UPDATE clock SET revision = ?", [.integer(last.object.revision)])
            }
            try database.run("COMMIT")
        } catch {
            // SQLite may have rolled back by itself; then this one fails and says nothing new.
            try? database.run("ROLLBACK")
            throw error.at(path)
        }
    }

    /// Copies the database as it is now, in use or not, and puts files beside it in the copy.
    func copy(to copy: String, with files: [String: [UInt8]]) throws(StoreError) {
        try open().run("VACUUM INTO ?", [.text(copy)])
        do throws(SystemError) { try File.chmod(copy, 0o600) } catch {
            throw .failed(path: copy, detail: "\(error)")
        }
        let database = try SQLiteDatabase(path: copy, mustExist: true)
        try database.execute(
            "PRAGMA synchronous = FULL; CREATE TABLE files (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)")
        for (name, bytes) in files {
            try database.run("INSERT INTO files VALUES (?, ?)", [.text(name), .blob(bytes)])
        }
    }

    /// Brings the write-ahead log into the file and lets go of it.
    func close() {
        // What stays in the log is read at the next start.
        try? database?.run("PRAGMA wal_checkpoint(TRUNCATE)") { _ in }
        database = nil
    }
}

extension StoreError {
    /// The error with the file's path where the place was not known.
    func at(_ path: String) -> StoreError {
        switch self {
        case .failed("", let detail): .failed(path: path, detail: detail)
        case .corrupted("", let detail): .corrupted(path: path, detail: detail)
        default: self
        }
    }
}
