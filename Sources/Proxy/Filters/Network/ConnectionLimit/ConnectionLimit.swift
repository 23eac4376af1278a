internal import EnvoyAPI
internal import Synchronization
internal import Telemetry
internal import Upstream

/// The network filter connection_limit as configured; the count is shared by all loops.
final class ConnectionLimitConfig: NetworkFilterConfig {
    let limit: UInt64
    let delay: Duration?
    let isEnabled: Bool
    let active = Atomic<UInt64>(0)
    let limited: MetricCounter
    let activeGauge: MetricGauge

    init(compiling message: ConnectionLimit, at path: String, context: CompileContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message, reads: ["stat_prefix", "max_connections", "delay", "runtime_enabled"], at: path)
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "is missing") }
        guard let limit = message.maxConnections, limit >= 1 else {
            throw ConfigurationError(at: path + ".max_connections", "at least 1 is needed")
        }
        self.limit = limit
        if let delay = message.delay, delay > .zero { self.delay = delay } else { delay = nil }
        isEnabled = message.runtimeEnabled?.defaultValue ?? true
        let scope = context.metrics.scope("connection_limit", message.statPrefix)
        limited = scope.counter("limited_connections")
        activeGauge = scope.gauge("active_connections")
    }

    func make(_ worker: Worker) -> any NetworkFilter { ConnectionLimitFilter(self, worker: worker) }

    /// Takes a place when there is one.
    func acquire() -> Bool {
        if active.wrappingAdd(1, ordering: .relaxed).newValue <= limit { return true }
        active.wrappingSubtract(1, ordering: .relaxed)
        return false
    }

    func release() { active.wrappingSubtract(1, ordering: .relaxed) }
}

/// Refuses connections above the limit, after a delay when one is wanted.
final class ConnectionLimitFilter: NetworkFilter {
    private let config: ConnectionLimitConfig
    private unowned let worker: Worker

    init(_ config: ConnectionLimitConfig, worker: Worker) {
        self.config = config
        self.worker = worker
    }

    func newConnection(_ connection: NetworkConnection) -> NetworkStep {
        guard config.isEnabled else { return .next }
        if config.acquire() {
            config.activeGauge.add(row: worker.index)
            connection.tellEnd(self)
            return .next
        }
        config.limited.add(row: worker.index)
        guard let delay = config.delay else { return .close }
        _ = worker.schedule(after: delay) { [weak connection] in connection?.close() }
        return .stop
    }

    func connectionClosed() {
        config.release()
        config.activeGauge.subtract(row: worker.index)
    }
}
