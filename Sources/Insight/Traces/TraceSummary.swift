public import Serialization

/// A trace in one line.
public struct TraceSummary: Sendable, Hashable {
    /// Its id.
    public var id: TraceID
    /// The service that it began at.
    public var service: String
    /// What was done there.
    public var name: String
    /// The method of the first request; empty without.
    public var method: String
    /// Its path, without a query.
    public var path: String
    /// Nanoseconds since 1970.
    public var start: Int64
    /// From the first beginning to the last end; nanoseconds.
    public var duration: Int64
    /// The number of spans.
    public var spans: Int
    /// All services in it, sorted.
    public var services: [String]
    /// Spans in which something went wrong.
    public var failures: Int
    /// The status of the first request; nil without.
    public var status: Int?
    /// All statuses in it.
    public var statuses: Set<Int>
    /// All response flags in it, sorted.
    public var flags: [String]
    /// Why it is kept.
    public var reason: TraceStore.Reason
    /// Whether every parent that a span names is there, and exactly one span names none.
    public var isComplete: Bool

    init(_ id: TraceID, _ entry: TraceStore.Entry) {
        self.id = id
        let known = Set(entry.spans.map(\.id))
        let first =
            entry.spans.filter { $0.parent == nil }.min { $0.start < $1.start }
            ?? entry.spans.filter { span in span.parent.map { !known.contains($0) } ?? true }.min {
                $0.start < $1.start
            } ?? entry.spans.first
        service = first?.service ?? ""
        name = first?.name ?? ""
        method = first?.attribute("http.method") ?? ""
        path = first?.attribute("http.path") ?? ""
        status = first?.status
        start = entry.spans.map(\.start).min() ?? 0
        duration = (entry.spans.map(\.end).max() ?? 0) &- start
        spans = entry.spans.count
        services = Set(entry.spans.map(\.service)).sorted()
        failures = entry.spans.count { $0.hasFailed }
        statuses = Set(entry.spans.compactMap(\.status))
        flags = Set(entry.spans.flatMap(\.flags)).sorted()
        reason = entry.reason
        isComplete =
            entry.spans.count { $0.parent == nil } == 1
            && entry.spans.allSatisfy { span in span.parent.map { known.contains($0) } ?? true }
    }

    /// The members of a line (docs/insight.md).
    public var json: JSON {
        [
            "traceId": .string("\(id)"), "service": .string(service), "name": .string(name),
            "method": .string(method), "path": .string(path), "startMicroseconds": .integer(start / 1000),
            "durationMicroseconds": .integer(duration / 1000), "spans": .integer(Int64(spans)),
            "services": .array(services.map { .string($0) }), "errors": .integer(Int64(failures)),
            "status": status.map { .integer(Int64($0)) } ?? .null, "flags": .array(flags.map { .string($0) }),
            "kept": .string(reason.rawValue), "complete": .bool(isComplete),
        ]
    }
}

extension TraceStore {
    /// The traces that are wanted, the newest first.
    public func find(_ question: TraceQuestion) -> [TraceSummary] {
        var found: [TraceSummary] = []
        for (id, entry) in entries {
            let summary = TraceSummary(id, entry)
            if question.wants(summary) { found.append(summary) }
        }
        found.sort { ($0.start, $0.id.low) > ($1.start, $1.id.low) }
        return Array(found.prefix(min(question.limit, limits.answers)))
    }

    /// One trace; nil when it is not there.
    public func trace(_ id: TraceID) -> TraceView? { entries[id].map { TraceView(id, $0) } }

    /// The traces whose id begins with these digits, at most so many.
    public func ids(beginningWith digits: String, limit: Int = 2) -> [TraceID] {
        let digits = digits.lowercased()
        return Array(entries.keys.lazy.filter { "\($0)".hasPrefix(digits) }.prefix(limit))
    }

    /// The counters as an object.
    public var countsJSON: JSON {
        [
            "traces": .integer(Int64(count)), "bytes": .integer(Int64(bytes)),
            "spans": .integer(Int64(clamping: counts.spans)),
            "dropped": .integer(Int64(clamping: counts.dropped)), "evicted": .integer(Int64(clamping: counts.evicted)),
        ]
    }
}
