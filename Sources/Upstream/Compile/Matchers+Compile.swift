public import EnvoyAPI
internal import Serialization

extension StringMatcher {
    /// Compiles a matcher.
    public init(compiling message: EnvoyAPI.StringMatcher, path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }

    init(compiling message: EnvoyAPI.StringMatcher, _ path: FieldPath) throws(ConfigurationError) {
        let ignoringCase = message.ignoreCase
        func bytes(_ text: String, _ field: String) throws(ConfigurationError) -> [UInt8] {
            guard !text.isEmpty else { throw (path / field).error("is empty: it would match everything") }
            return Array(text.utf8)
        }
        switch message.matchPattern {
        case .exact(let text): self = .exact(Array(text.utf8), ignoringCase: ignoringCase)
        case .prefix(let text): self = .prefix(try bytes(text, "prefix"), ignoringCase: ignoringCase)
        case .suffix(let text): self = .suffix(try bytes(text, "suffix"), ignoringCase: ignoringCase)
        case .contains(let text): self = .contains(try bytes(text, "contains"), ignoringCase: ignoringCase)
        case .safeRegex(let regex): self = .regex(try RegularExpression(compiling: regex, path / "safe_regex"))
        case .custom: throw (path / "custom").unsupported()
        case nil: throw path.error("has no pattern: set one of exact, prefix, suffix, contains, safe_regex")
        }
    }
}

extension RegularExpression {
    convenience init(compiling message: RegexMatcher, _ path: FieldPath) throws(ConfigurationError) {
        guard !message.regex.isEmpty else { throw (path / "regex").error("is empty") }
        do throws(RegularExpressionError) {
            try self.init(message.regex)
        } catch {
            throw (path / "regex").error(error.description)
        }
        if case .googleRe2(let limits) = message.engineType, let limit = limits.maxProgramSize,
            programSize > Int(limit)
        {
            throw (path / "regex").error("compiles to \(programSize) instructions, max_program_size is \(limit)")
        }
    }
}

/// A compiled `RegexMatchAndSubstitute`.
struct Substitution {
    let expression: RegularExpression
    let substitution: [UInt8]

    init(compiling message: RegexMatchAndSubstitute, _ path: FieldPath) throws(ConfigurationError) {
        guard let pattern = message.pattern else { throw (path / "pattern").error("is missing") }
        expression = try RegularExpression(compiling: pattern, path / "pattern")
        substitution = try Forwarding.checkedTarget(message.substitution, path / "substitution")
        if let refusal = expression.refusal(ofRewrite: substitution) {
            throw (path / "substitution").error(refusal)
        }
    }
}

extension HeaderMatcher {
    init(compiling message: EnvoyAPI.HeaderMatcher, _ path: FieldPath) throws(ConfigurationError) {
        guard !message.name.isEmpty else { throw (path / "name").error("is empty") }
        func string(
            _ text: String, _ field: String, _ make: ([UInt8], Bool) -> StringMatcher
        ) throws(ConfigurationError) -> Condition {
            guard !text.isEmpty else { throw (path / field).error("is empty: it would match everything") }
            return .value(make(Array(text.utf8), false))
        }
        let condition: Condition
        switch message.headerMatchSpecifier {
        case nil: condition = .present(true)
        case .presentMatch(let wanted): condition = .present(wanted)
        case .exactMatch(let text): condition = .value(.exact(Array(text.utf8), ignoringCase: false))
        case .prefixMatch(let text):
            condition = try string(text, "prefix_match") { .prefix($0, ignoringCase: $1) }
        case .suffixMatch(let text):
            condition = try string(text, "suffix_match") { .suffix($0, ignoringCase: $1) }
        case .containsMatch(let text):
            condition = try string(text, "contains_match") { .contains($0, ignoringCase: $1) }
        case .safeRegexMatch(let regex):
            condition = .value(.regex(try RegularExpression(compiling: regex, path / "safe_regex_match")))
        case .stringMatch(let matcher):
            condition = .value(try StringMatcher(compiling: matcher, path / "string_match"))
        case .rangeMatch(let range):
            guard range.start < range.end else {
                throw (path / "range_match").error("[\(range.start), \(range.end)) is empty")
            }
            condition = .range(start: range.start, end: range.end)
        }
        self.init(
            name: HeaderName(message.name), condition: condition, isInverted: message.invertMatch,
            treatsMissingAsEmpty: message.treatMissingHeaderAsEmpty)
    }

