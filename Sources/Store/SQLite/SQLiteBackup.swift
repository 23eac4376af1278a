internal import IO

/// A backup of a control plane: one file with the database and the keys that belong to it.
///
/// It is a SQLite database like the store's own, with one more table `files`: what lies beside the database in the control
/// directory (certificates, keys, the key of the Secrets). Whoever has the file has everything: mode 0600.
public enum SQLiteBackup {
    /// The name of the database in the control directory.
    public static let databaseName = "skein.db"
    /// The name of the key file in the control directory.
    public static let keyName = "secrets.key"
    /// Files beside the database that are larger than this are none of ours.
    private static let fileBytesMax = 1 << 20

    /// Writes a backup of the open store whose control directory is `directory`, to a new file.
    public static func write(_ store: SQLiteStore, directory: String, to path: String) async throws(StoreError) {
        guard !File.exists(path) else {
            throw .failed(path: path, detail: "the file exists; name another one")
        }
        try await store.copy(to: path, with: try files(in: directory))
    }

    /// Whether a file is a whole backup.
    public static func check(_ path: String) throws(StoreError) {
        let database = try SQLiteDatabase(path: path, mustExist: true)
        try SQLiteFile.check(database)
        try database.run("SELECT count(*) FROM files")
    }

    private static func files(in directory: String) throws(StoreError) -> [String: [UInt8]] {
        do throws(SystemError) {
            var files: [String: [UInt8]] = [:]
            for name in try File.list(directory) where !name.hasPrefix(databaseName) && !name.hasSuffix(".new") {
                let path = directory + "/" + name
                guard !File.isDirectory(path), let size = File.size(path), size <= fileBytesMax else { continue }
                files[name] = try File.read(path, limit: fileBytesMax)
            }
            return files
        } catch {
            throw .failed(path: directory, detail: "\(error)")
        }
    }

    /// Puts a backup in the place of what is in `directory`; the database there is kept beside it.
    ///
    /// - Parameter owner: whom the files shall belong to; nil: us.
    /// - Returns: where the former database is now; nil when there was none.
    public static func restore(
        _ path: String, to directory: String, owner: UInt32? = nil
    ) throws(StoreError) -> String? {
        guard File.exists(path) else { throw .failed(path: path, detail: "there is no such file") }
        let target = directory + "/" + databaseName
        let temporary = target + ".restoring"
        do throws(SystemError) {
            if !File.isDirectory(directory) {
                try File.makeDirectory(directory, mode: 0o700)
                if let owner { try File.chown(directory, uid: owner, gid: owner) }
            }
            try File.write(temporary, try File.read(path), mode: 0o600)
        } catch {
            throw .failed(path: temporary, detail: "\(error)")
        }
        var files: [(name: String, bytes: [UInt8])] = []
        do throws(StoreError) {
            let database = try SQLiteDatabase(path: temporary, mustExist: true)
            try SQLiteFile.check(database)
            try database.run("SELECT name, bytes FROM files") { files.append(($0.text(0), $0.bytes(1))) }
            try database.execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; DROP TABLE files")
        } catch {
            try? File.remove(temporary)
            if case .corrupted(_, let detail) = error { throw .corrupted(path: path, detail: detail) }
            throw .failed(path: path, detail: "is no backup of Skein: \(error)")
        }
        guard files.allSatisfy({ !$0.name.contains("/") && !$0.name.isEmpty && $0.name != ".." && $0.name != "." })
        else {
            try? File.remove(temporary)
            throw .corrupted(path: path, detail: "a file name in it leads elsewhere")
        }
        let former = try setAside(target)
        do throws(SystemError) {
            for file in files { try File.write(directory + "/" + file.name, file.bytes, mode: 0o600) }
            if let owner {
                for path in files.map({ directory + "/" + $0.name }) + [temporary] {
                    try File.chown(path, uid: owner, gid: owner)
                }
            }
            try File.rename(temporary, target)
            try File.syncDirectory(directory)
        } catch {
            throw .failed(path: directory, detail: "\(error)")
        }
        return former
    }

    /// Moves the database that is there out of the way, unless somebody has it open.
    private static func setAside(_ target: String) throws(StoreError) -> String? {
        guard File.exists(target) else { return nil }
        do throws(StoreError) {
            let database = try SQLiteDatabase(path: target, mustExist: true)
            try database.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE; COMMIT")
        } catch {
            if case .inUse = error { throw error }
            // Damaged or foreign: the very reason for a restore.
        }
        var number = 1
        while File.exists("\(target).before-restore-\(number)") { number += 1 }
        let former = "\(target).before-restore-\(number)"
        do throws(SystemError) {
            try File.rename(target, former)
            for suffix in ["-wal", "-shm"] where File.exists(target + suffix) {
                try File.rename(target + suffix, former + suffix)
            }
        } catch {
            throw .failed(path: target, detail: "\(error)")
        }
        return former
    }
}
