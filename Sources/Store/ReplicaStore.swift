internal import IO
public import Serialization
internal import Telemetry

/// A store whose objects are all in memory: what SQLite and etcd have in common.
///
/// A write changes memory at once and is *unsettled* until its home (the subclass) has it safe; a home takes the unsettled
/// writes in order, many at a time, and tells what became of them. Watchers see settled writes only. A home that refuses
/// takes back all unsettled writes, not one: later ones may rest on it.
///
/// Loop-owned; no I/O in this class.
public class ReplicaStore: ObjectStore {
    /// Unsettled writes at most; more are refused until the home has caught up.
    public static let unsettledMax = 20_000
    /// Writes in one transaction at most, so that every home can do it in one step (etcd takes 128 operations).
    public static let transactionWritesMax = 100
    /// Bytes of one object at most, as Kubernetes has it (etcd takes requests of 1.5 MiB).
    public static let objectBytesMax = 1_400_000

    /// How often limits were hit and what the home did.
    public let counters = StoreCounters()
    /// Takes note of writes of other servers, before watchers see them.
    public var onForeignWrite: ((StoreEvent) -> Void)?
    /// Called when objects were changed back or replaced as a whole: whoever keeps an index makes it anew, and whoever wrote
    /// without waiting for a `settlement` looks again whether there is something to write.
    ///
    /// They are called in the midst of taking over another server's write: they write nothing themselves.
    public var onReset: [() -> Void] = []

    private var tables: [String: ResourceTable] = [:]
    private var hub: WatchHub
    private var parts = SharedParts()
    /// The unsettled writes, oldest first.
    private(set) var unsettled: [StoreEvent] = []
    /// How many writes belong together, in the order of `unsettled`.
    private var groups: [Int] = []
    private var openGroup: Int?
    /// Who waits for unsettled writes, oldest first.
    private var settlements: [Settlement] = []
    /// The revision of the last write, settled or not.
    public private(set) var revision: Revision = 0
    /// Everything up to this revision is safe.
    public private(set) var settledRevision: Revision = 0

    init(historyMax: Int) { hub = WatchHub(revision: 0, historyMax: historyMax, lost: counters.lostWatches) }

    // MARK: What a home does

    /// Whether other servers write to the same home.
    public var isShared: Bool { false }

    /// There are unsettled writes; `isUrgent`: somebody waits for them.
    ///
    /// A home that settles on the spot does so here; when it throws, the writes since the last settled one are taken back.
    func settle(isUrgent: Bool) throws(StoreError) {}

    /// Whether a write can be taken now.
    func admit() throws(StoreError) {}

    /// Brings memory up to date with what other servers have written.
    public func refreshed() async throws(StoreError) {}

    /// Settles what is written and lets go of the home; nothing is written any more.
    public func close() async {}

    // MARK: Reading

    /// The object at `key`, as last written.
    public func get(_ key: StoreKey) -> StoredObject? { tables[key.resource]?[key] }

    /// All objects of a resource, of one namespace or of all, ordered by namespace and name.
    public func list(_ resource: String, namespace: String?) -> [StoredObject] {
        tables[resource]?.objects(namespace: namespace) ?? []
    }

    /// The objects of a resource as they were at a revision.
    public func list(_ resource: String, namespace: String?, at wanted: Revision) throws(StoreError) -> [StoredObject] {
        if wanted == revision { return list(resource, namespace: namespace) }
        guard wanted < revision else { throw .expired(wanted, oldest: revision) }
        let later = unsettled.filter { $0.object.revision > wanted }.reversed()
        let settled = try hub.changes(after: wanted).reversed()
        var table = tables[resource] ?? ResourceTable()
        for event in later where event.object.key.resource == resource { table.undo(event) }
        for event in settled where event.object.key.resource == resource { table.undo(event) }
        return table.objects(namespace: namespace)
    }

    /// Every change of a resource after `revision`, once it is settled.
    public func watch(
        _ resource: String, from revision: Revision, wake: @escaping () -> Void
    ) throws(StoreError) -> StoreWatch {
        try hub.watch(resource, from: revision, now: self.revision, wake: wake)
    }

    /// How many watches there are.
    public var watchCount: Int { hub.count }

    // MARK: Writing

    /// Stores a new object.
    public func create(_ key: StoreKey, _ object: JSON, _ durability: Durability) throws(StoreError) -> StoredObject {
        guard get(key) == nil else { throw .alreadyExists(key) }
        return try write(StoreEvent(kind: .added, object: next(key, object), previous: nil), durability)
    }

    /// Replaces an object, if it has the expected revision.
    public func update(
        _ key: StoreKey, _ object: JSON, expected: Revision, _ durability: Durability
    ) throws(StoreError) -> StoredObject {
        let old = try current(key, expected)
        return try write(
            StoreEvent(
                kind: .modified, object: next(key, object), previous: old.object, previousRevision: old.revision),
            durability)
    }

    /// Removes an object, if it has the expected revision.
    public func delete(_ key: StoreKey, expected: Revision, _ durability: Durability) throws(StoreError) -> StoredObject
    {
        let old = try current(key, expected)
        return try write(
            StoreEvent(
                kind: .deleted, object: next(key, old.object), previous: old.object, previousRevision: old.revision),
            durability)
    }

