public import Serialization

/// A figure of a node as a whole, with its help text.
public struct NodeFigure: Sendable, Hashable {
    /// The metric's name.
    public var name: String
    /// What it is.
    public var help: String
    /// The number.
    public var value: Double

    /// What a node agent says of its node: addresses, health checks, connections for the control plane, and its clock (`nodeTime`, or
    /// `time`, seconds since 1970) against ours.
    public static func read(_ usage: JSON, now: Double) -> [NodeFigure] {
        var figures: [NodeFigure] = []
        if let used = usage["addresses"]?["used"]?.double, let size = usage["addresses"]?["size"]?.double {
            figures.append(
                NodeFigure(
                    name: "skein_node_addresses_used", help: "Addresses of the node that pods have.", value: used))
            figures.append(
                NodeFigure(name: "skein_node_addresses", help: "Addresses of the node for pods.", value: size))
        }
        if let count = usage["healthChecks"]?["turnedAway"]?.double {
            figures.append(
                NodeFigure(
                    name: "skein_node_health_checks_turned_away",
                    help: "Connections to health-check ports of services that were too many (100 at once for each).",
                    value: count))
        }
        if let count = usage["dials"]?["turnedAway"]?.double {
            figures.append(
                NodeFigure(
                    name: "skein_node_dials_turned_away",
                    help: "Connections that the control plane asked the node for and did not get: 512 at once.",
                    value: count))
        }
        if let time = usage["nodeTime"]?.double ?? usage["time"]?.double {
            // What the answer was under way is in it: some milliseconds.
            figures.append(
                NodeFigure(
                    name: "skein_clock_skew_seconds",
                    help: "By how much the node's clock differs from the control plane's.", value: now - time))
        }
        return figures
    }
}

extension Collector {
    /// Lines of `/proc/meminfo` that are looked at: what is read stands at the top.
    private static let memoryLines = 5

    /// Takes the figures of a node as a whole.
    public mutating func take(_ figures: [NodeFigure], node: String) {
        for figure in figures { gauge(Labels(figure.name, ["node": node]), figure.value) }
    }

    /// Takes a node's processors and memory, from the texts of `/proc/stat` and `/proc/meminfo`.
    public mutating func takeNode(_ node: String, stat: String, memory: String, processors: Int) {
        if let line = stat.split(separator: "\n").first {
            let figures = line.split(separator: " ").dropFirst().compactMap { Double($0) }
            for (mode, ticks) in zip(["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"], figures) {
                setCounter(Labels("skein_node_cpu_seconds_total", ["node": node, "mode": mode]), ticks / 100)
            }
        }
        for line in memory.split(separator: "\n").prefix(Self.memoryLines) {
            let words = line.split(separator: " ")
            guard words.count > 1, let kibibytes = Double(words[1]) else { continue }
            if words[0] == "MemTotal:" { gauge(Labels("skein_node_memory_bytes", ["node": node]), kibibytes * 1024) }
            if words[0] == "MemAvailable:" {
                gauge(Labels("skein_node_memory_available_bytes", ["node": node]), kibibytes * 1024)
            }
        }
        gauge(Labels("skein_node_processors", ["node": node]), Double(processors))
    }
}
