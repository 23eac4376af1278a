import EnvoyAPI
import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

@Suite("Role-based access control")
struct RBACTests {
    private struct View: RBACView {
        var connection = ConnectionInfo(
            localAddress: .ip(.v4(0x0A00_0001), port: 8080), remoteAddress: .ip(.v4(0x0A00_0002), port: 5),
            directRemoteAddress: .ip(.v4(0x7F00_0001), port: 5), id: 1)
        var headers: [String: [String]] = [:]
        var path: String?

        func headerValues(_ name: HeaderName) -> [[UInt8]] { (headers[name.description] ?? []).map { Array($0.utf8) } }
    }

    private func engine(_ json: String) throws -> RBACEngine {
        try RBACEngine(compiling: RBAC(json: try JSON.parse(json)), at: "rules")
    }

    private func policy(_ action: String, permission: String = #"{"any":true}"#, principal: String = #"{"any":true}"#)
        throws -> RBACEngine
    {
        try engine(
            #"{"action":"\#(action)","policies":{"p":{"permissions":[\#(permission)],"principals":[\#(principal)]}}}"#)
    }

    @Test("ALLOW needs a match, DENY must not have one, LOG never decides")
    func actions() throws {
        let port = #"{"destination_port":8080}"#
        let other = #"{"destination_port":81}"#
        #expect(try policy("ALLOW", permission: port).decide(View()) == .init(isAllowed: true, policy: "p"))
        #expect(try policy("ALLOW", permission: other).decide(View()) == .init(isAllowed: false))
        #expect(try policy("DENY", permission: port).decide(View()) == .init(isAllowed: false, policy: "p"))
        #expect(try policy("DENY", permission: other).decide(View()).isAllowed)
        #expect(
            try policy("LOG", permission: port).decide(View())
                == .init(isAllowed: true, policy: "p", logHint: true))
        #expect(
            try engine(#"{"action":"ALLOW"}"#).decide(View()).deniedDetails == "rbac_access_denied_matched_policy[none]"
        )
    }

    @Test("addresses: the connection's, the socket's and the client's")
    func addresses() throws {
        func allows(_ principal: String) throws -> Bool {
            try policy("ALLOW", principal: principal).decide(View()).isAllowed
        }
        #expect(try allows(#"{"source_ip":{"address_prefix":"10.0.0.0","prefix_len":8}}"#))
        #expect(try allows(#"{"direct_remote_ip":{"address_prefix":"127.0.0.0","prefix_len":8}}"#))
        #expect(try !allows(#"{"direct_remote_ip":{"address_prefix":"10.0.0.0","prefix_len":8}}"#))
        #expect(try allows(#"{"not_id":{"remote_ip":{"address_prefix":"fd00::","prefix_len":8}}}"#))
        #expect(
            try policy("ALLOW", permission: #"{"destination_port_range":{"start":8080,"end":8081}}"#)
                .decide(View()).isAllowed)
    }

    @Test("A-9 a client without a certificate is nobody")
    func nobody() throws {
        #expect(try !policy("ALLOW", principal: #"{"authenticated":{}}"#).decide(View()).isAllowed)
        #expect(try policy("ALLOW", principal: #"{"not_id":{"authenticated":{}}}"#).decide(View()).isAllowed)
    }

    @Test("A-4 headers and paths do not match where there is no request")
    func noRequest() throws {
        let header = #"{"header":{"name":":method","string_match":{"exact":"GET"}}}"#
        #expect(try policy("DENY", permission: header).decide(View()).isAllowed)
        #expect(try !policy("ALLOW", permission: #"{"url_path":{"path":{"prefix":"/"}}}"#).decide(View()).isAllowed)
    }

    @Test("ATK-24 of several values any denies, and all must allow, in whatever order")
    func values() throws {
        let header = #"{"header":{"name":"x-role","string_match":{"exact":"admin"}}}"#
        for values in [["admin", "user"], ["user", "admin"], ["user", "admin", "user"]] {
            let view = View(headers: ["x-role": values])
            #expect(try !policy("ALLOW", permission: header).decide(view).isAllowed)
            #expect(try !policy("DENY", permission: header).decide(view).isAllowed)
            #expect(try !policy("ALLOW", permission: #"{"not_rule":\#(header)}"#).decide(view).isAllowed)
            #expect(try !policy("DENY", permission: #"{"not_rule":\#(header)}"#).decide(view).isAllowed)
        }
        #expect(
            try policy("ALLOW", permission: header).decide(View(headers: ["x-role": ["admin", "admin"]])).isAllowed)
        #expect(try policy("DENY", permission: header).decide(View(headers: ["x-role": ["user"]])).isAllowed)
    }

    @Test("A-5 path templates: one segment, and any")
    func templates() throws {
        func allows(_ template: String, _ path: String) throws -> Bool {
            let rule = """
                {"uri_template":{"name":"t","typed_config":{"@type":\
                "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",\
                "path_template":"\(template)"}}}
                """
            return try policy("ALLOW", permission: rule).decide(View(path: path)).isAllowed
        }
        #expect(try allows("/users/{*}/books", "/users/jo/books"))
        #expect(try !allows("/users/{*}/books", "/users/jo/x/books"))
        #expect(try allows("/static/{**}", "/static/a/b.js"))
        #expect(try allows("/static/*.js", "/static/b.js"))
        #expect(try !allows("/st.tic/{*}", "/static/a"))
    }

    @Test("dynamic metadata, with lists")
    func metadata() throws {
        var view = View()
        view.connection.facts.metadata = ["jwt": ["groups": ["dev", "ops"], "iss": "me"]]
        func allows(_ value: String, _ key: String) throws -> Bool {
            try policy(
                "ALLOW",
                principal: #"{"metadata":{"filter":"jwt","path":[{"key":"\#(key)"}],"value":\#(value)}}"#
            ).decide(view).isAllowed
        }
        #expect(try allows(#"{"list_match":{"one_of":{"string_match":{"exact":"ops"}}}}"#, "groups"))
        #expect(try allows(#"{"string_match":{"prefix":"m"}}"#, "iss"))
        #expect(try !allows(#"{"present_match":true}"#, "aud"))
    }

    @Test("what is not evaluated is refused: conditions, audit loggers")
    func refused() {
        #expect(throws: ConfigurationError.self) {
            try engine(
                #"{"policies":{"p":{"permissions":[{"any":true}],"principals":[{"any":true}],"condition":{"id":1}}}}"#)
        }
        #expect(throws: ConfigurationError.self) { try policy("ALLOW", permission: "{}") }
    }
}
