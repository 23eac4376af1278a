import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite("Outlier detection: what counts as a failure")
struct ErrorMatcherTests {
    private func matcher(_ json: String) throws -> ErrorMatcher? {
        let options =
            #""typed_extension_protocol_options":{"o":{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","explicit_http_config":{},"outlier_detection":{"error_matcher":\#(json)}}}"#
        let cluster = try Cluster(json: try JSON.parse(#"{"name":"c",\#(options)}"#))
        return try ClusterConfig(compiling: cluster).errorMatcher
    }

    @Test("the status, fields, and what is made of them")
    func matches() throws {
        let status =
            #"{"http_response_headers_match":{"headers":[{"name":":status","range_match":{"start":400,"end":500}}]}}"#
        let field = #"{"http_response_headers_match":{"headers":[{"name":"x-sick","string_match":{"exact":"yes"}}]}}"#
        let sick = TestResponse(["x-sick": "yes"])
        let well = TestResponse([:])
        let byStatus = try #require(try matcher(status))
        #expect(byStatus.matches(well, status: 404) && !byStatus.matches(well, status: 500))
        let byField = try #require(try matcher(field))
        #expect(byField.matches(sick, status: 200) && !byField.matches(well, status: 200))
        let either = try #require(try matcher(#"{"or_match":{"rules":[\#(status),\#(field)]}}"#))
        #expect(either.matches(sick, status: 200) && either.matches(well, status: 404))
        #expect(!either.matches(well, status: 200))
        let both = try #require(try matcher(#"{"and_match":{"rules":[\#(status),\#(field)]}}"#))
        #expect(both.matches(sick, status: 404) && !both.matches(sick, status: 200))
        let not = try #require(try matcher(#"{"not_match":\#(status)}"#))
        #expect(not.matches(well, status: 200) && !not.matches(well, status: 404))
        #expect(try #require(try matcher(#"{"any_match":true}"#)).matches(well, status: 200))
    }

    @Test("a rule that no response head can decide is refused, with its place")
    func refused() {
        for (json, words) in [
            (#"{"http_request_headers_match":{}}"#, "error_matcher: not supported yet (a failure is known"),
            (#"{"not_match":{}}"#, "error_matcher.not_match: a rule is needed"),
            (#"{"or_match":{"rules":[{"any_match":true}]}}"#, "error_matcher.or_match.rules: at least two"),
        ] {
            #expect {
                try matcher(json)
            } throws: {
                "\($0)".contains(words)
            }
        }
    }
}
