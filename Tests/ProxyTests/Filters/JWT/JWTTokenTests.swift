import Serialization
import TLS
import Testing

@testable import Proxy

/// Tokens that tests sign themselves.
enum TestToken {
    /// A token with these claims, signed with the secret of `JWTSamples`.
    static func make(_ claims: String, header: String = #"{"alg":"HS256","kid":"oct"}"#) -> String {
        let signed = Base64.encodeURL(Array(header.utf8)) + "." + Base64.encodeURL(Array(claims.utf8))
        let key = Base64.decode(JWTSamples.secret) ?? []
        return signed + "." + Base64.encodeURL(HMACSHA256.authenticate(Array(signed.utf8), key: key))
    }

    static let good = make(#"{"iss":"https://issuer.test","sub":"jason","aud":"books","exp":4102444800}"#)
}

@Suite("JWT: tokens and keys")
struct JWTTokenTests {
    private func parse(_ text: String) -> Result<JSONWebToken, JWTStatus> {
        Result { () throws(JWTStatus) in try JSONWebToken(parsing: Array(text.utf8)) }
    }

    private func problem(_ text: String) -> JWTStatus? {
        if case .failure(let status) = parse(text) { status } else { nil }
    }

    private func keys(_ text: String) throws -> JSONWebKeySet { try JSONWebKeySet(parsing: Array(text.utf8)) }

    @Test("every algorithm's token is verified by the key it names, and by no other", arguments: JWTSamples.tokens)
    func algorithms(_ name: String, _ text: String) throws {
        let set = try keys(JWTSamples.keySet)
        let token = try parse(text).get()
        #expect(token.algorithm.rawValue == name)
        #expect(set.status(of: token) == .ok)
        #expect(token.claim(["sub"]) == "jason")
        #expect(token.audiences == ["books"])
        let changed = try parse(text.replacing(character: 0)).get()
        #expect(set.status(of: changed) == .verificationFails)
    }

