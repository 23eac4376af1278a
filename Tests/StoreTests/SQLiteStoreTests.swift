import Serialization
import Store
import Testing

@Suite("The SQLite store")
struct SQLiteStoreTests {
    private func key(_ name: String, _ namespace: String = "default") -> StoreKey {
        StoreKey(resource: "core/pods", namespace: namespace, name: name)
    }

    @Test("what was written is there after opening again, with its revision")
    func reopen() throws {
        let scratch = try Scratch()
        var revision: Revision = 0
        do {
            let store = try SQLiteStore(path: scratch.path + "/s.db")
            _ = try store.create(key("a"), ["x": 1], .synced)
            _ = try store.create(key("b"), ["x": 2], .relaxed)
            _ = try store.update(key("a"), ["x": 3], expected: try #require(store.get(key("a"))).revision, .synced)
            _ = try store.delete(key("b"), expected: try #require(store.get(key("b"))).revision, .synced)
            revision = store.revision
        }
        let store = try SQLiteStore(path: scratch.path + "/s.db")
        #expect(store.revision == revision)
        #expect(store.list("core/pods", namespace: nil).map(\.object) == [["x": 3]])
        #expect(throws: StoreError.expired(1, oldest: revision)) { try store.watch("core/pods", from: 1) {} }
    }

    @Test("a process that is killed loses nothing it was told is stored")
    func crash() throws {
        let scratch = try Scratch()
        let store = try SQLiteStore(path: scratch.path + "/s.db")
        for index in 0..<50 { _ = try store.create(key("p\(index)"), ["index": .integer(Int64(index))], .relaxed) }
        // What another process finds after a kill: the files as they are, the writer's memory gone.
        for suffix in ["", "-wal"] {
            try File.write(scratch.path + "/t.db" + suffix, try File.read(scratch.path + "/s.db" + suffix))
        }
        let survivor = try SQLiteStore(path: scratch.path + "/t.db")
        #expect(survivor.list("core/pods", namespace: "default").count == 50)
        #expect(survivor.revision == store.revision)
    }

    @Test("an expected revision that is not the present one is a conflict")
    func conflict() throws {
        let store = try SQLiteStore(path: ":memory:")
        let first = try store.create(key("a"), ["x": 1], .synced)
        let second = try store.update(key("a"), ["x": 2], expected: first.revision, .synced)
        #expect(throws: StoreError.conflict(key("a"), expected: first.revision, actual: second.revision)) {
            try store.update(key("a"), ["x": 3], expected: first.revision, .synced)
        }
        #expect(throws: StoreError.alreadyExists(key("a"))) { try store.create(key("a"), [:], .synced) }
        #expect(throws: StoreError.notFound(key("z"))) { try store.delete(key("z"), expected: 1, .synced) }
        #expect(store.get(key("a"))?.object == ["x": 2])
    }

    @Test("lists are ordered by namespace and name")
    func order() throws {
        let store = try SQLiteStore(path: ":memory:")
        for (name, namespace) in [("b", "y"), ("a", "y"), ("c", "x")] {
            _ = try store.create(key(name, namespace), [:], .synced)
        }
        #expect(store.list("core/pods", namespace: nil).map(\.key.name) == ["c", "a", "b"])
        #expect(store.list("core/pods", namespace: "y").map(\.key.name) == ["a", "b"])
        #expect(store.list("core/services", namespace: nil).isEmpty)
    }

    @Test("a watch gets what happened since its revision, then everything, in order")
    func watch() throws {
        let store = try SQLiteStore(path: ":memory:")
        let start = store.revision
        let first = try store.create(key("a"), ["x": 1], .synced)
        var wakes = 0
        let watch = try store.watch("core/pods", from: start) { wakes += 1 }
        _ = try store.create(StoreKey(resource: "core/services", namespace: "", name: "s"), [:], .synced)
        let second = try store.update(key("a"), ["x": 2], expected: first.revision, .synced)
        _ = try store.delete(key("a"), expected: second.revision, .synced)
        let events = watch.take()
        #expect(events.map(\.kind) == [.added, .modified, .deleted])
        #expect(events.map(\.previous) == [nil, ["x": 1], ["x": 2]])
        #expect(wakes == 1, "one wake-up until the events are taken")
        #expect(watch.take().isEmpty)
        _ = try store.create(key("b"), [:], .synced)
        #expect(wakes == 2)
        watch.cancel()
        _ = try store.create(key("c"), [:], .synced)
        #expect(wakes == 2)
    }

    @Test("a watch that falls too far behind is over, and writes go on")
    func slowWatcher() throws {
        let store = try SQLiteStore(path: ":memory:")
        let watch = try store.watch("core/pods", from: store.revision) {}
        var last = try store.create(key("a"), [:], .relaxed)
        for index in 0..<5000 {
            last = try store.update(key("a"), ["x": .integer(Int64(index))], expected: last.revision, .relaxed)
        }
        #expect(watch.isLost)
        #expect(watch.take().isEmpty)
    }

    @Test("changes that are forgotten are expired, the oldest remembered one is not")
    func history() throws {
        let store = try SQLiteStore(path: ":memory:", historyMax: 10)
        for index in 0..<25 { _ = try store.create(key("p\(index)"), [:], .relaxed) }
        let oldest = store.revision - 10
        #expect(try store.watch("core/pods", from: oldest) {}.take().count == 10)
        #expect(throws: StoreError.expired(oldest - 1, oldest: oldest)) {
            try store.watch("core/pods", from: oldest - 1) {}
        }
        #expect(throws: StoreError.self) { try store.watch("core/pods", from: store.revision + 1) {} }
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
}
