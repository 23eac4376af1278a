public import Serialization

/// Figures of requests over a span of time.
public struct TrafficFigures: Sendable, Hashable {
    /// Seconds that they are about.
    public var seconds = 0.0
    /// Requests that were answered.
    public var requests = 0.0
    /// Of those the answers with 5xx, or no status of HTTP.
    public var failed = 0.0
    /// Times of requests.
    public var times = LatencySketch(.proxy)
    /// Bytes to the hosts.
    public var sent = 0.0
    /// Bytes from the hosts.
    public var received = 0.0
    /// Connections that are open.
    public var open = 0.0
    /// Connections that were opened, and handshakes of TLS on them.
    public var connections = 0.0
    /// Handshakes of TLS.
    public var handshakes = 0.0

    /// Requests a second.
    public var rate: Double { seconds > 0 ? requests / seconds : 0 }
    /// The share of requests that did not fail; nil without requests.
    public var success: Double? { requests > 0 ? 1 - failed / requests : nil }

    /// As members of an object.
    var json: [String: JSON] {
        func time(_ share: Double) -> JSON { times.quantile(share).map { .number($0) } ?? .null }
        return [
            "requestsPerSecond": .number(rate), "success": success.map { .number($0) } ?? .null,
            "p50Milliseconds": time(0.5), "p95Milliseconds": time(0.95), "p99Milliseconds": time(0.99),
            "meanMilliseconds": times.mean.map { .number($0) } ?? .null,
            "sentBytesPerSecond": .number(seconds > 0 ? sent / seconds : 0),
            "receivedBytesPerSecond": .number(seconds > 0 ? received / seconds : 0),
            "openConnections": .number(open),
        ]
    }
}

/// Who sends to whom.
public struct TrafficEdge: Sendable, Hashable, Comparable {
    /// The namespace of the sender.
    public var sourceNamespace: String
    /// The workload that sends.
    public var source: String
    /// The host that is asked.
    public var host: String
    /// The subset of it; empty for all.
    public var subset: String

    /// The edge of a series of the sender's side.
    init(_ labels: Labels) {
        self.init(
            sourceNamespace: labels["source_workload_namespace"], source: labels["source_workload"],
            host: labels["destination_service"], subset: labels["destination_subset"])
    }

    /// An edge.
    init(sourceNamespace: String, source: String, host: String, subset: String) {
        (self.sourceNamespace, self.source, self.host, self.subset) = (sourceNamespace, source, host, subset)
    }

    /// The service's name with its subset; with the namespace where it is not the sender's.
    public var destination: String {
        let words = host.split(separator: ".").map(String.init)
        var name = host
        if words.count > 2, words[2] == "svc" {
            name = words[1] == sourceNamespace || sourceNamespace.isEmpty ? words[0] : "\(words[0]).\(words[1])"
        }
        return subset.isEmpty ? name : "\(name)/\(subset)"
    }

    /// In the order of their names.
    public static func < (left: TrafficEdge, right: TrafficEdge) -> Bool {
        (left.sourceNamespace, left.source, left.host, left.subset)
            < (right.sourceNamespace, right.source, right.host, right.subset)
    }
}

/// What `skein stat`, `top`, `edges` and `graph` show: computed from the series.
public struct TrafficView: Sendable {
    /// Seconds that rates are about.
    public let window: Double
    /// Every pair that has spoken in the window, as the sender's proxy saw it.
    public private(set) var edges: [TrafficEdge: TrafficFigures] = [:]
    /// What workloads took in, as their own proxies saw it; keys are `namespace/workload`.
    public private(set) var workloads: [String: TrafficFigures] = [:]

