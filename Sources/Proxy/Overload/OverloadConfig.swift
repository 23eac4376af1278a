internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// A compiled `OverloadManager`: what is measured, and what is done about it.
struct OverloadConfig: Sendable {
    /// What is measured, as a share of its limit.
    enum Monitor: Sendable, Hashable {
        /// Resident memory of the process.
        case heap(maxBytes: UInt64)
        /// Memory of the control group; 0 is its own limit.
        case cgroupMemory(maxBytes: UInt64)
        /// A file that holds the pressure, for tests.
        case injected(path: String)
        /// Processor time: of the machine, or of the control group's quota.
        case processors(ofGroup: Bool)
        /// Downstream connections; enforced at each accept.
        case connections(max: UInt64)
    }

    /// When an action begins.
    enum Threshold: Sendable, Hashable {
        case fixed(Double)
        case scaled(from: Double, to: Double)

        /// 0 is not at all, 1 is fully.
        func state(_ pressure: Double) -> Double {
            switch self {
            case .fixed(let value): pressure >= value ? 1 : 0
            case .scaled(let from, let to): pressure <= from ? 0 : pressure >= to ? 1 : (pressure - from) / (to - from)
            }
        }
    }

    /// What is done.
    enum Action: String, Sendable, Hashable, CaseIterable {
        case stopAcceptingRequests = "envoy.overload_actions.stop_accepting_requests"
        case disableKeepAlive = "envoy.overload_actions.disable_http_keepalive"
        case stopAcceptingConnections = "envoy.overload_actions.stop_accepting_connections"
        case rejectIncomingConnections = "envoy.overload_actions.reject_incoming_connections"
        case shrinkHeap = "envoy.overload_actions.shrink_heap"
        case reduceTimeouts = "envoy.overload_actions.reduce_timeouts"
        case resetStreams = "envoy.overload_actions.reset_high_memory_stream"
    }

    /// A trigger of an action or a load shed point: the index of its monitor, and from when on.
    struct Trigger: Sendable {
        var monitor: Int
        var threshold: Threshold
    }

    /// A timer that shrinks.
    struct Timer: Sendable, Hashable {
        /// The shortest it becomes, absolute or as a share.
        enum Minimum: Sendable, Hashable {
            case duration(Duration)
            case share(Double)
        }

        var kind: Kind
        var minimum: Minimum

        enum Kind: Sendable, Hashable { case connectionIdle, streamIdle, connectionMax, streamFlush, transportConnect }
    }

    var refreshInterval: Duration
    var monitors: [(name: String, monitor: Monitor)]
    var actions: [(action: Action, triggers: [Trigger])]
    /// Where load is shed, and when.
    var points: [(point: ShedPoint, triggers: [Trigger])] = []
    var timers: [Timer]
    var shrinking = Shrinking()

    /// How free memory is given back.
    struct Shrinking: Sendable, Hashable {
        /// At least so long after the time before; nil is at each refresh.
        var interval: Duration?
        /// Bytes at the end of the heap that stay.
        var keptBytes = 0
    }

    /// The limit of downstream connections, of all listeners together.
    var connectionsMax: UInt64? {
        for (_, monitor) in monitors { if case .connections(let max) = monitor { return max } }
        return nil
    }

