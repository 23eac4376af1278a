/// The `rate_limits` of a route or of a virtual host, as filters find them: under `RateLimitLevel.name` of a route's filter configurations.
public struct RateLimitLevel: Sendable {
    /// Under which name it stands.
    public static let name = "rate_limits"

    /// Its rules.
    public let rules: [RateLimitRule]
    /// A virtual host's, which count where a route has none of its own.
    public let isVirtualHost: Bool
    /// The virtual host's count beside the route's.
    public let includesVirtualHost: Bool

    /// What a filter does with a virtual host's rules beside those of a route.
    public enum VirtualHostOption: Sendable {
        /// They count where the route has none.
        case override
        /// They count too.
        case include
        /// They do not count.
        case ignore
    }

    /// The rules for a request, in the order in which they count.
    ///
    /// - Parameter levels: What the route's filter configurations hold, the most general first.
    public static func rules(_ levels: [any Sendable], option: VirtualHostOption) -> [RateLimitRule] {
        var own: [RateLimitRule] = []
        var host: [RateLimitRule] = []
        var option = option
        for case let level as RateLimitLevel in levels {
            if level.isVirtualHost { host = level.rules } else { own = level.rules }
            if level.includesVirtualHost { option = .include }
        }
        switch option {
        case .include: own += host
        case .override: if own.isEmpty { own = host }
        case .ignore: break
        }
        return own
    }
}
