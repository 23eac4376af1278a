import Testing

@testable import Proxy

@Suite("Filters: basic_auth")
struct BasicAuthTests {
    private static let type = "envoy.extensions.filters.http.basic_auth.v3."
    // Passwords: "secret" and "other".
    private static let alice = "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
    private static let bob = "bob:{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI="

    private static func config(_ users: String, _ more: String = "") -> (name: String, config: String) {
        ("basic", FilterScene.any(type + "BasicAuth", "users: { inline_string: \"\(users)\" }" + more))
    }

    @Test("a user with the password passes, and the upstream gets the name; all else is 401 with a challenge")
    func checks() async throws {
        try await FilterScene.run([Self.config(Self.alice + "\\n", ", forward_username_header: X-User")]) {
            scene async throws in
            // alice:secret
            let good = try await scene.client.get("/", "Authorization: Basic YWxpY2U6c2VjcmV0\r\nX-User: root\r\n")
            #expect(good.status == 200)
            #expect(good.body.contains("x-user: alice") && !good.body.contains("root"))
            for (fields, text) in [
                ("", "Missing username and password"), ("Authorization: Bearer x\r\n", "Expected 'Basic'"),
                ("Authorization: Basic YWxpY2U=\r\n", "Invalid basic credential format"),
                ("Authorization: Basic ***\r\n", "Invalid basic credential format"),
                // alice:wrong, and bob:other, who is none here.
                ("Authorization: Basic YWxpY2U6d3Jvbmc=\r\n", "Invalid username/password"),
                ("Authorization: Basic Ym9iOm90aGVy\r\n", "Invalid username/password"),
            ] {
                let refused = try await scene.client.get("/p?q", fields)
                #expect(refused.status == 401 && refused.body.contains(text), "\(fields)")
                #expect(refused.field("www-authenticate") == "Basic realm=\"http://test/p?q\"")
            }
            #expect(try await scene.stat("http.ingress.basic_auth.allowed") == 1)
            #expect(try await scene.stat("http.ingress.basic_auth.denied") == 6)
        }
    }

    @Test("a route has users of its own; credentials may stand in another field")
    func perRoute() async throws {
        let own = FilterScene.any(Self.type + "BasicAuthPerRoute", "users: { inline_string: \"\(Self.bob)\" }")
        try await FilterScene.run(
            [Self.config(Self.alice, ", authentication_header: x-login")], routes: FilterScene.routes("basic", own)
        ) { scene async throws in
            #expect(try await scene.client.get("/", "x-login: basic Ym9iOm90aGVy\r\n").status == 200)
            #expect(try await scene.client.get("/", "x-login: Basic YWxpY2U6c2VjcmV0\r\n").status == 401)
            #expect(try await scene.client.get("/", "Authorization: Basic Ym9iOm90aGVy\r\n").status == 401)
        }
    }

    @Test(
        "lines that are not those of htpasswd -s are refused by their number, and nothing of them is said",
        arguments: ["alice", ":{SHA}x", "alice:$apr1$x", "alice:{SHA}short", "NAME\\nNAME"])
    func refused(_ line: String) async throws {
        await #expect {
            try await FilterScene.run([Self.config(line.replacing("NAME", with: Self.alice))]) { _ in }
        } throws: {
            "\($0)".contains("users (entry ") && !"\($0)".contains("5en6G6MezRroT3XKqkdPOmY")
                && !"\($0)".contains("apr1")
        }
    }
}