    /// Does several writes as one: all are stored or none.
    ///
    /// When `body` throws, what it wrote is taken back. Transactions inside of one belong to it.
    public func transaction<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        guard openGroup == nil else { return try body() }
        let mark = unsettled.count
        openGroup = mark
        do throws(StoreError) {
            let result = try body()
            openGroup = nil
            let count = unsettled.count - mark
            guard count > 0 else { return result }
            guard count <= Self.transactionWritesMax else {
                throw .failed(
                    path: "", detail: "a transaction of \(count) writes: \(Self.transactionWritesMax) is the most")
            }
            groups.append(count)
            try settle(isUrgent: false)
            return result
        } catch {
            openGroup = nil
            takeBack(to: mark)
            throw error
        }
    }

    /// What becomes of everything written so far; nil when it is safe.
    ///
    /// Whoever answers a client waits for it: it must not learn of what may yet be lost.
    public func settlement() throws(StoreError) -> Settlement? {
        guard settledRevision < revision else { return nil }
        if let last = settlements.last, last.revision == revision { return last }
        let settlement = Settlement(revision)
        try settle(isUrgent: true)
        guard settledRevision < settlement.revision else { return nil }
        settlements.append(settlement)
        return settlement
    }

    private func next(_ key: StoreKey, _ object: JSON) -> StoredObject {
        StoredObject(key: key, revision: revision + 1, object: parts.share(object))
    }

    private func current(_ key: StoreKey, _ expected: Revision) throws(StoreError) -> StoredObject {
        guard let old = get(key) else { throw .notFound(key) }
        guard old.revision == expected else { throw .conflict(key, expected: expected, actual: old.revision) }
        return old
    }

    private func write(_ event: StoreEvent, _ durability: Durability) throws(StoreError) -> StoredObject {
        guard unsettled.count < Self.unsettledMax else {
            counters.refusedWrites.add()
            throw .unavailable("\(unsettled.count) writes wait to be stored")
        }
        if event.kind != .deleted {
            let bytes = event.object.object.approximateBytes
            guard bytes <= Self.objectBytesMax else { throw .tooLarge(event.object.key, bytes: bytes) }
        }
        try admit()
        let mark = unsettled.count
        tables[event.object.key.resource, default: ResourceTable()].apply(event)
        revision = event.object.revision
        unsettled.append(event)
        guard openGroup == nil else { return event.object }
        groups.append(1)
        do throws(StoreError) {
            try settle(isUrgent: durability == .synced)
        } catch {
            takeBack(to: mark)
            throw error
        }
        return event.object
    }

    // MARK: What a home tells

    /// The next unsettled writes that go into one step, whole transactions only: at least one transaction, then as many as
    /// `fits` allows, which is asked with each write.
    func nextBatch(after skipped: Int = 0, max: Int, fits: (StoreEvent) -> Bool) -> [StoreEvent] {
        var batch: [StoreEvent] = []
        var start = 0
        for count in groups {
            defer { start += count }
            guard start >= skipped else { continue }
            let group = unsettled[start..<(start + count)]
            let mayJoin = group.allSatisfy(fits) && batch.count + count <= max
            if !batch.isEmpty, !mayJoin { break }
            batch += group
        }
        return batch
    }

    /// The oldest `count` unsettled writes are safe: watchers see them, and who waited for them goes on.
    func didSettle(_ count: Int) {
        guard count > 0, count <= unsettled.count else { return }
        let events = unsettled[..<count]
        settledRevision = events.last?.object.revision ?? settledRevision
        unsettled.removeFirst(count)
        var left = count
        while left > 0, let first = groups.first {
            if first > left {
                groups[0] = first - left
                break
            }
            left -= first
            groups.removeFirst()
        }
        counters.settledWrites.add(UInt64(count))
        counters.batches.add()
        for event in events { hub.publish(event, at: .now) }
        resolveSettlements(nil, upTo: settledRevision)
    }

    /// The unsettled writes will not be stored: memory is as it was before them, and who waits is told why.
    func refuseUnsettled(_ error: StoreError) {
        guard !unsettled.isEmpty else { return }
        takeBack(to: 0)
        hub.dropWatches(above: settledRevision)
        onReset.forEach { $0() }
        resolveSettlements(error)
    }

    private func resolveSettlements(_ failure: StoreError?, upTo last: Revision = .max) {
        let known = settlements.prefix { $0.revision <= last }
        settlements.removeFirst(known.count)
        for settlement in known { settlement.resolve(failure) }
    }

    private func takeBack(to mark: Int) {
        while unsettled.count > mark, let event = unsettled.popLast() {
            tables[event.object.key.resource]?.undo(event)
        }
        revision = unsettled.last?.object.revision ?? settledRevision
        var total = 0
        groups = groups.prefix { count in
            total += count
            return total <= mark
        }
    }

    /// A write of another server; there are no unsettled writes.
    func applyForeign(_ event: StoreEvent) {
        var event = event
        if event.kind != .deleted { event.object.object = parts.share(event.object.object) }
        tables[event.object.key.resource, default: ResourceTable()].apply(event)
        revision = event.object.revision
        settledRevision = revision
        onForeignWrite?(event)
        hub.publish(event, at: .now)
    }

    /// Everything anew, at the beginning or when the changes in between are unknown: watchers must list again.
    func replaceAll(_ objects: [StoredObject], revision: Revision) {
        let isFirst = settledRevision == 0 && tables.isEmpty
        refuseUnsettled(.overtaken)
        tables = [:]
        for var object in objects {
            object.object = parts.share(object.object)
            tables[object.key.resource, default: ResourceTable()].add(object)
        }
        for resource in tables.keys { tables[resource]?.sort() }
        self.revision = revision
        settledRevision = revision
        hub.reset(to: revision)
        if !isFirst { onReset.forEach { $0() } }
    }

    /// The present state is also that of a larger revision; there are no unsettled writes.
    func skip(to revision: Revision) {
        guard revision > self.revision, unsettled.isEmpty else { return }
        self.revision = revision
        settledRevision = revision
    }

    /// Later writes get larger revisions than this one.
    func raise(to floor: Revision) {
        guard floor > revision, unsettled.isEmpty else { return }
        revision = floor
        settledRevision = floor
        hub.reset(to: floor)
    }
}
