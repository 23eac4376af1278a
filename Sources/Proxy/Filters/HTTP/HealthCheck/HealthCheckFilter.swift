internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Synchronization
internal import Upstream

/// `envoy.filters.http.health_check`: answers health checks itself, from this process' state or from a cluster's.
final class HealthCheckFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let passesThrough: Bool
    let headers: [Upstream.HeaderMatcher]
    let minimums: [(cluster: String, percentage: Double)]
    let cacheTime: Duration?
    let serviceCluster: String
    /// The upstream's latest answer; all loops look at the same one.
    let cached = Mutex<(status: UInt16, until: MonotonicTime)?>(nil)

    static let kind = HTTPFilterKind(EnvoyAPI.HealthCheckFilter.self) { message, context throws(ConfigurationError) in
        try HealthCheckFilterConfig(compiling: message, context)
    }

    private init(compiling message: EnvoyAPI.HealthCheckFilter, _ context: FilterContext) throws(ConfigurationError) {
        name = context.name
        isDisabled = context.isDisabled
        serviceCluster = context.compile.serviceCluster
        guard let passesThrough = message.passThroughMode else {
            throw ConfigurationError(at: context.path + ".pass_through_mode", "is missing")
        }
        self.passesThrough = passesThrough
        headers = try Upstream.HeaderMatcher.list(message.headers, at: context.path + ".headers")
        cacheTime = message.cacheTime.flatMap { $0 > .zero ? $0 : nil }
        if cacheTime != nil && !passesThrough {
            throw ConfigurationError(at: context.path + ".cache_time", "needs pass_through_mode")
        }
        var minimums: [(cluster: String, percentage: Double)] = []
        for (cluster, minimum) in message.clusterMinHealthyPercentages.sorted(by: { $0.key < $1.key }) {
            minimums.append((cluster, minimum.value))
        }
        if !minimums.isEmpty && passesThrough {
            throw ConfigurationError(
                at: context.path + ".cluster_min_healthy_percentages", "cannot stand beside pass_through_mode")
        }
        self.minimums = minimums
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { HealthCheckHTTPFilter(self) }

    /// Whether so many of a cluster's hosts can serve.
    static func suffices(serving: Int, of total: Int, percentage: Double) -> Bool {
        total == 0 ? percentage == 0 : Double(serving) * 100 >= Double(total) * percentage
    }
}

/// One request, which may be a health check.
final class HealthCheckHTTPFilter: HTTPFilter {
    private let config: HealthCheckFilterConfig
    private var isHealthCheck = false
    private var answers = false

    init(_ config: HealthCheckFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .requestBody, .responseHead]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        for matcher in config.headers where !stream.readRequest({ matcher.matches($0) }) { return .next }
        isHealthCheck = true
        stream.info.isHealthCheck = true
        answers = !config.passesThrough || stream.worker.failsHealthCheck || cachedStatus(stream) != nil
        guard answers else { return .next }
        if isEnd { answer(stream) }
        return .stop
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard answers else { return .next }
        if isEnd { answer(stream) }
        chunk.replace(with: [])
        return .wait
    }

    private func cachedStatus(_ stream: HTTPStream) -> UInt16? {
        guard config.cacheTime != nil else { return nil }
        let now = stream.worker.loop.now
        return config.cached.withLock { cached in cached.flatMap { $0.until > now ? $0.status : nil } }
    }

    private func answer(_ stream: HTTPStream) {
        if stream.worker.failsHealthCheck {
            stream.info.flags.insert(.failedLocalHealthCheck)
            return stream.localReply(status: 503, details: "health_check_failed")
        }
        if let status = cachedStatus(stream) {
            if status / 100 != 2 { stream.info.flags.insert(.failedLocalHealthCheck) }
            return stream.localReply(status: status, details: "health_check_cached")
        }
        for minimum in config.minimums {
            let failure: String?
            if let hosts = stream.worker.cluster(named: minimum.cluster)?.hostSet {
                let total = hosts.priorities.reduce(0) { $0 + $1.hosts.count }
                let serving = hosts.priorities.reduce(0) { $0 + $1.healthy.count + $1.degraded.count }
                let suffices = HealthCheckFilterConfig.suffices(
                    serving: serving, of: total, percentage: minimum.percentage)
                failure =
                    suffices
                    ? nil : total == 0 ? "health_check_failed_cluster_empty" : "health_check_failed_cluster_unhealthy"
            } else {
                failure = "health_check_failed_no_cluster_found"
            }
            if let failure {
                stream.info.flags.insert(.failedLocalHealthCheck)
                return stream.localReply(status: 503, details: failure)
            }
        }
        stream.localReply(status: 200, details: "health_check_ok")
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        if isHealthCheck {
            if let cacheTime = config.cacheTime, !answers {
                let entry = (status: stream.response.status, until: stream.worker.loop.now + cacheTime)
                config.cached.withLock { $0 = entry }
            }
            if !config.serviceCluster.isEmpty {
                try? stream.response.headers.set(
                    "x-envoy-upstream-healthchecked-cluster", config.serviceCluster)
            }
        }
        if stream.worker.failsHealthCheck {
            try? stream.response.headers.set(.xEnvoyImmediateHealthCheckFail, "true")
        }
        return .next
    }
}
