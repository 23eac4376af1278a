internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Synchronization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.adaptive_concurrency`: bounds the requests under way by how fast they are answered.
final class AdaptiveConcurrencyFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let isEnabled: RuntimeSwitch
    let status: UInt16
    /// One for all loops, as in Envoy; held for a few instructions.
    private let controller: Mutex<GradientController>
    private let gauges: Gauges
    let blocked: MetricCounter

    private struct Gauges: Sendable {
        let limit: MetricGauge
        let gradient: MetricGauge
        let headroom: MetricGauge
        let isMeasuring: MetricGauge
        let least: MetricGauge
        let sample: MetricGauge
        let row: Int
    }

    static let kind = HTTPFilterKind(AdaptiveConcurrency.self) { message, context throws(ConfigurationError) in
        try AdaptiveConcurrencyFilterConfig(message, context)
    }

    init(_ message: AdaptiveConcurrency, _ context: FilterContext) throws(ConfigurationError) {
        name = context.name
        isDisabled = context.isDisabled
        isEnabled = RuntimeSwitch(message.enabled)
        let code = message.concurrencyLimitExceededStatus.map { $0.code.rawValue } ?? 503
        status = code < 400 ? 503 : UInt16(clamping: code)
        guard case .gradientControllerConfig(let gradient) = message.concurrencyControllerConfig else {
            throw ConfigurationError(at: context.path + ".gradient_controller_config", "is missing")
        }
        let settings = try GradientController.Settings(
            compiling: gradient, at: context.path + ".gradient_controller_config")
        let scope = context.compile.metrics.scope(
            "http", context.statPrefix, "adaptive_concurrency", "gradient_controller")
        blocked = scope.counter("rq_blocked")
        gauges = Gauges(
            limit: scope.gauge("concurrency_limit"), gradient: scope.gauge("gradient"),
            headroom: scope.gauge("burst_queue_size"), isMeasuring: scope.gauge("min_rtt_calculation_active"),
            least: scope.gauge("min_rtt_msecs"), sample: scope.gauge("sample_rtt_msecs"),
            row: context.compile.metrics.controlRow)
        let fresh = GradientController(settings, at: .now)
        Self.show(fresh.figures, gauges)
        controller = Mutex(fresh)
    }

    /// The gauges are written under the controller's lock: one writer at a time, in a row that is theirs.
    private static func show(_ figures: GradientController.Figures, _ gauges: Gauges) {
        gauges.limit.set(figures.limit, row: gauges.row)
        gauges.gradient.set(figures.gradient, row: gauges.row)
        gauges.headroom.set(figures.headroom, row: gauges.row)
        gauges.isMeasuring.set(figures.isMeasuring ? 1 : 0, row: gauges.row)
        gauges.least.set(figures.leastMilliseconds, row: gauges.row)
        gauges.sample.set(figures.sampleMilliseconds, row: gauges.row)
    }

    /// Something happens to the controller; what it shows follows.
    func update<Result>(_ body: (inout GradientController) -> Result) -> Result {
        controller.withLock { controller in
            let before = controller.figures
            let result = body(&controller)
            if controller.figures != before { Self.show(controller.figures, gauges) }
            return result
        }
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        isEnabled.value ? AdaptiveConcurrencyFilter(self) : nil
    }
}

extension GradientController.Settings {
    init(compiling message: GradientControllerConfig, at path: String) throws(ConfigurationError) {
        self.init()
        func share(_ percent: Percent?, _ standard: Double, _ field: String) throws(ConfigurationError) -> Double {
            guard let value = percent?.value else { return standard }
            guard (0...100).contains(value) else { throw ConfigurationError(at: path + field, "is no percentage") }
            return value / 100
        }
        guard let limits = message.concurrencyLimitParams else {
            throw ConfigurationError(at: path + ".concurrency_limit_params", "is missing")
        }
        guard let times = message.minRttCalcParams else {
            throw ConfigurationError(at: path + ".min_rtt_calc_params", "is missing")
        }
        percentile = try share(message.sampleAggregatePercentile, 0.5, ".sample_aggregate_percentile")
        let most = limits.maxConcurrencyLimit ?? 1000
        guard most > 0 else {
            throw ConfigurationError(at: path + ".concurrency_limit_params.max_concurrency_limit", "is zero")
        }
        limitMax = UInt64(most)
        guard let interval = limits.concurrencyUpdateInterval, interval > .zero, interval < Self.longest else {
            throw ConfigurationError(
                at: path + ".concurrency_limit_params.concurrency_update_interval", "is missing or not positive")
        }
        updateInterval = interval
        fixedTime = times.fixedValue
        if let fixed = times.fixedValue, fixed <= .zero {
            throw ConfigurationError(at: path + ".min_rtt_calc_params.fixed_value", "is not positive")
        }
        if let interval = times.interval {
            guard interval >= .milliseconds(1), interval < Self.longest else {
                throw ConfigurationError(at: path + ".min_rtt_calc_params.interval", "is shorter than a millisecond")
            }
            measureInterval = interval
        } else if fixedTime == nil {
            throw ConfigurationError(at: path + ".min_rtt_calc_params.interval", "is missing, and so is fixed_value")
        }
        let count = times.requestCount ?? 50
        guard count > 0 else { throw ConfigurationError(at: path + ".min_rtt_calc_params.request_count", "is zero") }
        measureCount = Int(count)
        jitter = try share(times.jitter, 0.15, ".min_rtt_calc_params.jitter")
        let least = times.minConcurrency ?? 3
        guard least > 0 else {
            throw ConfigurationError(at: path + ".min_rtt_calc_params.min_concurrency", "is zero")
        }
        limitMin = UInt64(least)
        buffer = try share(times.buffer, 0.25, ".min_rtt_calc_params.buffer")
    }

    private static let longest: Duration = .seconds(366 * 86_400)
}

/// One request under way.
final class AdaptiveConcurrencyFilter: HTTPFilter {
    private let config: AdaptiveConcurrencyFilterConfig
    private var began: MonotonicTime?

    init(_ config: AdaptiveConcurrencyFilterConfig) { self.config = config }

    let interest = FilterInterest.requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard !stream.info.isHealthCheck else { return .next }
        let now = stream.worker.loop.now
        guard config.update({ $0.admit(at: now) }) else {
            config.blocked.add(row: stream.worker.index)
            stream.localReply(
                status: config.status, body: "reached concurrency limit",
                details: ResponseDetails.adaptiveConcurrencyDenied)
            return .stop
        }
        began = now
        return .next
    }

    func streamEnded(_ stream: HTTPStream) {
        guard let began else { return }
        let now = stream.worker.loop.now
        let isAnswered =
            stream.responseHasBegun
            && stream.info.flags.isDisjoint(with: [.downstreamConnectionTermination, .streamIdleTimeout])
        let random = stream.worker.random.next()
        config.update { controller in
            if isAnswered { controller.record(began: began, at: now, random: random) } else { controller.cancel() }
        }
    }
}
