internal import EnvoyAPI
internal import HTTP
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.cors`: answers preflights, and adds to responses what lets a browser's page read them.
struct CORSFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let valid: MetricCounter
    let invalid: MetricCounter

    static let kind = HTTPFilterKind(
        Cors.self, perRoute: CorsFilterPolicy.self,
        compile: { _, context throws(ConfigurationError) in
            let scope = context.compile.metrics.scope("http", context.statPrefix, "cors")
            return CORSFilterConfig(
                name: context.name, isDisabled: context.isDisabled, valid: scope.counter("origin_valid"),
                invalid: scope.counter("origin_invalid"))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try CORSPolicy(compiling: message, at: context.path)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        guard stream.request.headers.parts.contains(.origin), let policy = policy(stream) else { return nil }
        return CORSFilter(policy, self)
    }

    /// Fields `cors` of route and virtual host count only where no level configures the filter itself.
    private func policy(_ stream: HTTPStream) -> CORSPolicy? {
        var levels = stream.routeConfigs(for: name).compactMap { $0 as? CORSPolicy }
        if levels.isEmpty { levels = stream.routeConfigs(for: "cors").compactMap { $0 as? CORSPolicy } }
        return CORSPolicy.merged(levels)
    }
}

/// CORS for one request that names an origin.
final class CORSFilter: HTTPFilter {
    private let policy: CORSPolicy
    private let config: CORSFilterConfig
    private var origin: String?

    init(_ policy: CORSPolicy, _ config: CORSFilterConfig) {
        self.policy = policy
        self.config = config
    }

    let interest: FilterInterest = [.requestHead, .responseHead]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let worker = stream.worker
        let isOn = policy.enabled?.includes(random: worker.random.next()) ?? true
        let isShadow = policy.shadow?.includes(random: worker.random.next()) ?? false
        guard isOn || isShadow, let origin = stream.request.headers[.origin], !origin.isEmpty else { return .next }
        let isPreflight =
            stream.request.method == .options
            && !(stream.request.headers[.accessControlRequestMethod] ?? "").isEmpty
        guard policy.allows(Array(origin.utf8)) else {
            config.invalid.add(row: worker.index)
            if isOn && isPreflight && policy.forwardsUnmatchedPreflights == false {
                stream.localReply(status: 200, details: "cors_response")
                return .stop
            }
            return .next
        }
        config.valid.add(row: worker.index)
        guard isOn else { return .next }
        self.origin = origin
        guard isPreflight else { return .next }
        var headers = [("access-control-allow-origin", origin)]
        if policy.allowsCredentials == true { headers.append(("access-control-allow-credentials", "true")) }
        // As Envoy: all methods and headers are those that were asked for, because a star says nothing where credentials are
        // allowed.
        let methods =
            policy.methods == "*" ? stream.request.headers[.accessControlRequestMethod] ?? "*" : policy.methods
        if !methods.isEmpty { headers.append(("access-control-allow-methods", methods)) }
        let allowed =
            policy.headers == "*" ? stream.request.headers["access-control-request-headers"] ?? "" : policy.headers
        if !allowed.isEmpty { headers.append(("access-control-allow-headers", allowed)) }
        if !policy.maximumAge.isEmpty { headers.append(("access-control-max-age", policy.maximumAge)) }
        if policy.allowsPrivateNetwork == true,
            stream.request.headers["access-control-request-private-network"] == "true"
        {
            headers.append(("access-control-allow-private-network", "true"))
        }
        stream.localReply(status: 200, details: "cors_response", headers: headers)
        return .stop
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard let origin else { return .next }
        try? stream.response.headers.set(.accessControlAllowOrigin, origin)
        if policy.allowsCredentials == true { try? stream.response.headers.set(.accessControlAllowCredentials, "true") }
        if !policy.exposed.isEmpty { try? stream.response.headers.set(.accessControlExposeHeaders, policy.exposed) }
        return .next
    }
}
