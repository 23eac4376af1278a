/// What became of a token, with Envoy's numbers and words.
enum JWTStatus: Int, Error, Sendable {
    case ok = 0
    case missing = 1
    case notYetValid = 2
    case expired = 3
    case badFormat = 4
    case headerBadBase64 = 5
    case headerBadJSON = 6
    case headerBadAlgorithm = 7
    case algorithmNotImplemented = 8
    case headerBadKeyID = 9
    case payloadBadBase64 = 10
    case payloadBadJSON = 11
    case issuerNotString = 12
    case subjectNotString = 13
    case issuedAtNotInteger = 14
    case issuedAtOutOfRange = 15
    case notBeforeNotInteger = 16
    case notBeforeOutOfRange = 17
    case expirationNotInteger = 18
    case expirationOutOfRange = 19
    case identifierNotString = 20
    case audienceNotString = 21
    case signatureBadBase64 = 22
    case ed25519SignatureWrongLength = 23
    case unknownIssuer = 24
    case audienceNotAllowed = 25
    case verificationFails = 26
    case keysParseError = 28
    case noKeys = 29
    case badKeys = 30
    case noValidKeys = 31
    case keyIDAlgorithmMismatch = 32
    case keysFetchFails = 40

    /// The words of the answer.
    var text: String {
        switch self {
        case .ok: "OK"
        case .missing: "Jwt is missing"
        case .notYetValid: "Jwt not yet valid"
        case .expired: "Jwt is expired"
        case .badFormat: "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
        case .headerBadBase64: "Jwt header is an invalid Base64url encoded"
        case .headerBadJSON: "Jwt header is an invalid JSON"
        case .headerBadAlgorithm: "Jwt header [alg] field is required and must be a string"
        case .algorithmNotImplemented: "Jwt header [alg] is not supported"
        case .headerBadKeyID: "Jwt header [kid] field is not a string"
        case .payloadBadBase64: "Jwt payload is an invalid Base64url encoded"
        case .payloadBadJSON: "Jwt payload is an invalid JSON"
        case .issuerNotString: "Jwt payload [iss] field is not a string"
        case .subjectNotString: "Jwt payload [sub] field is not a string"
        case .issuedAtNotInteger: "Jwt payload [iat] field is not an integer"
        case .issuedAtOutOfRange: "Jwt payload [iat] field is not a positive 64 bit integer"
        case .notBeforeNotInteger: "Jwt payload [nbf] field is not an integer"
        case .notBeforeOutOfRange: "Jwt payload [nbf] field is not a positive 64 bit integer"
        case .expirationNotInteger: "Jwt payload [exp] field is not an integer"
        case .expirationOutOfRange: "Jwt payload [exp] field is not a positive 64 bit integer"
        case .identifierNotString: "Jwt payload [jti] field is not a string"
        case .audienceNotString: "Jwt payload [aud] field is not a string or string list"
        case .signatureBadBase64: "Jwt signature is an invalid Base64url encoded"
        case .ed25519SignatureWrongLength: "Jwt ED25519 signature is wrong length"
        case .unknownIssuer: "Jwt issuer is not configured"
        case .audienceNotAllowed: "Audiences in Jwt are not allowed"
        case .verificationFails: "Jwt verification fails"
        case .keysParseError: "Jwks is an invalid JSON"
        case .noKeys: "Jwks does not have [keys] field"
        case .badKeys: "[keys] in Jwks is not an array"
        case .noValidKeys: "Jwks doesn't have any valid public key"
        case .keyIDAlgorithmMismatch: "Jwks doesn't have key to match kid or alg from Jwt"
        case .keysFetchFails: "Jwks remote fetch is failed"
        }
    }

    /// The status of the answer: who is known but meant for another audience is forbidden.
    var httpStatus: UInt16 { self == .audienceNotAllowed ? 403 : 401 }
}
