internal import Serialization
internal import TLS

/// The keys that a provider signs with (RFC 7517).
///
/// A key that is not understood is passed over; a set without a usable key is refused. The key says which algorithms it is for, never the
/// token (RFC 8725 §2.1).
final class JSONWebKeySet: Sendable {
    private struct Key: Sendable {
        let id: String
        /// `alg`; empty allows all that the key's kind does.
        let algorithm: String
        let key: VerificationKey
        let isEd25519: Bool
    }

    private let keys: [Key]

    var count: Int { keys.count }

    init(parsing bytes: [UInt8]) throws(JWTStatus) {
        guard let json = try? JSON.parse(bytes), case .object(let members) = json else { throw .keysParseError }
        var keys: [Key] = []
        if let list = members["keys"] {
            guard case .array(let elements) = list else { throw .badKeys }
            for element in elements {
                // A token without `kid` is tried on every key: their number is the work of one request.
                guard keys.count < JWTLimits.keys else { break }
                if let key = Self.key(element) { keys.append(key) }
            }
        } else {
            // Google's older form: certificates by key id.
            guard !members.isEmpty else { throw .noKeys }
            for (id, value) in members.sorted(by: { $0.key < $1.key }) {
                guard let pem = value.string, pem.hasPrefix("-----BEGIN CERTIFICATE-----"),
                    keys.count < JWTLimits.keys
                else { throw .noKeys }
                guard let key = try? VerificationKey(pem: Array(pem.utf8)) else { continue }
                keys.append(Key(id: id, algorithm: "", key: key, isEd25519: false))
            }
        }
        guard !keys.isEmpty else { throw .noValidKeys }
        self.keys = keys
    }

    /// Whether one of the keys has signed a token.
    func status(of token: JSONWebToken) -> JWTStatus {
        var hasCandidate = false
        for key in keys {
            if !token.keyID.isEmpty, !key.id.isEmpty, key.id != token.keyID { continue }
            if !key.algorithm.isEmpty, key.algorithm != token.algorithm.rawValue { continue }
            hasCandidate = true
            guard key.key.allows(token.algorithm) else { continue }
            if key.isEd25519, token.signature.count != 64 { return .ed25519SignatureWrongLength }
            if key.key.isValid(token.signature, for: token.signed, token.algorithm) { return .ok }
        }
        return hasCandidate ? .verificationFails : .keyIDAlgorithmMismatch
    }

    private static func key(_ json: JSON) -> Key? {
        guard let kind = json["kty"]?.string else { return nil }
        let algorithm = json["alg"]?.string ?? ""
        let key: VerificationKey?
        switch kind {
        case "RSA":
            guard algorithm.isEmpty || algorithm.hasPrefix("RS") || algorithm.hasPrefix("PS") else { return nil }
            if let n = bytes(json["n"]), let e = bytes(json["e"]) {
                key = try? VerificationKey(rsaModulus: n, exponent: e)
            } else {
                key = certificate(json)
            }
        case "EC":
            guard algorithm.isEmpty || algorithm.hasPrefix("ES") else { return nil }
            guard let curve = curve(json["crv"], algorithm) else { return nil }
            if let x = bytes(json["x"]), let y = bytes(json["y"]) {
                key = try? VerificationKey(curve: curve, x: x, y: y)
            } else {
                key = certificate(json)
            }
        case "oct":
            guard algorithm.isEmpty || ["HS256", "HS384", "HS512"].contains(algorithm) else { return nil }
            key = bytes(json["k"]).flatMap { try? VerificationKey(secret: $0) }
        case "OKP":
            guard algorithm.isEmpty || algorithm == "EdDSA", json["crv"]?.string == "Ed25519" else { return nil }
            key = bytes(json["x"]).flatMap { $0.count == 32 ? try? VerificationKey(ed25519: $0) : nil }
        default: return nil
        }
        guard let key else { return nil }
        return Key(id: json["kid"]?.string ?? "", algorithm: algorithm, key: key, isEd25519: kind == "OKP")
    }

    /// The curve that `crv` names, or else the one that belongs to the algorithm.
    private static func curve(_ value: JSON?, _ algorithm: String) -> SignatureCurve? {
        let named: SignatureCurve?
        switch value {
        case nil: named = nil
        case .string(let name):
            guard let curve = SignatureCurve(rawValue: name) else { return nil }
            named = curve
        default: return nil
        }
        let implied: SignatureCurve?
        switch algorithm {
        case "": implied = nil
        case "ES256": implied = .p256
        case "ES384": implied = .p384
        case "ES512": implied = .p521
        default: return nil
        }
        if let named, let implied, named != implied { return nil }
        return named ?? implied ?? .p256
    }

    private static func bytes(_ value: JSON?) -> [UInt8]? {
        guard let text = value?.string, !text.isEmpty else { return nil }
        if let bytes = Base64.decode(text) { return bytes }
        // As Envoy: of a key the bits behind the last whole byte do not count.
        let padding = text.hasSuffix("==") ? 2 : text.hasSuffix("=") ? 1 : 0
        let digits = String(text.dropLast(padding))
        let spare = (4 - digits.utf8.count % 4) % 4
        guard spare == 1 || spare == 2,
            let bytes = Base64.decode(digits + String(repeating: "A", count: spare))
        else { return nil }
        return Array(bytes.dropLast(spare))
    }

    /// The key of the first certificate in `x5c`.
    private static func certificate(_ json: JSON) -> VerificationKey? {
        guard let first = json["x5c"]?[0]?.string, let der = Base64.decode(first) else { return nil }
        let text = Array(Base64.encode(der).utf8)
        var pem = Array("-----BEGIN CERTIFICATE-----\n".utf8)
        var start = 0
        while start < text.count {
            pem += text[start..<min(start + 64, text.count)]
            pem.append(0x0A)
            start += 64
        }
        pem += Array("-----END CERTIFICATE-----\n".utf8)
        return try? VerificationKey(pem: pem)
    }
}
