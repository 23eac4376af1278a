/// Which calls of a workload overlap, from spans.
///
/// A span of the called side is a request; the calls that it makes are the spans of the calling side right below it. Two called workloads
/// belong to one group when their calls are open at the same time in a good part of the requests that make both. Pure.
public struct CallOverlap: Sendable {
    /// Requests with calls of a workload below which nothing is said about it.
    static let requestsMin = 5
    /// The share of the requests with both calls in which they have to overlap to be one group.
    static let togetherMin = 0.3
    /// The share of the shorter of two calls for which both have to be open: less is the time it takes to begin and to end one.
    static let openMin = 0.2
    /// Workloads that one calls at most; calls to more are left out.
    static let calledMax = 64

    private struct Interval {
        var called: Int
        var start: Int64
        var end: Int64
    }
    private struct Caller {
        var names: [String] = []
        /// The calls of each request.
        var requests: [[Interval]] = []
    }
    private var callers: [String: Caller] = [:]

    /// Nothing seen.
    public init() {}

    /// Takes the spans of one trace.
    ///
    /// - Parameter workload: whose span it is, as the workload is named in observations; nil leaves the span out.
    public mutating func add(_ spans: [TraceSpan], workload: (TraceSpan) -> String?) {
        var children: [UInt64: [TraceSpan]] = [:]
        for span in spans { if let parent = span.parent { children[parent, default: []].append(span) } }
        for request in spans where request.kind == .server {
            guard let name = workload(request), let calls = children[request.id] else { continue }
            var caller = callers[name] ?? Caller()
            var intervals: [Interval] = []
            for call in calls where call.kind == .client {
                // Who was called is what the called side says; its last try stands for all.
                guard let answered = children[call.id]?.last(where: { $0.kind == .server }),
                    let called = workload(answered)
                else { continue }
                var place = caller.names.firstIndex(of: called)
                if place == nil, caller.names.count < Self.calledMax {
                    place = caller.names.count
                    caller.names.append(called)
                }
                guard let place else { continue }
                intervals.append(Interval(called: place, start: call.start, end: call.end))
            }
            if !intervals.isEmpty { caller.requests.append(intervals) }
            callers[name] = caller
        }
    }

    /// The groups of calls of each workload of which enough was seen.
    public var groups: [String: [CallGroup]] {
        callers.filter { $0.value.requests.count >= Self.requestsMin }.mapValues(Self.groups)
    }

    private static func groups(_ caller: Caller) -> [CallGroup] {
        let count = caller.names.count
        var both = Array(repeating: Array(repeating: 0, count: count), count: count)
        var together = both
        for request in caller.requests {
            for one in 0..<count {
                for other in (one + 1)..<max(count, one + 1) {
                    let (mine, theirs) = (request.filter { $0.called == one }, request.filter { $0.called == other })
                    guard !mine.isEmpty, !theirs.isEmpty else { continue }
                    both[one][other] += 1
                    if mine.contains(where: { first in theirs.contains { overlap(first, $0) } }) {
                        together[one][other] += 1
                    }
                }
            }
        }
        var group = Array(0..<count)
        for one in 0..<count {
            for other in (one + 1)..<max(count, one + 1)
            where both[one][other] > 0 && Double(together[one][other]) >= togetherMin * Double(both[one][other]) {
                let (from, to) = (group[other], group[one])
                for place in group.indices where group[place] == from { group[place] = to }
            }
        }
        return Set(group).sorted().map { number in
            var (open, sum) = (0.0, 0.0)
            for request in caller.requests {
                let calls = request.filter { group[$0.called] == number }
                sum += calls.reduce(0) { $0 + Double($1.end - $1.start) }
                open += union(calls)
            }
            return CallGroup(
                group.indices.filter { group[$0] == number }.map { caller.names[$0] }.sorted(),
                share: sum > 0 ? min(1, open / sum) : 1)
        }
    }

    private static func overlap(_ one: Interval, _ other: Interval) -> Bool {
        let open = Double(min(one.end, other.end) - max(one.start, other.start))
        return open > 0 && open >= openMin * Double(min(one.end - one.start, other.end - other.start))
    }

    /// Nanoseconds in which at least one is open.
    private static func union(_ intervals: [Interval]) -> Double {
        var (sum, end) = (0.0, Int64.min)
        for interval in intervals.sorted(by: { $0.start < $1.start }) {
            let begin = max(interval.start, end)
            if interval.end > begin { sum += Double(interval.end - begin) }
            end = max(end, interval.end)
        }
        return sum
    }
}

extension TraceStore {
    /// Which calls of each workload overlap in the traces that began in a span of time (milliseconds since 1970).
    ///
    /// The slowest are kept more often than the others, so that they count where nothing else is there.
    public func callGroups(
        from begin: Int64, to end: Int64, workload: (TraceSpan) -> String?
    ) -> [String: [CallGroup]] {
        var (fair, all) = (CallOverlap(), CallOverlap())
        for entry in entries.values where entry.first >= begin && entry.first <= end {
            if entry.reason == .share || entry.reason == .asked { fair.add(entry.spans, workload: workload) }
            all.add(entry.spans, workload: workload)
        }
        return all.groups.merging(fair.groups) { $1 }
    }
}