    static func list(
        _ messages: [EnvoyAPI.HeaderMatcher], _ path: FieldPath
    ) throws(ConfigurationError) -> [HeaderMatcher] {
        var result: [HeaderMatcher] = []
        for (index, message) in messages.enumerated() {
            result.append(try HeaderMatcher(compiling: message, path[index]))
        }
        return result
    }
}

extension QueryParameterMatcher {
    init(compiling message: EnvoyAPI.QueryParameterMatcher, _ path: FieldPath) throws(ConfigurationError) {
        guard !message.name.isEmpty else { throw (path / "name").error("is empty") }
        let condition: Condition
        switch message.queryParameterMatchSpecifier {
        case nil: condition = .present(true)
        case .presentMatch(let wanted): condition = .present(wanted)
        case .stringMatch(let matcher):
            condition = .value(try StringMatcher(compiling: matcher, path / "string_match"))
        }
        self.init(name: Array(message.name.utf8), condition: condition)
    }
}

extension Fraction {
    init(compiling message: FractionalPercent, _ path: FieldPath) throws(ConfigurationError) {
        let denominator: UInt32
        switch message.denominator {
        case .hundred: denominator = 100
        case .tenThousand: denominator = 10_000
        case .million: denominator = 1_000_000
        case .unrecognized(let number): throw (path / "denominator").error("\(number) is no denominator")
        }
        self.init(numerator: message.numerator, denominator: denominator)
    }

    init?(compiling message: RuntimeFractionalPercent?, _ path: FieldPath) throws(ConfigurationError) {
        guard let message else { return nil }
        guard let value = message.defaultValue else { throw (path / "default_value").error("is missing") }
        try self.init(compiling: value, path / "default_value")
        if !message.runtimeKey.isEmpty { runtime = Runtime.compiling.entry(message.runtimeKey) }
    }
}

extension RouteMatcher {
    init(compiling message: RouteMatch, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "prefix path safe_regex connect_matcher path_separated_prefix path_match_policy case_sensitive runtime_fraction headers query_parameters grpc tls_context dynamic_metadata filter_state cookies"
        )
        self.path = try Self.pathMatcher(message, path)
        headers = try HeaderMatcher.list(message.headers, path / "headers")
        for (index, parameter) in message.queryParameters.enumerated() {
            queryParameters.append(
                try QueryParameterMatcher(compiling: parameter, (path / "query_parameters")[index]))
        }
        runtimeFraction = try RuntimeFraction(compiling: message.runtimeFraction, path / "runtime_fraction")
        grpcOnly = message.grpc != nil
        rest = try Rest(compiling: message, path)
    }

    private static func pathMatcher(
        _ message: RouteMatch, _ path: FieldPath
    ) throws(ConfigurationError) -> PathMatcher {
        let ignoringCase = message.caseSensitive == false
        switch message.pathSpecifier {
        case nil:
            throw path.error("has no path condition: set one of prefix, path, safe_regex, path_separated_prefix")
        case .prefix(let text): return .prefix(Array(text.utf8), ignoringCase: ignoringCase)
        case .path(let text): return .path(Array(text.utf8), ignoringCase: ignoringCase)
        case .safeRegex(let regex):
            return .regex(try RegularExpression(compiling: regex, path / "safe_regex"))
        case .pathSeparatedPrefix(let text):
            guard text.count > 1, text.hasPrefix("/"), !text.hasSuffix("/"), !text.contains("?"), !text.contains("#")
            else {
                throw (path / "path_separated_prefix").error(
                    "\(text): must begin with a slash, end without one and hold no ? or #")
            }
            return .pathSeparatedPrefix(Array(text.utf8), ignoringCase: ignoringCase)
        case .connectMatcher: return .connect
        case .pathMatchPolicy(let config):
            let place = path / "path_match_policy.typed_config"
            guard let any = config.typedConfig, any.holds(UriTemplateMatchConfig.self) else {
                throw place.unsupported(config.typedConfig?.name ?? config.name)
            }
            let template = try Unpacked.message(any, as: UriTemplateMatchConfig.self, place)
            do throws(RegularExpressionError) {
                return .template(try PathTemplate(template.pathTemplate))
            } catch {
                throw (place / "path_template").error(error.description)
            }
        }
    }
}

