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
        expression(pattern).map { $0.find(in: Array(text.utf8)) != nil }
    }

    /// Where the pattern is found first at or behind `start`.
    func find(_ pattern: String, in text: [UInt8], from start: Int) -> Range<Int>? {
        expression(pattern)?.find(in: text, from: start)?.match
    }

    private func expression(_ pattern: String) -> RegularExpression? {
        if let known = compiled[pattern] { return known }
        if compiled.count >= Self.patternsMax { compiled = [:] }
        let made = try? RegularExpression(pattern)
        compiled[pattern] = .some(made)
        return made
    }
}
