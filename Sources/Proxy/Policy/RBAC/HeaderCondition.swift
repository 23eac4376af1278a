internal import EnvoyAPI
internal import Upstream

/// A condition on a header for policies, asked value by value.
///
/// Values are never joined (A-8, ATK-24): a rule that denies matches when any value does, a rule that allows only when all
/// values do.
struct HeaderCondition: Sendable {
    private enum Test: Sendable {
        case present(Bool)
        case value(TextMatcher)
        case range(start: Int64, end: Int64)
    }

    let name: HeaderName
    private let test: Test
    private let isInverted: Bool
    private let treatsMissingAsEmpty: Bool

    init(compiling message: EnvoyAPI.HeaderMatcher, at path: String) throws(ConfigurationError) {
        guard !message.name.isEmpty else { throw ConfigurationError(at: path + ".name", "is empty") }
        let name = message.name.lowercased()
        self.name = HeaderName(name == "host" ? ":authority" : name)
        isInverted = message.invertMatch
        treatsMissingAsEmpty = message.treatMissingHeaderAsEmpty
        /// The older fields in the newer one's form.
        func string(_ pattern: EnvoyAPI.StringMatcher.MatchPattern, _ field: String) throws(ConfigurationError) -> Test {
            var matcher = EnvoyAPI.StringMatcher()
            matcher.matchPattern = pattern
            return .value(try TextMatcher(compiling: matcher, at: path + "." + field))
        }
        switch message.headerMatchSpecifier {
        case nil: test = .present(true)
        case .presentMatch(let wanted): test = .present(wanted)
        case .exactMatch(let text): test = try string(.exact(text), "exact_match")
        case .prefixMatch(let text): test = try string(.prefix(text), "prefix_match")
        case .suffixMatch(let text): test = try string(.suffix(text), "suffix_match")
        case .containsMatch(let text): test = try string(.contains(text), "contains_match")
        case .safeRegexMatch(let regex): test = try string(.safeRegex(regex), "safe_regex_match")
        case .stringMatch(let matcher):
            test = .value(try TextMatcher(compiling: matcher, at: path + ".string_match"))
        case .rangeMatch(let range):
            guard range.start < range.end else {
                throw ConfigurationError(at: path + ".range_match", "[\(range.start), \(range.end)) is empty")
            }
            test = .range(start: range.start, end: range.end)
        }
    }

    /// - Parameter needsAll: every value must pass, not only one.
    func matches(_ values: [[UInt8]], needsAll: Bool) -> Bool {
        if case .present(let wanted) = test { return (values.isEmpty != wanted) != isInverted }
        if values.isEmpty { return treatsMissingAsEmpty && passes([]) }
        return needsAll ? values.allSatisfy(passes) : values.contains(where: passes)
    }

    private func passes(_ value: [UInt8]) -> Bool {
        switch test {
        case .present: true
        case .value(let matcher): matcher.matches(value) != isInverted
        case .range(let start, let end):
            (Int64(String(decoding: value, as: UTF8.self)).map { $0 >= start && $0 < end } ?? false) != isInverted
        }
    }
}
