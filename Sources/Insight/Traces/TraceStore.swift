/// A bounded store of traces, sampled at their tails: what went wrong, what was asked for, the slowest, and a share of the others.
///
/// A trace is decided when it has been quiet for a while, or at a deadline. Spans may come in any order, twice, and late: a late one joins a trace that was kept. When there is no
/// room, the oldest of the others go first, then of the slow ones, then of those that were asked for, and errors last. Pure: the time comes as an argument, and what is by chance
/// follows from the trace's id.
public struct TraceStore: Sendable {
    /// Why a trace is kept.
    public enum Reason: String, Sendable, Hashable, CaseIterable {
        /// It is not decided yet.
        case pending
        /// A share of those with nothing special.
        case share
        /// Among the slowest of a service's route.
        case slow
        /// Somebody asked for it.
        case asked
        /// Something went wrong.
        case error
    }

    /// A trace that is kept.
    struct Entry: Sendable {
        var spans: [TraceSpan] = []
        var ids: Set<UInt64> = []
        var bytes = 0
        /// Milliseconds since 1970.
        var first: Int64
        var last: Int64
        var reason = Reason.pending
    }

    /// A queue with what is gone left in it until it is met.
    private struct Line: Sendable {
        var ids: [TraceID] = []
        var head = 0

        mutating func append(_ id: TraceID) { ids.append(id) }

        mutating func popFirst() -> TraceID? {
            guard head < ids.count else {
                self = Line()
                return nil
            }
            let id = ids[head]
            head += 1
            if head > 1024, head * 2 > ids.count {
                ids.removeFirst(head)
                head = 0
            }
            return id
        }
    }

    /// The limits.
    public let limits: TraceLimits
    /// What became of everything.
    public private(set) var counts = TraceCounts()
    /// Bytes of all spans, about.
    public private(set) var bytes = 0
    private(set) var entries: [TraceID: Entry] = [:]
    private var lines: [Reason: Line] = [:]
    /// Traces that are not decided, by when they began.
    private var pending: [TraceID] = []
    private var gone: Set<TraceID> = []
    private var goneLine = Line()
    private var slow: [String: [(duration: Int64, time: Int64)]] = [:]
    private var second: Int64 = 0
    private var othersOfSecond = 0

    /// An empty store.
    public init(limits: TraceLimits = TraceLimits()) { self.limits = limits }

    /// The number of traces.
    public var count: Int { entries.count }
    /// The number of spans.
    public var spanCount: Int { entries.values.reduce(0) { $0 + $1.spans.count } }

    // MARK: Spans

    /// Takes a span at a time in milliseconds since 1970; false when it was not kept.
    @discardableResult
    public mutating func add(_ span: TraceSpan, at now: Int64) -> Bool {
        counts.spans += 1
        guard span.id != 0, span.start > 0, span.duration >= 0, span.start <= Int64.max - span.duration else {
            counts.invalid += 1
            return false
        }
        let span = bounded(span)
        let isNew = entries[span.trace] == nil
        if isNew, gone.contains(span.trace), !span.hasFailed {
            counts.late += 1
            return false
        }
        var entry = entries[span.trace] ?? Entry(first: now, last: now)
        // Both sides of a call may have one id (Zipkin).
        guard entry.ids.insert(span.id).inserted || !entry.spans.contains(where: { Self.isSame($0, span) }) else {
            counts.duplicates += 1
            return false
        }
        guard entry.spans.count < limits.spansPerTrace else {
            counts.excess += 1
            return false
        }
        entry.spans.append(span)
        entry.bytes += span.bytes
        entry.last = now
        bytes += span.bytes
        if isNew {
            pending.append(span.trace)
        } else if entry.reason != .pending {
            counts.late += 1
            if span.hasFailed, entry.reason != .error {
                entry.reason = .error
                lines[.error, default: Line()].append(span.trace)
            }
        }
        entries[span.trace] = entry
        makeRoom(at: now)
        return true
    }

    private static func isSame(_ one: TraceSpan, _ other: TraceSpan) -> Bool {
        one.id == other.id && one.kind == other.kind && one.service == other.service
    }

    /// Decides what is due at a time in milliseconds since 1970.
    public mutating func tick(_ now: Int64) {
        var rest: [TraceID] = []
        for id in pending {
            guard let entry = entries[id], entry.reason == .pending else { continue }
            if now - entry.last >= limits.quiet || now - entry.first >= limits.deadline {
                decide(id, at: now)
            } else {
                rest.append(id)
            }
        }
        pending = rest
    }

    // MARK: Decisions

    private mutating func decide(_ id: TraceID, at now: Int64) {
        guard var entry = entries[id] else { return }
        let isSlow = isAmongSlowest(entry, now)
        if entry.spans.contains(where: \.hasFailed) {
            entry.reason = .error
            counts.errors += 1
        } else if entry.spans.contains(where: \.isAskedFor) {
            entry.reason = .asked
            counts.asked += 1
        } else if isSlow {
            entry.reason = .slow
            counts.slow += 1
        } else if isOfShare(id, now) {
            entry.reason = .share
            counts.others += 1
        } else {
            counts.dropped += 1
            return forget(id)
        }
        entries[id] = entry
        lines[entry.reason, default: Line()].append(id)
    }

