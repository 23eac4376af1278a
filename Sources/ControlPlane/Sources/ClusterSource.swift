import APIServer
import HTTP
import IO
import KubernetesAPI
import Mesh
import Serialization
import Store
import Telemetry

/// A Kubernetes API elsewhere as a source: every kind is listed and watched, what is written waits its turn.
///
/// `@unchecked Sendable`: belongs to one loop.
final class ClusterSource: ObjectSource, @unchecked Sendable {
    /// Writes that wait at most; more are refused, and told.
    static let writesMax = 10_000
    /// Writes under way at a time.
    static let writersMax = 4
    /// How often a write is tried when others are faster.
    static let triesMax = 6

    private final class Followed {
        var plan: ReflectorPlan
        var objects: [NamespacedName: KubernetesObject] = [:]
        var feeds: [Weak] = []
        init(_ kind: ResourceKind) { plan = ReflectorPlan(kind) }
    }
    private struct Weak { weak var feed: ClusterFeed? }

    /// What is written to: one entry for each object, later changes join those that wait.
    private struct Place: Hashable {
        var kind: ResourceKind
        var key: NamespacedName
        var subresource: String
    }
    private struct Write {
        var changes: [(JSON) -> JSON]
        var done: [(StatusError?) -> Void]
    }

    let connection: ClusterConnection
    private let loop: EventLoop
    private let log = Logger("cluster")
    private var followed: [ResourceKind: Followed] = [:]
    private let order: [ResourceKind]
    private var tasks: [Task<Void, Never>] = []
    private var isStopped = false
    private var waiting: [Place] = []
    private var writes: [Place: Write] = [:]
    private var writers = 0
    /// Writes that were refused because too many waited.
    private(set) var droppedWrites = 0
    /// Conflicts that made a write begin again.
    private(set) var conflictCount = 0
    private var syncWaiters: [() -> Void] = []
    private var lastRevision: Int64 = 0
    var writerChanged: [() -> Void] = []
    var isWriter = true {
        didSet { if isWriter != oldValue { writerChanged.forEach { $0() } } }
    }

    init(_ connection: ClusterConnection, kinds: [ResourceKind], on loop: EventLoop) {
        self.connection = connection
        self.loop = loop
        order = kinds
        for kind in kinds { followed[kind] = Followed(kind) }
    }

    /// The largest resource version that was seen.
    var revision: Int64 { lastRevision }
    var counts: [(kind: ResourceKind, count: Int)] { order.map { ($0, followed[$0]?.objects.count ?? 0) } }
    /// Nothing: the store is behind that API.
    var storeCounters: StoreCounters? { nil }
    /// Whether the present state of every kind is known, kinds that the server does not have included.
    var isSynced: Bool { followed.values.allSatisfy(\.plan.isSynced) }
    /// What is wrong with kinds that cannot be read, for people.
    var problems: [String] {
        order.compactMap { kind in followed[kind]?.plan.problem.map { "\(kind.qualifiedPlural): \($0)" } }
    }
    /// Kinds that the server does not know.
    var absent: [ResourceKind] { order.filter { followed[$0]?.plan.isAbsent ?? false } }

    /// Begins to follow every kind; `synced` is called once, when all of them are known.
    func start(synced: @escaping () -> Void) {
        syncWaiters.append(synced)
        for kind in order {
            tasks.append(Task(executorPreference: loop) { [weak self] in await self?.follow(kind) })
        }
    }

    func stop() {
        isStopped = true
        tasks.forEach { $0.cancel() }
        connection.close()
    }

    // MARK: Reading

