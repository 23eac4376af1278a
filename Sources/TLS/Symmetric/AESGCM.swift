internal import COpenSSL

/// AES-256-GCM: bytes that nobody reads or changes without the key (NIST SP 800-38D).
///
/// What `seal` returns is nonce (12 bytes), ciphertext, tag (16 bytes). The nonce is random: one key is good for 2³² sealings.
public struct AESGCM: Sendable {
    /// Bytes of a key.
    public static let keyBytes = 32
    private static let nonceBytes = 12
    private static let tagBytes = 16
    /// What is sealed stays far below OpenSSL's 31-bit lengths.
    private static let contentBytesMax = 1 << 30

    private let key: [UInt8]

    /// A cipher with a key of 32 bytes.
    public init(key: [UInt8]) throws(TLSError) {
        guard key.count == Self.keyBytes else {
            throw TLSError("AES-256-GCM", "the key has \(key.count) bytes, not \(Self.keyBytes)")
        }
        self.key = key
    }

    /// Random bytes fit for a key.
    public static func makeKey() throws(TLSError) -> [UInt8] { try random(keyBytes) }

    private static func random(_ count: Int) throws(TLSError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        try checked(RAND_bytes(&bytes, Int32(clamping: count)), "random bytes")
        return bytes
    }

    /// Encrypts `content`; `context` is not kept, but must be the same when it is opened: where the content belongs.
    public func seal(_ content: [UInt8], context: [UInt8]) throws(TLSError) -> [UInt8] {
        let operation = "AES-256-GCM sealing"
        guard content.count <= Self.contentBytesMax, context.count <= Self.contentBytesMax else {
            throw TLSError(operation, "\(content.count) bytes are too many")
        }
        let nonce = try Self.random(Self.nonceBytes)
        let cipher = try made(EVP_CIPHER_CTX_new(), operation)
        defer { EVP_CIPHER_CTX_free(cipher) }
        var length: Int32 = 0
        try checked(EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), nil, key, nonce), operation)
        try checked(EVP_EncryptUpdate(cipher, nil, &length, context, Int32(context.count)), operation)
        var sealed = [UInt8](repeating: 0, count: content.count)
        try checked(EVP_EncryptUpdate(cipher, &sealed, &length, content, Int32(content.count)), operation)
        var tail: [UInt8] = [0]
        try checked(EVP_EncryptFinal_ex(cipher, &tail, &length), operation)
        var tag = [UInt8](repeating: 0, count: Self.tagBytes)
        try checked(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), &tag), operation)
        return nonce + sealed + tag
    }

    /// Decrypts what `seal` returned; fails with another key, another context, or when a bit was changed.
    public func open(_ sealed: [UInt8], context: [UInt8]) throws(TLSError) -> [UInt8] {
        let operation = "AES-256-GCM opening"
        let overhead = Self.nonceBytes + Self.tagBytes
        guard sealed.count >= overhead, sealed.count <= Self.contentBytesMax, context.count <= Self.contentBytesMax
        else { throw TLSError(operation, "\(sealed.count) bytes are no sealed content") }
        let nonce = Array(sealed.prefix(Self.nonceBytes))
        let body = Array(sealed[Self.nonceBytes..<(sealed.count - Self.tagBytes)])
        var tag = Array(sealed.suffix(Self.tagBytes))
        let cipher = try made(EVP_CIPHER_CTX_new(), operation)
        defer { EVP_CIPHER_CTX_free(cipher) }
        var length: Int32 = 0
        try checked(EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), nil, key, nonce), operation)
        try checked(EVP_DecryptUpdate(cipher, nil, &length, context, Int32(context.count)), operation)
        var content = [UInt8](repeating: 0, count: body.count)
        try checked(EVP_DecryptUpdate(cipher, &content, &length, body, Int32(body.count)), operation)
        try checked(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), &tag), operation)
        var rest: [UInt8] = [0]
        guard EVP_DecryptFinal_ex(cipher, &rest, &length) == 1 else {
            ERR_clear_error()
            throw TLSError(operation, "another key, another place, or damaged")
        }
        return content
    }
}
