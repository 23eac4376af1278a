internal import COpenSSL

/// A signature algorithm of JSON Web Signatures (RFC 7518 §3, RFC 8037), by the name that `alg` has.
public enum SignatureAlgorithm: String, Sendable, Hashable, CaseIterable {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    case rs256 = "RS256"
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    case rs384 = "RS384"
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    case rs512 = "RS512"
    /// RSASSA-PSS with SHA-256.
    case ps256 = "PS256"
    /// RSASSA-PSS with SHA-384.
    case ps384 = "PS384"
    /// RSASSA-PSS with SHA-512.
    case ps512 = "PS512"
    /// ECDSA on P-256 with SHA-256.
    case es256 = "ES256"
    /// ECDSA on P-384 with SHA-384.
    case es384 = "ES384"
    /// ECDSA on P-521 with SHA-512.
    case es512 = "ES512"
    /// Ed25519.
    case edDSA = "EdDSA"
    /// HMAC with SHA-256.
    case hs256 = "HS256"
    /// HMAC with SHA-384.
    case hs384 = "HS384"
    /// HMAC with SHA-512.
    case hs512 = "HS512"

    enum Family { case rsa, pss, ecdsa, eddsa, hmac }

    var family: Family {
        switch self {
        case .rs256, .rs384, .rs512: .rsa
        case .ps256, .ps384, .ps512: .pss
        case .es256, .es384, .es512: .ecdsa
        case .edDSA: .eddsa
        case .hs256, .hs384, .hs512: .hmac
        }
    }

    /// Bits of the digest.
    var digestBits: Int {
        switch self {
        case .rs256, .ps256, .es256, .hs256: 256
        case .rs384, .ps384, .es384, .hs384: 384
        case .rs512, .ps512, .es512, .hs512, .edDSA: 512
        }
    }
}

extension SignatureAlgorithm {
    /// OpenSSL's digest.
    var digest: OpaquePointer? {
        switch digestBits {
        case 256: EVP_sha256()
        case 384: EVP_sha384()
        default: EVP_sha512()
        }
    }

    /// Bytes of one half of an ECDSA signature.
    var coordinateBytes: Int {
        [SignatureCurve.p256, .p384, .p521].first { $0.algorithm == self }?.coordinateBytes ?? 0
    }
}

/// A curve of JSON Web Keys (`crv`).
public enum SignatureCurve: String, Sendable, Hashable {
    /// P-256.
    case p256 = "P-256"
    /// P-384.
    case p384 = "P-384"
    /// P-521.
    case p521 = "P-521"

    /// Bytes of one coordinate.
    var coordinateBytes: Int {
        switch self {
        case .p256: 32
        case .p384: 48
        case .p521: 66
        }
    }

    /// The one algorithm that RFC 7518 has for the curve.
    var algorithm: SignatureAlgorithm {
        switch self {
        case .p256: .es256
        case .p384: .es384
        case .p521: .es512
        }
    }
}
