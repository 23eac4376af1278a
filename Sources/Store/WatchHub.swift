/// The changes one watcher has not taken yet.
///
/// Bounded: a watcher that falls too far behind loses its place (`isLost`) and must list anew; it never slows a write.
public final class StoreWatch {
    /// How many changes may wait (a list page of kubectl is 500; controllers take theirs in the same pass).
    static let pendingMax = 4096

    let resource: String
    private var pending: [StoreEvent] = []
    private let wake: () -> Void
    /// Whether changes had to be dropped: the watch is over.
    public private(set) var isLost = false
    /// Whether nobody wants this watch any more.
    public private(set) var isCancelled = false

    init(resource: String, wake: @escaping () -> Void) {
        self.resource = resource
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

    func offer(_ event: StoreEvent) {
        guard !isCancelled, !isLost else { return }
        if pending.count >= Self.pendingMax {
            isLost = true
            pending = []
        } else {
            pending.append(event)
            if pending.count > 1 { return }
        }
        wake()
    }
}

/// Who watches, and what happened lately.
///
/// Pure: whoever writes feeds it.
public struct WatchHub {
    /// How many changes are remembered for watchers that come back.
    let historyMax: Int
    private var history: [StoreEvent] = []
    private var start = 0
    private var watches: [StoreWatch] = []
    /// Changes up to this revision are forgotten.
    private(set) var oldest: Revision

    init(revision: Revision, historyMax: Int = 8192) {
        oldest = revision
        self.historyMax = historyMax
    }

    /// Remembers a change and offers it to those who watch its resource.
    mutating func publish(_ event: StoreEvent) {
        history.append(event)
        if history.count - start > historyMax {
            oldest = history[start].object.revision
            start += 1
            if start > historyMax {  // Amortised: the array is moved once in `historyMax` writes.
                history.removeFirst(start)
                start = 0
            }
        }
        watches.removeAll(where: \.isCancelled)
        // A woken watcher may write: it must see a settled hub, so nothing is held here.
        let interested = watches.filter { $0.resource == event.object.key.resource }
        for watch in interested { watch.offer(event) }
    }

    /// A watch that first gets what happened after `revision`.
    mutating func watch(
        _ resource: String, from revision: Revision, now: Revision, wake: @escaping () -> Void
    ) throws(StoreError) -> StoreWatch {
        guard revision >= oldest else { throw StoreError.expired(revision, oldest: oldest) }
        guard revision <= now else { throw StoreError.expired(revision, oldest: now) }
        let watch = StoreWatch(resource: resource, wake: wake)
        let missed = history[start...].filter { $0.object.revision > revision && $0.object.key.resource == resource }
        guard missed.count <= StoreWatch.pendingMax else { throw StoreError.expired(revision, oldest: oldest) }
        for event in missed { watch.offer(event) }
        watches.removeAll(where: \.isCancelled)
        watches.append(watch)
        return watch
    }

    /// How many watches there are.
    var count: Int { watches.filter { !$0.isCancelled }.count }
}
