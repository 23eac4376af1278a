import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite struct HeaderMatcherTests {
    private func matcher(_ json: String) throws -> Upstream.HeaderMatcher {
        try Upstream.HeaderMatcher(
            compiling: try EnvoyAPI.HeaderMatcher(json: try JSON.parse(json)), FieldPath("h"))
    }

    @Test(
        "each kind of value condition, on a value that fits and one that does not",
        arguments: [
            (#"{"name":"x","string_match":{"exact":"Ab"}}"#, "Ab", "ab"),
            (#"{"name":"x","string_match":{"exact":"Ab","ignore_case":true}}"#, "aB", "abc"),
            (#"{"name":"x","string_match":{"prefix":"Ab"}}"#, "Abc", "abc"),
            (#"{"name":"x","string_match":{"prefix":"Ab","ignore_case":true}}"#, "aBc", "a"),
            (#"{"name":"x","string_match":{"suffix":"yz"}}"#, "xyz", "yzx"),
            (#"{"name":"x","string_match":{"suffix":"YZ","ignore_case":true}}"#, "xyz", "z"),
            (#"{"name":"x","string_match":{"contains":"mid"}}"#, "amidst", "mi d"),
            (#"{"name":"x","string_match":{"contains":"MID","ignore_case":true}}"#, "amidst", "MI"),
            (#"{"name":"x","string_match":{"safe_regex":{"regex":"a.c"}}}"#, "abc", "abcd"),
            (#"{"name":"x","exact_match":"v"}"#, "v", "w"),
            (#"{"name":"x","prefix_match":"v"}"#, "vw", "w"),
            (#"{"name":"x","suffix_match":"v"}"#, "wv", "w"),
            (#"{"name":"x","contains_match":"v"}"#, "wvw", "w"),
            (#"{"name":"x","safe_regex_match":{"regex":"v+"}}"#, "vvv", "vw"),
            (#"{"name":"x","range_match":{"start":"-10","end":"10"}}"#, "-10", "10"),
            (#"{"name":"x","range_match":{"start":"0","end":"10"}}"#, "+9", "nine"),
            (#"{"name":"x","range_match":{"start":"0","end":"10"}}"#, "09", "99999999999999999999"),
        ])
    func kinds(json: String, fits: String, fails: String) throws {
        let matcher = try matcher(json)
        #expect(matcher.matches(TestRequest("/", ["X": fits])))
        #expect(!matcher.matches(TestRequest("/", ["x": fails])))
        #expect(!matcher.matches(TestRequest("/")))
    }

    @Test("present and absent, each inverted")
    func present() throws {
        let with = TestRequest("/", ["x": ""])
        let without = TestRequest("/")
        for (json, present) in [
            (#"{"name":"x"}"#, true), (#"{"name":"x","present_match":true}"#, true),
            (#"{"name":"x","present_match":false}"#, false),
            (#"{"name":"x","present_match":true,"invert_match":true}"#, false),
            (#"{"name":"x","present_match":false,"invert_match":true}"#, true),
        ] {
            #expect(try matcher(json).matches(with) == present)
            #expect(try matcher(json).matches(without) == !present)
        }
    }

    @Test("H-5 a missing header is no match for an inverted value, unless it counts as empty")
    func missing() throws {
        let inverted = #"{"name":"x","string_match":{"exact":"a"},"invert_match":true}"#
        #expect(try !matcher(inverted).matches(TestRequest("/")))
        #expect(try matcher(inverted).matches(TestRequest("/", ["x": "b"])))
        #expect(try !matcher(inverted).matches(TestRequest("/", ["x": "a"])))
        let asEmpty =
            #"{"name":"x","string_match":{"exact":"a"},"invert_match":true,"treat_missing_header_as_empty":true}"#
        #expect(try matcher(asEmpty).matches(TestRequest("/")))
        let empty = #"{"name":"x","string_match":{"exact":""},"treat_missing_header_as_empty":true}"#
        #expect(try matcher(empty).matches(TestRequest("/")))
    }

    @Test("of a repeated header one value that passes is enough; inverted, none may pass")
    func repeated() throws {
        let request = TestRequest("/", ["x": "a", "y": "-", "x": "b", "x": "c"])
        #expect(try !matcher(#"{"name":"x","string_match":{"exact":"a,b,c"}}"#).matches(request))
        for value in ["a", "b", "c"] {
            let test = #"{"name":"x","string_match":{"exact":"\#(value)"}"#
            #expect(try matcher(test + "}").matches(request))
            #expect(try !matcher(test + #","invert_match":true}"#).matches(request))
        }
        #expect(try matcher(#"{"name":"x","string_match":{"exact":"d"},"invert_match":true}"#).matches(request))
        #expect(try matcher(#"{"name":"x"}"#).matches(request))
    }

    @Test(
        "pseudo headers and host are seen",
        arguments: [
            (":method", "GET"), (":path", "/p?q"), (":authority", "a.com"), ("host", "a.com"), ("Host", "a.com"),
            (":scheme", "http"),
        ])
    func pseudo(name: String, value: String) throws {
        let matcher = try matcher(#"{"name":"\#(name)","string_match":{"exact":"\#(value)"}}"#)
        #expect(matcher.matches(TestRequest("/p?q")))
        #expect(!matcher.matches(TestRequest("/other", method: "PUT", host: "b", scheme: "https")))
    }

    @Test(
        "query parameters: first value, names exact, present and absent",
        arguments: [
            (#"{"name":"a","string_match":{"exact":"1"}}"#, "a=1", true),
            (#"{"name":"a","string_match":{"exact":"1"}}"#, "b=2&a=1", true),
            (#"{"name":"a","string_match":{"exact":"1"}}"#, "a=2&a=1", false),
            (#"{"name":"a","string_match":{"exact":"1"}}"#, "A=1", false),
            (#"{"name":"a","string_match":{"exact":""}}"#, "a", true),
            (#"{"name":"a","string_match":{"exact":""}}"#, "a=", true),
            (#"{"name":"a","string_match":{"exact":"1=2"}}"#, "a=1=2", true),
            (#"{"name":"a","present_match":true}"#, "a", true), (#"{"name":"a"}"#, "ab=1", false),
            (#"{"name":"a","present_match":false}"#, "b", true), (#"{"name":"a","present_match":false}"#, "a", false),
            (#"{"name":"a","present_match":false}"#, "", true),
        ])
    func query(json: String, query: String, matches: Bool) throws {
        let matcher = try Upstream.QueryParameterMatcher(
            compiling: try EnvoyAPI.QueryParameterMatcher(json: try JSON.parse(json)), FieldPath("q"))
        let bytes = Array(query.utf8)
        #expect(matcher.matches(query: bytes.span) == matches)
    }
}
