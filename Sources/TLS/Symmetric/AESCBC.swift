internal import COpenSSL

/// AES-256-CBC with PKCS#7 padding: for what others wrote so, and for nothing new.
///
/// Nothing authenticates it: whoever learns whether a changed text could be opened learns the text (a padding oracle). `AESGCM` is what to use. What `seal`
/// returns is the initialization vector (16 bytes, random) and the ciphertext.
public struct AESCBC: Sendable {
    private static let blockBytes = 16
    private static let contentBytesMax = 1 << 30

    private let key: [UInt8]

    /// A cipher with a key of 32 bytes.
    public init(key: [UInt8]) throws(TLSError) {
        guard key.count == AESGCM.keyBytes else {
            throw TLSError("AES-256-CBC", "the key has \(key.count) bytes, not \(AESGCM.keyBytes)")
        }
        self.key = key
    }

    /// Encrypts `content`.
    public func seal(_ content: [UInt8]) throws(TLSError) -> [UInt8] {
        let operation = "AES-256-CBC sealing"
        guard content.count <= Self.contentBytesMax else {
            throw TLSError(operation, "\(content.count) bytes are too many")
        }
        var vector = [UInt8](repeating: 0, count: Self.blockBytes)
        try checked(RAND_bytes(&vector, Int32(Self.blockBytes)), "random bytes")
        let cipher = try made(EVP_CIPHER_CTX_new(), operation)
        defer { EVP_CIPHER_CTX_free(cipher) }
        try checked(EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key, vector), operation)
        var sealed = [UInt8](repeating: 0, count: content.count + Self.blockBytes)
        var length: Int32 = 0
        try checked(EVP_EncryptUpdate(cipher, &sealed, &length, content, Int32(content.count)), operation)
        var tail = [UInt8](repeating: 0, count: Self.blockBytes)
        var tailLength: Int32 = 0
        try checked(EVP_EncryptFinal_ex(cipher, &tail, &tailLength), operation)
        return vector + sealed.prefix(Int(length)) + tail.prefix(Int(tailLength))
    }

    /// Decrypts what `seal` returned; mostly fails with another key or when a bit was changed, and not always.
    public func open(_ sealed: [UInt8]) throws(TLSError) -> [UInt8] {
        let operation = "AES-256-CBC opening"
        guard sealed.count >= 2 * Self.blockBytes, sealed.count % Self.blockBytes == 0,
            sealed.count <= Self.contentBytesMax
        else { throw TLSError(operation, "\(sealed.count) bytes are no sealed content") }
        let vector = Array(sealed.prefix(Self.blockBytes))
        let body = Array(sealed.dropFirst(Self.blockBytes))
        let cipher = try made(EVP_CIPHER_CTX_new(), operation)
        defer { EVP_CIPHER_CTX_free(cipher) }
        try checked(EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key, vector), operation)
        var content = [UInt8](repeating: 0, count: body.count + Self.blockBytes)
        var length: Int32 = 0
        try checked(EVP_DecryptUpdate(cipher, &content, &length, body, Int32(body.count)), operation)
        var tail = [UInt8](repeating: 0, count: Self.blockBytes)
        var tailLength: Int32 = 0
        guard EVP_DecryptFinal_ex(cipher, &tail, &tailLength) == 1 else {
            ERR_clear_error()
            throw TLSError(operation, "another key, or damaged")
        }
        return Array(content.prefix(Int(length)) + tail.prefix(Int(tailLength)))
    }
}
