public import EnvoyAPI

/// Parts of filters' configurations that routes have too: errors carry the path.
extension HeaderMutation {
    /// Compiles the removal of a field.
    public static func removal(of name: String, at path: String) throws(ConfigurationError) -> HeaderMutation {
        guard let removal = try list(add: [], FieldPath(path), remove: [name], FieldPath(path)).first else {
            throw ConfigurationError(at: path, "is empty")
        }
        return HeaderMutation(name: removal.name, operation: .remove)
    }
}

extension HeaderMatcher {
    /// Compiles a list of conditions that AND.
    public static func list(_ messages: [EnvoyAPI.HeaderMatcher], at path: String) throws(ConfigurationError)
        -> [HeaderMatcher]
    {
        try list(messages, FieldPath(path))
    }
}

extension StringMatcher {
    /// Compiles a list of alternatives.
    public static func list(_ messages: [EnvoyAPI.StringMatcher], at path: String) throws(ConfigurationError)
        -> [StringMatcher]
    {
        var result: [StringMatcher] = []
        for (index, message) in messages.enumerated() {
            result.append(try StringMatcher(compiling: message, FieldPath(path)[index]))
        }
        return result
    }
}

extension QueryParameterMatcher {
    /// Compiles a list of conditions on the query.
    public static func list(_ messages: [EnvoyAPI.QueryParameterMatcher], at path: String) throws(ConfigurationError)
        -> [QueryParameterMatcher]
    {
        var result: [QueryParameterMatcher] = []
        for (index, message) in messages.enumerated() {
            result.append(try QueryParameterMatcher(compiling: message, FieldPath(path)[index]))
        }
        return result
    }
}

extension Fraction {
    /// Compiles a share; nil when the message is absent.
    public static func optional(_ message: RuntimeFractionalPercent?, at path: String) throws(ConfigurationError)
        -> Fraction?
    {
        try Fraction(compiling: message, FieldPath(path))
    }

    /// Compiles a share; nil when the message is absent.
    public static func optional(_ message: FractionalPercent?, at path: String) throws(ConfigurationError) -> Fraction?
    {
        guard let message else { return nil }
        return try Fraction(compiling: message, FieldPath(path))
    }
}

/// An expression and what stands in place of its matches: Envoy's `RegexMatchAndSubstitute`, compiled.
public struct RegexRewrite: Sendable {
    private let expression: RegularExpression
    private let substitution: [UInt8]

    /// Compiles what stands at a field path.
    public init(compiling message: RegexMatchAndSubstitute, at path: String) throws(ConfigurationError) {
        let place = FieldPath(path)
        guard let pattern = message.pattern else { throw (place / "pattern").error("is missing") }
        expression = try RegularExpression(compiling: pattern, place / "pattern")
        substitution = Array(message.substitution.utf8)
        if let refusal = expression.refusal(ofRewrite: substitution) {
            throw (place / "substitution").error(refusal)
        }
    }

    /// The bytes with every match replaced.
    public func apply(to bytes: [UInt8]) -> [UInt8] { expression.replacingAll(in: bytes.span, with: substitution) }
}
