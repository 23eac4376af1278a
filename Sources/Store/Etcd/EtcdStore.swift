public import Etcd
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry

/// The store outside: an etcd cluster that several servers share, and all objects in the memory of each.
///
/// A server applies a write to its memory at once and sends it, with all others that gathered meanwhile, as one transaction
/// that succeeds only if no other server has written since (`EtcdLayout`). If one has, everything unsettled is taken back and
/// whoever waits for it is told `overtaken`, to look again and do it again. A watch of the whole prefix brings what others
/// write. So whatever a server decides it decides knowing everything before: no two servers give away one address.
///
/// The answer to a transaction may be lost. It is sent again until it is known what became of it: because of the
/// comparison it happens once at most, and the watch tells who moved the clock. Loop-owned.
public final class EtcdStore: ReplicaStore {
    /// How the cluster is used.
    public struct Options: Sendable {
        /// How many changes are remembered for watchers at most.
        public var historyMax = WatchHub.historyMaxDefault
        /// What all keys begin with.
        public var prefix = "/skein"
        /// The file of the key that Secrets are encrypted with, the same on all servers; made by the first of them.
        ///
        /// Without it nothing is encrypted.
        public var keyFile: String?
        /// Revisions go on above this one: see `SQLiteStore.floor`.
        public var revisionFloor: Revision = 0
        /// How long a write may stay unsettled before it is refused as `unavailable`.
        public var patience = Duration.seconds(10)
        /// How often etcd is told to forget what is older than that; nil: somebody else tells it.
        public var compactionInterval: Duration? = .seconds(300)
        /// The usual options, without encryption.
        public init() {}
    }

    /// Keys in one transaction at most; etcd takes 128 operations.
    private static let batchKeysMax = transactionWritesMax
    /// Bytes in one transaction about; etcd takes 1.5 MiB.
    private static let batchBytesMax = 1_000_000
    /// Objects on one page when everything is read.
    private static let pageMax: Int64 = 500
    /// How long a reader waits for what others have written.
    private static let refreshTimeout = Duration.seconds(5)

    /// A step on its way.
    private final class Step {
        let number: Int64
        let count: Int
        let request: EtcdTxnRequest

        init(number: Int64, count: Int, request: EtcdTxnRequest) {
            self.number = number
            self.count = count
            self.request = request
        }
    }

    let client: EtcdClient
    private(set) var layout: EtcdLayout
    let loop: EventLoop
    let options: Options
    let log = Logger("store")
    /// Which process this is, for the clock and for other servers.
    public let writer: String
    private var steps: Int64 = 0
    private var step: Step?
    private let commit: GroupCommit
    private var patience: LoopTimer?
    private var turns = EtcdTurns()
    private var turn: LoopTimer?
    /// The `mod_revision` of the clock that memory stands at.
    private(set) var applied: Int64 = 0
    /// Where the watch goes on: everything of etcd up to here was seen.
    private(set) var seen: Int64 = 0
    private var appliedWaiters: [(revision: Int64, continuation: CheckedContinuation<Bool, Never>)] = []
    private var runningRefresh: Task<StoreError?, Never>?
    private var queuedRefresh: Task<StoreError?, Never>?
    /// Why etcd cannot be reached now; nil while it can.
    public private(set) var outage: String?
    private(set) var isClosed = false
    /// Whether everything is being read: nothing is sent meanwhile, for it would rest on what is old.
    private var isLoading = false
    /// Who decides for all servers.
    public private(set) var leadership: EtcdLeadership?
    /// What servers say of themselves.
    var reports: [ReportTopic: EtcdReports] = [:]
    /// Called with the name of what all servers have in common when one of them has changed it; one may be missed while etcd is away.
    public var onCommon: ((String) -> Void)?

    private init(_ client: EtcdClient, _ options: Options) {
        self.client = client
        self.options = options
        loop = client.loop
        commit = GroupCommit(on: client.loop)
        layout = EtcdLayout(prefix: options.prefix)
        writer = EtcdStore.makeName()
        super.init(historyMax: options.historyMax)
        commit.send = { [weak self] in self?.flush() }
    }

    /// Reads everything and begins to follow; on the client's loop.
    public static func open(_ client: EtcdClient, _ options: Options) async throws(StoreError) -> EtcdStore {
        let store = EtcdStore(client, options)
        try await store.takeKey()
        try await store.load(isFirst: true)
        let link = Link(store)
        Task(executorPreference: store.loop) { await EtcdStore.follow(link) }
        if options.compactionInterval != nil { store.scheduleCompaction(of: store.seen) }
        return store
    }

