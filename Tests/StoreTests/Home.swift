import Etcd
import IO
import Store
import Testing

/// Where a store of the parameterised suite lives.
enum Home: String, CaseIterable, Sendable, CustomTestStringConvertible {
    /// In a file, settled in groups on a thread of its own.
    case sqlite
    /// In a file, each write settled when its call returns.
    case immediateSQLite
    /// In a cluster.
    case etcd

    var testDescription: String { rawValue }

    /// Runs a test on a loop of its own, with places of its own.
    func run(_ body: @escaping @Sendable (Place) async throws -> Void) async throws {
        let loop = try EventLoop.start(name: "store-test")
        defer { loop.stop() }
        let server = self == .etcd ? try await EtcdServer.shared() : nil
        let scratch = try Scratch()
        let place = Place(home: self, loop: loop, directory: scratch.path, url: server?.url ?? "")
        try await Task(executorPreference: loop) { try await body(place) }.value
        withExtendedLifetime(scratch) {}
    }
}

/// What a store is opened with, and opened again.
struct Place: Sendable {
    let home: Home
    let loop: EventLoop
    let directory: String
    let url: String
    let prefix = "/test-\(UInt64.random(in: 0 ... .max))"

    func open(
        historyMax: Int = WatchHub.historyMaxDefault, floor: Revision = 0, key: String? = nil
    ) async throws -> ReplicaStore {
        switch home {
        case .sqlite, .immediateSQLite:
            var options = SQLiteStore.Options()
            options.historyMax = historyMax
            options.loop = home == .sqlite ? loop : nil
            options.keyFile = key
            options.revisionFloor = floor
            return try SQLiteStore(path: directory + "/s.db", options)
        case .etcd:
            var options = EtcdStore.Options()
            options.historyMax = historyMax
            options.prefix = prefix
            options.revisionFloor = floor
            options.keyFile = key
            return try await EtcdStore.open(client(), options)
        }
    }

    func client() throws -> EtcdClient {
        EtcdClient(EtcdConfiguration(endpoints: [try #require(EtcdEndpoint(url))]), on: loop)
    }
}

/// The key of a pod.
func pod(_ name: String, _ namespace: String = "default") -> StoreKey {
    StoreKey(resource: "core/pods", namespace: namespace, name: name)
}

/// What a watch tells, as it comes.
///
/// `@unchecked Sendable`: used on one loop.
final class Watcher: @unchecked Sendable {
    private(set) var events: [StoreEvent] = []
    private(set) var isLost = false
    private var watch: StoreWatch?
    private let loop: EventLoop
    private var waiter: (isDone: (Watcher) -> Bool, continuation: CheckedContinuation<Void, Never>)?

    init(_ store: ReplicaStore, _ resource: String, from revision: Revision, on loop: EventLoop) throws {
        self.loop = loop
        watch = try store.watch(resource, from: revision) { [weak self] in
            guard let self else { return }
            loop.execute { self.drain() }
        }
        drain()
    }

    private func drain() {
        events += watch?.take() ?? []
        isLost = isLost || watch?.isLost == true
        if let waiter, waiter.isDone(self) {
            self.waiter = nil
            waiter.continuation.resume()
        }
    }

    /// Waits until a condition holds, at most half a minute.
    func until(_ isDone: @escaping (Watcher) -> Bool) async throws {
        drain()
        guard !isDone(self) else { return }
        let timer = loop.schedule(after: .seconds(30)) {
            self.waiter?.continuation.resume()
            self.waiter = nil
        }
        await withCheckedContinuation { waiter = (isDone, $0) }
        timer.cancel()
        try #require(isDone(self), "not within 30 s: \(events.count) events, lost: \(isLost)")
    }

    func cancel() { watch?.cancel() }
}

extension Place {
    /// What a thief of the disk would read.
    func restingBytes() async throws -> String {
        if home != .etcd { return String(decoding: try File.read(directory + "/s.db"), as: UTF8.self) }
        var request = EtcdRangeRequest()
        request.key = Array(prefix.utf8)
        request.rangeEnd = Array(prefix.utf8) + [0xff]
        let client = try client()
        defer { client.close() }
        return try await client.call(.range, request).kvs.map { String(decoding: $0.value, as: UTF8.self) }.joined()
    }
}
