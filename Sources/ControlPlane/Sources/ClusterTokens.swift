import Identity
import Serialization
import TLS

/// The service-account tokens of a Kubernetes API elsewhere: checked with the keys that it publishes.
///
/// Pure. Source: OpenID Connect Discovery 1.0 and RFC 7517, as Kubernetes serves them for service accounts.
struct ClusterTokens: Sendable {
    /// Where the issuer is told.
    static let discoveryPath = "/.well-known/openid-configuration"
    /// Where the keys are.
    static let keysPath = "/openid/v1/jwks"
    /// How often they are fetched: an API that changes its key publishes the new one before it signs with it.
    static let interval = Duration.seconds(300)
    /// More keys than that would make each check a burden.
    static let keysMax = 20

    let keys: [VerificationKey]
    let issuer: String

    /// Reads both documents; nil when there is no issuer or no key that is understood.
    init?(discovery: JSON, keySet: JSON) {
        guard let issuer = discovery["issuer"]?.string, !issuer.isEmpty else { return nil }
        let keys = (keySet["keys"]?.array ?? []).prefix(Self.keysMax).compactMap(Self.key)
        guard !keys.isEmpty else { return nil }
        self.issuer = issuer
        self.keys = keys
    }

    private static func key(_ json: JSON) -> VerificationKey? {
        func bytes(_ name: String) -> [UInt8]? { json[name]?.string.flatMap { Base64.decode($0) } }
        if let use = json["use"]?.string, use != "sig" { return nil }
        // A secret among public keys is a mistake of somebody's: none but these two kinds is looked at.
        switch json["kty"]?.string {
        case "RSA":
            guard let modulus = bytes("n"), let exponent = bytes("e") else { return nil }
            return try? VerificationKey(rsaModulus: modulus, exponent: exponent)
        case "EC":
            guard let curve = json["crv"]?.string.flatMap(SignatureCurve.init(rawValue:)), let x = bytes("x"),
                let y = bytes("y")
            else { return nil }
            return try? VerificationKey(curve: curve, x: x, y: y)
        default: return nil
        }
    }

    /// Reads a token that somebody shows us; it must be meant for us (audience `skein`).
    func verify(
        _ text: String, now: Int64, pod: (_ uid: String, _ namespace: String, _ name: String) -> BoundPod?,
        account: (_ namespace: String, _ name: String) -> String?
    ) throws(IdentityError) -> ServiceAccountToken {
        try ServiceAccountToken(text, keys: keys, issuer: issuer, now: now, pod: pod, account: account)
    }
}
