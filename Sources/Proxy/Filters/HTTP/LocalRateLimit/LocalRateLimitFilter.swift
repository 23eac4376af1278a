internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.local_ratelimit`: limits requests by token buckets in this process.
struct LocalRateLimitFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let settings: LocalRateLimitSettings

    static let kind = HTTPFilterKind(
        HTTPLocalRateLimit.self, perRoute: HTTPLocalRateLimit.self,
        compile: { message, context throws(ConfigurationError) in
            LocalRateLimitFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                settings: try LocalRateLimitSettings(compiling: message, at: context.path, context.compile))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try LocalRateLimitSettings(compiling: message, at: context.path, context.compile)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        let settings = stream.routeConfig(for: name) as? LocalRateLimitSettings ?? settings
        return settings.enabled.numerator == 0 ? nil : LocalRateLimitFilter(settings)
    }
}

/// One level's settings, with its buckets and counters.
final class LocalRateLimitSettings: Sendable {
    let limiter: LocalRateLimiter
    let enabled: Fraction
    let enforced: Fraction
    let status: UInt16
    let requestMutations: [Upstream.HeaderMutation]
    let responseMutations: [Upstream.HeaderMutation]
    let stage: UInt32
    let option: RateLimitLevel.VirtualHostOption
    /// The filter's own rules; with them the route's do not count.
    let rules: [RateLimitRule]
    private let serviceCluster: String
    let connections: ConnectionBuckets?
    let showsLimit: Bool
    let isResourceExhausted: Bool
    let enabledCount: MetricCounter
    let enforcedCount: MetricCounter
    let limitedCount: MetricCounter
    let allowedCount: MetricCounter

    init(compiling message: HTTPLocalRateLimit, at path: String, _ context: CompileContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "stat_prefix", "status", "token_bucket", "filter_enabled", "filter_enforced",
                "request_headers_to_add_when_not_enforced", "response_headers_to_add", "descriptors", "stage",
                "local_rate_limit_per_downstream_connection", "enable_x_ratelimit_headers", "vh_rate_limits",
                "always_consume_default_token_bucket", "rate_limited_as_resource_exhausted", "rate_limits",
                "max_dynamic_descriptors",
            ], at: path)
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "is empty") }
        limiter = try LocalRateLimiter(compiling: message, at: path, now: .now)
        // Envoy's safety: a filter that is not switched on limits nothing.
        enabled = try Fraction.optional(message.filterEnabled, at: path + ".filter_enabled") ?? .none
        enforced = try Fraction.optional(message.filterEnforced, at: path + ".filter_enforced") ?? .none
        if message.tokenBucket == nil && enabled.numerator > 0 && message.descriptors.isEmpty {
            throw ConfigurationError(at: path + ".token_bucket", "is missing, and there are no descriptors")
        }
        let code = message.status.map { $0.code.rawValue } ?? 429
        status = code < 400 ? 429 : UInt16(clamping: code)
        requestMutations = try HeaderMutation.list(
            adding: message.requestHeadersToAddWhenNotEnforced, at: path + ".request_headers_to_add_when_not_enforced")
        responseMutations = try HeaderMutation.list(
            adding: message.responseHeadersToAdd, at: path + ".response_headers_to_add")
        stage = message.stage
        switch message.vhRateLimits {
        case .include: option = .include
        case .ignore: option = .ignore
        default: option = .override
        }
        rules = try RateLimitRule.list(message.rateLimits, at: path + ".rate_limits")
        serviceCluster = context.serviceCluster
        connections = message.localRateLimitPerDownstreamConnection ? ConnectionBuckets() : nil
        showsLimit = message.enableXRatelimitHeaders == .draftVersion03
        isResourceExhausted = message.rateLimitedAsResourceExhausted
        let scope = context.metrics.scope(message.statPrefix, "http_local_rate_limit")
        enabledCount = scope.counter("enabled")
        enforcedCount = scope.counter("enforced")
        limitedCount = scope.counter("rate_limited")
        allowedCount = scope.counter("ok")
    }

    /// The descriptors of a request; `atEnd`: those that count when the stream ends.
    func descriptors(of stream: HTTPStream, atEnd: Bool = false) -> [Upstream.RateLimitDescriptor] {
        guard limiter.hasDescriptors else { return [] }
        let rules = rules.isEmpty ? stream.rateLimitRules(option) : rules
        return stream.rateLimitDescriptors(rules, stage: stage, serviceCluster: serviceCluster, atEnd: atEnd)
    }
}

/// The limit on one request.
final class LocalRateLimitFilter: HTTPFilter {
    private let settings: LocalRateLimitSettings
    private var bucket: EvenTokenBucket?
    private var isEnabled = false

    init(_ settings: LocalRateLimitSettings) { self.settings = settings }

    // A route's rule may show the limit where the filter does not.
    let interest: FilterInterest = [.requestHead, .responseHead]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let worker = stream.worker
        let row = worker.index
        guard settings.enabled.includes(random: worker.random.next()) else { return .next }
        settings.enabledCount.add(row: row)
        isEnabled = true
        let now = worker.loop.now
        let own = settings.connections?.bucket(of: stream.connectionInfo.id, now: now) {
            settings.limiter.freshFallback(now: now)
        }
        let verdict = settings.limiter.ask(settings.descriptors(of: stream), own: own, now: now)
        if verdict.showsLimit ?? settings.showsLimit { bucket = verdict.bucket }
        if verdict.isAllowed {
            settings.allowedCount.add(row: row)
            return .next
        }
        settings.limitedCount.add(row: row)
        guard settings.enforced.includes(random: worker.random.next()) else {
            if !settings.requestMutations.isEmpty {
                var headers = stream.request.headers
                HeaderRewriter(stream: stream).apply(settings.requestMutations, to: &headers)
                stream.request.headers = headers
            }
            return .next
        }
        settings.enforcedCount.add(row: row)
        stream.info.flags.insert(.rateLimited)
        stream.localReply(
            status: settings.status, body: "local_rate_limited", details: "local_rate_limited",
            grpcStatus: settings.isResourceExhausted ? 8 : nil, mutations: settings.responseMutations)
        return .stop
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard let bucket else { return .next }
        let now = stream.worker.loop.now
        try? stream.response.headers.set("x-ratelimit-limit", String(bucket.size))
        try? stream.response.headers.set("x-ratelimit-remaining", String(bucket.remaining(at: now)))
        let seconds = (bucket.nextToken(at: now).wholeNanoseconds + 999_999_999) / 1_000_000_000
        try? stream.response.headers.set("x-ratelimit-reset", String(seconds))
        return .next
    }

    func streamEnded(_ stream: HTTPStream) {
        guard isEnabled else { return }
        // Nobody is refused any more: what counts at the end makes later requests wait.
        let descriptors = settings.descriptors(of: stream, atEnd: true)
        if !descriptors.isEmpty { settings.limiter.charge(descriptors, now: stream.worker.loop.now) }
    }
}
