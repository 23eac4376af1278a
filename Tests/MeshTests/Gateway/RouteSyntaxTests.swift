import Mesh
import Testing

@Suite("Values of routes that no proxy takes")
struct RouteSyntaxTests {
    private func accepted(_ rule: String, hosts: String = "") throws -> Bool {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.http("good", hosts: "good.example", "{backendRefs: [{name: web, port: 80}]}"),
            GatewayYAML.http("r", hosts: hosts, "{\(rule)backendRefs: [{name: web, port: 80}]}"))
        #expect(try world.gatewaySnapshot().virtualHost("http.80", "good.example").outline.count == 1)
        return try world.route("r").first == "Accepted=True:Accepted"
    }

    @Test(
        "an expression that RE2 does not know refuses its own route and no other",
        arguments: ["(", "a)", "[a", "*a", "a**", "(?=a)", "(?<!a)", "(a)\\\\1", "a{2,1}", "[z-a]", "\\\\y", "a\\\\"])
    func badExpressions(text: String) throws {
        #expect(try !accepted("matches: [{path: {type: RegularExpression, value: \"\(text)\"}}], "))
        #expect(
            try !accepted("matches: [{headers: [{type: RegularExpression, name: x, value: \"\(text)\"}]}], "))
    }

    @Test(
        "what RE2 knows is taken",
        arguments: [
            "/a.*", "(?i)a|b", "(?P<x>a)+?", "[^]a-z0-9-]{2,}", "[[:alpha:]_]*", "\\\\d+\\\\.\\\\w{1,3}$",
            "^(?:a|b)?/x{y}", "",
        ])
    func goodExpressions(text: String) throws {
        #expect(try accepted("matches: [{path: {type: RegularExpression, value: \"\(text)\"}}], "))
    }

    @Test("paths, header names and hosts that mean nothing refuse the route")
    func values() throws {
        #expect(try !accepted("matches: [{path: {value: a}}], "))
        #expect(try !accepted("matches: [{path: {type: Exact, value: '/a?b'}}], "))
        #expect(try !accepted("matches: [{headers: [{name: 'x y', value: a}]}], "))
        #expect(
            try !accepted("filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: ['a b']}}], "))
        #expect(try !accepted("", hosts: "'a.*.example'"))
        #expect(try !accepted("", hosts: "'a_b..example'"))
        #expect(try accepted("", hosts: "'*.a-b.example'"))
    }
}
