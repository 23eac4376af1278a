import TLS
import Testing

@Suite("Certificates and keys")
struct X509Tests {
    @Test("an authority signs a leaf that says what was asked, and reads back the same from PEM")
    func leaf() throws {
        let authority = try CertificateAuthority.make(
            subject: DistinguishedName(commonName: "skein-ca", organizations: ["skein"]), key: .makeP256(),
            notBefore: now, notAfter: now + 10 * year)
        #expect(authority.certificate.isCA && authority.certificate.issuer == authority.certificate.subject)
        let key = try PrivateKey.makeP256()
        let subject = DistinguishedName(commonName: "admin", organizations: ["system:masters", "other"])
        let names: [SubjectAlternativeName] = [
            .dns("kubernetes.default.svc"), .ip([127, 0, 0, 1]), .ip([UInt8](repeating: 0, count: 15) + [1]),
            .uri("spiffe://cluster.local/ns/a/sa/b"),
        ]
        let leaf = try authority.sign(
            CertificateAuthority.Leaf(
                subject: subject, alternativeNames: names, usage: [.client, .server], notBefore: now,
                notAfter: now + year),
            for: key.publicKey, serial: [0x41, 2, 3])
        for certificate in try [leaf, Certificate(pem: leaf.pem), Certificate(der: leaf.der)] {
            #expect(certificate == leaf)
            #expect(certificate.subject == subject && certificate.issuer == authority.certificate.subject)
            #expect(certificate.alternativeNames == names)
            #expect(certificate.notBefore == now && certificate.notAfter == now + year)
            #expect(certificate.serial == [0x41, 2, 3])
            #expect(!certificate.isCA && certificate.matches(key) && certificate.isSigned(by: authority.certificate))
            #expect(try certificate.publicKey.der == key.publicKey.der)
        }
        #expect(!authority.certificate.isSigned(by: leaf))
        #expect(throws: TLSError.self) { try CertificateAuthority(certificate: leaf, key: key) }
        #expect(throws: TLSError.self) { try CertificateAuthority(certificate: authority.certificate, key: key) }
    }

    @Test("a bundle gives all its certificates, and text around them does not matter")
    func bundle() throws {
        let (a, b) = try (makeCA("a"), makeCA("b"))
        let pem = Array("before\n".utf8) + a.certificate.pem + Array("\nbetween\n".utf8) + b.certificate.pem
        #expect(try Certificate.all(pem: pem).map(\.subject.commonName) == ["a", "b"])
        #expect(throws: TLSError.self) { try Certificate.all(pem: Array("nothing".utf8)) }
        var broken = pem
        broken[pem.count - 200] = 0x21
        #expect(throws: TLSError.self) { try Certificate.all(pem: broken) }
    }

    @Test("a request proves its key and carries its wishes")
    func request() throws {
        let key = try PrivateKey.makeP256()
        let subject = DistinguishedName(commonName: "system:node:a", organizations: ["system:nodes"])
        let request = try CertificateRequest.make(
            subject: subject, alternativeNames: [.dns("a"), .uri("x://y")], key: key)
        #expect(request.subject == subject && request.alternativeNames == [.dns("a"), .uri("x://y")])
        #expect(request.publicKey.der == key.publicKey.der)
        #expect(try CertificateRequest.make(subject: subject, key: key).alternativeNames.isEmpty)
        #expect(throws: TLSError.self) { try CertificateRequest(pem: Array("x".utf8)) }
    }

    @Test("a key survives PEM, and its signatures fit its messages only")
    func keys() throws {
        let key = try PrivateKey(pem: PrivateKey.makeP256().pem)
        let message = Array("message".utf8)
        let signature = try key.sign(message)
        #expect(key.publicKey.isValid(signature, for: message))
        #expect(try PublicKey(der: key.publicKey.der).isValid(signature, for: message))
        #expect(!key.publicKey.isValid(signature, for: message + [0]))
        #expect(try !PrivateKey.makeP256().publicKey.isValid(signature, for: message))
        #expect(!key.publicKey.isValid([], for: message))
        #expect(throws: TLSError.self) { try PrivateKey(pem: Array("-----BEGIN PRIVATE KEY-----\nAA\n".utf8)) }
    }

    @Test("ATK-26 names with NUL or control characters cannot be asked for")
    func namesWithNUL() throws {
        let authority = try makeCA()
        let key = try PrivateKey.makeP256().publicKey
        for name in [SubjectAlternativeName.dns("a\u{0}b"), .uri("spiffe://a\n"), .dns("ä")] {
            let leaf = CertificateAuthority.Leaf(
                subject: DistinguishedName(), alternativeNames: [name], usage: .client, notBefore: now,
                notAfter: now + 1)
            #expect(throws: TLSError.self) { try authority.sign(leaf, for: key) }
        }
        let leaf = CertificateAuthority.Leaf(
            subject: DistinguishedName(commonName: "a\u{0}b"), usage: .client, notBefore: now, notAfter: now + 1)
        #expect(throws: TLSError.self) { try authority.sign(leaf, for: key) }
    }

    @Test("no damaged certificate traps, whichever byte is damaged")
    func damaged() throws {
        let identity = try Identity(
            makeCA(), DistinguishedName(commonName: "a", organizations: ["b"]), [.dns("c"), .ip([1, 2, 3, 4])],
            usage: .server)
        let der = identity.certificate.der
        for position in der.indices {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var damaged = der
                damaged[position] ^= change
                if let certificate = try? Certificate(der: damaged) { _ = (certificate.serial, certificate.isCA) }
            }
            _ = try? Certificate(der: Array(der[..<position]))
        }
    }

    @Test("digests and codes are those of the standards' examples")
    func digests() {
        #expect(
            SHA256.hexadecimal(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        let digest = SHA256Digest()
        digest.update(Array("a".utf8))
        digest.update(Array("bc".utf8))
        #expect(digest.finish() == SHA256.hash(Array("abc".utf8)))
        // RFC 4231, test case 2.
        let code = HMACSHA256.authenticate(Array("what do ya want for nothing?".utf8), key: Array("Jefe".utf8))
        #expect(code.prefix(4) == [0x5B, 0xDC, 0xC1, 0x46] && code.count == 32)
        #expect(HMACSHA256.isValid(code, for: Array("what do ya want for nothing?".utf8), key: Array("Jefe".utf8)))
        #expect(!HMACSHA256.isValid(Array(code.dropLast()), for: [], key: []))
        #expect(SecureRandom.bytes(32) != SecureRandom.bytes(32))
    }
}