    /// Takes part in the election of the server that decides for all; `changed` hears of winning and losing.
    public func campaign(changed: @escaping (Bool) -> Void) {
        guard leadership == nil, !isClosed else { return }
        leadership = EtcdLeadership(client, layout, name: writer, changed: changed)
        leadership?.start()
    }

    /// The store as long as somebody uses it: tasks hold it only while they do something.
    ///
    /// `@unchecked Sendable`: touched on the store's loop only.
    final class Link: @unchecked Sendable {
        private(set) weak var store: EtcdStore?
        init(_ store: EtcdStore) { self.store = store }
    }

    override public var isShared: Bool { true }

    // MARK: Reading everything

    private func failure(_ status: GRPCStatus) -> StoreError {
        switch status.code {
        case .resourceExhausted where status.message.contains("space exceeded"):
            .diskFull(path: "etcd \(layout.prefix)")
        case .permissionDenied, .unauthenticated, .invalidArgument, .failedPrecondition:
            .failed(path: "etcd \(layout.prefix)", detail: status.message)
        default: .unavailable("etcd: \(status.message)")
        }
    }

    func ask<Answer: Message>(
        _ method: EtcdMethod<Answer>, _ question: some Message
    ) async throws(StoreError) -> Answer {
        do throws(GRPCStatus) { return try await client.call(method, question) } catch { throw failure(error) }
    }

    /// Takes the key of the Secrets: all servers encrypt with one, whose name the first one leaves.
    private func takeKey() async throws(StoreError) {
        let known = try await keyName(putting: nil)
        guard let file = options.keyFile else {
            guard let known else { return }
            throw .failed(
                path: "etcd \(layout.prefix)",
                detail: "its Secrets are encrypted with key \(known): name the file with --encryption-key")
        }
        let key = try SecretKey.key(at: file, isNewStore: known == nil)
        // Of two servers that begin at once one is the first.
        let agreed = try await keyName(putting: key.shownName)
        guard agreed == key.shownName else {
            throw .failed(
                path: file, detail: "is not the key of the other servers (\(agreed ?? "none")): copy theirs here")
        }
        layout.text.key = key
    }

    /// The name of the key that is used, which becomes `name` if there is none.
    private func keyName(putting name: String?) async throws(StoreError) -> String? {
        let answer = try await ask(.txn, layout.take(layout.key, name.map { Array($0.utf8) }))
        if answer.succeeded { return name }
        return answer.found.map { String(decoding: $0.value, as: UTF8.self) }
    }

    /// Reads the clock, making it when there is none.
    private func readClock() async throws(StoreError) -> (clock: EtcdLayout.Clock, modRevision: Int64, now: Int64) {
        let first = EtcdLayout.Clock(revision: 1, writer: writer, batch: 0, changes: [])
        let answer = try await ask(.txn, layout.take(layout.clock, EtcdLayout.write(first)))
        let now = answer.header?.revision ?? 0
        if answer.succeeded { return (first, now, now) }
        guard let found = answer.found else {
            throw .corrupted(path: "etcd \(layout.prefix)", detail: "the clock is neither there nor not there")
        }
        return (try layout.clock(found.value), found.modRevision, now)
    }

    /// Reads the clock, raising it first where it is below `floor`.
    ///
    /// One round trip an attempt, and before the objects are read: with the whole reading between a look at the clock and its
    /// raising, other servers that write all the time would never let a server begin.
    private func readClock(atLeast floor: Revision) async throws(StoreError) -> (
        clock: EtcdLayout.Clock, modRevision: Int64, now: Int64
    ) {
        var found = try await readClock()
        while found.clock.revision < floor {
            let raised = EtcdLayout.Clock(revision: floor, writer: writer, batch: 0, changes: [])
            var request = EtcdTxnRequest()
            request.compare = [layout.compare(layout.clock, modRevision: found.modRevision)]
            request.success = [layout.put(layout.clock, EtcdLayout.write(raised))]
            request.failure = [layout.range(layout.clock)]
            let answer = try await ask(.txn, request)
            let now = answer.header?.revision ?? 0
            if answer.succeeded { return (raised, now, now) }
            guard let pair = answer.found else {
                throw .corrupted(path: "etcd \(layout.prefix)", detail: "the clock is gone")
            }
            found = (try layout.clock(pair.value), pair.modRevision, now)
        }
        return found
    }

