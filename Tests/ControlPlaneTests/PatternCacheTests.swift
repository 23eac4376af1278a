import Testing

@testable import ControlPlane

@Suite("Patterns of custom kinds' rules")
struct PatternCacheTests {
    @Test("a pattern is found at or behind a place, and what is before the place still counts for ^ and word bounds")
    func places() {
        let patterns = PatternCache()
        let text = Array("ab 12 ab".utf8)
        #expect(patterns.find("[0-9]+", in: text, from: 0) == 3..<5)
        #expect(patterns.find("[0-9]+", in: text, from: 4) == 4..<5)
        #expect(patterns.find("^ab", in: text, from: 0) == 0..<2 && patterns.find("^ab", in: text, from: 6) == nil)
        #expect(patterns.find("\\bb", in: text, from: 1) == nil)
        #expect(patterns.find("x*", in: [], from: 0) == 0..<0)
        #expect(patterns.find("a", in: text, from: 99) == nil && patterns.find("(", in: text, from: 0) == nil)
        #expect(patterns.matches("1.", "12") == true && patterns.matches("(", "x") == nil)
    }
}
