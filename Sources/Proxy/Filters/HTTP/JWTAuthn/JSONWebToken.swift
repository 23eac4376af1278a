internal import Serialization
internal import TLS

/// A token (RFC 7519) in compact form, taken apart but not believed: its signature is still to be checked.
///
/// The bytes come from anybody; each of them gives a token or a status, and nothing else.
final class JSONWebToken: Sendable {
    let header: JSON
    let payload: JSON
    let algorithm: SignatureAlgorithm
    /// `kid`; empty where there is none.
    let keyID: String
    let issuer: String
    let subject: String
    let audiences: [String]
    /// Seconds since 1970; 0 where there is none.
    let notBefore: UInt64
    let expires: UInt64?
    /// The payload as it stands in the token.
    let encodedPayload: [UInt8]
    /// What was signed.
    let signed: [UInt8]
    let signature: [UInt8]

    init(parsing bytes: [UInt8]) throws(JWTStatus) {
        let dot = UInt8(ascii: ".")
        var dots: [Int] = []
        for (index, byte) in bytes.enumerated() where byte == dot {
            dots.append(index)
            if dots.count > 2 { break }
        }
        guard dots.count == 2, dots[0] > 0, dots[1] > dots[0] + 1, dots[1] + 1 < bytes.count else {
            throw .badFormat
        }
        signed = Array(bytes[..<dots[1]])
        encodedPayload = Array(bytes[(dots[0] + 1)..<dots[1]])
        header = try Self.object(bytes[..<dots[0]], .headerBadBase64, .headerBadJSON)
        guard let name = header["alg"]?.string else { throw .headerBadAlgorithm }
        guard let algorithm = SignatureAlgorithm(rawValue: name) else { throw .algorithmNotImplemented }
        self.algorithm = algorithm
        keyID = try Self.text(header["kid"], .headerBadKeyID)
        payload = try Self.object(encodedPayload[...], .payloadBadBase64, .payloadBadJSON)
        issuer = try Self.text(payload["iss"], .issuerNotString)
        subject = try Self.text(payload["sub"], .subjectNotString)
        _ = try Self.seconds(payload["iat"], .issuedAtNotInteger, .issuedAtOutOfRange)
        notBefore = try Self.seconds(payload["nbf"], .notBeforeNotInteger, .notBeforeOutOfRange) ?? 0
        expires = try Self.seconds(payload["exp"], .expirationNotInteger, .expirationOutOfRange)
        _ = try Self.text(payload["jti"], .identifierNotString)
        switch payload["aud"] {
        case nil: audiences = []
        case .string(let one): audiences = [one]
        case .array(let many):
            var names: [String] = []
            for element in many {
                guard let name = element.string else { throw .audienceNotString }
                names.append(name)
            }
            audiences = names
        default: throw .audienceNotString
        }
        guard let signature = Self.decode(bytes[(dots[1] + 1)...]) else { throw .signatureBadBase64 }
        self.signature = signature
    }

    /// Whether the token may be used at a moment, in seconds since 1970.
    func status(at now: UInt64, skew: UInt64) -> JWTStatus {
        let (later, isHuge) = now.addingReportingOverflow(skew)
        if !isHuge && later < notBefore { return .notYetValid }
        // As Envoy: 0 is no expiration.
        guard let expires, expires > 0 else { return .ok }
        let (end, isEndless) = expires.addingReportingOverflow(skew)
        return !isEndless && now > end ? .expired : .ok
    }

    /// A claim by its name, or by the names on the way to it.
    func claim(_ path: [String]) -> JSON? {
        var value = payload
        for name in path {
            guard let next = value[name] else { return nil }
            value = next
        }
        return value
    }

    /// The alphabet for URLs only.
    private static func decode(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
        for byte in bytes where byte == UInt8(ascii: "+") || byte == UInt8(ascii: "/") { return nil }
        return Base64.decode(String(decoding: bytes, as: UTF8.self))
    }

    private static func object(
        _ bytes: ArraySlice<UInt8>, _ badBase64: JWTStatus, _ badJSON: JWTStatus
    ) throws(JWTStatus) -> JSON {
        guard let text = decode(bytes) else { throw badBase64 }
        guard let value = try? JSON.parse(text), case .object = value else { throw badJSON }
        return value
    }

    private static func text(_ value: JSON?, _ problem: JWTStatus) throws(JWTStatus) -> String {
        switch value {
        case nil: return ""
        case .string(let text): return text
        default: throw problem
        }
    }

    private static func seconds(
        _ value: JSON?, _ notInteger: JWTStatus, _ outOfRange: JWTStatus
    ) throws(JWTStatus) -> UInt64? {
        switch value {
        case nil: return nil
        case .integer(let number):
            guard number >= 0 else { throw outOfRange }
            return UInt64(number)
        case .number(let number):
            // As Envoy: fractions are cut off.
            guard number >= 0, number < 18_446_744_073_709_551_616 else { throw outOfRange }
            return UInt64(number)
        default: throw notInteger
        }
    }
}
