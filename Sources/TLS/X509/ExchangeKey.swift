internal import COpenSSL

/// A key for X25519 (RFC 7748) as raw bytes, for protocols that are not TLS.
public enum ExchangeKey {
    /// Makes a private key: 32 bytes of OpenSSL's random source.
    public static func make() throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        let key = try made(copenssl_make_x25519(), "making an X25519 key")
        defer { EVP_PKEY_free(key) }
        return try raw(key, EVP_PKEY_get_raw_private_key)
    }

    /// The public key of a private one.
    ///
    /// Throws when the private key is not 32 bytes.
    public static func publicKey(of privateKey: [UInt8]) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        let key = try made(
            EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nil, privateKey, privateKey.count), "X25519 key")
        defer { EVP_PKEY_free(key) }
        return try raw(key, EVP_PKEY_get_raw_public_key)
    }

    private static func raw(
        _ key: OpaquePointer,
        _ read: (OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<Int>?) -> Int32
    ) throws(TLSError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 32)
        var count = bytes.count
        guard read(key, &bytes, &count) == 1, count == bytes.count else {
            throw TLSError("X25519 key", "OpenSSL does not give its bytes")
        }
        return bytes
    }
}
