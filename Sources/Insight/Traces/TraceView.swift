public import Serialization

/// A trace as a waterfall: every span below the one that it is inside of, in the order of their beginnings.
public struct TraceView: Sendable {
    /// A span in its place.
    public struct Row: Sendable {
        /// The span.
        public var span: TraceSpan
        /// How many spans it is inside of.
        public var depth: Int
        /// The parent that it names is not there.
        public var isOrphan: Bool
        /// By how much it lies outside of its parent, whose clock may be another; nanoseconds.
        ///
        /// Below 0: it began so much earlier; above: it ended so much later.
        public var skew: Int64
    }

    /// The trace in one line.
    public var summary: TraceSummary
    /// The spans from top to bottom.
    public var rows: [Row]

    init(_ id: TraceID, _ entry: TraceStore.Entry) {
        summary = TraceSummary(id, entry)
        let order = entry.spans.indices.sorted {
            let (one, other) = (entry.spans[$0], entry.spans[$1])
            // Of two that begin at the same time the calling side comes first.
            return (one.start, one.kind == .client ? 0 : 1, one.id) < (
                other.start, other.kind == .client ? 0 : 1, other.id
            )
        }
        var places: [UInt64: Int] = [:]
        // Both sides of a call may have one id (Zipkin): children belong to the called side.
        for index in order where places[entry.spans[index].id] == nil || entry.spans[index].kind == .server {
            places[entry.spans[index].id] = index
        }
        var children: [Int: [Int]] = [:]
        var tops: [(index: Int, isOrphan: Bool)] = []
        for index in order {
            guard let parent = entry.spans[index].parent else {
                tops.append((index, false))
                continue
            }
            if let place = places[parent], place != index {
                children[place, default: []].append(index)
            } else {
                tops.append((index, true))
            }
        }
        var rows: [Row] = []
        var isShown = Array(repeating: false, count: entry.spans.count)
        func show(_ top: Int, isOrphan: Bool) {
            var stack: [(index: Int, depth: Int, parent: Int?)] = [(top, 0, nil)]
            while let (index, depth, parent) = stack.popLast() {
                guard !isShown[index] else { continue }
                isShown[index] = true
                let span = entry.spans[index]
                let skew = parent.map { Self.skew(span, in: entry.spans[$0]) } ?? 0
                rows.append(Row(span: span, depth: depth, isOrphan: isOrphan && depth == 0, skew: skew))
                for child in (children[index] ?? []).reversed() { stack.append((child, depth + 1, index)) }
            }
        }
        for top in tops { show(top.index, isOrphan: top.isOrphan) }
        // What is left goes round in a circle: it is shown all the same.
        for index in order where !isShown[index] { show(index, isOrphan: true) }
        self.rows = rows
    }

    /// Clocks of event loops are read once a turn: less than that is no difference; nanoseconds.
    private static let tolerance: Int64 = 1_000_000

    private static func skew(_ span: TraceSpan, in parent: TraceSpan) -> Int64 {
        if span.start &+ tolerance < parent.start { return span.start &- parent.start }
        // A request that goes on behind the answer is no matter of clocks.
        if span.end > parent.end &+ tolerance, span.kind == .server, parent.kind == .client {
            return span.end &- parent.end
        }
        return 0
    }

    /// The members of a page (docs/insight.md).
    ///
    /// - Parameter isPublic: Without attributes that an operator chose, which may hold values of header fields.
    public func json(isPublic: Bool) -> JSON {
        var json = summary.json
        json["spans"] = .array(rows.map { row(_: $0, isPublic) })
        json["spanCount"] = .integer(Int64(rows.count))
        return json
    }

    /// Attributes that say nothing about fields of requests.
    private static let shown: Set<String> = [
        "http.method", "http.path", "http.status_code", "http.protocol", "response_flags", "upstream_cluster",
        "upstream_address", "peer.address", "request_size", "response_size", "node_id", "zone", "grpc.status_code",
        "grpc.path", "retry.count", "route_name", "component", "error", "response_code_details", "policy",
        "upstream_tls", "downstream_tls", "guid:x-request-id", "http.request.method", "http.response.status_code",
        "waited_us", "attempt", "reason",
    ]

    private func row(_ row: Row, _ isPublic: Bool) -> JSON {
        let span = row.span
        func object(_ labels: [Label]) -> JSON {
            let labels = isPublic ? labels.filter { Self.shown.contains($0.name) } : labels
            return .object(Dictionary(labels.map { ($0.name, .string($0.value)) }, uniquingKeysWith: { $1 }))
        }
        return [
            "spanId": .string(SpanID.hex(span.id)),
            "parentId": span.parent.map { .string(SpanID.hex($0)) } ?? .null,
            "depth": .integer(Int64(row.depth)), "orphan": .bool(row.isOrphan), "service": .string(span.service),
            "pod": .string(span.sender), "name": .string(span.name), "kind": .string(span.kind.rawValue),
            "offsetMicroseconds": .integer((span.start &- summary.start) / 1000),
            "durationMicroseconds": .integer(span.duration / 1000), "skewMicroseconds": .integer(row.skew / 1000),
            "error": .bool(span.hasFailed), "status": span.status.map { .integer(Int64($0)) } ?? .null,
            "flags": .array(span.flags.map { .string($0) }), "attributes": object(span.attributes),
            "events": .array(
                span.events.sorted { $0.time < $1.time }.map { event in
                    [
                        "name": .string(event.name),
                        "offsetMicroseconds": .integer((event.time &- summary.start) / 1000),
                        "attributes": object(event.attributes),
                    ]
                }),
        ]
    }
}
