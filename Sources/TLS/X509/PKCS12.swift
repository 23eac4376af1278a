internal import COpenSSL

/// PKCS#12 containers: a key, its certificate and others in one file.
public enum PKCS12 {
    /// The chain, leaf first, and the key.
    public static func read(_ bytes: [UInt8], password: [UInt8]) throws(TLSError) -> ([Certificate], PrivateKey) {
        ERR_clear_error()
        let container = bytes.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return d2i_PKCS12(nil, &position, buffer.count)
        }
        let read = try made(container, "PKCS#12")
        defer { PKCS12_free(read) }
        var key: OpaquePointer?
        var leaf: OpaquePointer?
        var others: OpaquePointer?
        let secret = (password + [0]).map { CChar(bitPattern: $0) }
        try checked(PKCS12_parse(read, secret, &key, &leaf, &others), "PKCS#12")
        defer { if let others { copenssl_free_chain(others) } }
        guard let key else {
            if let leaf { X509_free(leaf) }
            throw TLSError("PKCS#12", "it holds no key")
        }
        let privateKey = PrivateKey(key)
        guard let leaf else { throw TLSError("PKCS#12", "it holds no certificate") }
        var chain = [try Certificate(adopting: leaf)]
        if let others {
            for index in 0..<max(0, copenssl_chain_count(others)) {
                guard let other = copenssl_chain_at(others, index) else { continue }
                X509_up_ref(other)
                chain.append(try Certificate(adopting: other))
            }
        }
        return (chain, privateKey)
    }
}
