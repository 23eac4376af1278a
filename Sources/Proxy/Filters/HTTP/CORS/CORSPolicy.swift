internal import EnvoyAPI
internal import Upstream

/// One level's CORS settings; what it leaves out, the next more general level says.
struct CORSPolicy: Sendable {
    var origins: [Upstream.StringMatcher] = []
    var methods = ""
    var headers = ""
    var exposed = ""
    var maximumAge = ""
    var allowsCredentials: Bool?
    var allowsPrivateNetwork: Bool?
    var forwardsUnmatchedPreflights: Bool?
    var enabled: Fraction?
    var shadow: Fraction?

    init() {}

    /// From `typed_per_filter_config`.
    init(compiling message: CorsFilterPolicy, at path: String) throws(ConfigurationError) {
        origins = try StringMatcher.list(
            message.allowOriginStringMatch, at: FieldCheck.join(path, "allow_origin_string_match"))
        methods = message.allowMethods
        headers = message.allowHeaders
        exposed = message.exposeHeaders
        maximumAge = message.maxAge
        allowsCredentials = message.allowCredentials
        allowsPrivateNetwork = message.allowPrivateNetworkAccess
        forwardsUnmatchedPreflights = message.forwardNotMatchingPreflights
        enabled = try Fraction.optional(message.filterEnabled, at: FieldCheck.join(path, "filter_enabled"))
        shadow = try Fraction.optional(message.shadowEnabled, at: FieldCheck.join(path, "shadow_enabled"))
    }

    /// From the field `cors` of a route or virtual host, which the message replaced.
    init(compiling message: CorsPolicy, at path: String) throws(ConfigurationError) {
        origins = try StringMatcher.list(
            message.allowOriginStringMatch, at: FieldCheck.join(path, "allow_origin_string_match"))
        methods = message.allowMethods
        headers = message.allowHeaders
        exposed = message.exposeHeaders
        maximumAge = message.maxAge
        allowsCredentials = message.allowCredentials
        allowsPrivateNetwork = message.allowPrivateNetworkAccess
        forwardsUnmatchedPreflights = message.forwardNotMatchingPreflights
        if case .filterEnabled(let share) = message.enabledSpecifier {
            enabled = try Fraction.optional(share, at: FieldCheck.join(path, "filter_enabled"))
        }
        shadow = try Fraction.optional(message.shadowEnabled, at: FieldCheck.join(path, "shadow_enabled"))
    }

    /// Whether an origin is among those allowed; a matcher that matches `*` allows every one.
    func allows(_ origin: [UInt8]) -> Bool {
        for matcher in origins {
            if matcher.matches(origin.span) || matcher.matches(Self.any.span) { return true }
        }
        return false
    }

    private static let any = Array("*".utf8)

    /// The settings in force: each from the most specific level that has it, except the switches, which are that level's own.
    static func merged(_ generalFirst: [CORSPolicy]) -> CORSPolicy? {
        guard var result = generalFirst.last else { return nil }
        for policy in generalFirst.dropLast().reversed() {
            if result.origins.isEmpty { result.origins = policy.origins }
            if result.methods.isEmpty { result.methods = policy.methods }
            if result.headers.isEmpty { result.headers = policy.headers }
            if result.exposed.isEmpty { result.exposed = policy.exposed }
            if result.maximumAge.isEmpty { result.maximumAge = policy.maximumAge }
            result.allowsCredentials = result.allowsCredentials ?? policy.allowsCredentials
            result.allowsPrivateNetwork = result.allowsPrivateNetwork ?? policy.allowsPrivateNetwork
            result.forwardsUnmatchedPreflights =
                result.forwardsUnmatchedPreflights ?? policy.forwardsUnmatchedPreflights
        }
        return result
    }
}
