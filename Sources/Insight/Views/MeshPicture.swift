public import Serialization

/// What the dashboard's overview and graph show: nodes, edges, the golden signals and what is wrong.
///
/// Pure: the series and who stands behind which host come in.
public struct MeshPicture: Sendable {
    /// The pods that answer for a host, or for a subset of it: keys `namespace/workload`, with the number of pods.
    public typealias Behind = (_ host: String, _ subset: String) -> [String: Int]

    /// Something in the graph.
    public struct Node: Sendable, Hashable, Comparable {
        /// What it stands for.
        public enum Kind: String, Sendable {
            /// Pods of one owner.
            case workload
            /// A host with several workloads behind it.
            case service
            /// A host with nothing of the mesh behind it.
            case outside
        }

        /// `namespace/workload`, or the host with its subset.
        public var id: String
        /// What it stands for.
        public var kind: Kind
        /// The name to show.
        public var label: String
        /// The namespace; empty outside.
        public var namespace: String
        /// The host by which it is asked; empty when nobody asks.
        public var host = ""
        /// Its pods; nil when they are not known.
        public var pods: Int?

        /// By their ids.
        public static func < (left: Node, right: Node) -> Bool { left.id < right.id }
    }

    /// A line in the graph.
    public struct Edge: Sendable {
        /// The node that sends.
        public var source: String
        /// The node that is asked.
        public var target: String
        /// As the sender's proxy saw it; nil for the way from a service to its workloads.
        public var traffic: TrafficEdge?
        /// What was seen.
        public var figures: TrafficFigures
        /// The part of what the sender asks of the host, between 0 and 1; nil when all goes one way.
        public var share: Double?
    }

    /// The nodes, by their ids.
    public private(set) var nodes: [Node] = []
    /// The edges, by source and target.
    public private(set) var edges: [Edge] = []
    /// What comes in at workloads that nobody in the mesh asks; everything when there are none.
    public private(set) var entering = TrafficFigures()
    /// The view that it is made from.
    public let view: TrafficView
    /// The processors' busy share on the busiest node, and the share of its memory that is in use.
    public private(set) var saturation: (processors: Double?, memory: Double?)

    /// The picture at a tick, over so many ticks before it.
    public init(_ store: SeriesStore, now tick: Int64, ticks: Int64, behind: Behind) {
        view = TrafficView(store, now: tick, ticks: ticks)
        entering.seconds = view.window
        saturation = (Self.processors(store, tick, ticks), Self.memory(store, tick))
        draw(behind)
    }

    // MARK: The graph

    private mutating func draw(_ behind: Behind) {
        var found: [String: Node] = [:]
        var drawn: [Edge] = []
        var asked: [String: Double] = [:]
        var ways: [String: Int] = [:]
        for (edge, figures) in view.edges {
            let pair = "\(edge.sourceNamespace)/\(edge.source) \(edge.host)"
            asked[pair, default: 0] += figures.requests
            ways[pair, default: 0] += 1
        }
        for (edge, figures) in view.edges.sorted(by: { $0.key < $1.key }) {
            let source = "\(edge.sourceNamespace)/\(edge.source)"
            if found[source] == nil { found[source] = Self.workload(source) }
            let members = behind(edge.host, edge.subset)
            let target = Self.target(edge, members, &found)
            if members.count > 1, !drawn.contains(where: { $0.source == target && $0.traffic == nil }) {
                for (name, pods) in members.sorted(by: { $0.key < $1.key }) {
                    if found[name] == nil { found[name] = Self.workload(name) }
                    found[name]?.pods = pods
                    if found[name]?.host.isEmpty == true { found[name]?.host = edge.host }
                    let inside = view.workloads[name] ?? TrafficFigures(seconds: view.window)
                    drawn.append(Edge(source: target, target: name, traffic: nil, figures: inside))
                }
            }
            let pair = "\(source) \(edge.host)"
            let all = asked[pair] ?? 0
            let share = (ways[pair] ?? 1) > 1 && all > 0 ? figures.requests / all : nil
            drawn.append(Edge(source: source, target: target, traffic: edge, figures: figures, share: share))
        }
        nodes = found.values.sorted()
        edges = drawn.sorted {
            ($0.source, $0.target, $0.traffic?.host ?? "") < ($1.source, $1.target, $1.traffic?.host ?? "")
        }
        takeEntering()
    }

