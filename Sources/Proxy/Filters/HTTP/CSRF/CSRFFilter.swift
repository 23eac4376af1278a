internal import EnvoyAPI
internal import HTTP
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.csrf`: requests that change something must come from the site they go to.
struct CSRFFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let policy: CSRFPolicy
    let missing: MetricCounter
    let valid: MetricCounter
    let invalid: MetricCounter

    static let kind = HTTPFilterKind(
        CsrfPolicy.self, perRoute: CsrfPolicy.self,
        compile: { message, context throws(ConfigurationError) in
            let scope = context.compile.metrics.scope("http", context.statPrefix, "csrf")
            return CSRFFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                policy: try CSRFPolicy(compiling: message, at: context.path),
                missing: scope.counter("missing_source_origin"), valid: scope.counter("request_valid"),
                invalid: scope.counter("request_invalid"))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try CSRFPolicy(compiling: message, at: context.path)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        // A method that only reads cannot be forged to any effect.
        switch stream.request.method {
        case .post, .put, .delete, .patch: CSRFFilter(self)
        default: nil
        }
    }
}

/// When the check is made, and which other origins pass it.
struct CSRFPolicy: Sendable {
    let enabled: Fraction
    let shadow: Fraction
    let additional: [Upstream.StringMatcher]

    init(compiling message: CsrfPolicy, at path: String) throws(ConfigurationError) {
        guard let enabled = try Fraction.optional(message.filterEnabled, at: FieldCheck.join(path, "filter_enabled"))
        else { throw ConfigurationError(at: FieldCheck.join(path, "filter_enabled"), "is missing") }
        self.enabled = enabled
        shadow = try Fraction.optional(message.shadowEnabled, at: FieldCheck.join(path, "shadow_enabled")) ?? .none
        additional = try StringMatcher.list(
            message.additionalOrigins, at: FieldCheck.join(path, "additional_origins"))
    }

    /// Whether a request from one origin (host and port) may change what belongs to another.
    func allows(source: [UInt8], target: [UInt8]) -> Bool {
        if source == target { return true }
        for matcher in additional where matcher.matches(source.span) { return true }
        return false
    }

    /// Host and port of an origin or a referring page; empty when it is no absolute URL.
    static func hostAndPort(_ url: String) -> [UInt8] {
        guard let start = url.range(of: "://") else { return [] }
        return Array(url[start...].utf8.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") })
    }
}

extension String {
    /// The index behind a text's first occurrence.
    fileprivate func range(of text: String) -> String.Index? {
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasPrefix(text) { return rest.index(rest.startIndex, offsetBy: text.count) }
            rest = rest.dropFirst()
        }
        return nil
    }
}

/// The check of one request.
final class CSRFFilter: HTTPFilter {
    private let config: CSRFFilterConfig

    init(_ config: CSRFFilterConfig) { self.config = config }

    let interest = FilterInterest.requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let worker = stream.worker
        let policy = stream.routeConfig(for: config.name) as? CSRFPolicy ?? config.policy
        let isOn = policy.enabled.includes(random: worker.random.next())
        guard isOn || policy.shadow.includes(random: worker.random.next()) else { return .next }
        var source = stream.request.headers[.origin].map { CSRFPolicy.hostAndPort($0) } ?? []
        if source.isEmpty { source = stream.request.headers[.referer].map { CSRFPolicy.hostAndPort($0) } ?? [] }
        if source.isEmpty {
            config.missing.add(row: worker.index)
        } else if policy.allows(source: source, target: stream.request.authorityBytes) {
            config.valid.add(row: worker.index)
            return .next
        } else {
            config.invalid.add(row: worker.index)
        }
        guard isOn else { return .next }
        stream.localReply(status: 403, body: "Invalid origin", details: "csrf_origin_mismatch")
        return .stop
    }
}
