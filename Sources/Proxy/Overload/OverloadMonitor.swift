internal import IO
internal import Telemetry

/// Measures resources once per interval and decides what is done about their pressure.
///
/// On the control loop; the loops read `OverloadState`.
final class OverloadMonitor {
    private static let log = Logger("overload")

    private let config: OverloadConfig
    private let state: OverloadState
    private let loop: EventLoop
    /// Pressure by monitor, as last measured.
    private(set) var pressures: [Double]
    /// Ends the most expensive streams, the given share of them.
    var resetStreams: (Double) -> Void = { _ in }
    private var timer: LoopTimer?
    /// Processor time by monitor, as last read.
    private var processors: [Int: ProcessorUse] = [:]
    private var lastShrinking: MonotonicTime?

    init(_ config: OverloadConfig, state: OverloadState, loop: EventLoop) {
        self.config = config
        self.state = state
        self.loop = loop
        pressures = config.monitors.map { _ in 0 }
    }

    func start() { measure() }

    func stop() { timer?.cancel() }

    private func measure() {
        for (index, monitor) in config.monitors.enumerated() {
            if case .processors(let isOfGroup) = monitor.monitor {
                let now = isOfGroup ? ProcessorUse.ofGroup(at: loop.now) : ProcessorUse.ofMachine()
                if let now, let before = processors[index] {
                    pressures[index] = now.pressure(since: before, former: pressures[index])
                }
                processors[index] = now ?? processors[index]
                continue
            }
            pressures[index] = Self.pressure(monitor.monitor, connections: state.connections) ?? pressures[index]
        }
        for (action, level) in Self.decide(config, pressures) {
            if (level >= 1) != (state.thousandths(action) >= 1000) {
                Self.log.warning(level >= 1 ? "begins" : "ends", ["action": action.rawValue])
            }
            state.set(action, level)
            if level > 0 {
                if action == .shrinkHeap { shrink() }
                if action == .resetStreams { resetStreams(level) }
            }
        }
        for (point, level) in Self.shedding(config, pressures) {
            if (level > 0) != (state.thousandths(point) > 0) {
                Self.log.warning(level > 0 ? "begins" : "ends", ["load_shed_point": point.name])
            }
            state.set(point, level)
        }
        timer = loop.schedule(after: config.refreshInterval) { [weak self] in self?.measure() }
    }

    private func shrink() {
        let now = loop.now
        if let interval = config.shrinking.interval, let lastShrinking, now - lastShrinking < interval { return }
        lastShrinking = now
        Environment.returnFreeMemory(keeping: config.shrinking.keptBytes)
    }

    /// The state of each action at these pressures: the highest of its triggers.
    static func decide(_ config: OverloadConfig, _ pressures: [Double]) -> [(OverloadConfig.Action, Double)] {
        config.actions.map { ($0.action, level($0.triggers, pressures)) }
    }

    /// The share of what comes to each point that is shed at these pressures.
    static func shedding(_ config: OverloadConfig, _ pressures: [Double]) -> [(OverloadConfig.ShedPoint, Double)] {
        config.points.map { ($0.point, level($0.triggers, pressures)) }
    }

    private static func level(_ triggers: [OverloadConfig.Trigger], _ pressures: [Double]) -> Double {
        let states = triggers.map { trigger in
            pressures.indices.contains(trigger.monitor) ? trigger.threshold.state(pressures[trigger.monitor]) : 0
        }
        return states.max() ?? 0
    }

    private static func pressure(_ monitor: OverloadConfig.Monitor, connections: Int) -> Double? {
        switch monitor {
        case .heap(let max): return Environment.residentBytes.map { Double($0) / Double(max) }
        case .cgroupMemory(let max):
            guard let used = ControlGroup.memoryBytes else { return nil }
            let limit = max > 0 ? max : ControlGroup.memoryLimit ?? 0
            return limit > 0 ? Double(used) / Double(limit) : 0
        case .injected(let path):
            guard let text = try? File.text(path) else { return nil }
            return Double(String(text.prefix { $0 != "\n" && $0 != " " }))
        case .connections(let max): return Double(connections) / Double(max)
        case .processors: return nil
        }
    }
}
