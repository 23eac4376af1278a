internal import EnvoyAPI

/// Which responses outlier detection takes for failures, whatever their status: `error_matcher` of `HttpProtocolOptions`.
public indirect enum ErrorMatcher: Sendable {
    /// Every response, or none.
    case any(Bool)
    /// Those whose header fields pass all conditions; `:status` is one of them.
    case headers([HeaderMatcher])
    /// Those that another matcher does not take.
    case not(ErrorMatcher)
    /// Those that all matchers take.
    case all([ErrorMatcher])
    /// Those that one matcher takes.
    case either([ErrorMatcher])

    /// Whether a response is a failure.
    public func matches(_ response: borrowing some ResponseView & ~Copyable & ~Escapable, status: UInt16) -> Bool {
        switch self {
        case .any(let answer): return answer
        case .headers(let conditions):
            for condition in conditions {
                let holds: Bool
                if condition.name.bytes == Self.status {
                    let text = Array("\(status)".utf8)
                    holds = condition.matches(value: text.span)
                } else {
                    holds = condition.matches(response: response)
                }
                if !holds { return false }
            }
            return true
        case .not(let other): return !other.matches(response, status: status)
        case .all(let parts):
            for part in parts where !part.matches(response, status: status) { return false }
            return true
        case .either(let parts):
            for part in parts where part.matches(response, status: status) { return true }
            return false
        }
    }

    private static let status = Array(":status".utf8)

    /// How deep rules may stand in each other.
    private static let depthMax = 16

    init(compiling message: EnvoyAPI.MatchPredicate, _ path: FieldPath, depth: Int = 0) throws(ConfigurationError) {
        guard depth < Self.depthMax else {
            throw path.error("rules stand more than \(Self.depthMax) deep in each other")
        }
        func list(
            _ set: EnvoyAPI.MatchPredicate.MatchSet, _ field: String
        ) throws(ConfigurationError) -> [ErrorMatcher] {
            guard set.rules.count >= 2 else { throw (path / field / "rules").error("at least two rules are needed") }
            var parts: [ErrorMatcher] = []
            for (index, rule) in set.rules.enumerated() {
                parts.append(try ErrorMatcher(compiling: rule, (path / field / "rules")[index], depth: depth + 1))
            }
            return parts
        }
        switch message.rule {
        case nil: throw path.error("a rule is needed")
        case .anyMatch(let answer): self = .any(answer)
        case .httpResponseHeadersMatch(let match):
            self = .headers(
                try HeaderMatcher.list(match.headers, path / "http_response_headers_match" / "headers"))
        case .notMatch(let other):
            self = .not(try ErrorMatcher(compiling: other, path / "not_match", depth: depth + 1))
        case .andMatch(let set): self = .all(try list(set, "and_match"))
        case .orMatch(let set): self = .either(try list(set, "or_match"))
        default: throw path.unsupported("a failure is known by the head of its response: http_response_headers_match")
        }
    }
}
