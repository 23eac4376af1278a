import TLS
import Testing

@Suite("Keys for X25519")
struct ExchangeKeyTests {
    private func bytes(_ text: String) -> [UInt8] {
        stride(from: 0, to: text.utf8.count, by: 2).compactMap {
            UInt8(text.dropFirst($0).prefix(2), radix: 16)
        }
    }

    @Test("the public key of a private one is that of RFC 7748 section 6.1")
    func known() throws {
        let key = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
        let known = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        #expect(try ExchangeKey.publicKey(of: key) == known)
    }

    @Test("each key that is made is another one, and has a public key; what is no key is refused")
    func made() throws {
        let (one, other) = (try ExchangeKey.make(), try ExchangeKey.make())
        #expect(one.count == 32 && one != other)
        #expect(try ExchangeKey.publicKey(of: one) != ExchangeKey.publicKey(of: other))
        #expect(throws: TLSError.self) { try ExchangeKey.publicKey(of: [1, 2, 3]) }
    }
}