    /// Makes memory what etcd has, unless nothing changed since.
    private func load(isFirst: Bool) async throws(StoreError) {
        if !isFirst {
            let (clock, modRevision, now) = try await readClock()
            outage = nil
            if modRevision == applied, clock.revision <= settledRevision {
                seen = max(seen, now)
                return
            }
        }
        isLoading = true
        defer { isLoading = false }
        abandonStep()
        refuseUnsettled(.overtaken)
        // Where etcd was set back to an older state, revisions still go on: for all servers, so the clock must say so.
        let floor = max(settledRevision, isFirst ? options.revisionFloor : 0)
        let (clock, modRevision, now) = try await readClock(atLeast: floor)
        var objects: [StoredObject] = []
        var start = layout.objects
        let end = EtcdLayout.end(of: start)
        while true {
            var request = EtcdRangeRequest()
            request.key = start
            request.rangeEnd = end
            request.limit = Self.pageMax
            request.revision = now
            let answer = try await ask(.range, request)
            for pair in answer.kvs {
                guard let key = layout.key(pair.key) else {
                    throw .corrupted(
                        path: "etcd \(layout.prefix)",
                        detail: "no object's key: \(String(decoding: pair.key, as: UTF8.self))")
                }
                objects.append(try layout.object(pair.value, at: key))
            }
            guard answer.more, let last = answer.kvs.last else { break }
            start = last.key + [0]
        }
        abandonStep()
        replaceAll(objects, revision: clock.revision)
        counters.reloads.add()
        outage = nil
        applied = modRevision
        seen = now
        wakeAppliedWaiters()
    }

    // MARK: Following

    /// Watches until the store is gone, beginning again after each break where it ended.
    private static func follow(_ link: Link) async {
        var failures = 0
        while let store = link.store, !store.isClosed {
            let (client, layout, loop) = (store.client, store.layout, store.loop)
            do {
                // Whether etcd was set back while nobody looked; a watch would wait for revisions that come again.
                if failures > 0 { try await store.compareClock() }
                let after = store.seen
                var mustLoad = false
                try await client.watch(from: layout.everything, to: EtcdLayout.end(of: layout.everything), after: after)
                {
                    news in
                    guard let store = link.store, !store.isClosed else { return false }
                    failures = 0
                    store.outage = nil
                    switch news {
                    case .compacted: mustLoad = true
                    case .events(let events, let revision): mustLoad = !store.take(events, revision)
                    }
                    return !mustLoad
                }
                if mustLoad, let store = link.store, !store.isClosed { try await store.load(isFirst: false) }
            } catch {
                failures += 1
                guard let store = link.store, !store.isClosed else { return }
                if failures > 1 { store.outage = "\(error)" }
                store.log.warning("the watch of etcd broke; it goes on where it ended", ["reason": "\(error)"])
            }
            guard failures > 0 else { continue }
            // 50 ms, 100 ms … 2 s, and a random half of it, so that servers do not come all at once.
            let milliseconds = min(50 << min(failures, 6), 2_000)
            await loop.sleep(for: .milliseconds(milliseconds / 2 + Int.random(in: 0...(milliseconds / 2))))
        }
    }

    private func compareClock() async throws(StoreError) {
        // What a step of our own moves while we ask is no step back.
        let (knownClock, knownNow) = (applied, seen)
        let (clock, modRevision, now) = try await readClock()
        outage = nil
        if modRevision < knownClock || now < knownNow || modRevision == applied && clock.revision > settledRevision {
            log.warning("etcd was set back to an older state; everything is read anew")
            applied = 0
            seen = 0
            try await load(isFirst: false)
        } else if step == nil {
            flush()
        }
    }

    /// Takes over changes; false when they cannot be understood: everything must be read anew.
    private func take(_ events: [EtcdEvent], _ revision: Int64) -> Bool {
        var rest = events[...]
        while let first = rest.first?.kv?.modRevision {
            let count = rest.prefix { $0.kv?.modRevision == first }.count
            let group = rest.prefix(count)
            rest = rest.dropFirst(count)
            do throws(StoreError) {
                try take(group, first)
            } catch {
                log.error("a change in etcd is not understood; everything is read anew", ["reason": "\(error)"])
                applied = 0
                return false
            }
            seen = max(seen, first)
        }
        return true
    }

