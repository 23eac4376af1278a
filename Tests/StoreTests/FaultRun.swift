import Etcd
import IO
import Serialization
import Store
import Testing

/// Servers on one etcd that write without a pause while something breaks, and what they were told.
///
/// `@unchecked Sendable`: used on one loop.
final class FaultRun: @unchecked Sendable {
    let loop: EventLoop
    let configuration: EtcdConfiguration
    let prefix: String
    private(set) var stores: [ReplicaStore] = []
    private(set) var watchers: [Watcher] = []
    private(set) var acknowledged: [(key: StoreKey, revision: Revision)] = []
    private(set) var refusals = 0
    private var isStopping = false
    private var start: Revision = 0
    private var floor: Revision = 0
    private var writers: [Task<Void, Never>] = []

    init(
        _ configuration: EtcdConfiguration, prefix: String = "/fault-\(UInt64.random(in: 0 ... .max))",
        on loop: EventLoop
    ) {
        self.prefix = prefix
        self.configuration = configuration
        self.loop = loop
    }

    /// A store as another server would have it.
    func open() async throws -> ReplicaStore {
        var options = EtcdStore.Options()
        options.prefix = prefix
        options.patience = .seconds(5)
        // Each server that is opened is told a later time, as in life.
        floor += 1_000
        options.revisionFloor = floor
        var attempts = 0
        while true {
            do throws(StoreError) {
                return try await EtcdStore.open(EtcdClient(configuration, on: loop), options)
            } catch {
                // On a machine with much to do a second is short.
                attempts += 1
                guard case .unavailable = error, attempts < 10 else { throw error }
            }
        }
    }

    /// Opens so many servers, each with a watcher and writers.
    func begin(servers: Int, writersEach: Int) async throws {
        for _ in 0..<servers { stores.append(try await open()) }
        start = try #require(stores.first).revision
        for store in stores { watchers.append(try Watcher(store, "core/pods", from: store.revision, on: loop)) }
        for (server, store) in stores.enumerated() {
            for writer in 0..<writersEach {
                let shared = Shared(store)
                writers.append(
                    Task(executorPreference: loop) { await self.write(shared.store, "s\(server)-w\(writer)") })
            }
        }
    }

    private func write(_ store: ReplicaStore, _ name: String) async {
        var index = 0
        while !isStopping {
            index += 1
            let key = pod("\(name)-\(index)", name)
            do throws(StoreError) {
                let made = try store.create(key, ["i": .integer(Int64(index))], .synced)
                try await store.settled()
                acknowledged.append((key, made.revision))
            } catch {
                refusals += 1
                // A refusal at once must not keep the loop busy.
                if error != .overtaken { await loop.sleep(for: .milliseconds(20)) }
            }
        }
    }

    /// Waits until so many more writes are acknowledged.
    func progress(_ count: Int) async throws {
        let target = acknowledged.count + count
        try await until("\(count) more acknowledged writes") { self.acknowledged.count >= target }
    }

    /// Waits until so many more writes are refused.
    func refused(_ count: Int) async throws {
        let target = refusals + count
        try await until("\(count) refused writes") { self.refusals >= target }
    }

    /// Looks every few milliseconds, for a minute at most.
    private func until(_ what: String, _ isDone: () -> Bool) async throws {
        let deadline = loop.now + .seconds(60)
        while !isDone() {
            guard loop.now < deadline else {
                throw Missing(what: "\(what) within a minute (\(acknowledged.count) acknowledged, \(refusals) refused)")
            }
            await loop.sleep(for: .milliseconds(5))
        }
    }

    /// Ends the writers and compares what was told with what is there.
    func finish() async throws {
        isStopping = true
        for writer in writers { await writer.value }
        for store in stores { try await store.refreshed() }
        let fresh = try await open()
        let lost = acknowledged.filter { fresh.get($0.key)?.revision != $0.revision }
        #expect(lost.isEmpty, "\(lost.count) of \(acknowledged.count) acknowledged writes were lost")
        #expect(Set(acknowledged.map(\.revision)).count == acknowledged.count, "no revision is given twice")
        let everything = fresh.list("core/pods", namespace: nil)
        for (store, watcher) in zip(stores, watchers) {
            let newest = everything.map(\.revision).max()
            try await watcher.until { _ in watcher.events.last?.object.revision == newest || watcher.isLost }
            #expect(!watcher.isLost)
            let revisions = watcher.events.map(\.object.revision)
            #expect(zip(revisions, revisions.dropFirst()).allSatisfy { $0 < $1 }, "in order, each once")
            #expect(
                watcher.events.map(\.object).sorted { $0.key < $1.key } == everything, "what was told is what there is")
            #expect(store.list("core/pods", namespace: nil) == everything)
            await store.close()
        }
        await fresh.close()
    }
}
