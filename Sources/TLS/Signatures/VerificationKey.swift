internal import COpenSSL

/// A key that signatures are checked with: from the members of a JSON Web Key, or from PEM.
///
/// The key decides which algorithms may be used with it, not the signature: an RSA key is never taken for an HMAC secret, nor a curve for another
/// (RFC 8725 §2.1). `@unchecked Sendable`: OpenSSL's key is never changed after it was made, and counted atomically (docs/threads.md).
public final class VerificationKey: @unchecked Sendable {
    private enum Kind {
        case rsa(OpaquePointer)
        case ec(OpaquePointer, SignatureCurve)
        case ed25519(OpaquePointer)
        case secret([UInt8])
    }

    /// Shorter moduli are refused (RFC 7518 §3.3).
    private static let rsaBitsMin: Int32 = 2048
    /// Longer ones make each check a burden.
    private static let rsaBitsMax: Int32 = 8192

    private let kind: Kind

    private init(_ kind: Kind) { self.kind = kind }

    deinit {
        switch kind {
        case .rsa(let key), .ec(let key, _), .ed25519(let key): EVP_PKEY_free(key)
        case .secret: break
        }
    }

    // MARK: Making

    /// `kty` RSA: `n` and `e`, big-endian.
    public convenience init(rsaModulus modulus: [UInt8], exponent: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let operation = "RSA key"
        guard (1...8).contains(exponent.count), modulus.count <= Int(VerificationKey.rsaBitsMax / 8) + 1 else {
            throw TLSError(operation, "modulus or exponent is too long or empty")
        }
        let key = try made(copenssl_rsa_key(modulus, modulus.count, exponent, exponent.count), operation)
        self.init(.rsa(try VerificationKey.checkedRSA(key)))
    }

    /// `kty` EC: `crv`, `x` and `y`.
    public convenience init(curve: SignatureCurve, x: [UInt8], y: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let operation = "EC key"
        guard x.count == curve.coordinateBytes, y.count == curve.coordinateBytes else {
            throw TLSError(operation, "\(curve.rawValue) has coordinates of \(curve.coordinateBytes) bytes")
        }
        let point = [0x04] + x + y
        // A point that is not on the curve is refused here.
        self.init(.ec(try made(copenssl_ec_key(curve.rawValue, point, point.count), operation), curve))
    }

    /// `kty` OKP, `crv` Ed25519: `x`.
    public convenience init(ed25519 x: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        self.init(.ed25519(try made(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, x, x.count), "Ed25519 key")))
    }

    /// `kty` oct: `k`.
    public convenience init(secret: [UInt8]) throws(TLSError) {
        guard !secret.isEmpty else { throw TLSError("HMAC key", "it is empty") }
        self.init(.secret(secret))
    }

    /// A public key or a certificate in PEM.
    public convenience init(pem: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let bio = try MemoryBIO(pem)
        if let key = PEM_read_bio_PUBKEY(bio.pointer, nil, nil, nil) {
            self.init(try VerificationKey.classify(key))
            return
        }
        ERR_clear_error()
        let certificate = try Certificate(pem: pem)
        self.init(
            try VerificationKey.classify(try made(X509_get_pubkey(certificate.pointer), "certificate's public key")))
    }

    private static func checkedRSA(_ key: OpaquePointer) throws(TLSError) -> OpaquePointer {
        let bits = EVP_PKEY_get_bits(key)
        guard bits >= rsaBitsMin, bits <= rsaBitsMax else {
            EVP_PKEY_free(key)
            throw TLSError("RSA key", "\(bits) bits are not in \(rsaBitsMin) to \(rsaBitsMax)")
        }
        return key
    }

    private static func classify(_ key: OpaquePointer) throws(TLSError) -> Kind {
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA: return .rsa(try checkedRSA(key))
        case EVP_PKEY_ED25519: return .ed25519(key)
        case EVP_PKEY_EC:
            switch EVP_PKEY_get_bits(key) {
            case 256: return .ec(key, .p256)
            case 384: return .ec(key, .p384)
            case 521: return .ec(key, .p521)
            default: break
            }
        default: break
        }
        EVP_PKEY_free(key)
        throw TLSError("public key", "its kind is not used for signatures here")
    }

    // MARK: Checking

    /// Whether an algorithm may be used with this key.
    public func allows(_ algorithm: SignatureAlgorithm) -> Bool {
        switch (kind, algorithm.family) {
        case (.rsa, .rsa), (.rsa, .pss), (.ed25519, .eddsa), (.secret, .hmac): true
        case (.ec(_, let curve), .ecdsa): curve.algorithm == algorithm
        default: false
        }
    }

    /// Whether a signature, in the form that JSON Web Signatures have, is this key's on a message.
    public func isValid(_ signature: [UInt8], for message: [UInt8], _ algorithm: SignatureAlgorithm) -> Bool {
        guard allows(algorithm) else { return false }
        if ERR_peek_error() != 0 { ERR_clear_error() }
        defer { if ERR_peek_error() != 0 { ERR_clear_error() } }
        switch kind {
        case .secret(let secret): return isCode(signature, message, secret, algorithm)
        case .rsa(let key), .ed25519(let key): return isSignature(signature, message, key, algorithm)
        case .ec(let key, let curve):
            guard let der = VerificationKey.derSignature(signature, curve) else { return false }
            return isSignature(der, message, key, algorithm)
        }
    }

    private func isCode(
        _ code: [UInt8], _ message: [UInt8], _ secret: [UInt8], _ algorithm: SignatureAlgorithm
    ) -> Bool {
        var expected = [UInt8](repeating: 0, count: 64)
        var count: UInt32 = 0
        let digest = algorithm.digest
        guard
            HMAC(digest, secret, Int32(clamping: secret.count), message, message.count, &expected, &count) != nil,
            code.count == Int(count)
        else { return false }
        return CRYPTO_memcmp(code, expected, code.count) == 0
    }

    private func isSignature(
        _ signature: [UInt8], _ message: [UInt8], _ key: OpaquePointer, _ algorithm: SignatureAlgorithm
    ) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        var parameters: OpaquePointer?
        let digest = algorithm.family == .eddsa ? nil : algorithm.digest
        guard EVP_DigestVerifyInit(context, &parameters, digest, nil, key) == 1 else { return false }
        if algorithm.family == .pss {
            guard EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1,
                EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, Int32(algorithm.digestBits / 8)) == 1
            else { return false }
        }
        return EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }

    /// `r || s` as the DER sequence that OpenSSL reads.
    private static func derSignature(_ raw: [UInt8], _ curve: SignatureCurve) -> [UInt8]? {
        let half = curve.coordinateBytes
        guard raw.count == 2 * half, let signature = ECDSA_SIG_new() else { return nil }
        defer { ECDSA_SIG_free(signature) }
        let r = raw.withUnsafeBufferPointer { BN_bin2bn($0.baseAddress, Int32(half), nil) }
        let s = raw.withUnsafeBufferPointer { BN_bin2bn($0.baseAddress.map { $0 + half }, Int32(half), nil) }
        guard let r, let s, ECDSA_SIG_set0(signature, r, s) == 1 else {
            BN_free(r)
            BN_free(s)
            return nil
        }
        return encoded { i2d_ECDSA_SIG(signature, $0) }
    }
}
