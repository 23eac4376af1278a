internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.fault`: delays requests, answers them with an error, slows responses down, by chance.
final class FaultFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let settings: FaultSettings
    let metrics: FaultMetrics
    /// Whether the listener's own settings do nothing: asked for every request.
    private let isEmpty: Bool

    init(name: String, isDisabled: Bool, settings: FaultSettings, metrics: FaultMetrics) {
        (self.name, self.isDisabled, self.settings, self.metrics) = (name, isDisabled, settings, metrics)
        isEmpty = settings.policy.isEmpty
    }

    static let kind = HTTPFilterKind(
        HTTPFault.self, perRoute: HTTPFault.self,
        compile: { message, context throws(ConfigurationError) in
            FaultFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                settings: try FaultSettings(compiling: message, at: context.path),
                metrics: FaultMetrics(context.compile.metrics.scope("http", context.statPrefix, "fault")))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try FaultSettings(compiling: message, at: context.path)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        // The most specific settings count: weighted cluster, route, virtual host, table, listener.
        if let settings = stream.routeConfig(for: name) as? FaultSettings {
            return settings.policy.isEmpty ? nil : FaultFilter(settings, metrics)
        }
        return isEmpty ? nil : FaultFilter(settings, metrics)
    }
}

/// What one level says about faults.
struct FaultSettings: Sendable {
    let policy: FaultPolicy
    /// Becomes dynamic metadata of requests that get a fault.
    let metadata: JSON?

    init(compiling message: HTTPFault, at path: String) throws(ConfigurationError) {
        policy = try FaultPolicy(compiling: message, path: path)
        metadata = message.filterMetadata
    }
}

/// The counters of one `stat_prefix`.
struct FaultMetrics: Sendable {
    let delays: MetricCounter
    let aborts: MetricCounter
    let rateLimits: MetricCounter
    let overflow: MetricCounter
    let active: MetricGauge
    /// Delays and aborts by the client's cluster, which its requests name.
    let byCluster: MetricFamily

    init(_ scope: MetricScope) {
        delays = scope.counter("delays_injected")
        aborts = scope.counter("aborts_injected")
        rateLimits = scope.counter("response_rl_injected")
        overflow = scope.counter("faults_overflow")
        active = scope.gauge("active_faults")
        byCluster = scope.family(limit: 256)
    }
}

/// The faults of one request.
///
/// The delay and the answer do not count against the route's timeout (H-17): the router has not begun.
final class FaultFilter: HTTPFilter {
    private let settings: FaultSettings
    private let metrics: FaultMetrics
    private var abort: FaultPolicy.AbortStatus?
    private var timer: LoopTimer?
    private var trickle: BodyTrickle?
    private var isCounted = false

    init(_ settings: FaultSettings, _ metrics: FaultMetrics) {
        self.settings = settings
        self.metrics = metrics
        interest = settings.policy.rate == nil ? .requestHead : [.requestHead, .responseBody]
    }

    let interest: FilterInterest

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let worker = stream.worker
        let decision = stream.readRequest {
            settings.policy.decide(for: $0, cluster: stream.target?.cluster ?? "", random: worker.random.next())
        }
        if let rate = decision.responseKilobytesPerSecond, begin(stream) {
            metrics.rateLimits.add(row: worker.index)
            trickle = BodyTrickle(kilobytesPerSecond: rate, at: worker.loop.now)
        }
        abort = decision.abort
        guard let delay = decision.delay, begin(stream) else { return answer(stream) }
        stream.info.flags.insert(.delayInjected)
        metrics.delays.add(row: worker.index)
        countByCluster(stream, ".delays_injected")
        if stream.explanation != nil { return answer(stream) }
        timer = worker.schedule(after: delay) { [weak self, weak stream] in
            guard let self, let stream, !stream.isFinished else { return }
            if self.answer(stream) == .next { stream.resumeRequest(self) }
        }
        return .stop
    }

    /// Counts this stream among the active faults; false when there are enough of them.
    private func begin(_ stream: HTTPStream) -> Bool {
        if isCounted { return true }
        if let maximum = settings.policy.activeFaultsMax, metrics.active.value >= Int64(maximum) {
            metrics.overflow.add(row: stream.worker.index)
            return false
        }
        metrics.active.add(row: stream.worker.index)
        isCounted = true
        if let metadata = settings.metadata { stream.info.metadata["envoy.filters.http.fault"] = metadata }
        return true
    }

    private func answer(_ stream: HTTPStream) -> FilterStep {
        guard let abort, begin(stream) else { return .next }
        stream.info.flags.insert(.faultInjected)
        metrics.aborts.add(row: stream.worker.index)
        countByCluster(stream, ".aborts_injected")
        switch abort {
        case .http(let status):
            stream.localReply(status: status, body: "fault filter abort", details: "fault_filter_abort")
        case .grpc(let status):
            stream.localReply(
                status: 200, body: "fault filter abort", details: "fault_filter_abort", grpcStatus: Int(status))
        }
        return .stop
    }

    private func countByCluster(_ stream: HTTPStream, _ suffix: String) {
        guard !settings.policy.skipsClusterStatistics,
            let cluster = stream.request.headers["x-envoy-downstream-service-cluster"], !cluster.isEmpty
        else { return }
        metrics.byCluster.counter(cluster, suffix).add(row: stream.worker.index)
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard let trickle else { return .next }
        trickle.begin(.response, stream, self)
        return .wait
    }

    func streamEnded(_ stream: HTTPStream) {
        timer?.cancel()
        trickle?.cancel()
        if isCounted { metrics.active.subtract(row: stream.worker.index) }
    }
}