    /// The view at a tick, over so many ticks before it.
    public init(_ store: SeriesStore, now tick: Int64, ticks: Int64) {
        let ticks = max(1, ticks)
        window = Double(ticks * Insight.step)
        let from = tick - ticks
        func add(_ name: String, _ body: (inout TrafficFigures, Labels, Double) -> Void) {
            for (labels, value) in store.increases(name, after: from, upTo: tick) {
                change(labels) { body(&$0, labels, value) }
            }
        }
        add("skein_edge_requests_total") { figures, labels, value in
            figures.requests += value
            if !Self.isGood(labels["response_code"]) { figures.failed += value }
        }
        add("skein_edge_sent_bytes_total") { figures, _, value in figures.sent += value }
        add("skein_edge_received_bytes_total") { figures, _, value in figures.received += value }
        // Connections are kept for long: whether they are encrypted is told by all that were opened.
        for (labels, value) in store.newest("skein_edge_connections_total", since: tick - 2) {
            change(labels) { $0.connections += value }
        }
        for (labels, value) in store.newest("skein_edge_handshakes_total", since: tick - 2) {
            change(labels) { $0.handshakes += value }
        }
        for (labels, value) in store.newest("skein_edge_open_connections", since: tick - 2) {
            change(labels) { $0.open += value }
        }
        let times = store.distributions(
            "skein_edge_duration_milliseconds", after: from, upTo: tick, by: { Optional($0) })
        for (labels, sketch) in times { change(labels) { $0.times.merge(sketch) } }
        edges = edges.filter { $0.value.requests > 0 || $0.value.sent > 0 || $0.value.open > 0 }
    }

    private mutating func change(_ labels: Labels, _ body: (inout TrafficFigures) -> Void) {
        if labels["reporter"] == "destination" {
            let key = "\(labels["destination_workload_namespace"])/\(labels["destination_workload"])"
            body(&workloads[key, default: TrafficFigures(seconds: window)])
        } else {
            body(&edges[TrafficEdge(labels), default: TrafficFigures(seconds: window)])
        }
    }

    static func isGood(_ code: String) -> Bool { code.first.map { "1234".contains($0) } ?? false }

    /// What is asked of each service, by all who ask: the subsets together.
    public var services: [(host: String, figures: TrafficFigures)] {
        var sums: [String: TrafficFigures] = [:]
        for (edge, figures) in edges {
            var sum = sums[edge.host] ?? TrafficFigures(seconds: window)
            sum.requests += figures.requests
            sum.failed += figures.failed
            sum.times.merge(figures.times)
            sum.sent += figures.sent
            sum.received += figures.received
            sum.open += figures.open
            sum.connections += figures.connections
            sum.handshakes += figures.handshakes
            sums[edge.host] = sum
        }
        return sums.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// All of it.
    public var json: JSON {
        [
            "windowSeconds": .number(window),
            "services": .array(
                services.map { host, figures in
                    var members = figures.json
                    let edge = TrafficEdge(sourceNamespace: "", source: "", host: host, subset: "")
                    members["host"] = .string(host)
                    members["name"] = .string(edge.destination)
                    return .object(members)
                }),
            "workloads": .array(
                workloads.sorted { $0.key < $1.key }.map { key, figures in
                    var members = figures.json
                    let parts = key.split(separator: "/", maxSplits: 1).map(String.init)
                    members["namespace"] = .string(parts.first ?? "")
                    members["workload"] = .string(parts.last ?? "")
                    return .object(members)
                }),
            "edges": .array(
                edges.sorted { $0.key < $1.key }.map { edge, figures in
                    var members = figures.json
                    members["sourceNamespace"] = .string(edge.sourceNamespace)
                    members["source"] = .string(edge.source)
                    members["host"] = .string(edge.host)
                    members["subset"] = .string(edge.subset)
                    members["destination"] = .string(edge.destination)
                    members["mutualTLS"] = figures.mutualTLS.map { .bool($0) } ?? .null
                    return .object(members)
                }),
        ]
    }
}

extension TrafficFigures {
    /// Whether the connections were encrypted; nil when none was ever opened.
    var mutualTLS: Bool? { connections > 0 ? handshakes >= connections * 0.5 : nil }
}
