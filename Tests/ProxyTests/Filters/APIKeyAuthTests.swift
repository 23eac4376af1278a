import EnvoyAPI
import Serialization
import Testing

@testable import Proxy

@Suite("Filters: api_key_auth")
struct APIKeyAuthTests {
    private static let type = "envoy.extensions.filters.http.api_key_auth.v3."
    private static let keys = "credentials: [ { key: k1, client: one }, { key: 'k 2', client: two } ]"
    private static let places =
        "key_sources: [ { header: X-API-Key }, { query: key }, { cookie: key } ]"

    private static func config(_ fields: String) -> (name: String, config: String) {
        ("keys", FilterScene.any(type + "ApiKeyAuth", fields))
    }

    @Test("a key is found in a header, a query parameter or a cookie, in this order; all else is 401")
    func places() async throws {
        try await FilterScene.run([Self.config("\(Self.keys), \(Self.places)")]) { scene async throws in
            for (path, fields) in [
                ("/", "x-api-key: k1\r\n"), ("/", "x-api-key: Bearer k1\r\n"), ("/?a=b&key=k%202", ""),
                ("/", "cookie: a=b; key=k1\r\n"), ("/?key=nobody", "x-api-key: k1\r\nx-api-key: other\r\n"),
                ("/?key=k1", "x-api-key:\r\n"),
            ] {
                #expect(try await scene.client.get(path, fields).status == 200, "\(path) \(fields)")
            }
            for (path, fields) in [
                ("/", ""), ("/", "x-api-key: bearer k1\r\n"), ("/?key=k1", "x-api-key: nobody\r\n"), ("/?Key=k1", ""),
                ("/", "x-api-key: \r\n"),
            ] {
                let refused = try await scene.client.get(path, fields)
                #expect(refused.status == 401 && refused.body == "Client authentication failed.", "\(path) \(fields)")
            }
            #expect(try await scene.stat("http.ingress.api_key_auth.allowed") == 6)
            #expect(try await scene.stat("http.ingress.api_key_auth.unauthorized") == 5)
        }
    }

    @Test("the upstream gets the client's name, and no key where keys are hidden; the rest stays as it was sent")
    func forwarding() async throws {
        let forwarding = "forwarding: { header: X-Client, hide_credentials: true }"
        try await FilterScene.run([Self.config("\(Self.keys), \(Self.places), \(forwarding)")]) { scene async throws in
            let answer = try await scene.client.get(
                "/p?z=%41&key=k1&b=2", "x-client: root\r\ncookie: a=b; key=k1; c=d\r\nx-api-key: k1\r\n")
            #expect(answer.status == 200)
            #expect(answer.body.contains("GET /p?z=%41&b=2 HTTP/1.1"))
            #expect(answer.body.contains("x-client: one") && !answer.body.contains("root"))
            #expect(answer.body.contains("cookie: a=b; c=d\r\n"))
            #expect(!answer.body.contains("k1"))
            let alone = try await scene.client.get("/p?key=k1", "cookie: key=k1\r\n")
            #expect(alone.body.contains("GET /p HTTP/1.1") && !alone.body.contains("cookie"))
        }
    }

    @Test("a route has keys, places and forwarding of its own, and clients that may pass")
    func perRoute() async throws {
        func routes(_ fields: String) -> String {
            FilterScene.routes("keys", FilterScene.any(Self.type + "ApiKeyAuthPerRoute", fields))
        }
        let own = routes("credentials: [ { key: r, client: route } ], key_sources: [ { header: x-r } ]")
        let base = Self.config("\(Self.keys), \(Self.places), forwarding: { header: x-client, hide_credentials: true }")
        try await FilterScene.run([base], routes: own) { scene async throws in
            let good = try await scene.client.get("/", "x-r: r\r\n")
            // What the filter forwards does not count where a route says something.
            #expect(good.status == 200 && good.body.contains("x-r: r") && !good.body.contains("x-client"))
            #expect(try await scene.client.get("/", "x-api-key: k1\r\n").status == 401)
        }
        let some = routes("allowed_clients: [ two ], forwarding: { header: x-who }")
        try await FilterScene.run([Self.config("\(Self.keys), \(Self.places)")], routes: some) { scene async throws in
            #expect(try await scene.client.get("/?key=k+2").status == 401)
            let good = try await scene.client.get("/?key=k%202")
            #expect(good.status == 200 && good.body.contains("x-who: two"))
            let refused = try await scene.client.get("/?key=k1")
            #expect(refused.status == 403 && refused.body == "Client is forbidden.")
            #expect(try await scene.stat("http.ingress.api_key_auth.forbidden") == 1)
        }
        for fields in [Self.keys, Self.places] {
            try await FilterScene.run([Self.config(fields)]) { scene async throws in
                #expect(try await scene.client.get("/", "x-api-key: k1\r\n").status == 401)
            }
        }
    }

    @Test(
        "what is no key, client or place is refused by its place, and nothing of a key is said",
        arguments: [
            ("credentials: [ { key: hush, client: a }, { key: hush, client: b } ]", "credentials[1].key"),
            ("credentials: [ { client: a } ]", "credentials[0].key"),
            ("credentials: [ { key: hush } ]", "credentials[0].client"),
            ("key_sources: [ {} ]", "key_sources[0]: One of"),
            ("key_sources: [ { header: 'a b' } ]", "key_sources[0].header"),
            ("forwarding: { header: 'a b' }", "forwarding.header"),
        ])
    func refused(_ fields: String, _ place: String) async throws {
        await #expect {
            try await FilterScene.run([Self.config(fields)]) { _ in }
        } throws: {
            "\($0)".contains(place) && !"\($0)".contains("hush")
        }
    }

    @Test("the configuration that is shown has no key in it")
    func redacted() throws {
        var message = ApiKeyAuth()
        var credential = ApiKeyCredential()
        credential.key = "hush"
        credential.client = "one"
        message.credentials = [credential]
        let shown = Redaction.redacted(message.json).text
        #expect(!shown.contains("hush") && shown.contains("[redacted]"))
    }
}
