internal import COpenSSL

/// SHA-256.
public enum SHA256 {
    /// The 32 bytes of the digest.
    public static func hash(_ bytes: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, initialized in
            _ = COpenSSL.SHA256(bytes, bytes.count, buffer.baseAddress)
            initialized = 32
        }
    }

    /// The digest as 64 lower-case hexadecimal digits.
    public static func hexadecimal(_ bytes: [UInt8]) -> String {
        var text = ""
        for byte in hash(bytes) { text += (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        return text
    }
}

/// SHA-1: for names that others have given with it, for WebSocket's handshake, and for files of passwords that know nothing better; never for
/// security.
public enum SHA1 {
    /// The digest, 20 bytes.
    public static func hash(_ bytes: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 20) { buffer, initialized in
            _ = COpenSSL.SHA1(bytes, bytes.count, buffer.baseAddress)
            initialized = 20
        }
    }
}

/// SHA-256 of bytes that come piece by piece.
public final class SHA256Digest {
    private let context: OpaquePointer

    /// A digest of nothing yet.
    public init() {
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            preconditionFailure("OpenSSL has no SHA-256, or there is no memory")
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Adds bytes.
    public func update(_ bytes: [UInt8]) { EVP_DigestUpdate(context, bytes, bytes.count) }

    /// The digest of what was added; the end of this digest.
    public func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, initialized in
            EVP_DigestFinal_ex(context, buffer.baseAddress, nil)
            initialized = 32
        }
    }
}

/// HMAC with SHA-256.
public enum HMACSHA256 {
    /// The 32 bytes that authenticate a message under a key.
    public static func authenticate(_ message: [UInt8], key: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, initialized in
            var count: UInt32 = 0
            _ = HMAC(EVP_sha256(), key, Int32(clamping: key.count), message, message.count, buffer.baseAddress, &count)
            initialized = Int(count)
        }
    }

    /// Whether a code authenticates a message, in time that does not depend on where it differs.
    public static func isValid(_ code: [UInt8], for message: [UInt8], key: [UInt8]) -> Bool {
        let expected = authenticate(message, key: key)
        return code.count == expected.count && CRYPTO_memcmp(code, expected, code.count) == 0
    }
}

/// Random bytes that nobody can guess.
public enum SecureRandom {
    /// So many random bytes.
    public static func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            // Going on with guessable keys would be worse than stopping.
            guard RAND_bytes(buffer.baseAddress, Int32(count)) == 1 else {
                preconditionFailure("the system gives no random bytes")
            }
            initialized = count
        }
    }
}
