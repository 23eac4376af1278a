import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import TLS
import Testing

@testable import Proxy

@Suite("Filters: oauth2")
struct OAuth2Tests {
    private static let secret = Array("hmac".utf8)

    @Test("tokens are known again, and nothing else is taken for one")
    func tokens() throws {
        let token = OAuth2Tokens.csrfToken(nonce: "00ff", secret: Self.secret)
        #expect(token.hasPrefix("00ff."))
        #expect(OAuth2Tokens.isOurs(token, secret: Self.secret))
        for wrong in [token + "x", "00fe" + token.dropFirst(4), "00ff.", "00ff", "", String(token.dropLast())] {
            #expect(!OAuth2Tokens.isOurs(wrong, secret: Self.secret), "\(wrong)")
        }
        #expect(!OAuth2Tokens.isOurs(token, secret: Array("other".utf8)))
        let sealed = try #require(OAuth2Tokens.encrypt("verifier", secret: Self.secret))
        #expect(sealed.hasPrefix("gcm.") && !sealed.contains("verifier"))
        #expect(OAuth2Tokens.decrypt(sealed, secret: Self.secret) == "verifier")
        #expect(OAuth2Tokens.decrypt(sealed, secret: Array("other".utf8)) == nil)
        #expect(OAuth2Tokens.decrypt(String(sealed.dropLast(4)), secret: Self.secret) == nil)
        #expect(OAuth2Tokens.decrypt("plain", secret: Self.secret) == nil)
        // RFC 7636, appendix B.
        #expect(
            OAuth2Tokens.challenge(of: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
                == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
        let claims = Base64.encodeURL(#"{"exp":1234}"#.utf8)
        #expect(OAuth2Tokens.expiry(of: "e30.\(claims).x") == 1234)
        #expect(OAuth2Tokens.expiry(of: "opaque") == nil && OAuth2Tokens.expiry(of: "a.b.c") == nil)
        #expect(OAuth2Tokens.escape("a b/é~") == "a%20b%2F%C3%A9~")
    }

    @Test("what Envoy encrypts by default is read and written where it is wanted, and by no other way taken for sealed")
    func legacy() throws {
        // As Envoy seals "verifier" with the secret "hmac": SHA-256 of it is the key, the vector stands in front.
        let sealed = try #require(OAuth2Tokens.encrypt("verifier", secret: Self.secret, isLegacy: true))
        #expect(!sealed.contains(".") && Base64.decode(sealed)?.count == 32)
        #expect(OAuth2Tokens.decryptLegacy(sealed, secret: Self.secret) == "verifier")
        #expect(
            OAuth2Tokens.decryptLegacy("AAECAwQFBgcICQoLDA0OD4BOeMGf9IaeyIKHqLNVAtE", secret: Self.secret) == "verifier"
        )
        #expect(OAuth2Tokens.decrypt(sealed, secret: Self.secret) == nil)
        for wrong in ["", "AAAA", String(sealed.dropLast(4)), "gcm." + sealed] {
            #expect(OAuth2Tokens.decryptLegacy(wrong, secret: Self.secret) == nil, "\(wrong)")
        }
        let ours = OAuth2Settings.Ciphers(isEnvoys: false)
        #expect(ours.encrypt("a", secret: Self.secret)?.hasPrefix("gcm.") == true)
        #expect(ours.decrypt(sealed, secret: Self.secret) == nil)
        let envoys = OAuth2Settings.Ciphers(isEnvoys: true)
        #expect(envoys.encrypt("a", secret: Self.secret)?.hasPrefix("gcm.") == false)
        #expect(envoys.decrypt(sealed, secret: Self.secret)?.isLegacy == true)
        let modern = try #require(ours.encrypt("a", secret: Self.secret))
        #expect(envoys.decrypt(modern, secret: Self.secret)?.isLegacy == false)
    }

    @Test(
        "a client that says who it is by a signed token signs with the key of the algorithm, and with no other",
        arguments: [
            (PrivateKey.Kind.rsa2048, PrivateKeyJwtConfig.SigningAlgorithm.rs256, SignatureAlgorithm.rs256),
            (.rsa2048, .rs512, .rs512), (.p256, .es256, .es256), (.p384, .es384, .es384), (.p521, .es512, .es512),
        ])
    func assertions(
        kind: PrivateKey.Kind, algorithm: PrivateKeyJwtConfig.SigningAlgorithm, name: SignatureAlgorithm
    ) throws {
        let key = try PrivateKey.make(kind)
        var message = PrivateKeyJwtConfig()
        message.signingAlgorithm = algorithm
        let assertion = try OAuth2Assertion(message, client: "me\"", audience: "https://auth/token", at: "x")
        let token = try #require(assertion.token(key: key.pem, now: 1000, id: "1"))
        let parts = token.split(separator: ".").map(String.init)
        let header = try JSON.parse(#require(Base64.decode(parts[0])))
        #expect(header == .object(["alg": .string(name.rawValue), "typ": "JWT"]))
        let claims = try JSON.parse(#require(Base64.decode(parts[1])))
        #expect(claims["iss"] == "me\"" && claims["sub"] == "me\"" && claims["aud"] == "https://auth/token")
        #expect(claims["exp"] == .integer(1060) && claims["nbf"] == .integer(1000) && claims["jti"] == "1")
        let pem = "-----BEGIN PUBLIC KEY-----\n\(Base64.encode(key.publicKey.der))\n-----END PUBLIC KEY-----\n"
        let verification = try VerificationKey(pem: Array(pem.utf8))
        let signature = try #require(Base64.decode(parts[2]))
        #expect(verification.isValid(signature, for: Array("\(parts[0]).\(parts[1])".utf8), name))
        #expect(!verification.isValid(signature, for: Array("\(parts[0]).x".utf8), name))
        let other = try PrivateKey.make(kind == .rsa2048 ? .p256 : .ed25519)
        #expect(assertion.token(key: other.pem, now: 1000, id: "1") == nil)
        #expect(assertion.token(key: Array("none".utf8), now: 1000, id: "1") == nil)
        message.assertionLifetime = .milliseconds(500)
        #expect(throws: (any Error).self) { try OAuth2Assertion(message, client: "me", audience: "a", at: "x") }
    }

    @Test("users are led to allowed hosts only, however an address is written")
    func addresses() {
        let allowed = ["app.example", "*.sub.example"]
        for (text, isAllowed) in [
            ("https://app.example/x", true), ("https://APP.example:8443", true), ("http://a.sub.example/", true),
            ("http://sub.example/", false), ("http://app.example.evil.test/", false),
            ("http://evil.test?app.example", false), ("http://evil.test#app.example", false),
            ("http://[::1]:80/", false),
        ] {
            #expect(AbsoluteURL(text)?.isAllowed(allowed) == isAllowed, "\(text)")
        }
        for wrong in [
            "app.example/x", "//app.example/", "javascript://app.example/", "http://", "http://app.example@evil.test/",
            "http://evil.test\\app.example/", "http://a b/",
        ] {
            #expect(AbsoluteURL(wrong) == nil, "\(wrong)")
        }
    }

    @Test("a user logs in, comes back, is let through, and leaves")
    func flow() async throws {
        try await onLoop { loop in
            let asked = Mutex("")
            let server = try await ScriptedUpstream(on: loop) { head, body in
                if head.hasPrefix("POST /token") {
                    asked.withLock { $0 = body }
                    return ScriptedUpstream.ok(#"{"access_token":"token","refresh_token":"again","expires_in":3600}"#)
                }
                return ScriptedUpstream.ok(head)
            }
            let secrets = """
                  secrets:
                  - { name: token, generic_secret: { secret: { inline_string: s3cret } } }
                  - { name: hmac, generic_secret: { secret: { inline_string: hmac } } }

                """
            let config = FilterScene.any(
                "envoy.extensions.filters.http.oauth2.v3.OAuth2",
                """
                config: { token_endpoint: { cluster: backend, uri: "http://auth/token", timeout: 30s }, \
                authorization_endpoint: "https://auth/authorize", redirect_uri: "http://%REQ(:authority)%/callback", \
                redirect_path_matcher: { path: { exact: /callback } }, signout_path: { path: { exact: /signout } }, \
                forward_bearer_token: true, \
                credentials: { client_id: me, token_secret: { name: token }, hmac_secret: { name: hmac } } }
                """)
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        filters: FilterScene.entries([("oauth2", config)]), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [server.port])) + secrets)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let first = try await client.get("/wanted?x=1")
            #expect(first.status == 302)
            let location = try #require(first.field("location"))
            #expect(location.hasPrefix("https://auth/authorize?client_id=me&code_challenge="))
            let state = try #require(location.split(separator: "&").first { $0.hasPrefix("state=") })
            // The user comes back with the cookies of this login.
            let back = try await client.get("/callback?code=c0de&\(state)", Self.cookies(first.head))
            #expect(back.status == 302 && back.field("location") == "http://test/wanted?x=1", "\(back.head)")
            let body = asked.withLock { $0 }
            #expect(body.hasPrefix("grant_type=authorization_code&code=c0de&client_id=me&client_secret=s3cret"))
            // Somebody else's state with one's own cookies leads nowhere.
            let forged = try await client.get("/callback?code=c0de&state=e30", Self.cookies(first.head))
            #expect(forged.status == 401)
            let letIn = try await client.get(
                "/wanted?x=1", Self.cookies(back.head) + "authorization: Bearer stolen\r\n")
            #expect(letIn.status == 200 && letIn.body.contains("authorization: Bearer token"), "\(letIn.body)")
            #expect(!letIn.body.contains("stolen") && !letIn.body.contains("OauthHMAC"))
            let out = try await client.get("/signout", Self.cookies(back.head))
            #expect(out.status == 302 && out.head.contains("BearerToken=deleted"))
        }
    }

    /// A field with the cookies that a response sets.
    private static func cookies(_ head: String) -> String {
        var pairs: [String] = []
        for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("set-cookie: ") {
            let value = line.dropFirst("set-cookie: ".count)
            if !value.contains("=deleted") { pairs.append(String(value.prefix { $0 != ";" })) }
        }
        return "cookie: \(pairs.joined(separator: "; "))\r\n"
    }
}
