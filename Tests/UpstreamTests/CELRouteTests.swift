import CEL
import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite("CEL in routes")
struct CELRouteTests {
    /// Facts whose expressions know the method alone.
    private struct Facts: RouteFacts, CELActivation {
        var method: String
        var clientCertificate: (isPresented: Bool, isValidated: Bool)? { nil }
        var isInternal: Bool { false }
        func metadata(_ namespace: String) -> JSON? { nil }
        func filterState(_ key: String) -> String? { nil }
        func runtimeValue(_ key: String) -> JSON? { nil }
        func connectionFact(_ fact: ConnectionFact) -> String? { nil }
        func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError> { condition.evaluate(self) }
        func value(_ attribute: CELAttribute) -> CELValue? { attribute == .requestMethod ? .string(method) : nil }
        func header(_ name: String, _ part: CELHeaders) -> String? { nil }
        func headerCount(_ part: CELHeaders) -> Int { 0 }
        func metadata(_ source: CELMetadata, _ namespace: String) -> CELValue? { nil }
        func hasMetadata(_ source: CELMetadata) -> Bool { source == .dynamic }
        func filterState(_ key: String, isUpstream: Bool) -> [UInt8]? { nil }
        func gaveUp() {}
    }

    private func predicate(_ expression: String, input: String = "HttpAttributesCelMatchInput") throws
        -> Upstream.MatchPredicate
    {
        let json = try JSON.parse(
            #"{"single_predicate":{"input":{"name":"i","typed_config":{"@type":"type.googleapis.com/xds.type.matcher.v3.\#(input)"}},"#
                + #""custom_match":{"name":"m","typed_config":{"@type":"type.googleapis.com/xds.type.matcher.v3.CelMatcher","expr_match":\#(expression)}}}}"#
        )
        return try Upstream.MatchPredicate(
            compiling: EnvoyAPI.Matcher.MatcherList.Predicate(json: json), FieldPath("predicate"), depth: 0)
    }

    @Test("a matcher tree takes a CEL expression, written or parsed, and what has no value is no match")
    func matcher() throws {
        let parsed =
            #"{"expr":{"call_expr":{"function":"_==_","args":[{"select_expr":{"operand":{"ident_expr":{"name":"request"}},"field":"method"}},{"const_expr":{"string_value":"GET"}}]}}}"#
        for expression in [
            #"{"cel_expr_string":"request.method == 'GET'"}"#, #"{"cel_expr_parsed":\#(parsed)}"#,
            #"{"cel_expr_checked":\#(parsed)}"#,
            #"{"parsed_expr":\#(parsed)}"#, #"{"checked_expr":\#(parsed)}"#,
        ] {
            let predicate = try predicate(expression)
            #expect(predicate.matches(TestRequest(), Facts(method: "GET")))
            #expect(!predicate.matches(TestRequest(), Facts(method: "POST")))
            #expect(!predicate.matches(TestRequest(), NoFacts()))
        }
        #expect(throws: ConfigurationError.self) { try predicate("{}") }
        #expect(throws: ConfigurationError.self) { try predicate(#"{"cel_expr_string":"nothing()"}"#) }
        #expect(throws: ConfigurationError.self) { try predicate(#"{"cel_expr_string":"true"}"#, input: "CelMatcher") }
    }

    @Test(
        "a descriptor of a rate limit is the value of an expression; an error keeps the request from being counted, or is left out"
    )
    func descriptor() throws {
        func descriptor(_ fields: String, _ facts: Facts = Facts(method: "GET")) throws -> Upstream.RateLimitDescriptor?
        {
            let json = try JSON.parse(
                #"[{"actions":[{"generic_key":{"descriptor_value":"v"}},{"extension":{"name":"e","typed_config":{"@type":"#
                    + #""type.googleapis.com/envoy.extensions.rate_limit_descriptors.expr.v3.Descriptor","descriptor_key":"k",\#(fields)}}}]}]"#
            )
            var rules: [EnvoyAPI.RateLimit] = []
            for element in json.array ?? [] { rules.append(try EnvoyAPI.RateLimit(json: element)) }
            return try RateLimitRule.list(rules, at: "r").first?.descriptor(
                for: TestRequest(), facts: facts, context: .init())
        }
        #expect(try descriptor(#""text":"request.method + '!'""#)?.entries.last == .init(key: "k", value: "GET!"))
        #expect(try descriptor(#""text":"request.path""#) == nil)
        #expect(try descriptor(#""text":"request.path","skip_if_error":true"#)?.entries.count == 1)
        #expect(throws: ConfigurationError.self) { try descriptor(#""text":"1 +""#) }
    }
}