    @Test("a token cannot choose what it is checked with: a public key is no HMAC secret, none is no algorithm")
    func confusion() throws {
        let header = #"{"alg":"HS256","kid":"rsa"}"#
        let set = try keys(JWTSamples.keySet)
        #expect(set.status(of: try parse(TestToken.make("{}", header: header)).get()) == .verificationFails)
        #expect(problem(TestToken.make("{}", header: #"{"alg":"none"}"#)) == .algorithmNotImplemented)
        #expect(problem(TestToken.make("{}", header: #"{"alg":"hs256"}"#)) == .algorithmNotImplemented)
        // A key that says which algorithm it is for takes no other of its family.
        let strict = try keys(#"{"keys":[{"kty":"oct","alg":"HS512","k":"\#(JWTSamples.secret)"}]}"#)
        #expect(strict.status(of: try parse(TestToken.good).get()) == .keyIDAlgorithmMismatch)
    }

    @Test("what is no token says why in Envoy's words")
    func malformed() {
        let cases: [(String, JWTStatus)] = [
            ("", .badFormat), ("a.b", .badFormat), ("a.b.c.d", .badFormat), ("..", .badFormat), ("a..c", .badFormat),
            ("!.b.c", .headerBadBase64), ("bm8.b.c", .headerBadJSON), ("W10.b.c", .headerBadJSON),
            (TestToken.make("{}", header: "{}"), .headerBadAlgorithm),
            (TestToken.make("{}", header: #"{"alg":1}"#), .headerBadAlgorithm),
            (TestToken.make("{}", header: #"{"alg":"HS256","kid":1}"#), .headerBadKeyID),
            (TestToken.make("[]"), .payloadBadJSON), (TestToken.make(#"{"iss":1}"#), .issuerNotString),
            (TestToken.make(#"{"sub":[]}"#), .subjectNotString), (TestToken.make(#"{"iat":"1"}"#), .issuedAtNotInteger),
            (TestToken.make(#"{"nbf":-1}"#), .notBeforeOutOfRange),
            (TestToken.make(#"{"exp":1e300}"#), .expirationOutOfRange),
            (TestToken.make(#"{"exp":"x"}"#), .expirationNotInteger),
            (TestToken.make(#"{"jti":1}"#), .identifierNotString),
            (TestToken.make(#"{"aud":[1]}"#), .audienceNotString), (TestToken.good + "!", .signatureBadBase64),
        ]
        for (text, status) in cases { #expect(problem(text) == status, "\(text)") }
        #expect(JWTStatus.badFormat.text.hasPrefix("Jwt is not in the form of"))
    }

    @Test("no bytes make the parsers stop")
    func garbage() {
        var random = SystemRandomNumberGenerator()
        let seeds = JWTSamples.tokens.map { Array($0.1.utf8) } + [Array(JWTSamples.keySet.utf8)]
        for round in 0..<3000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
                }
            }
            let token = try? JSONWebToken(parsing: bytes)
            let set = try? JSONWebKeySet(parsing: bytes)
            if let token, let set { _ = set.status(of: token) }
            if let token { _ = token.status(at: .max, skew: .max) }
        }
    }

    @Test("times: not before, expired, both with the skew, and numbers at the end of the range")
    func times() throws {
        let token = try parse(TestToken.make(#"{"nbf":1000,"exp":2000}"#)).get()
        let moments: [(UInt64, JWTStatus)] = [(939, .notYetValid), (940, .ok), (2060, .ok), (2061, .expired)]
        for (now, status) in moments { #expect(token.status(at: now, skew: 60) == status, "\(now)") }
        let endless = try parse(TestToken.make(#"{"exp":9223372036854775807}"#)).get()
        #expect(endless.status(at: .max, skew: .max) == .ok)
        #expect(try parse(TestToken.make("{}")).get().status(at: .max, skew: 0) == .ok)
    }

    @Test("key sets: unusable keys are passed over, a set without a usable one is refused")
    func keySets() throws {
        let cases: [(String, JWTStatus)] = [
            ("<html>", .keysParseError), ("[]", .keysParseError), ("{}", .noKeys), (#"{"a":1}"#, .noKeys),
            (#"{"keys":1}"#, .badKeys), (#"{"keys":[]}"#, .noValidKeys), (#"{"keys":[{"kty":"RSA"}]}"#, .noValidKeys),
            (#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#, .noValidKeys),
            (#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES384","x":"AA","y":"AA"}]}"#, .noValidKeys),
        ]
        for (text, status) in cases {
            var found: JWTStatus?
            do throws(JWTStatus) { _ = try JSONWebKeySet(parsing: Array(text.utf8)) } catch { found = error }
            #expect(found == status, "\(text)")
        }
        #expect(try keys(#"{"keys":[{"kty":"x"},\#(JWTSamples.keys[0])]}"#).count == 1)
        // Ten digits are seven bytes and four bits, which Envoy does not look at.
        #expect(try keys(#"{"keys":[{"kty":"oct","k":"1234567890"}]}"#).count == 1)
        #expect(try keys(#"{"keys":[{"kty":"oct","k":"12345678_-9="}]}"#).count == 1)
        for text in ["12345", "1234567*", "12345678901=3", "=", "12 4567890"] {
            #expect(throws: JWTStatus.noValidKeys) { try keys("{\"keys\":[{\"kty\":\"oct\",\"k\":\"\(text)\"}]}") }
        }
        let many = Array(repeating: JWTSamples.keys[5], count: 500).joined(separator: ",")
        #expect(try keys("{\"keys\":[\(many)]}").count == JWTLimits.keys)
    }

    @Test("the cache forgets what was checked with other keys, and has a bound")
    func cache() throws {
        let (first, second) = (try keys(JWTSamples.keySet), try keys(JWTSamples.keySet))
        let token = try parse(TestToken.good).get()
        var cache = JWTCache(capacity: 4, tokenBytesMax: 1000)
        let bytes = Array(TestToken.good.utf8)
        cache.remember(bytes, token, first)
        #expect(cache.token(bytes, first) === token)
        #expect(cache.token(bytes, second) == nil)
        #expect(cache.token(bytes, first) == nil)
        for number in 0..<100 { cache.remember([UInt8(number)], token, first) }
        #expect(cache.count <= 4)
        #expect(cache.token([99], first) === token)
        #expect(cache.token([0], first) == nil)
        cache.remember(Array(repeating: 1, count: 1001), token, first)
        #expect(cache.token(Array(repeating: 1, count: 1001), first) == nil)
    }

    @Test("claims as headers: numbers whole where they are, lists and objects as base64 of their JSON")
    func claimTexts() {
        let cases: [(JSON, String?)] = [
            ("a", "a"), (7, "7"), (true, "true"), (.number(7), "7"), (1.5, "1.500000"), (-1.25, "-1.250000"),
            (.null, nil), (["a"], "WyJhIl0="), (-3, "-3.000000"), (12_345_678_901_234_567, "12345678901234568"),
        ]
        for (value, text) in cases { #expect(JWTProvider.headerText(value) == text) }
    }

    @Test("audiences are compared without scheme and slash at the end")
    func audiences() {
        #expect(JWTProvider.audience("https://books/") == "books")
        #expect(JWTProvider.audience("http://books") == "books")
        #expect(JWTProvider.audience("books") == "books")
    }
}

extension String {
    /// The same token with another payload.
    fileprivate func replacing(character: Int) -> String {
        var parts = split(separator: ".").map(String.init)
        parts[1] = Base64.encodeURL(Array(#"{"sub":"mallory"}"#.utf8))
        return parts.joined(separator: ".")
    }
}
