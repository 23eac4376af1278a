import Testing

@testable import CEL

@Suite("CEL: parser")
struct ParserTests {
    private func refusal(_ text: String) -> String {
        do throws(CELSyntaxError) {
            _ = try CELProgram(CELExpression(parsing: text)) { (_) throws(CELError) in throw .badText("no pattern") }
            return "taken"
        } catch {
            return error.description
        }
    }

    @Test("what is no expression is refused with its place")
    func refusals() {
        for (text, wanted) in [
            ("", "1:1: the expression is empty"), ("1 +", "1:4: a value was expected instead of the end"),
            ("a b", "1:3: an operator was expected instead of \"b\""),
            ("(1", "1:3: \")\" was expected instead of the end"),
            ("'a", "1:1: a text has no end"), ("'a\nb'", "1:1: a text has no end on its line"),
            ("'\\q'", "1:1: \\q is no escape"),
            ("'\\ud800'", "1:1: 55296 is no character"),
            ("99999999999999999999", "1:1: 99999999999999999999 is more than 64 bits"),
            ("9223372036854775808", "1:1: 9223372036854775808 is more than 64 bits"),
            ("0xg", "1:1: is no hexadecimal number of 64 bits"),
            ("1e", "1:1: the exponent has no digits"), ("12abc", "1:1: a number and a name stand together"),
            ("a.1", "1:2: an operator was expected instead of a number"),
            ("a\n  == #", "2:6: \"#\" means nothing here"), ("if == 1", "1:1: \"if\" is a reserved word"),
            ("a{b: 1}", "1:2: messages cannot be made"),
            ("has(a)", "1:7: has() takes one field: has(a.b)"),
            ("[1].all(1, true)", "1:17: all() takes the name of a variable first"),
            ("nothing(1)", "nothing() with 1 arguments is no function"),
            ("'a'.size(1)", ".size() with 1 arguments is no function"),
            ("'a'.int()", ".int() with 0 arguments is no function"), ("'a'.matches('x')", "matches(): no pattern"),
            ("{1}", "1:3: \":\" was expected instead of \"}\""),
            ("a ? b", "1:6: \":\" was expected instead of the end"), ("b'\\u0041'", "1:1: \\u is no escape"),
        ] { #expect(refusal(text) == wanted) }
    }

    @Test("length, nodes and nesting are bounded, and chains of && and || are not deep")
    func limits() {
        let many = CELLimits.nesting + 4
        #expect(refusal(String(repeating: "(", count: many) + "1").contains("nested more than"))
        #expect(refusal(String(repeating: "!", count: many) + "true").contains("nested more than"))
        #expect(refusal(String(repeating: "-", count: many) + "a").contains("nested more than"))
        #expect(refusal(String(repeating: "[", count: many)).contains("nested more than"))
        #expect(refusal(Array(repeating: "1", count: many).joined(separator: "+")).contains("nested more than"))
        #expect(refusal("a" + String(repeating: ".b", count: many)).contains("nested more than"))
        #expect(refusal("a" + String(repeating: "[0]", count: many)).contains("nested more than"))
        #expect(refusal(String(repeating: "true?1:", count: many) + "1").contains("nested more than"))
        #expect(refusal(Array(repeating: "true", count: 1000).joined(separator: "&&")) == "taken")
        #expect(
            refusal("[" + Array(repeating: "1", count: CELLimits.nodes).joined(separator: ",") + "]").contains("nodes"))
        #expect(refusal(String(repeating: " ", count: CELLimits.textBytes) + "1").contains("bytes long"))
    }

    @Test(
        "an expression written out as text is read as the same again",
        arguments: [
            "a.b.c == 1 && !x || y ? [1, 2u, -3, 1.5] : {'a': b'\\xff'}", "(a || b) && c", "a - (b - c)",
            "-(a + b) * 2", "a in b",
            "request.headers['x'].startsWith(\"a\\\"\\n\")", "has(a.b)", "size(x) % 2 == 0", "(a ? b : c) ? d : e",
            "!(a == b)", "a.`b-c`", "--1", "- 1",
        ])
    func roundTrip(_ text: String) throws {
        let first = try CELExpression(parsing: text)
        #expect(try CELExpression(parsing: first.text) == first, "\(first.text)")
    }
}
