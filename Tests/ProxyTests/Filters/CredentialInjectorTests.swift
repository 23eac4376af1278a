import IO
import Testing

@testable import Proxy

@Suite("Filters: credential_injector")
struct CredentialInjectorTests {
    private static let type = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"
    private static let generic = "envoy.extensions.http.injected_credentials.generic.v3.Generic"

    private static func config(_ generic: String, _ more: String = "") -> (name: String, config: String) {
        let credential = FilterScene.any(Self.generic, generic)
        return ("inject", FilterScene.any(type, "credential: { name: c, typed_config: \(credential) }\(more)"))
    }

    private static func run(
        _ filter: (name: String, config: String), _ body: @escaping @Sendable (FilterScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([filter]), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]), admin: true)
                    + "  secrets:\n  - { name: s, generic_secret: { secret: { inline_string: \"hush\\n\" } } }\n"
                    + "  - { name: empty, generic_secret: { secret: { inline_string: '' } } }\n")
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(FilterScene(client: client, proxy: proxy, loop: loop, upstream: upstream))
        }
    }

    @Test("a request gets the secret without its line break, behind the prefix; what it has stays, or is overwritten")
    func injects() async throws {
        try await Self.run(Self.config("credential: { name: s }, header_value_prefix: 'Bearer '")) {
            scene async throws in
            #expect(try await scene.client.get("/").body.contains("authorization: Bearer hush\r\n"))
            let own = try await scene.client.get("/", "Authorization: mine\r\n")
            #expect(own.body.contains("uthorization: mine\r\n") && !own.body.contains("hush"))
            #expect(try await scene.stat("http.ingress.credential_injector.injected") == 1)
            #expect(try await scene.stat("http.ingress.credential_injector.already_exists") == 1)
        }
        try await Self.run(Self.config("credential: { name: s }, header: X-Secret", ", overwrite: true")) {
            scene async throws in
            let answer = try await scene.client.get("/", "X-Secret: mine\r\nX-Secret: two\r\n")
            #expect(answer.body.contains("x-secret: hush\r\n"))
            #expect(!answer.body.contains("mine") && !answer.body.contains("two"))
        }
    }

    @Test("without a secret requests are 401, unless they may pass without")
    func fails() async throws {
        try await Self.run(Self.config("credential: { name: empty }")) { scene async throws in
            let refused = try await scene.client.get("/")
            #expect(refused.status == 401 && refused.body == "Failed to inject credential.")
            #expect(try await scene.stat("http.ingress.credential_injector.failed") == 1)
        }
        let missing = "credential: { name: f, sds_config: { path_config_source: { path: /nowhere/to/be/found.yaml } } }"
        try await Self.run(Self.config(missing, ", allow_request_without_credential: true")) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("http.ingress.credential_injector.failed") == 1)
        }
    }

    @Test("a file's new secret is used once it is there")
    func rotation() async throws {
        let directory = "/tmp/skein-credential-\(UInt64.random(in: 0 ... .max))"
        try File.makeDirectory(directory)
        defer { try? File.removeTree(directory) }
        @Sendable func write(_ secret: String) throws {
            let text = """
                resources:
                - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
                  name: f
                  generic_secret: { secret: { inline_string: \(secret) } }
                """
            try File.write("\(directory)/.new", Array(text.utf8))
            try File.rename("\(directory)/.new", "\(directory)/secret.yaml")
        }
        try write("first")
        let config = Self.config(
            "credential: { name: f, sds_config: { path_config_source: { path: \(directory)/secret.yaml } } }")
        try await Self.run(config) { scene async throws in
            #expect(try await scene.client.get("/").body.contains("authorization: first\r\n"))
            try write("the-second")
            var isThere = false
            for _ in 0..<300 where !isThere {
                isThere = try await scene.client.get("/").body.contains("authorization: the-second\r\n")
                if !isThere { await scene.loop.sleep(for: .milliseconds(100)) }
            }
            #expect(isThere)
        }
    }

    @Test(
        "what names no secret, or another kind of credential, is refused with its place",
        arguments: [
            ("credential: { name: nobody }", "credential.typed_config.credential.name"),
            ("header: x", "credential.typed_config.credential: is missing"),
            ("credential: { name: s }, header: 'a b'", "credential.typed_config.header"),
        ])
    func refused(_ fields: String, _ place: String) async throws {
        await #expect {
            try await Self.run(Self.config(fields)) { _ in }
        } throws: {
            "\($0)".contains(place) && !"\($0)".contains("hush")
        }
    }

    @Test("client credentials of OAuth2 are refused with their place")
    func oauth() async throws {
        let credential = FilterScene.any("envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2")
        await #expect {
            let config = FilterScene.any(Self.type, "credential: { name: c, typed_config: \(credential) }")
            try await Self.run(("inject", config)) { _ in }
        } throws: {
            "\($0)".contains("credential.typed_config") && "\($0)".contains("not supported")
        }
    }
}