    private func follow(_ kind: ResourceKind) async {
        guard let entry = followed[kind] else { return }
        var told: String?
        while !isStopped {
            switch entry.plan.next() {
            case .wait(let pause):
                // Many kinds fail together when the server goes: they need not come back in the same moment.
                await loop.sleep(for: pause * Double.random(in: 0.75...1.25))
            case .list(let path):
                do throws(StatusError) {
                    entry.plan.page(try await connection.send(.get, path))
                } catch {
                    entry.plan.failed(error.code, error.message)
                }
            case .watch(let path):
                do throws(StatusError) {
                    try await connection.watch(path) { event in
                        let goesOn = entry.plan.event(event)
                        self.deliver(entry)
                        return goesOn && !self.isStopped
                    }
                    entry.plan.ended()
                } catch {
                    entry.plan.failed(error.code, error.message)
                }
            }
            deliver(entry)
            if entry.plan.problem != told {
                told = entry.plan.problem
                if let told { log.warning("a kind cannot be followed", ["kind": kind.qualifiedPlural, "error": told]) }
            }
            if !syncWaiters.isEmpty, isSynced {
                let waiters = syncWaiters
                syncWaiters = []
                waiters.forEach { $0() }
            }
        }
    }

    private func deliver(_ entry: Followed) {
        let changes = entry.plan.takeChanges()
        guard !changes.isEmpty else { return }
        for change in changes {
            switch change {
            case .replaced(let objects):
                entry.objects = Dictionary(objects.map { ($0.key, $0) }, uniquingKeysWith: { _, last in last })
                for object in objects { note(object) }
            case .set(let object):
                entry.objects[object.key] = object
                note(object)
            case .deleted(let object):
                entry.objects[object.key] = nil
                note(object)
            }
        }
        entry.feeds.removeAll { $0.feed == nil }
        for weak in entry.feeds { weak.feed?.offer(changes) }
    }

    private func note(_ object: KubernetesObject) {
        // Of one clock for all kinds, which is what etcd has; others only make this figure useless.
        if let version = Int64(object.metadata.resourceVersion) { lastRevision = max(lastRevision, version) }
    }

    func follow(_ kind: ResourceKind, wake: @escaping () -> Void) throws(StatusError) -> any ObjectFeed {
        guard let entry = followed[kind] else { throw .noSuchPath }
        let feed = ClusterFeed(present: { Array(entry.objects.values) }, wake: wake)
        entry.feeds.append(Weak(feed: feed))
        return feed
    }

    func known(_ kind: ResourceKind, _ key: NamespacedName) -> KubernetesObject? { followed[kind]?.objects[key] }

    func all(_ kind: ResourceKind) -> [KubernetesObject] { followed[kind].map { Array($0.objects.values) } ?? [] }

    // MARK: Writing

    func modify(
        _ kind: ResourceKind, _ key: NamespacedName, subresource: String, _ change: @escaping (JSON) -> JSON,
        _ done: @escaping (StatusError?) -> Void
    ) {
        guard isWriter else { return done(Self.notWriter) }
        let place = Place(kind: kind, key: key, subresource: subresource)
        if writes[place] != nil {
            writes[place]?.changes.append(change)
            writes[place]?.done.append(done)
            return
        }
        guard writes.count < Self.writesMax else {
            droppedWrites += 1
            return done(StatusError(code: 429, reason: "TooManyRequests", message: "too many writes wait"))
        }
        writes[place] = Write(changes: [change], done: [done])
        waiting.append(place)
        startWriter()
    }

    private static let notWriter = StatusError(
        code: 409, reason: "Conflict", message: "another control plane is the one that writes")

    func create(
        _ kind: ResourceKind, _ object: JSON, namespace: String,
        _ done: @escaping (Result<String, StatusError>) -> Void
    ) {
        guard isWriter else { return done(.failure(Self.notWriter)) }
        let path = Self.path(kind, namespace)
        let answer = Completion(done)
        _ = Task(executorPreference: loop) { [connection] in
            do throws(StatusError) {
                let made = try await connection.send(.post, path, object)
                answer.call(.success(made["metadata"]?["name"]?.string ?? ""))
            } catch {
                answer.call(.failure(error))
            }
        }
    }

    func delete(
        _ kind: ResourceKind, _ key: NamespacedName, uid: String, _ done: @escaping (StatusError?) -> Void
    ) {
        guard isWriter else { return done(Self.notWriter) }
        let path = Self.path(kind, key.namespace, version: followed[kind]?.plan.servedVersion) + "/" + key.name
        let options: JSON = [
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": ["uid": .string(uid)],
        ]
        let answer = Completion { (result: Result<String, StatusError>) in
            if case .failure(let error) = result { done(error) } else { done(nil) }
        }
        _ = Task(executorPreference: loop) { [connection] in
            do throws(StatusError) {
                _ = try await connection.send(.delete, path, options)
                answer.call(.success(key.name))
            } catch {
                answer.call(.failure(error))
            }
        }
    }

