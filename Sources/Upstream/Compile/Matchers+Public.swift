public import EnvoyAPI

/// The matchers by themselves, for what the proxy compiles (log filters, statistics, tags): errors carry the path.
extension StringMatcher {
    /// Compiles a matcher found at a field path.
    public init(compiling message: EnvoyAPI.StringMatcher, at path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }
}

extension HeaderMutation {
    /// Compiles header options found at a field path.
    public static func list(
        adding options: [HeaderValueOption], at path: String
    ) throws(ConfigurationError) -> [HeaderMutation] {
        try list(add: options, FieldPath(path), remove: [], FieldPath(path))
    }
}

extension HeaderMatcher {
    /// Compiles a matcher found at a field path.
    public init(compiling message: EnvoyAPI.HeaderMatcher, at path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }
}

extension Redirect {
    /// Compiles one that stands elsewhere than in a route.
    public init(compiling message: RedirectAction, at path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }
}
