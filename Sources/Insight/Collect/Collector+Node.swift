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

/// What a node that is a container itself may use, and uses (control groups); nothing where all of the machine is its own.
public struct NodeAllowance: Sendable, Hashable {
    /// Processors' worth of time; nil: all of them.
    public var processors: Double?
    /// Seconds of processor time that were used since some beginning.
    public var processorSeconds: Double
    /// Bytes of memory; nil: all of it.
    public var memoryBytes: Double?
    /// Bytes of memory in use.
    public var memoryUsed: Double

    /// Known figures.
    public init(processors: Double?, processorSeconds: Double, memoryBytes: Double?, memoryUsed: Double) {
        self.processors = processors
        self.processorSeconds = processorSeconds
        self.memoryBytes = memoryBytes
        self.memoryUsed = memoryUsed
    }
}

/// Processor time that a node was allowed and did not use, counted up: the limit may change, and bursts may exceed it.
struct IdleTime: Sendable, Hashable {
    private var at: Double
    private var used: Double
    /// Seconds in all.
    private(set) var seconds = 0.0

    /// Begins to count, at seconds of a clock that does not go back, with seconds of processor time from any beginning.
    init(at: Double, used: Double) {
        self.at = at
        self.used = used
    }

    /// Time has gone on.
    mutating func take(at now: Double, used: Double, processors: Double) {
        seconds += max(0, processors * max(0, now - at) - max(0, used - self.used))
        at = now
        self.used = used
    }
}

extension Collector {
    /// Lines of `/proc/meminfo` that are looked at: what is read stands at the top.
    private static let memoryLines = 5

    /// Takes the figures of a node as a whole.
    public mutating func take(_ figures: [NodeFigure], node: String) {
        for figure in figures { gauge(Labels(figure.name, ["node": node]), figure.value) }
    }

    /// Takes a node's processors and memory, from the texts of `/proc/stat` and `/proc/meminfo`, and from what it is allowed where that is less.
    ///
    /// - Parameter time: Seconds of a clock that does not go back.
    public mutating func takeNode(
        _ node: String, stat: String, memory: String, processors: Int, allowance: NodeAllowance? = nil, time: Double = 0
    ) {
        var processors = Double(processors)
        if let allowance, let allowed = allowance.processors, allowed < processors {
            processors = allowed
            let used = allowance.processorSeconds
            idleTime[node, default: IdleTime(at: time, used: used)].take(at: time, used: used, processors: allowed)
            setCounter(Labels("skein_node_cpu_seconds_total", ["node": node, "mode": "used"]), used)
            setCounter(
                Labels("skein_node_cpu_seconds_total", ["node": node, "mode": "idle"]), idleTime[node]?.seconds ?? 0)
        } else if let line = stat.split(separator: "\n").first {
            let figures = line.split(separator: " ").dropFirst().compactMap { Double($0) }
            for (mode, ticks) in zip(["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"], figures) {
                setCounter(Labels("skein_node_cpu_seconds_total", ["node": node, "mode": mode]), ticks / 100)
            }
        }
        var (total, available): (Double?, Double?)
        for line in memory.split(separator: "\n").prefix(Self.memoryLines) {
            let words = line.split(separator: " ")
            guard words.count > 1, let kibibytes = Double(words[1]) else { continue }
            if words[0] == "MemTotal:" { total = kibibytes * 1024 }
            if words[0] == "MemAvailable:" { available = kibibytes * 1024 }
        }
        if let allowance, let allowed = allowance.memoryBytes, allowed < total ?? .infinity {
            let left = max(0, allowed - allowance.memoryUsed)
            (total, available) = (allowed, min(available ?? left, left))
        }
        if let total { gauge(Labels("skein_node_memory_bytes", ["node": node]), total) }
        if let available { gauge(Labels("skein_node_memory_available_bytes", ["node": node]), available) }
        gauge(Labels("skein_node_processors", ["node": node]), processors)
    }
}