    init(compiling message: OverloadManager, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            message, reads: ["refresh_interval", "resource_monitors", "actions", "loadshed_points"], at: path)
        refreshInterval = message.refreshInterval ?? .seconds(1)
        guard refreshInterval > .zero else {
            throw ConfigurationError(at: path + ".refresh_interval", "must be above 0")
        }
        (monitors, actions, timers) = ([], [], [])
        for (index, monitor) in message.resourceMonitors.enumerated() {
            let here = "\(path).resource_monitors[\(index)]"
            guard !monitors.contains(where: { $0.name == monitor.name }) else {
                throw ConfigurationError(at: here + ".name", "\"\(monitor.name)\" is there twice")
            }
            monitors.append((monitor.name, try Self.monitor(monitor, at: here)))
        }
        for (index, action) in message.actions.enumerated() {
            try add(action, at: "\(path).actions[\(index)]")
        }
        for (index, message) in message.loadshedPoints.enumerated() {
            let here = "\(path).loadshed_points[\(index)]"
            let point = try ShedPoint(message.name, at: here + ".name")
            guard !points.contains(where: { $0.point == point }) else {
                throw ConfigurationError(at: here + ".name", "\"\(message.name)\" is there twice")
            }
            points.append((point, try compile(message.triggers, at: here + ".triggers")))
        }
    }

    private static func monitor(_ message: ResourceMonitor, at path: String) throws(ConfigurationError) -> Monitor {
        guard case .typedConfig(let any) = message.configType else {
            throw ConfigurationError(at: path, "typed_config is needed")
        }
        let here = path + ".typed_config"
        do throws(MessageError) {
            switch any.name {
            case FixedHeapConfig.schema.name:
                let bytes = try any.unpack(as: FixedHeapConfig.self).maxHeapSizeBytes
                guard bytes > 0 else { throw MessageError("must be above 0", path: "max_heap_size_bytes") }
                return .heap(maxBytes: bytes)
            case CgroupMemoryConfig.schema.name:
                return .cgroupMemory(maxBytes: try any.unpack(as: CgroupMemoryConfig.self).maxMemoryBytes)
            case InjectedResourceConfig.schema.name:
                return .injected(path: try any.unpack(as: InjectedResourceConfig.self).filename)
            case CpuUtilizationConfig.schema.name:
                switch try any.unpack(as: CpuUtilizationConfig.self).mode {
                case .host: return .processors(ofGroup: false)
                case .container: return .processors(ofGroup: true)
                case .unrecognized(let number): throw MessageError("\(number) is no mode", path: "mode")
                }
            case DownstreamConnectionsConfig.schema.name:
                let max = try any.unpack(as: DownstreamConnectionsConfig.self).maxActiveDownstreamConnections
                guard max > 0 else {
                    throw MessageError("must be above 0", path: "max_active_downstream_connections")
                }
                return .connections(max: UInt64(max))
            default:
                throw MessageError(
                    "unknown resource monitor \(any.typeURL); supported: fixed_heap, cgroup_memory, cpu_utilization, injected_resource, downstream_connections"
                )
            }
        } catch {
            throw ConfigurationError(at: FieldCheck.join(here, error.path), error.problem)
        }
    }

    private mutating func add(_ message: OverloadAction, at path: String) throws(ConfigurationError) {
        guard let action = Action(rawValue: message.name) else {
            throw ConfigurationError(
                at: path + ".name",
                "unknown action \"\(message.name)\"; known: "
                    + Action.allCases.map(\.rawValue).joined(separator: ", "))
        }
        let triggers = try compile(message.triggers, at: path + ".triggers")
        if action == .reduceTimeouts {
            timers = try Self.timers(message.typedConfig, at: path + ".typed_config")
        } else if action == .shrinkHeap, let any = message.typedConfig {
            shrinking = try Self.shrinking(any, at: path)
        } else if message.typedConfig != nil {
            throw ConfigurationError(at: path + ".typed_config", "\(message.name) has none")
        }
        actions.append((action, triggers))
    }

    private func compile(
        _ messages: [EnvoyAPI.Trigger], at path: String
    ) throws(ConfigurationError) -> [Trigger] {
        var triggers: [Trigger] = []
        for (index, trigger) in messages.enumerated() {
            let here = "\(path)[\(index)]"
            guard let monitor = monitors.firstIndex(where: { $0.name == trigger.name }) else {
                throw ConfigurationError(at: here + ".name", "there is no resource monitor \"\(trigger.name)\"")
            }
            switch trigger.triggerOneof {
            case .threshold(let threshold):
                guard (0...1).contains(threshold.value) else {
                    throw ConfigurationError(at: here + ".threshold.value", "\(threshold.value) is not in 0 to 1")
                }
                triggers.append(Trigger(monitor: monitor, threshold: .fixed(threshold.value)))
            case .scaled(let scaled):
                guard (0...1).contains(scaled.scalingThreshold), (0...1).contains(scaled.saturationThreshold),
                    scaled.scalingThreshold < scaled.saturationThreshold
                else {
                    throw ConfigurationError(
                        at: here + ".scaled", "scaling_threshold must be below saturation_threshold, both in 0 to 1")
                }
                triggers.append(
                    Trigger(
                        monitor: monitor,
                        threshold: .scaled(from: scaled.scalingThreshold, to: scaled.saturationThreshold)))
            case nil: throw ConfigurationError(at: here, "threshold or scaled is needed")
            }
        }
        guard !triggers.isEmpty else { throw ConfigurationError(at: path, "a trigger is needed") }
        return triggers
    }

    private static func shrinking(_ any: AnyMessage, at path: String) throws(ConfigurationError) -> Shrinking {
        let message = try HTTPFilters.unpack(any, as: ShrinkHeapConfig.self, at: path)
        let interval = message.timerInterval ?? .seconds(10)
        guard interval >= .seconds(1) else {
            throw ConfigurationError(at: path + ".typed_config.timer_interval", "must be at least 1 s")
        }
        return Shrinking(
            interval: interval, keptBytes: Int(clamping: message.maxUnfreedMemoryBytes ?? 100 << 20))
    }

    private static func timers(_ any: AnyMessage?, at path: String) throws(ConfigurationError) -> [Timer] {
        guard let any else {
            throw ConfigurationError(at: path, "a ScaleTimersOverloadActionConfig is needed")
        }
        let message: ScaleTimersOverloadActionConfig
        do throws(MessageError) {
            message = try any.unpack()
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path, error.path), error.problem)
        }
        var timers: [Timer] = []
        for (index, timer) in message.timerScaleFactors.enumerated() {
            let here = "\(path).timer_scale_factors[\(index)]"
            let kind: Timer.Kind
            switch timer.timer {
            case .httpDownstreamConnectionIdle: kind = .connectionIdle
            case .httpDownstreamStreamIdle: kind = .streamIdle
            case .httpDownstreamConnectionMax: kind = .connectionMax
            case .httpDownstreamStreamFlush: kind = .streamFlush
            case .transportSocketConnect: kind = .transportConnect
            default: throw ConfigurationError(at: here + ".timer", "is missing")
            }
            switch timer.overloadAdjust {
            case .minTimeout(let minimum): timers.append(Timer(kind: kind, minimum: .duration(minimum)))
            case .minScale(let scale): timers.append(Timer(kind: kind, minimum: .share(scale.value / 100)))
            case nil: throw ConfigurationError(at: here, "min_timeout or min_scale is needed")
            }
        }
        return timers
    }
}
