internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// `envoy.filters.http.ratelimit`: a service of its own counts requests.
final class RateLimitFilterConfig: HTTPFilterConfig {
    enum RequestType { case both, `internal`, external }

    let name: String
    let isDisabled: Bool
    let domain: String
    let stage: UInt32
    let requestType: RequestType
    let timeout: Duration
    let isResourceExhausted: Bool
    let target: GRPCTarget
    let showsLimit: Bool
    let marksLimited: Bool
    let limitedStatus: UInt16
    let responseMutations: [Upstream.HeaderMutation]
    let errorStatus: UInt16
    let statPrefix: String
    let enabled: Fraction
    let enforced: Fraction
    let denied: Fraction
    let rules: [RateLimitRule]
    let serviceCluster: String

    static let kind = HTTPFilterKind(
        HTTPRateLimit.self, perRoute: RateLimitPerRoute.self,
        compile: { message, context throws(ConfigurationError) in try RateLimitFilterConfig(message, context) },
        compileRoute: { message, context throws(ConfigurationError) in
            try RateLimitRouteConfig(compiling: message, at: context.path)
        })

    init(_ message: HTTPRateLimit, _ context: FilterContext) throws(ConfigurationError) {
        let path = context.path
        try FieldCheck.check(
            message,
            reads: [
                "domain", "stage", "request_type", "timeout", "failure_mode_deny",
                "rate_limited_as_resource_exhausted", "rate_limit_service", "enable_x_ratelimit_headers",
                "disable_x_envoy_ratelimited_header", "rate_limited_status", "response_headers_to_add",
                "status_on_error", "stat_prefix", "filter_enabled", "filter_enforced", "failure_mode_deny_percent",
                "rate_limits",
            ], at: path)
        name = context.name
        isDisabled = context.isDisabled
        guard !message.domain.isEmpty else { throw ConfigurationError(at: path + ".domain", "is empty") }
        domain = message.domain
        guard message.stage <= 10 else { throw ConfigurationError(at: path + ".stage", "is above 10") }
        stage = message.stage
        switch message.requestType {
        case "", "both": requestType = .both
        case "internal": requestType = .internal
        case "external": requestType = .external
        default:
            throw ConfigurationError(
                at: path + ".request_type", "\"\(message.requestType)\" is none of internal, external, both")
        }
        guard let service = message.rateLimitService else {
            throw ConfigurationError(at: path + ".rate_limit_service", "is missing")
        }
        if case .v2 = service.transportApiVersion {
            throw ConfigurationError(
                at: path + ".rate_limit_service.transport_api_version", "V2 is gone; use V3")
        }
        target = try GRPCTarget(
            compiling: service.grpcService, at: path + ".rate_limit_service.grpc_service")
        let timeout = message.timeout ?? target.timeout ?? .milliseconds(20)
        guard timeout >= .zero else { throw ConfigurationError(at: path + ".timeout", "is negative") }
        self.timeout = timeout
        isResourceExhausted = message.rateLimitedAsResourceExhausted
        switch message.enableXRatelimitHeaders {
        case .draftVersion03: showsLimit = true
        default: showsLimit = false
        }
        marksLimited = !message.disableXEnvoyRatelimitedHeader
        let code = message.rateLimitedStatus.map { $0.code.rawValue } ?? 429
        // Only failures say no.
        limitedStatus = (400...599).contains(code) ? UInt16(code) : 429
        let error = message.statusOnError.map { $0.code.rawValue } ?? 500
        errorStatus = (400...599).contains(error) ? UInt16(error) : 500
        responseMutations = try Upstream.HeaderMutation.list(
            adding: message.responseHeadersToAdd, at: path + ".response_headers_to_add")
        statPrefix = message.statPrefix.isEmpty ? "" : message.statPrefix + "."
        enabled =
            try Fraction.optional(message.filterEnabled, at: path + ".filter_enabled")
            ?? Self.share("ratelimit.http_filter_enabled")
        enforced =
            try Fraction.optional(message.filterEnforced, at: path + ".filter_enforced")
            ?? Self.share("ratelimit.http_filter_enforcing")
        denied =
            try Fraction.optional(message.failureModeDenyPercent, at: path + ".failure_mode_deny_percent")
            ?? (message.failureModeDeny ? .all : .none)
        rules = try RateLimitRule.list(message.rateLimits, at: path + ".rate_limits")
        serviceCluster = context.compile.serviceCluster
    }

    /// All, unless runtime says otherwise.
    private static func share(_ key: String) -> Fraction {
        var share = Fraction.all
        share.runtime = Runtime.compiling.entry(key)
        return share
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { RateLimitFilter(self) }

    /// The rules that a request's descriptors come from.
    func rules(of stream: HTTPStream) -> [RateLimitRule] {
        let route = stream.routeConfig(for: name) as? RateLimitRouteConfig
        if let own = route?.rules, !own.isEmpty { return own }
        return rules.isEmpty ? stream.rateLimitRules(route?.option ?? .override) : rules
    }

    func domain(of stream: HTTPStream) -> String {
        let own = (stream.routeConfig(for: name) as? RateLimitRouteConfig)?.domain ?? ""
        return own.isEmpty ? domain : own
    }
}

/// A route's part: `RateLimitPerRoute`.
struct RateLimitRouteConfig: Sendable {
    let option: RateLimitLevel.VirtualHostOption
    let rules: [RateLimitRule]
    let domain: String

    init(compiling message: RateLimitPerRoute, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["vh_rate_limits", "rate_limits", "domain"], at: path)
        switch message.vhRateLimits {
        case .include: option = .include
        case .ignore: option = .ignore
        default: option = .override
        }
        rules = try RateLimitRule.list(message.rateLimits, at: path + ".rate_limits")
        domain = message.domain
    }
}
