import TLS
import Testing

/// Vectors of the standards, whose keys and signatures are public.
@Suite("Signatures of JSON Web Tokens")
struct SignatureTests {
    private func decode(_ text: String) -> [UInt8] {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var bits: UInt32 = 0
        var count = 0
        var bytes: [UInt8] = []
        for digit in text.utf8 {
            bits = bits << 6 | UInt32(alphabet.firstIndex(of: digit) ?? 0)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return bytes
    }

    static let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

    @Test("HS256: RFC 7515, appendix A.1")
    func hmac() throws {
        let key = try VerificationKey(
            secret: decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"))
        let message = Array("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\(Self.payload)".utf8)
        let code = decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        #expect(key.isValid(code, for: message, .hs256))
        #expect(!key.isValid(code, for: message, .hs384) && !key.isValid(code, for: message, .rs256))
        #expect(!key.isValid(Array(code.dropLast()), for: message, .hs256) && !key.isValid([], for: message, .hs256))
        #expect(throws: TLSError.self) { try VerificationKey(secret: []) }
    }

    @Test("RS256: RFC 7515, appendix A.2")
    func rsa() throws {
        let key = try VerificationKey(
            rsaModulus: decode(
                "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
            ), exponent: [1, 0, 1])
        let message = Array("eyJhbGciOiJSUzI1NiJ9.\(Self.payload)".utf8)
        let signature = decode(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        )
        #expect(key.isValid(signature, for: message, .rs256))
        #expect(!key.isValid(signature, for: message + [0], .rs256))
        #expect(!key.isValid(signature, for: message, .rs512) && !key.isValid(signature, for: message, .ps256))
        #expect(!key.isValid(signature, for: message, .hs256))
        #expect(throws: TLSError.self) {
            try VerificationKey(rsaModulus: [UInt8](repeating: 0xFF, count: 64), exponent: [3])
        }
        #expect(throws: TLSError.self) { try VerificationKey(rsaModulus: [], exponent: []) }
    }

    @Test("ES256: RFC 7515, appendix A.3; no other curve, no DER, no point beside the curve")
    func ecdsa() throws {
        let x = decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
        let y = decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
        let key = try VerificationKey(curve: .p256, x: x, y: y)
        let message = Array("eyJhbGciOiJFUzI1NiJ9.\(Self.payload)".utf8)
        let signature = decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
        #expect(key.isValid(signature, for: message, .es256))
        #expect(!key.isValid(signature, for: message, .es384))
        #expect(!key.isValid([UInt8](repeating: 0, count: 64), for: message, .es256))
        #expect(!key.isValid(signature + [0], for: message, .es256))
        #expect(throws: TLSError.self) { try VerificationKey(curve: .p256, x: y, y: x) }
        #expect(throws: TLSError.self) { try VerificationKey(curve: .p384, x: x, y: y) }
    }

    @Test("EdDSA: RFC 8037, appendix A.4")
    func edwards() throws {
        let key = try VerificationKey(ed25519: decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
        let message = Array("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".utf8)
        let signature = decode(
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        #expect(key.isValid(signature, for: message, .edDSA))
        #expect(!key.isValid(signature, for: message + [1], .edDSA))
        #expect(throws: TLSError.self) { try VerificationKey(ed25519: [1, 2, 3]) }
    }

    @Test("a PEM key or certificate checks what its private half signed")
    func pem() throws {
        let authority = try makeCA()
        let identity = try Identity(authority, DistinguishedName(commonName: "a"), usage: .client)
        let key = try VerificationKey(pem: identity.certificate.pem)
        #expect(key.allows(.es256) && !key.allows(.es512) && !key.allows(.rs256) && !key.allows(.hs256))
        #expect(throws: TLSError.self) { try VerificationKey(pem: Array("x".utf8)) }
    }
}
