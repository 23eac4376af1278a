import IO
import Serialization
import Store
import Testing

@Suite("The SQLite store")
struct SQLiteStoreTests {
    private func key(_ name: String, _ namespace: String = "default") -> StoreKey {
        StoreKey(resource: "core/pods", namespace: namespace, name: name)
    }

    @Test("a damaged file is refused with what to do, and left as it is")
    func corrupted() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/s.db"
        do {
            let store = try SQLiteStore(path: path)
            for index in 0..<200 {
                _ = try store.create(key("p\(index)"), ["text": .string(String(repeating: "x", count: 500))], .relaxed)
            }
        }
        var bytes = try File.read(path)
        try #require(bytes.count > 20_000)
        for index in 8192..<16_384 { bytes[index] = UInt8(truncatingIfNeeded: index &* 31) }
        try File.write(path, bytes)
        #expect { try SQLiteStore(path: path) } throws: {
            guard case .corrupted? = $0 as? StoreError else { return false }
            return "\($0)".contains("skein restore") && "\($0)".hasPrefix(path)
        }
        #expect(try File.read(path) == bytes)
    }

    @Test("a file that is no database is refused and left as it is")
    func foreign() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/s.db"
        let bytes = Array("this is a letter to my bank, long enough to be no empty database file at all\n".utf8)
        try File.write(path, bytes)
        #expect { try SQLiteStore(path: path) } throws: {
            guard case .corrupted? = $0 as? StoreError else { return false }
            return true
        }
        #expect(try File.read(path) == bytes)
    }

    @Test("a second process cannot open the file while the first has it")
    func locked() throws {
        let scratch = try Scratch()
        let store = try SQLiteStore(path: scratch.path + "/s.db")
        #expect(throws: StoreError.inUse(path: scratch.path + "/s.db")) {
            try SQLiteStore(path: scratch.path + "/s.db")
        }
        _ = try store.create(key("a"), [:], .synced)
    }

    @Test("a file that is mostly free space is compacted when it is opened; what is in it stays")
    func compaction() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/s.db"
        var revision: Revision = 0
        do {
            let store = try SQLiteStore(path: path)
            let text = String(repeating: "x", count: 20_000)
            for index in 0..<400 { _ = try store.create(key("p\(index)"), ["text": .string(text)], .synced) }
            for index in 0..<390 {
                let key = key("p\(index)")
                _ = try store.delete(key, expected: try #require(store.get(key)).revision, .synced)
            }
            revision = store.revision
        }
        let before = try #require(File.size(path))
        do {
            let store = try SQLiteStore(path: path)
            #expect(store.list("core/pods", namespace: nil).map(\.key.name) == (390..<400).map { "p\($0)" })
            #expect(store.revision >= revision)
        }
        let after = try #require(File.size(path))
        #expect(before > 5_000_000 && after < before / 4, "\(before) to \(after) bytes")
    }

    @Test("a full disk is said clearly, leaves nothing half done, and is over when there is space again")
    func fullDisk() throws {
        let scratch = try Scratch()
        try scratch.limit(bytes: 512 * 1024)
        let path = scratch.path + "/s.db"
        let store = try SQLiteStore(path: path)
        let filler = scratch.path + "/filler"
        try File.write(filler, Array(repeating: 1, count: 128 * 1024))
        let large = JSON.string(String(repeating: "y", count: 16 * 1024))
        var stored = 0
        var failure: StoreError?
        let watch = try store.watch("core/pods", from: store.revision) {}
        while failure == nil, stored < 100 {
            do throws(StoreError) {
                _ = try store.create(key("p\(stored)"), large, .synced)
                stored += 1
            } catch {
                failure = error
            }
        }
        #expect(failure == .diskFull(path: path))
        #expect(store.list("core/pods", namespace: nil).count == stored)
        #expect(watch.take().count == stored)
        let revision = store.revision
        #expect(throws: StoreError.diskFull(path: path)) { try store.create(key("again"), large, .synced) }
        #expect(store.revision == revision)
        try File.remove(filler)
        _ = try store.create(key("again"), large, .synced)
        #expect(store.get(key("again"))?.revision == revision + 1)
    }

    @Test(
        "with group commit a full disk takes back what it did not take, tells who waits, and is over when there is space"
    )
    func fullDiskInGroups() async throws {
        let scratch = try Scratch()
        try scratch.limit(bytes: 512 * 1024)
        let path = scratch.path + "/s.db"
        let filler = scratch.path + "/filler"
        let loop = try EventLoop.start(name: "store-test")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            var options = SQLiteStore.Options()
            options.loop = loop
            let store = try SQLiteStore(path: path, options)
            try File.write(filler, Array(repeating: 1, count: 128 * 1024))
            let watcher = try Watcher(store, "core/pods", from: store.revision, on: loop)
            var resets = 0
            store.onReset.append { resets += 1 }
            let large = JSON.string(String(repeating: "y", count: 16 * 1024))
            var stored = 0
            var failure: StoreError?
            while failure == nil, stored < 100 {
                do throws(StoreError) {
                    _ = try store.create(key("p\(stored)"), large, .synced)
                    try await store.settled()
                    stored += 1
                } catch {
                    failure = error
                }
            }
            #expect(failure == .diskFull(path: path))
            #expect(resets == 1)
            #expect(store.list("core/pods", namespace: nil).count == stored)
            #expect(store.revision == store.settledRevision)
            try await watcher.until { $0.events.count == stored }
            try File.remove(filler)
            let again = try store.create(key("again"), large, .synced)
            try await store.settled()
            #expect(store.get(key("again")) == again)
            await store.close()
            let reopened = try SQLiteStore(path: path)
            #expect(reopened.list("core/pods", namespace: nil).count == stored + 1)
        }.value
    }

    @Test("a file of the layout before is taken over after a backup, and its Secrets are encrypted")
    func migration() async throws {
        let scratch = try Scratch()
        let path = scratch.path + "/s.db"
        try Self.sql(
            path,
            """
            CREATE TABLE objects (resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
              revision INTEGER NOT NULL, object TEXT NOT NULL, PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
            CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL);
            INSERT INTO clock VALUES (0, 42);
            INSERT INTO objects VALUES ('core/pods', 'default', 'a', 40, '{"x":1}');
            INSERT INTO objects VALUES ('core/secrets', 'default', 's', 42, '{"data":"aG9yc2U="}');
            PRAGMA application_id = \(0x536b_656e);
            PRAGMA user_version = 1;
            """)
        var options = SQLiteStore.Options()
        options.keyFile = scratch.path + "/key"
        let store = try SQLiteStore(path: path, options)
        #expect(store.revision == 42)
        #expect(store.get(key("a"))?.object == ["x": 1])
        let secret = StoreKey(resource: "core/secrets", namespace: "default", name: "s")
        #expect(store.get(secret)?.object == ["data": "aG9yc2U="])
        await store.close()
        #expect(String(decoding: try File.read(path + ".layout-1"), as: UTF8.self).contains("aG9yc2U="))
        #expect(try File.mode(path + ".layout-1") == 0o600)
        let again = try SQLiteStore(path: path, options)
        #expect(again.get(secret)?.object == ["data": "aG9yc2U="])
        await again.close()
    }

    @Test("a file of a newer layout is refused and left as it is")
    func newer() async throws {
        let scratch = try Scratch()
        let path = scratch.path + "/s.db"
        try await SQLiteStore(path: path).close()
        try Self.sql(path, "PRAGMA user_version = 99")
        let bytes = try File.read(path)
        #expect { try SQLiteStore(path: path) } throws: { "\($0)".contains("newer Skein") }
        #expect(try File.read(path) == bytes)
    }

    @Test("a key that is gone is no reason to make another one")
    func missingKey() async throws {
        let scratch = try Scratch()
        var options = SQLiteStore.Options()
        options.keyFile = scratch.path + "/key"
        let store = try SQLiteStore(path: scratch.path + "/s.db", options)
        _ = try store.create(StoreKey(resource: "core/secrets", namespace: "n", name: "s"), [:], .synced)
        await store.close()
        try File.remove(scratch.path + "/key")
        #expect { try SQLiteStore(path: scratch.path + "/s.db", options) } throws: { "\($0)".contains("key") }
        #expect(!File.exists(scratch.path + "/key"))
    }

    @Test("a backup of a store in use is put back whole with its keys, and revisions go on above")
    func backup() async throws {
        let scratch = try Scratch()
        let control = scratch.path + "/control"
        try File.makeDirectory(control, mode: 0o700)
        let loop = try EventLoop.start(name: "store-test")
        defer { loop.stop() }
        let backup = scratch.path + "/backup"
        try await Task(executorPreference: loop) {
            var settings = StoreSettings()
            settings.address = .sqlite
            let store = try await settings.open(directory: control, on: loop, seconds: 1_800_000_000)
            try File.write(control + "/ca.key", Array("the authority".utf8), mode: 0o600)
            let secret = StoreKey(resource: "core/secrets", namespace: "n", name: "s")
            let first = try store.create(secret, ["data": "x"], .synced)
            let sqlite = try #require(store as? SQLiteStore)
            try await SQLiteBackup.write(sqlite, directory: control, to: backup)
            #expect(try File.mode(backup) == 0o600)
            await #expect(throws: StoreError.self) {
                try await SQLiteBackup.write(sqlite, directory: control, to: backup)
            }
            let second = try store.update(secret, ["data": "y"], expected: first.revision, .synced)
            #expect(throws: StoreError.inUse(path: control + "/skein.db")) {
                try SQLiteBackup.restore(backup, to: control)
            }
            await store.close()
            try File.remove(control + "/secrets.key")
            try File.remove(control + "/ca.key")
            let former = try SQLiteBackup.restore(backup, to: control)
            #expect(former == control + "/skein.db.before-restore-1")
            #expect(try File.text(control + "/ca.key") == "the authority")
            let restored = try await settings.open(directory: control, on: loop, seconds: 1_800_000_100)
            #expect(restored.get(secret)?.object == ["data": "x"])
            #expect(restored.revision > second.revision)
            await restored.close()
            try File.write(scratch.path + "/letter", Array(repeating: 65, count: 5000))
            #expect(throws: StoreError.self) { try SQLiteBackup.restore(scratch.path + "/letter", to: control) }
            #expect(throws: StoreError.self) { try SQLiteBackup.restore(scratch.path + "/nothing", to: control) }
            let untouched = try await settings.open(directory: control, on: loop, seconds: 1_800_000_200)
            #expect(untouched.get(secret)?.object == ["data": "x"])
            await untouched.close()
        }.value
    }

    /// Does something to a file behind the store's back.
    private static func sql(_ path: String, _ text: String) throws {
        let command = Child.Command([
            "/usr/bin/env", "python3", "-c",
            "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit(); c.close()",
            path, text,
        ])
        let (status, output) = try Child.run(command)
        try #require(status.isSuccess, "\(String(decoding: output, as: UTF8.self))")
    }
}
