import CEL
import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

@Suite("CEL in the proxy")
struct CELTests {
    private func shown(_ text: String, _ context: FakeContext) throws -> String {
        switch context.value(of: try CELCondition(text: text, at: "e"), now: context.info.started) {
        case .success(let value): value.shown
        case .failure(let error): "error: \(error)"
        }
    }

    private var context: FakeContext {
        var context = FakeContext()
        context.set("x-a", "one")
        context.info.metadata = ["n": ["k": "v", "list": [1]]]
        context.info.filterState = ["s": "t"]
        context.info.routeName = "r"
        context.info.virtualHost = "v"
        return context
    }

    @Test(
        "attributes of a request are those that Envoy names",
        arguments: [
            ("request.method", "\"GET\""), ("request.path", "\"/a/b?x=b%20c&z=1\""), ("request.url_path", "\"/a/b\""),
            ("request.query", "\"x=b%20c&z=1\""), ("request.host", "\"example.org\""),
            ("request.protocol", "\"HTTP/1.1\""),
            ("request.headers['x-a']", "\"one\""), ("request.size", "7"), ("request.total_size", "216"),
            ("request.duration", "0.005s"),
            ("request.time.getFullYear()", "2026"), ("response.code", "200"), ("response.size", "3"),
            ("response.flags", "0"),
            ("response.code_details", "\"via_upstream\""), ("source.address", "\"10.0.0.1:1234\""),
            ("source.port", "1234"),
            ("destination.port", "80"), ("connection.mtls", "false"), ("connection.id", "42u"),
            ("upstream.address", "\"127.0.0.1:19910\""),
            ("upstream.port", "19910"), ("xds.cluster_name", "\"backend\""), ("xds.route_name", "\"r\""),
            ("xds.virtual_host_name", "\"v\""),
            ("metadata.filter_metadata['n'].k", "\"v\""), ("metadata.filter_metadata.n.list[0]", "1.0"),
            ("filter_state['s'] == b't'", "true"),
            ("request.referer", "error: there is no request.referer"),
            ("response.backend_latency", "error: there is no response.backend_latency"),
            ("connection.tls_version", "error: there is no connection.tls_version"),
            ("upstream_filter_state['s']", "error: there is no upstream_filter_state['s']"),
            ("request.headers['x-a'].matches('^o(n|N)e$')", "true"),
        ])
    func attributes(_ text: String, _ wanted: String) throws { #expect(try shown(text, context) == wanted) }

    private func rule(_ expression: String) throws -> AccessLogFilterRule {
        var filter = ExpressionFilter()
        filter.expression = expression
        var message = ExtensionFilter()
        message.name = "cel"
        message.configType = .typedConfig(AnyMessage(packing: filter))
        var whole = AccessLogFilter()
        whole.filterSpecifier = .extensionFilter(message)
        return try AccessLogFilterRule(compiling: whole, at: "filter")
    }

    @Test("a line is written where its expression is true; an error or another value is not")
    func logFilter() throws {
        func passes(_ expression: String) throws -> Bool {
            try rule(expression).passes(context, FormatMoment(now: context.info.started)) { 0 }
        }
        #expect(try passes("response.code == 200 && 'x-a' in request.headers"))
        #expect(try !passes("response.code != 200"))
        #expect(try !passes("response.code"))
        #expect(try !passes("request.nothing == 1"))
        let refusal = #expect(throws: ConfigurationError.self) { try rule("response.code ==") }
        #expect(refusal?.path == "filter.extension_filter.typed_config.expression")
    }

    @Test("formats print values; parentheses and percent signs of an expression are its own")
    func formats() throws {
        func text(_ format: String) throws -> String {
            var bytes: [UInt8] = []
            try SubstitutionFormat(text: format, path: "f")
                .append(context, FormatMoment(now: context.info.started), to: &bytes)
            return String(decoding: bytes, as: UTF8.self)
        }
        #expect(try text("%CEL(request.method)% %CEL(request.headers['x-a'].startsWith('o'))%!") == "GET true!")
        #expect(try text("%CEL(response.code % 7)%,%CEL(request.path):4%,%CEL(request.referer)%") == "4,/a/b,-")
        #expect(throws: ConfigurationError.self) { try text("%CEL(1 +)%") }
        #expect(throws: ConfigurationError.self) { try text("%CEL%") }
        var bytes: [UInt8] = []
        try SubstitutionFormat(
            json: ["a": "%CEL(response.code)%", "b": "%TYPED_CEL(response.code)%", "c": "%TYPED_CEL(request.x)%"],
            path: "f"
        )
        .append(context, FormatMoment(now: context.info.started), to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == #"{"a":"200","b":200,"c":null}"#)
    }

    private struct View: RBACView {
        var connection: ConnectionInfo
        let context: FakeContext

        init(_ context: FakeContext) {
            connection = context.connectionInfo
            self.context = context
        }

        func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError> {
            context.value(of: condition, now: context.info.started)
        }
    }

    private func engine(_ action: String, condition: String) throws -> RBACEngine {
        try RBACEngine(
            compiling: RBAC(
                json: try JSON.parse(
                    #"{"action":"\#(action)","policies":{"p":{"permissions":[{"any":true}],"principals":[{"any":true}],\#(condition)}}}"#
                )),
            at: "rules")
    }

    @Test("a policy's condition must be true besides, parsed or checked; the connection alone has no request")
    func policies() throws {
        let path =
            #"{"call_expr":{"target":{"select_expr":{"operand":{"ident_expr":{"name":"request"}},"field":"path"}},"function":"startsWith","args":[{"const_expr":{"string_value":"/a"}}]}}"#
        for condition in [#""condition":\#(path)"#, #""checked_condition":{"expr":\#(path)}"#] {
            #expect(try engine("ALLOW", condition: condition).decide(View(context)).isAllowed)
            #expect(try !engine("DENY", condition: condition).decide(View(context)).isAllowed)
            let connection = ConnectionRBACView(connection: context.connectionInfo)
            #expect(try !engine("ALLOW", condition: condition).decide(connection).isAllowed)
            let trial = try #require(try engine("ALLOW", condition: condition).trials(connection).first)
            #expect(trial.text.contains("does not match: its condition request.path.startsWith(\"/a\") has no value"))
        }
        #expect(throws: ConfigurationError.self) {
            try engine("ALLOW", condition: #""condition":\#(path),"checked_condition":{"expr":\#(path)}"#)
        }
        #expect(throws: ConfigurationError.self) {
            try engine("ALLOW", condition: #""condition":{"call_expr":{"function":"nothing"}}"#)
        }
    }

    @Test("an explanation tells what an expression came to and what it looked at")
    func explanation() throws {
        let condition = try CELCondition(text: "request.method == 'POST' || request.headers['x-b'] == '1'", at: "e")
        #expect(
            condition.explain(RequestAttributes(context: context, now: context.info.started))
                == "request.method == \"POST\" || request.headers[\"x-b\"] == \"1\" has no value, which is false: there is no request.headers['x-b'] "
                + "(request.method = \"GET\", request.headers['x-b'] is not there)")
    }
}
