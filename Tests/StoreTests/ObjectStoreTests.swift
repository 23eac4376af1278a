import IO
import Serialization
import Store
import Telemetry
import Testing

@Suite("Every home of the store", .timeLimit(.minutes(2)))
struct ObjectStoreTests {
    @Test("what was written is there after opening again, with its revision", arguments: Home.allCases)
    func reopen(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            _ = try store.create(pod("a"), ["x": 1], .synced)
            _ = try store.create(pod("b/%2F"), ["x": 2], .relaxed)
            _ = try store.create(StoreKey(resource: "core/nodes", namespace: "", name: "n"), ["y": true], .synced)
            _ = try store.update(pod("a"), ["x": 3], expected: try #require(store.get(pod("a"))).revision, .synced)
            try await store.settled()
            let before = store.revision
            let all = store.list("core/pods", namespace: nil)
            await store.close()
            let again = try await place.open()
            #expect(again.revision == before)
            #expect(again.list("core/pods", namespace: nil) == all)
            #expect(again.list("core/nodes", namespace: nil).map(\.object) == [["y": true]])
            #expect(throws: StoreError.expired(before - 1, oldest: before)) {
                try again.watch("core/pods", from: before - 1) {}
            }
            await again.close()
        }
    }

    @Test("an expected revision that is not the present one is a conflict", arguments: Home.allCases)
    func conflict(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            let first = try store.create(pod("a"), ["x": 1], .synced)
            let second = try store.update(pod("a"), ["x": 2], expected: first.revision, .synced)
            #expect(throws: StoreError.conflict(pod("a"), expected: first.revision, actual: second.revision)) {
                try store.update(pod("a"), ["x": 3], expected: first.revision, .synced)
            }
            #expect(throws: StoreError.conflict(pod("a"), expected: first.revision, actual: second.revision)) {
                try store.delete(pod("a"), expected: first.revision, .synced)
            }
            #expect(throws: StoreError.alreadyExists(pod("a"))) { try store.create(pod("a"), [:], .synced) }
            #expect(throws: StoreError.notFound(pod("z"))) { try store.delete(pod("z"), expected: 1, .synced) }
            #expect(throws: StoreError.notFound(pod("z"))) { try store.update(pod("z"), [:], expected: 1, .synced) }
            #expect(store.get(pod("a"))?.object == ["x": 2])
            try await store.settled()
            await store.close()
        }
    }

    @Test("lists are ordered by namespace and name, of one namespace or of all", arguments: Home.allCases)
    func order(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            for (name, namespace) in [("b", "y"), ("a", "y"), ("c", "x"), ("d", "z")] {
                _ = try store.create(pod(name, namespace), [:], .synced)
            }
            #expect(store.list("core/pods", namespace: nil).map(\.key.name) == ["c", "a", "b", "d"])
            #expect(store.list("core/pods", namespace: "y").map(\.key.name) == ["a", "b"])
            #expect(store.list("core/pods", namespace: "w").isEmpty)
            #expect(store.list("core/services", namespace: nil).isEmpty)
            try await store.settled()
            await store.close()
        }
    }

    @Test("one revision over all kinds grows with every write, deletions too", arguments: Home.allCases)
    func revisions(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            var last = store.revision
            for index in 0..<20 {
                let key = StoreKey(
                    resource: index % 2 == 0 ? "core/pods" : "apps/deployments", namespace: "n", name: "\(index)")
                let made = try store.create(key, [:], .relaxed)
                #expect(made.revision > last)
                let gone = try store.delete(key, expected: made.revision, .relaxed)
                #expect(gone.revision > made.revision)
                last = gone.revision
            }
            try await store.settled()
            #expect(store.settledRevision == last)
            await store.close()
            // Put back to an older state, a store opened later still goes on above.
            let again = try await place.open(floor: last + 1_000_000)
            #expect(try again.create(pod("x"), [:], .synced).revision > last + 1_000_000)
            try await again.settled()
            await again.close()
        }
    }

    @Test("a watch gets what happened since its revision, then everything, in order and once", arguments: Home.allCases)
    func watch(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            let start = store.revision
            let first = try store.create(pod("a"), ["x": 1], .synced)
            try await store.settled()
            let watcher = try Watcher(store, "core/pods", from: start, on: place.loop)
            _ = try store.create(StoreKey(resource: "core/services", namespace: "", name: "s"), [:], .synced)
            let second = try store.update(pod("a"), ["x": 2], expected: first.revision, .synced)
            let third = try store.delete(pod("a"), expected: second.revision, .synced)
            try await watcher.until { $0.events.count == 3 }
            #expect(watcher.events.map(\.kind) == [.added, .modified, .deleted])
            #expect(watcher.events.map(\.previous) == [nil, ["x": 1], ["x": 2]])
            #expect(watcher.events.map(\.object.revision) == [first, second, third].map(\.revision))
            #expect(store.settledRevision >= third.revision, "a watcher is never ahead of what is settled")
            let late = try Watcher(store, "core/pods", from: second.revision, on: place.loop)
            #expect(late.events.map(\.kind) == [.deleted])
            watcher.cancel()
            _ = try store.create(pod("c"), [:], .synced)
            try await late.until { $0.events.count == 2 }
            #expect(watcher.events.count == 3)
            await store.close()
        }
    }

    @Test(
        "a list goes on with the state of its first page, however much is written in between", arguments: Home.allCases)
    func snapshot(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            for index in 0..<30 { _ = try store.create(pod("p\(10 + index)"), ["v": 1], .relaxed) }
            let revision = store.revision
            let then = store.list("core/pods", namespace: nil)
            try await store.settled()
            for index in 0..<10 {
                let old = try #require(store.get(pod("p\(10 + index)")))
                let new = try store.update(old.key, ["v": 2], expected: old.revision, .relaxed)
                if index % 2 == 0 { _ = try store.delete(old.key, expected: new.revision, .relaxed) }
                _ = try store.create(pod("q\(index)"), [:], .relaxed)
            }
            #expect(try store.list("core/pods", namespace: nil, at: revision) == then, "unsettled changes are not seen")
            try await store.settled()
            #expect(try store.list("core/pods", namespace: nil, at: revision) == then)
            #expect(store.list("core/pods", namespace: nil).count == 35)
            #expect(throws: StoreError.self) { try store.list("core/pods", namespace: nil, at: store.revision + 1) }
            await store.close()
        }
    }

    @Test("changes that are forgotten are expired, the oldest remembered one is not", arguments: Home.allCases)
    func history(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open(historyMax: 10)
            for index in 0..<35 { _ = try store.create(pod("p\(index)"), [:], .relaxed) }
            try await store.settled()
            let oldest = store.revision - 10
            #expect(try store.watch("core/pods", from: oldest) {}.take().count == 10)
            #expect(throws: StoreError.expired(oldest - 1, oldest: oldest)) {
                try store.watch("core/pods", from: oldest - 1) {}
            }
            #expect(throws: StoreError.expired(oldest - 1, oldest: oldest)) {
                try store.list("core/pods", namespace: nil, at: oldest - 1)
            }
            #expect(throws: StoreError.self) { try store.watch("core/pods", from: store.revision + 1) {} }
            #expect(try store.list("core/pods", namespace: nil, at: oldest).count == 25)
            await store.close()
        }
    }

    @Test("a watch that falls too far behind is over, and writes go on", arguments: Home.allCases)
    func slowWatcher(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            let watch = try store.watch("core/pods", from: store.revision) {}
            var last = try store.create(pod("a"), [:], .relaxed)
            try store.transaction { () throws(StoreError) in }
            for round in 0..<50 {
                try store.transaction { () throws(StoreError) in
                    for index in 0..<90 {
                        last = try store.update(
                            pod("a"), ["x": .integer(Int64(round * 100 + index))], expected: last.revision, .relaxed)
                    }
                }
            }
            try await store.settled()
            #expect(watch.isLost)
            #expect(watch.take().isEmpty)
            #expect(store.counters.lostWatches.value == 1)
            await store.close()
            let again = try await place.open()
            #expect(again.get(pod("a"))?.object == ["x": 4989])
            await again.close()
        }
    }

    @Test("a transaction is stored whole, or taken back whole", arguments: Home.allCases)
    func transaction(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            let first = try store.create(pod("a"), ["x": 1], .synced)
            let before = store.revision
            #expect(throws: StoreError.alreadyExists(pod("a"))) {
                try store.transaction { () throws(StoreError) in
                    _ = try store.update(pod("a"), ["x": 2], expected: first.revision, .synced)
                    _ = try store.create(pod("b"), [:], .synced)
                    _ = try store.create(pod("a"), [:], .synced)
                }
            }
            #expect(store.revision == before)
            #expect(store.get(pod("a")) == first)
            #expect(store.get(pod("b")) == nil)
            let watcher = try Watcher(store, "core/pods", from: before, on: place.loop)
            try store.transaction { () throws(StoreError) in
                let second = try store.update(pod("a"), ["x": 2], expected: first.revision, .synced)
                _ = try store.update(pod("a"), ["x": 3], expected: second.revision, .synced)
                _ = try store.create(pod("b"), [:], .synced)
            }
            try await watcher.until { $0.events.count >= 3 }
            #expect(watcher.events.map(\.object.object) == [["x": 2], ["x": 3], [:]])
            await store.close()
        }
    }

    @Test("many writers that wait share steps to the disk or the cluster", arguments: [Home.sqlite, .etcd])
    func groupCommit(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            let shared = Shared(store)
            await withTaskGroup(of: Void.self) { group in
                for index in 0..<500 {
                    group.addTask(executorPreference: place.loop) {
                        _ = try? shared.store.create(pod("p\(index)"), ["i": .integer(Int64(index))], .synced)
                        try? await shared.store.settled()
                    }
                }
            }
            #expect(store.counters.settledWrites.value == 500)
            #expect(store.counters.batches.value < 50)
            #expect(store.settledRevision == store.revision)
            await store.close()
        }
    }

    @Test("ATK-35 an object that no home takes is refused before anything is written", arguments: Home.allCases)
    func tooLarge(_ home: Home) async throws {
        try await home.run { place in
            let store = try await place.open()
            let before = store.revision
            let large = JSON.string(String(repeating: "x", count: ReplicaStore.objectBytesMax + 1))
            #expect(throws: StoreError.self) { try store.create(pod("a"), large, .synced) }
            #expect(store.revision == before)
            // The largest that is taken goes through.
            _ = try store.create(
                pod("b"), .string(String(repeating: "x", count: ReplicaStore.objectBytesMax - 10)), .synced)
            try await store.settled()
            await store.close()
        }
    }

    @Test(
        "Secrets are encrypted where they rest, and nothing else; another key does not open them",
        arguments: Home.allCases)
    func secrets(_ home: Home) async throws {
        try await home.run { place in
            let key = place.directory + "/t.db"
            let secret = StoreKey(resource: "core/secrets", namespace: "default", name: "s")
            let store = try await place.open(key: key)
            _ = try store.create(secret, ["data": "aG9yc2UgYmF0dGVyeQ=="], .synced)
            _ = try store.create(pod("a"), ["plain": "cGxhaW4gdGV4dA=="], .synced)
            try await store.settled()
            await store.close()
            #expect(try File.mode(key) == 0o600)
            let rest = try await place.restingBytes()
            #expect(rest.contains("cGxhaW4gdGV4dA=="))
            #expect(!rest.contains("aG9yc2UgYmF0dGVyeQ=="))
            let again = try await place.open(key: key)
            #expect(again.get(secret)?.object == ["data": "aG9yc2UgYmF0dGVyeQ=="])
            await again.close()
            try File.chmod(key, 0o644)
            await #expect(throws: StoreError.self) { _ = try await place.open(key: key) }
            try File.chmod(key, 0o600)
            try File.write(key, Array(repeating: 7, count: 32), mode: 0o600)
            await #expect(throws: StoreError.self) { _ = try await place.open(key: key) }
            await #expect(throws: StoreError.self) { _ = try await place.open() }
        }
    }
}

/// A store that tasks of its own loop share.
struct Shared: @unchecked Sendable {
    let store: ReplicaStore
    init(_ store: ReplicaStore) { self.store = store }
}
