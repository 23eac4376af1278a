public import EnvoyAPI

/// A `RouteMatch` by itself, for filters whose rules name requests as routes do.
public struct RequestCondition: Sendable {
    private let matcher: RouteMatcher

    /// Compiles what stands at a field path.
    public init(compiling message: RouteMatch, at path: String) throws(ConfigurationError) {
        matcher = try RouteMatcher(compiling: message, FieldPath(path))
    }

    /// Whether a request is meant.
    ///
    /// - Parameter random: One draw, for `runtime_fraction`.
    public func matches(
        _ request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64, facts: some RouteFacts
    ) -> Bool { matcher.matches(request, random: random, facts: facts) }
}