    private func take(_ group: ArraySlice<EtcdEvent>, _ modRevision: Int64) throws(StoreError) {
        var values: [StoreKey: [UInt8]] = [:]
        var clock: EtcdLayout.Clock?
        var touchesObjects = false
        for event in group {
            guard let pair = event.kv else { continue }
            if pair.key == layout.clock {
                guard event.type == .put else {
                    throw .failed(path: "etcd \(layout.prefix)", detail: "the clock was deleted")
                }
                clock = try layout.clock(pair.value)
            } else if pair.key == layout.leader {
                if event.type == .delete { leadership?.isVacant() }
            } else if let (reports, server) = report(at: pair.key) {
                reports.heard(server, event.type == .put ? pair.value : nil)
            } else if let server = layout.waitingServer(pair.key) {
                if server != writer { turns.heard(server, waits: event.type == .put, loop.now) }
            } else if let name = layout.commonName(pair.key) {
                onCommon?(name)
            } else if let key = layout.key(pair.key) {
                touchesObjects = true
                if event.type == .put { values[key] = pair.value }
            }
        }
        guard let clock else {
            if touchesObjects {
                throw .corrupted(
                    path: "etcd \(layout.prefix)", detail: "objects were changed without the clock, by another program")
            }
            return
        }
        guard modRevision > applied else { return }
        if let step, clock.writer == writer, clock.batch == step.number { return stored(step, modRevision) }
        turns.otherStored()
        if !unsettled.isEmpty {
            abandonStep()
            counters.overtaken.add()
            refuseUnsettled(.overtaken)
            if turns.wasOvertaken(loop.now) { sayThatWeWait() }
        }
        if let first = clock.changes.first, first.revision <= settledRevision {
            throw .failed(
                path: "etcd \(layout.prefix)", detail: "revision \(first.revision) came after \(settledRevision)")
        }
        for change in clock.changes {
            let previous = get(change.key)
            var object = StoredObject(key: change.key, revision: change.revision, object: previous?.object ?? .null)
            if change.kind != .deleted {
                guard let value = change.superseded ?? values[change.key] else {
                    throw .corrupted(
                        path: "etcd \(layout.prefix)", detail: "\(EtcdLayout.path(change.key)) is missing in its step")
                }
                object.object = try layout.object(value, at: change.key).object
            }
            applyForeign(
                StoreEvent(
                    kind: change.kind, object: object, previous: previous?.object,
                    previousRevision: previous?.revision ?? 0))
        }
        skip(to: clock.revision)
        advance(to: modRevision)
        flush()
    }

    private func advance(to modRevision: Int64) {
        applied = modRevision
        wakeAppliedWaiters()
    }

    private func wakeAppliedWaiters() {
        let ready = appliedWaiters.filter { $0.revision <= applied }
        appliedWaiters.removeAll { $0.revision <= applied }
        for waiter in ready { waiter.continuation.resume(returning: true) }
    }

    // MARK: Settling

    override func admit() throws(StoreError) {
        if isClosed { throw .unavailable("the store is closed") }
        if let outage { throw .unavailable(outage) }
    }

    override func settle(isUrgent: Bool) throws(StoreError) {
        if step == nil { commit.ask(isUrgent: isUrgent) }
    }

    private func flush() {
        commit.begin()
        guard step == nil, !isClosed, !isLoading, !unsettled.isEmpty else { return }
        if let pause = turns.pause(loop.now) {
            turn?.cancel()
            turn = loop.schedule(after: pause) { [weak self] in self?.flush() }
            return
        }
        var keys: Set<StoreKey> = []
        var bytes = 0
        let batch = nextBatch(max: Self.batchKeysMax) { event in
            keys.insert(event.object.key)
            bytes += event.object.object.approximateBytes * 5 / 4
            return bytes < Self.batchBytesMax
        }
        var request: EtcdTxnRequest
        do throws(StoreError) {
            request = try layout.step(batch, writer: writer, batch: steps + 1, after: applied)
        } catch {
            return refuseUnsettled(error)
        }
        if turns.hasSaid { request.success.append(layout.delete(layout.waiting(writer))) }
        steps += 1
        let step = Step(
            number: steps, count: batch.count, request: request)
        self.step = step
        let link = Link(self)
        patience = loop.schedule(after: options.patience) { [weak self, weak step] in
            guard let self, let step, self.step === step else { return }
            self.abandonStep()
            self.outage = self.outage ?? "etcd did not answer in \(self.options.patience)"
            self.refuseUnsettled(.unavailable(self.outage ?? ""))
        }
        let carrier = StepCarrier(step)
        Task(executorPreference: loop) { await EtcdStore.send(carrier, link) }
    }

    /// Brings a step into a task of the same loop.
    private struct StepCarrier: @unchecked Sendable {
        let step: Step
        init(_ step: Step) { self.step = step }
    }

