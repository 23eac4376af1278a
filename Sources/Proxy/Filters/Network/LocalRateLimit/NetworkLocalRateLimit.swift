internal import EnvoyAPI
internal import IO
internal import Synchronization
internal import Telemetry
internal import Upstream

/// The network filter local_ratelimit as configured; the bucket is shared by all loops.
final class NetworkLocalRateLimitConfig: NetworkFilterConfig {
    let isEnabled: Bool
    let limited: MetricCounter
    private let bucket: SharedTokenBucket

    init(
        compiling message: NetworkLocalRateLimit, at path: String, context: CompileContext
    ) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["stat_prefix", "token_bucket", "runtime_enabled"], at: path)
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "is missing") }
        guard let bucket = message.tokenBucket else {
            throw ConfigurationError(at: path + ".token_bucket", "is missing")
        }
        self.bucket = SharedTokenBucket(try TokenBucket(compiling: bucket, at: path + ".token_bucket"))
        isEnabled = message.runtimeEnabled?.defaultValue ?? true
        limited = context.metrics.scope("local_rate_limit", message.statPrefix).counter("rate_limited")
    }

    func make(_ worker: Worker) -> any NetworkFilter { NetworkLocalRateLimitFilter(self, worker: worker) }

    func take(now: MonotonicTime) -> Bool { bucket.take(now: now) }
}

/// Closes connections for which there is no token.
final class NetworkLocalRateLimitFilter: NetworkFilter {
    private let config: NetworkLocalRateLimitConfig
    private unowned let worker: Worker

    init(_ config: NetworkLocalRateLimitConfig, worker: Worker) {
        self.config = config
        self.worker = worker
    }

    func newConnection(_ connection: NetworkConnection) -> NetworkStep {
        guard config.isEnabled, !config.take(now: worker.loop.now) else { return .next }
        config.limited.add(row: worker.index)
        return .close
    }
}