    /// Whether it, or the part of one service in it, is among the slowest of its kind lately; it counts as such from now on.
    private mutating func isAmongSlowest(_ entry: Entry, _ now: Int64) -> Bool {
        var found = false
        for span in entry.spans where span.kind == .server || span.parent == nil {
            let key = span.comparedBy
            guard slow[key] != nil || slow.count < limits.slowKeys else { continue }
            var known = (slow[key] ?? []).filter { now - $0.time < limits.slowWindow }
            if known.count < limits.slowest {
                known.append((span.duration, now))
                found = true
            } else if let least = known.indices.min(by: { known[$0].duration < known[$1].duration }),
                known[least].duration < span.duration
            {
                known[least] = (span.duration, now)
                found = true
            }
            slow[key] = known
        }
        if slow.count >= limits.slowKeys {
            slow = slow.filter { entry in entry.value.contains { now - $0.time < limits.slowWindow } }
        }
        return found
    }

    private mutating func isOfShare(_ id: TraceID, _ now: Int64) -> Bool {
        if now / 1000 != second {
            second = now / 1000
            othersOfSecond = 0
        }
        othersOfSecond += 1
        if othersOfSecond <= limits.othersPerSecond { return true }
        // Of a well mixed number, so that tracers with poor ids do not decide for us.
        let mixed = (id.low ^ id.high &* 0x9E37_79B9_7F4A_7C15) &* 0xBF58_476D_1CE4_E5B9
        return (mixed >> 32) % max(limits.othersInterval, 1) == 0
    }

    // MARK: Room

    private mutating func makeRoom(at now: Int64) {
        if pending.count > limits.pending {
            let early = pending.prefix(max(1, limits.pending / 16))
            counts.early += UInt64(early.count)
            for id in early where entries[id]?.reason == .pending { decide(id, at: now) }
            pending.removeFirst(early.count)
        }
        while bytes > limits.bytes || entries.count > limits.traces {
            guard evictOne(at: now) else { return }
        }
    }

    private mutating func evictOne(at now: Int64) -> Bool {
        for reason in [Reason.share, .slow, .asked] {
            if evict(reason) { return true }
        }
        // Before an error goes, what is not decided yet, and turns out to be none.
        while let index = pending.firstIndex(where: { entries[$0]?.reason == .pending }) {
            let id = pending[index]
            pending.removeFirst(index + 1)
            counts.early += 1
            decide(id, at: now)
            guard let reason = entries[id]?.reason else { return true }
            if reason != .error { return evict(reason) }
        }
        return evict(.error)
    }

    private mutating func evict(_ reason: Reason) -> Bool {
        var line = lines[reason] ?? Line()
        defer { lines[reason] = line }
        while let id = line.popFirst() {
            guard entries[id]?.reason == reason else { continue }
            counts.evicted += 1
            forget(id)
            return true
        }
        return false
    }

    private mutating func forget(_ id: TraceID) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        bytes -= entry.bytes
        guard gone.insert(id).inserted else { return }
        goneLine.append(id)
        if gone.count > limits.remembered, let oldest = goneLine.popFirst() { gone.remove(oldest) }
    }

    // MARK: Bounds of a span

    private mutating func bounded(_ span: TraceSpan) -> TraceSpan {
        var span = span
        span.name = cut(span.name, limits.nameBytes)
        span.service = cut(span.service, limits.nameBytes)
        span.sender = cut(span.sender, limits.nameBytes)
        span.attributes = bounded(span.attributes)
        if span.events.count > limits.events {
            counts.cutAttributes += UInt64(span.events.count - limits.events)
            span.events.removeLast(span.events.count - limits.events)
        }
        for index in span.events.indices {
            span.events[index].name = cut(span.events[index].name, limits.nameBytes)
            span.events[index].attributes = bounded(span.events[index].attributes)
        }
        return span
    }

    private mutating func bounded(_ labels: [Label]) -> [Label] {
        var labels = labels
        if labels.count > limits.attributes {
            counts.cutAttributes += UInt64(labels.count - limits.attributes)
            labels.removeLast(labels.count - limits.attributes)
        }
        for index in labels.indices {
            labels[index].name = cut(labels[index].name, limits.nameBytes)
            labels[index].value = cut(labels[index].value, limits.valueBytes)
        }
        return labels
    }

    private mutating func cut(_ text: String, _ limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        counts.cutTexts += 1
        // Whole characters that fit, so that nothing grows by repair.
        var end = text.startIndex
        var length = 0
        while end < text.endIndex {
            length += text[end].utf8.count
            if length > limit { break }
            end = text.index(after: end)
        }
        return String(text[..<end])
    }
}
