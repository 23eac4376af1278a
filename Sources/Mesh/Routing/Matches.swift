import EnvoyAPI
import KubernetesAPI

/// Istio's conditions as Envoy's route match.
enum Matches {
    /// The match of one entry of `match`; `nil` conditions match every request.
    static func route(_ conditions: VirtualService.HTTPMatchRequest?) -> RouteMatch {
        var match = RouteMatch()
        match.pathSpecifier = .prefix("/")
        guard let conditions else { return match }
        switch conditions.uri {
        case .exact(let path): match.pathSpecifier = .path(path)
        case .prefix(let prefix): match.pathSpecifier = .prefix(prefix)  // H-3: a plain string prefix
        case .regex(let expression): match.pathSpecifier = .safeRegex(regex(expression))
        case .present, nil: break
        }
        if conditions.ignoreUriCase { match.caseSensitive = false }
        for (name, condition) in [
            (":scheme", conditions.scheme), (":method", conditions.method), (":authority", conditions.authority),
        ] {
            if let condition { match.headers.append(header(name, condition)) }
        }
        match.headers += conditions.headers.map { header($0.name, $0.match) }
        match.headers += conditions.withoutHeaders.map { entry in
            var matcher = header(entry.name, entry.match)
            matcher.invertMatch = true
            // H-5: a missing header counts as an empty value, so that "not equal to a" holds without the header.
            if case .presentMatch = matcher.headerMatchSpecifier {} else { matcher.treatMissingHeaderAsEmpty = true }
            return matcher
        }
        match.queryParameters = conditions.queryParams.map { entry in
            var matcher = QueryParameterMatcher()
            matcher.name = entry.name
            matcher.queryParameterMatchSpecifier = string(entry.match).map { .stringMatch($0) } ?? .presentMatch(true)
            return matcher
        }
        return match
    }

    /// A header condition; an empty one and the regex `*` mean "present" (H-4, H-5).
    static func header(_ name: String, _ condition: StringMatch) -> HeaderMatcher {
        var matcher = HeaderMatcher()
        matcher.name = name.lowercased()
        matcher.headerMatchSpecifier = string(condition).map { .stringMatch($0) } ?? .presentMatch(true)
        return matcher
    }

    /// A header condition as a whole-value regular expression.
    static func header(_ name: String, regex expression: String) -> HeaderMatcher {
        header(name, .regex(expression))
    }

    static func regex(_ expression: String) -> RegexMatcher {
        var matcher = RegexMatcher()
        matcher.regex = expression
        return matcher
    }

    /// Takes every value.
    static var anything: StringMatcher {
        var matcher = StringMatcher()
        matcher.matchPattern = .safeRegex(regex(".*"))
        return matcher
    }

    static func string(_ condition: StringMatch) -> StringMatcher? {
        var matcher = StringMatcher()
        switch condition {
        case .exact(let value): matcher.matchPattern = .exact(value)
        case .prefix(let value): matcher.matchPattern = .prefix(value)
        case .regex("*"), .present: return nil
        case .regex(let expression): matcher.matchPattern = .safeRegex(regex(expression))
        }
        return matcher
    }

    /// H-2: whether every request passes, so that nothing after it can be reached.
    static func isCatchAll(_ match: RouteMatch) -> Bool {
        guard match.headers.isEmpty && match.queryParameters.isEmpty else { return false }
        switch match.pathSpecifier {
        case .prefix("/"), .prefix(""): return true
        case .safeRegex(let matcher): return matcher.regex == ".*" || matcher.regex == "/.*"
        default: return false
        }
    }
}