    private static func workload(_ key: String) -> Node {
        let parts = key.split(separator: "/", maxSplits: 1).map(String.init)
        return Node(id: key, kind: .workload, label: parts.last ?? key, namespace: parts.first ?? "")
    }

    /// The node that an edge leads to: the one workload behind it, or the host itself.
    private static func target(
        _ edge: TrafficEdge, _ members: [String: Int], _ found: inout [String: Node]
    ) -> String {
        if members.count == 1, let (name, pods) = members.first {
            var node = found[name] ?? workload(name)
            node.pods = pods
            node.host = edge.host
            found[name] = node
            return name
        }
        let id = edge.subset.isEmpty ? edge.host : "\(edge.host)/\(edge.subset)"
        if found[id] == nil {
            let words = edge.host.split(separator: ".").map(String.init)
            let isService = words.count > 2 && words[2] == "svc"
            let label = (isService ? words[0] : edge.host) + (edge.subset.isEmpty ? "" : "/\(edge.subset)")
            found[id] = Node(
                id: id, kind: members.isEmpty ? .outside : .service, label: label,
                namespace: isService ? words[1] : "", host: edge.host)
        }
        return id
    }

    private mutating func takeEntering() {
        let called = Set(edges.map(\.target))
        let roots = Set(nodes.map(\.id)).subtracting(called)
        for edge in edges where edge.traffic != nil && (roots.isEmpty || roots.contains(edge.source)) {
            entering.add(edge.figures)
        }
    }

    // MARK: Saturation

    private static func processors(_ store: SeriesStore, _ tick: Int64, _ ticks: Int64) -> Double? {
        var all: [String: Double] = [:]
        var idle: [String: Double] = [:]
        for (labels, value) in store.increases("skein_node_cpu_seconds_total", after: tick - ticks, upTo: tick) {
            all[labels["node"], default: 0] += value
            if ["idle", "iowait"].contains(labels["mode"]) { idle[labels["node"], default: 0] += value }
        }
        return all.compactMap { $0.value > 0 ? 1 - (idle[$0.key] ?? 0) / $0.value : nil }.max()
    }

    private static func memory(_ store: SeriesStore, _ tick: Int64) -> Double? {
        var all: [String: Double] = [:]
        for (labels, value) in store.newest("skein_node_memory_bytes", since: tick - 2) {
            all[labels["node"]] = value
        }
        return store.newest("skein_node_memory_available_bytes", since: tick - 2).compactMap { labels, value in
            all[labels["node"]].flatMap { $0 > 0 ? 1 - value / $0 : nil }
        }.max()
    }

    // MARK: Shapes

    /// All of it.
    public var json: JSON {
        var json = view.json
        json["golden"] = .object(
            entering.json.merging([
                "processors": saturation.processors.map { .number($0) } ?? .null,
                "memory": saturation.memory.map { .number($0) } ?? .null,
            ]) { $1 })
        json["graph"] = ["nodes": .array(nodes.map(Self.json)), "edges": .array(edges.map(Self.json))]
        json["edges"] = nil
        return json
    }

    private static func json(_ node: Node) -> JSON {
        [
            "id": .string(node.id), "kind": .string(node.kind.rawValue), "label": .string(node.label),
            "namespace": .string(node.namespace), "host": .string(node.host),
            "pods": node.pods.map { .integer(Int64($0)) } ?? .null,
        ]
    }

    private static func json(_ edge: Edge) -> JSON {
        var members = edge.figures.json
        members["source"] = .string(edge.source)
        members["target"] = .string(edge.target)
        members["host"] = .string(edge.traffic?.host ?? "")
        members["subset"] = .string(edge.traffic?.subset ?? "")
        members["isInside"] = .bool(edge.traffic == nil)
        members["share"] = edge.share.map { .number($0) } ?? .null
        members["mutualTLS"] = edge.figures.mutualTLS.map { .bool($0) } ?? .null
        return .object(members)
    }
}

extension TrafficFigures {
    /// Adds what was seen elsewhere in the same span.
    mutating func add(_ other: TrafficFigures) {
        requests += other.requests
        failed += other.failed
        times.merge(other.times)
        sent += other.sent
        received += other.received
        open += other.open
        connections += other.connections
        handshakes += other.handshakes
    }
}
