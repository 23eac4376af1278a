internal import COpenSSL

/// Seals and opens session tickets with the keys of a context.
enum TicketSealer {
    /// OpenSSL's answer for "no such key", "go on", and "go on, and give a fresh ticket".
    private static let unknown: Int32 = 0
    private static let proceed: Int32 = 1
    private static let renew: Int32 = 2
    private static let failed: Int32 = -1
    private static let vectorBytes = 16

    static func prepare(
        _ ssl: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?, _ vector: UnsafeMutablePointer<UInt8>?,
        _ cipher: OpaquePointer?, _ code: OpaquePointer?, isSealing: Bool
    ) -> Int32 {
        guard let ssl, let name, let vector, let engine = TLSEngine.owner(of: ssl) else { return failed }
        let keys = engine.context.ticketKeys
        if isSealing {
            guard let key = keys.first, RAND_bytes(vector, Int32(vectorBytes)) == 1 else { return failed }
            name.update(from: key.name, count: key.name.count)
            guard EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.encryption, vector) == 1 else { return failed }
            return authenticate(code, key) ? proceed : failed
        }
        let presented = UnsafeBufferPointer(start: name, count: 16)
        guard let index = keys.firstIndex(where: { $0.name.elementsEqual(presented) }) else { return unknown }
        let key = keys[index]
        guard authenticate(code, key), EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.encryption, vector) == 1
        else { return failed }
        return index == 0 ? proceed : renew
    }

    private static func authenticate(_ code: OpaquePointer?, _ key: TLSTicketKey) -> Bool {
        var secret = key.authentication
        return copenssl_set_mac_key(code, &secret, secret.count) == 1
    }
}
