internal import COpenSSL

/// A private key with its public half.
///
/// `@unchecked Sendable`: OpenSSL's key objects are immutable once made and counted atomically (docs/threads.md).
public final class PrivateKey: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Takes over a reference.
    init(_ pointer: OpaquePointer) { self.pointer = pointer }

    deinit { EVP_PKEY_free(pointer) }

    /// A kind of key.
    public enum Kind: Sendable, Hashable, CaseIterable {
        /// EC on P-256.
        case p256
        /// EC on P-384.
        case p384
        /// EC on P-521.
        case p521
        /// RSA with 2048 bits.
        case rsa2048
        /// Ed25519.
        case ed25519
    }

    /// Makes a key.
    public static func make(_ kind: Kind) throws(TLSError) -> PrivateKey {
        ERR_clear_error()
        let operation = "making a key"
        switch kind {
        case .p256: return PrivateKey(try made(copenssl_make_ec("P-256"), operation))
        case .p384: return PrivateKey(try made(copenssl_make_ec("P-384"), operation))
        case .p521: return PrivateKey(try made(copenssl_make_ec("P-521"), operation))
        case .rsa2048: return PrivateKey(try made(copenssl_make_rsa(2048), operation))
        case .ed25519: return PrivateKey(try made(copenssl_make_ed25519(), operation))
        }
    }

    /// Makes an EC key on P-256.
    public static func makeP256() throws(TLSError) -> PrivateKey {
        ERR_clear_error()
        return PrivateKey(try made(copenssl_make_ec("P-256"), "making a P-256 key"))
    }

    /// Reads a key from PEM (PKCS#8, SEC 1 or PKCS#1).
    ///
    /// - Parameter password: for a key that is encrypted.
    public convenience init(pem: [UInt8], password: [UInt8]? = nil) throws(TLSError) {
        ERR_clear_error()
        let bio = try MemoryBIO(pem)
        guard let password else {
            // An encrypted key would make OpenSSL ask on the terminal: refuse the passphrase instead.
            let key = PEM_read_bio_PrivateKey(bio.pointer, nil, { _, _, _, _ in -1 }, nil)
            self.init(try made(key, "private key PEM"))
            return
        }
        let key = (password + [0]).withUnsafeBytes { bytes in
            // Without a callback OpenSSL takes its argument for a text.
            PEM_read_bio_PrivateKey(bio.pointer, nil, nil, UnsafeMutableRawPointer(mutating: bytes.baseAddress))
        }
        self.init(try made(key, "private key PEM"))
    }

    /// The key as PKCS#8 PEM.
    public var pem: [UInt8] {
        guard let bio = try? MemoryBIO() else { return [] }
        guard PEM_write_bio_PrivateKey(bio.pointer, pointer, nil, nil, 0, nil, nil) == 1 else { return [] }
        return bio.contents
    }

    /// The public half.
    public var publicKey: PublicKey {
        EVP_PKEY_up_ref(pointer)
        return PublicKey(pointer)
    }

    /// The digest that certificates are signed with: none for EdDSA, which has its own.
    var certificateDigest: OpaquePointer? {
        EVP_PKEY_get_base_id(pointer) == EVP_PKEY_ED25519 ? nil : EVP_sha256()
    }

    /// Whether JSON Web Signatures of an algorithm can be made with this key: RSA with PKCS#1 padding, or ECDSA on the algorithm's own curve.
    public func allows(_ algorithm: SignatureAlgorithm) -> Bool {
        switch algorithm.family {
        case .rsa: EVP_PKEY_get_base_id(pointer) == EVP_PKEY_RSA
        case .ecdsa:
            EVP_PKEY_get_base_id(pointer) == EVP_PKEY_EC
                && (Int(EVP_PKEY_get_bits(pointer)) + 7) / 8 == algorithm.coordinateBytes
        default: false
        }
    }

    /// Signs a message as JSON Web Signatures are made (RFC 7518 §3): for EC keys `r || s`.
    public func sign(_ message: [UInt8], _ algorithm: SignatureAlgorithm) throws(TLSError) -> [UInt8] {
        let operation = "signing with \(algorithm.rawValue)"
        guard allows(algorithm) else { throw TLSError(operation, "the key is of another kind") }
        let signature = try sign(message, digest: algorithm.digest)
        guard algorithm.family == .ecdsa else { return signature }
        let parsed = signature.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return d2i_ECDSA_SIG(nil, &position, buffer.count)
        }
        let pair = try made(parsed, operation)
        defer { ECDSA_SIG_free(pair) }
        let half = algorithm.coordinateBytes
        var raw: [UInt8] = []
        for number in [ECDSA_SIG_get0_r(pair), ECDSA_SIG_get0_s(pair)] {
            var bytes = [UInt8](repeating: 0, count: half)
            guard BN_bn2binpad(number, &bytes, Int32(half)) == half else {
                throw TLSError(operation, "no signature of that curve")
            }
            raw += bytes
        }
        return raw
    }

    /// Signs a message with SHA-256; for EC keys the result is a DER sequence of two integers.
    public func sign(_ message: [UInt8]) throws(TLSError) -> [UInt8] { try sign(message, digest: EVP_sha256()) }

    private func sign(_ message: [UInt8], digest: OpaquePointer?) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        let context = try made(EVP_MD_CTX_new(), "signing")
        defer { EVP_MD_CTX_free(context) }
        try checked(EVP_DigestSignInit(context, nil, digest, nil, pointer), "signing")
        var count = 0
        try checked(EVP_DigestSign(context, nil, &count, message, message.count), "signing")
        var signature = [UInt8](repeating: 0, count: count)
        try checked(EVP_DigestSign(context, &signature, &count, message, message.count), "signing")
        return Array(signature.prefix(count))
    }
}

/// A public key.
///
/// `@unchecked Sendable`: see `PrivateKey`.
public final class PublicKey: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Takes over a reference.
    init(_ pointer: OpaquePointer) { self.pointer = pointer }

    deinit { EVP_PKEY_free(pointer) }

    /// Reads a key from DER (SubjectPublicKeyInfo).
    public convenience init(der: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let key = der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return d2i_PUBKEY(nil, &position, buffer.count)
        }
        self.init(try made(key, "public key"))
    }

    /// The key as DER (SubjectPublicKeyInfo).
    public var der: [UInt8] { encoded { i2d_PUBKEY(pointer, $0) } }

    /// Whether a signature that `PrivateKey.sign` made fits a message.
    public func isValid(_ signature: [UInt8], for message: [UInt8]) -> Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        guard EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, pointer) == 1 else { return false }
        return EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }
}
