import Upstream

/// The compiled patterns of custom kinds' schemas: RE2, so that a text of anybody's is looked through in linear time.
///
/// Loop-owned.
final class PatternCache {
    /// The most patterns that are kept.
    static let patternsMax = 4096
    private var compiled: [String: RegularExpression?] = [:]

    /// Whether the pattern is found anywhere in the text; `nil` when it is no pattern.
    func matches(_ pattern: String, _ text: String) -> Bool? {
        let expression: RegularExpression?
        if let known = compiled[pattern] {
            expression = known
        } else {
            if compiled.count >= Self.patternsMax { compiled = [:] }
            expression = try? RegularExpression(pattern)
            compiled[pattern] = .some(expression)
        }
        return expression.map { $0.find(in: Array(text.utf8)) != nil }
    }
}