    /// Sends a step until it is known what became of it.
    private static func send(_ carrier: StepCarrier, _ link: Link) async {
        let step = carrier.step
        while let store = link.store, store.step === step {
            let client = store.client
            do throws(GRPCStatus) {
                let answer = try await client.call(.txn, step.request)
                guard let store = link.store, store.step === step else { return }
                store.outage = nil
                if answer.succeeded, let revision = answer.header?.revision { return store.stored(step, revision) }
                // The clock has moved: by this very step, when its first answer was lost, or by another server. The watch tells.
                return
            } catch {
                guard let store = link.store, store.step === step else { return }
                let failure = store.failure(error)
                guard case .unavailable = failure else {
                    // Refused, not lost: etcd says that it has not done it.
                    store.abandonStep()
                    return store.refuseUnsettled(failure)
                }
                store.outage = error.message
                await store.loop.sleep(for: .milliseconds(Int.random(in: 100...300)))
            }
        }
    }

    /// Asks the other servers to leave a gap: one that is lost, or comes late, costs no more than another attempt.
    private func sayThatWeWait() {
        let link = Link(self)
        Task(executorPreference: loop) {
            guard let store = link.store else { return }
            var request = EtcdTxnRequest()
            request.success = [store.layout.put(store.layout.waiting(store.writer), [])]
            do throws(StoreError) { _ = try await store.ask(.txn, request) } catch {
                store.log.debug("the other servers do not hear that this one waits", ["reason": "\(error)"])
            }
        }
    }

    private func stored(_ step: Step, _ modRevision: Int64) {
        guard self.step === step else { return }
        turns.stored(loop.now)
        abandonStep()
        applied = max(applied, modRevision)
        didSettle(step.count)
        wakeAppliedWaiters()
        flush()
    }

    private func abandonStep() {
        step = nil
        patience?.cancel()
        patience = nil
    }

    // MARK: Other servers

    /// Waits until memory has everything that any server had written when this was called.
    override public func refreshed() async throws(StoreError) {
        // One question answers all who asked before it was put; who comes later needs the next one.
        let task: Task<StoreError?, Never>
        if let queuedRefresh {
            task = queuedRefresh
        } else {
            let previous = runningRefresh
            let link = Link(self)
            task = Task(executorPreference: loop) {
                _ = await previous?.value
                guard let store = link.store else { return .unavailable("the store is gone") }
                store.runningRefresh = store.queuedRefresh
                store.queuedRefresh = nil
                return await store.catchUp()
            }
            queuedRefresh = task
        }
        if let failure = await task.value { throw failure }
    }

    private func catchUp() async -> StoreError? {
        if isClosed { return .unavailable("the store is closed") }
        var request = EtcdRangeRequest()
        request.key = layout.clock
        request.keysOnly = true
        do throws(StoreError) {
            let answer = try await ask(.range, request)
            guard let target = answer.kvs.first?.modRevision else {
                return .corrupted(path: "etcd \(layout.prefix)", detail: "the clock is gone")
            }
            guard target > applied else { return nil }
            let hasCaughtUp = await withCheckedContinuation { continuation in
                guard target > applied else { return continuation.resume(returning: true) }
                appliedWaiters.append((target, continuation))
                loop.schedule(after: Self.refreshTimeout) { [weak self] in self?.giveUpWaiters(upTo: target) }
            }
            return hasCaughtUp ? nil : .unavailable("this server is behind the other servers")
        } catch {
            return error
        }
    }

    private func giveUpWaiters(upTo revision: Int64) {
        let late = appliedWaiters.filter { $0.revision <= revision }
        appliedWaiters.removeAll { $0.revision <= revision }
        for waiter in late { waiter.continuation.resume(returning: false) }
    }

    // MARK: The end

    /// Lets go of the cluster at once, as if the process had been killed.
    func abandon() {
        isClosed = true
        commit.stop()
        turn?.cancel()
        abandonStep()
        leadership?.abandon()
        for reports in reports.values { reports.abandon() }
        giveUpWaiters(upTo: .max)
        client.close()
    }

    /// Settles what is written and lets go of the cluster.
    override public func close() async {
        guard !isClosed else { return }
        // What cannot be settled was refused, and its writers were told.
        try? await settled()
        isClosed = true
        commit.stop()
        turn?.cancel()
        abandonStep()
        await leadership?.stop()
        for reports in reports.values { await reports.stop() }
        giveUpWaiters(upTo: .max)
        client.close()
    }
}