    /// `@unchecked Sendable`: made and called on the loop of the source.
    private struct Completion: @unchecked Sendable {
        let call: (Result<String, StatusError>) -> Void
        init(_ call: @escaping (Result<String, StatusError>) -> Void) { self.call = call }
    }

    private func startWriter() {
        guard writers < Self.writersMax, !waiting.isEmpty else { return }
        writers += 1
        _ = Task(executorPreference: loop) { [self] in
            while !isStopped, !waiting.isEmpty {
                let place = waiting.removeFirst()
                guard let write = writes.removeValue(forKey: place) else { continue }
                let problem = await perform(write.changes, at: place)
                write.done.forEach { $0(problem) }
            }
            writers -= 1
        }
    }

    /// Writes what differs, on top of what is known first, then of what the server has.
    private func perform(_ changes: [(JSON) -> JSON], at place: Place) async -> StatusError? {
        var path =
            Self.path(place.kind, place.key.namespace, version: followed[place.kind]?.plan.servedVersion) + "/"
            + place.key.name
        let object = path
        if !place.subresource.isEmpty { path += "/" + place.subresource }
        var current = known(place.kind, place.key)?.json
        var problem: StatusError?
        for attempt in 0..<Self.triesMax where !isStopped {
            if attempt > 0 {
                await loop.sleep(for: .milliseconds(20 << attempt) * Double.random(in: 0.5...1.5))
            }
            guard isWriter else { return Self.notWriter }
            do throws(StatusError) {
                let base: JSON
                if let current { base = current } else { base = try await connection.send(.get, object) }
                let wanted = changes.reduce(base) { $1($0) }
                guard var patch = MergePatch.difference(from: base, to: wanted) else { return nil }
                // Without it a change that somebody made since would be lost.
                var metadata = patch["metadata"] ?? .object([:])
                metadata["resourceVersion"] = base["metadata"]?["resourceVersion"]
                metadata["uid"] = base["metadata"]?["uid"]
                patch["metadata"] = metadata
                _ = try await connection.send(.patch, path, patch, contentType: "application/merge-patch+json")
                return nil
            } catch {
                problem = error
                current = nil
                guard error.code == 409 || error.code == 0 || error.code == 429 || error.code >= 500 else {
                    return error
                }
                if error.code == 409 { conflictCount += 1 }
            }
        }
        return problem
    }

    /// The path of a kind's collection, in the version in which the server has it.
    static func path(_ kind: ResourceKind, _ namespace: String, version: String? = nil) -> String {
        let base = (kind.group.isEmpty ? "/api/" : "/apis/") + kind.apiVersion(version ?? kind.preferredVersion)
        return base + (kind.isNamespaced ? "/namespaces/\(namespace)" : "") + "/" + kind.plural
    }
}

/// The changes of one kind for one reader.
final class ClusterFeed: ObjectFeed {
    /// Changes that wait at most; a reader that is slower than that is told everything anew.
    static let pendingMax = 10_000

    private let present: () -> [KubernetesObject]
    private let wake: () -> Void
    private var pending: [FeedChange] = []
    private var mustReplace = true
    private var isCancelled = false

    init(present: @escaping () -> [KubernetesObject], wake: @escaping () -> Void) {
        self.present = present
        self.wake = wake
    }

    func offer(_ changes: [FeedChange]) {
        guard !isCancelled else { return }
        let wasQuiet = pending.isEmpty && !mustReplace
        if !mustReplace {
            pending += changes
            if pending.count > Self.pendingMax {
                pending = []
                mustReplace = true
            }
        }
        if wasQuiet { wake() }
    }

    func take() -> [FeedChange] {
        defer { pending = [] }
        guard mustReplace else { return pending }
        mustReplace = false
        return [.replaced(present())]
    }

    func cancel() { isCancelled = true }
}