extension RuntimeFraction {
    init?(compiling message: RuntimeFractionalPercent?, _ path: FieldPath) throws(ConfigurationError) {
        guard let message else { return nil }
        guard let value = message.defaultValue else { throw (path / "default_value").error("is missing") }
        standard = try Fraction(compiling: value, path / "default_value")
        key = message.runtimeKey.isEmpty ? nil : message.runtimeKey
        if let key { standard.runtime = Runtime.compiling.entry(key) }
    }
}

extension RouteMatcher.Rest {
    convenience init?(compiling message: RouteMatch, _ path: FieldPath) throws(ConfigurationError) {
        guard
            !message.cookies.isEmpty || message.tlsContext != nil || !message.dynamicMetadata.isEmpty
                || !message.filterState.isEmpty
        else { return nil }
        var cookies: [CookieMatcher] = []
        for (index, cookie) in message.cookies.enumerated() {
            let place = (path / "cookies")[index]
            guard !cookie.name.isEmpty else { throw (place / "name").error("is empty") }
            guard let matcher = cookie.stringMatch else { throw (place / "string_match").error("is missing") }
            cookies.append(
                CookieMatcher(
                    name: Array(cookie.name.utf8),
                    value: try StringMatcher(compiling: matcher, place / "string_match"), isInverted: cookie.invertMatch
                ))
        }
        var metadata: [MetadataMatcher] = []
        for (index, matcher) in message.dynamicMetadata.enumerated() {
            metadata.append(try MetadataMatcher(compiling: matcher, (path / "dynamic_metadata")[index]))
        }
        var filterState: [(key: String, value: StringMatcher)] = []
        for (index, matcher) in message.filterState.enumerated() {
            let place = (path / "filter_state")[index]
            guard !matcher.key.isEmpty else { throw (place / "key").error("is empty") }
            guard case .stringMatch(let string)? = matcher.matcher else { throw place.unsupported("give string_match") }
            filterState.append((matcher.key, try StringMatcher(compiling: string, place / "string_match")))
        }
        self.init(
            cookies: cookies, certificateIsPresented: message.tlsContext?.presented,
            certificateIsValidated: message.tlsContext?.validated, metadata: metadata, filterState: filterState)
    }
}

extension MetadataMatcher {
    /// Compiles a matcher.
    public init(compiling message: EnvoyAPI.MetadataMatcher, path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }

    init(compiling message: EnvoyAPI.MetadataMatcher, _ path: FieldPath) throws(ConfigurationError) {
        guard !message.filter.isEmpty else { throw (path / "filter").error("is empty") }
        guard let value = message.value else { throw (path / "value").error("is missing") }
        var keys: [String] = []
        for (index, segment) in message.path.enumerated() {
            guard case .key(let key)? = segment.segment, !key.isEmpty else {
                throw ((path / "path")[index] / "key").error("is empty")
            }
            keys.append(key)
        }
        self.init(
            namespace: message.filter, path: keys, value: try ValueMatcher(compiling: value, path / "value"),
            isInverted: message.invert)
    }
}

extension ValueMatcher {
    init(
        compiling message: EnvoyAPI.ValueMatcher, _ path: FieldPath, depth: Int = 0
    ) throws(ConfigurationError) {
        guard depth < 16 else { throw path.error("is nested too deep") }
        switch message.matchPattern {
        case .nullMatch: self = .null
        case .doubleMatch(let matcher):
            switch matcher.matchPattern {
            case .range(let range): self = .range(start: range.start, end: range.end)
            case .exact(let number): self = .number(number)
            case nil: throw (path / "double_match").error("has no pattern: set one of range, exact")
            }
        case .stringMatch(let matcher): self = .string(try StringMatcher(compiling: matcher, path / "string_match"))
        case .boolMatch(let wanted): self = .bool(wanted)
        case .presentMatch(let wanted): self = .present(wanted)
        case .listMatch(let matcher):
            guard case .oneOf(let inner)? = matcher.matchPattern else {
                throw (path / "list_match").error("has no pattern: set one_of")
            }
            self = .oneOf(try ValueMatcher(compiling: inner, path / "list_match.one_of", depth: depth + 1))
        case .orMatch(let matcher):
            var any: [ValueMatcher] = []
            for (index, inner) in matcher.valueMatchers.enumerated() {
                any.append(
                    try ValueMatcher(compiling: inner, (path / "or_match.value_matchers")[index], depth: depth + 1))
            }
            self = .anyOf(any)
        case nil: throw path.error("has no pattern")
        }
    }
}
