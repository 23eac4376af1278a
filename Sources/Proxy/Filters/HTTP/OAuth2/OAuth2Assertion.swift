internal import EnvoyAPI
internal import Serialization
internal import TLS
internal import Upstream

/// A signed statement of who the client is, in place of a secret that both sides know (RFC 7523, `private_key_jwt`).
struct OAuth2Assertion: Sendable {
    /// `client_assertion_type`.
    static let type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

    private let algorithm: SignatureAlgorithm
    private let seconds: Int64
    private let client: String
    private let audience: String

    init(
        _ message: PrivateKeyJwtConfig?, client: String, audience: String, at path: String
    ) throws(ConfigurationError) {
        switch message?.signingAlgorithm ?? .rs256 {
        case .rs256: algorithm = .rs256
        case .rs384: algorithm = .rs384
        case .rs512: algorithm = .rs512
        case .es256: algorithm = .es256
        case .es384: algorithm = .es384
        case .es512: algorithm = .es512
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".signing_algorithm", "\(number) is no algorithm")
        }
        let lifetime = message?.assertionLifetime ?? .seconds(60)
        guard lifetime >= .seconds(1) else {
            throw ConfigurationError(at: path + ".assertion_lifetime", "must be at least 1 s")
        }
        seconds = lifetime.components.seconds
        (self.client, self.audience) = (client, audience)
    }

    /// The token; nil when the key is none, or of another kind than the algorithm needs.
    ///
    /// Pure but for what ECDSA takes from chance.
    ///
    /// - Parameters:
    ///   - key: PEM.
    ///   - now: Seconds since 1970.
    ///   - id: What no other token has.
    func token(key: [UInt8], now: Int64, id: String) -> String? {
        guard let key = try? PrivateKey(pem: key), key.allows(algorithm) else { return nil }
        let (end, isTooLong) = now.addingReportingOverflow(seconds)
        let header = JSON.object(["alg": .string(algorithm.rawValue), "typ": "JWT"])
        let claims = JSON.object([
            "iss": .string(client), "sub": .string(client), "aud": .string(audience),
            "exp": .integer(isTooLong ? Int64.max : end), "iat": .integer(now), "nbf": .integer(now),
            "jti": .string(id),
        ])
        let text = Base64.encodeURL(header.text.utf8) + "." + Base64.encodeURL(claims.text.utf8)
        guard let signature = try? key.sign(Array(text.utf8), algorithm) else { return nil }
        return text + "." + Base64.encodeURL(signature)
    }
}
