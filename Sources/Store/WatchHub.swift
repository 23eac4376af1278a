internal import IO
internal import Telemetry

/// The changes one watcher has not taken yet.
///
/// Bounded: a watcher that falls too far behind loses its place (`isLost`) and must list anew; it never slows a write.
public final class StoreWatch {
    /// How many changes may wait (a list page of kubectl is 500; controllers take theirs in the same pass).
    static let pendingMax = 4096

    let resource: String
    /// Changes up to this revision the watcher knows.
    let floor: Revision
    private var pending: [StoreEvent] = []
    private let wake: () -> Void
    /// Whether changes had to be dropped: the watch is over.
    public private(set) var isLost = false
    /// Whether nobody wants this watch any more.
    public private(set) var isCancelled = false

    init(resource: String, above floor: Revision, wake: @escaping () -> Void) {
        self.resource = resource
        self.floor = floor
        self.wake = wake
    }

    /// The changes since the last call, oldest first.
    public func take() -> [StoreEvent] {
        defer { pending = [] }
        return pending
    }

    /// Ends the watch.
    public func cancel() {
        isCancelled = true
        pending = []
    }

    /// False when the watch is lost by it.
    func offer(_ event: StoreEvent) -> Bool {
        guard !isCancelled, !isLost, event.object.revision > floor else { return true }
        if pending.count >= Self.pendingMax {
            lose()
            return false
        }
        pending.append(event)
        if pending.count == 1 { wake() }
        return true
    }

    /// Ends the watch: its watcher must list anew.
    func lose() {
        guard !isCancelled, !isLost else { return }
        isLost = true
        pending = []
        wake()
    }
}

/// Who watches, and what happened lately.
///
/// Pure: whoever writes feeds it. History is kept for `historyTime`, but at most `historyMax` changes, and the last
/// `historyMin` however old.
public struct WatchHub {
    /// How long changes are remembered for watchers that come back and lists that go on.
    public static let historyTime = Duration.seconds(300)
    /// How many changes are remembered at most.
    public static let historyMaxDefault = 10_000
    /// So many are remembered however old they are: they cost little, and save a quiet watcher a list.
    static let historyMin = 500

    private struct Change {
        var event: StoreEvent
        var time: MonotonicTime
    }

    /// The watches of one resource.
    private struct Watchers {
        var all: [StoreWatch] = []
        /// With so many the ended ones are let go of: an opened or closed watch costs the same beside thousands of others.
        var sweepsAt = 64

        mutating func add(_ watch: StoreWatch) {
            all.append(watch)
            if all.count >= sweepsAt { sweep() }
        }

        mutating func sweep() {
            all.removeAll { $0.isCancelled || $0.isLost }
            sweepsAt = max(64, 2 * all.count)
        }
    }

    /// How many changes are remembered at most.
    let historyMax: Int
    private var history: [Change] = []
    private var start = 0
    private var watches: [String: Watchers] = [:]
    /// Changes up to this revision are forgotten.
    private(set) var oldest: Revision
    /// Counts watches that fell too far behind.
    private let lost: Counter

    init(revision: Revision, historyMax: Int = historyMaxDefault, lost: Counter = Counter()) {
        oldest = revision
        self.historyMax = historyMax
        self.lost = lost
    }

    /// Remembers a change and offers it to those who watch its resource.
    mutating func publish(_ event: StoreEvent, at time: MonotonicTime) {
        history.append(Change(event: event, time: time))
        while history.count - start > historyMax
            || history.count - start > Self.historyMin && time - history[start].time > Self.historyTime
        {
            oldest = history[start].event.object.revision
            start += 1
        }
        if start > max(historyMax, 1) {  // Amortised: the array is moved once in `historyMax` writes.
            history.removeFirst(start)
            start = 0
        }
        let resource = event.object.key.resource
        guard let interested = watches[resource]?.all else { return }
        var ended = 0
        for watch in interested {
            if !watch.offer(event) { lost.add() }
            if watch.isCancelled || watch.isLost { ended += 1 }
        }
        if ended * 4 > interested.count { watches[resource]?.sweep() }
    }

    /// The remembered changes after a revision, oldest first.
    func changes(after revision: Revision) throws(StoreError) -> [StoreEvent] {
        guard revision >= oldest else { throw StoreError.expired(revision, oldest: oldest) }
        // Binary search: revisions grow.
        var low = start
        var high = history.count
        while low < high {
            let middle = (low + high) / 2
            if history[middle].event.object.revision > revision { high = middle } else { low = middle + 1 }
        }
        return history[low...].map(\.event)
    }

    /// A watch that first gets what happened after `revision`.
    mutating func watch(
        _ resource: String, from revision: Revision, now: Revision, wake: @escaping () -> Void
    ) throws(StoreError) -> StoreWatch {
        let missed = try changes(after: revision).filter { $0.object.key.resource == resource }
        guard revision <= now else { throw StoreError.expired(revision, oldest: now) }
        guard missed.count <= StoreWatch.pendingMax else { throw StoreError.expired(revision, oldest: oldest) }
        let watch = StoreWatch(resource: resource, above: revision, wake: wake)
        for event in missed { _ = watch.offer(event) }
        watches[resource, default: Watchers()].add(watch)
        return watch
    }

    /// Ends the watches of those who know of changes after `revision`, which were taken back.
    mutating func dropWatches(above revision: Revision) {
        for watch in watches.values.flatMap(\.all) where watch.floor > revision { watch.lose() }
    }

    /// Forgets everything: what happened up to `revision` is unknown, and every watcher must list anew.
    mutating func reset(to revision: Revision) {
        history = []
        start = 0
        oldest = revision
        let all = watches
        watches = [:]
        for watch in all.values.flatMap(\.all) { watch.lose() }
    }

    /// How many watches there are.
    var count: Int { watches.values.reduce(0) { $0 + $1.all.count(where: { !$0.isCancelled && !$0.isLost }) } }
}
