import DNS
import TLS

extension FuzzTarget {
    static let dns = FuzzTarget(
        "dns", words: ["\u{0}\u{1}", "\u{0}\u{1C}", "\u{0}\u{29}", "\u{3}www", "\u{0}"], smoke: 6000
    ) { input in
        guard let message = try? DNSMessage(parsing: input) else { return }
        let written = message.bytes()
        try holds(written.count <= 65_535, "\(written.count) bytes")
        // What does not fit is cut off, and says so.
        guard let again = try? DNSMessage(parsing: written) else {
            throw Violation("what is written is not read again")
        }
        try holds(again == message || again.isTruncated, "written and read again it is another: \(message) \(again)")
    }

    static let x509 = FuzzTarget(
        "x509",
        words: [
            "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE REQUEST-----\n", "spiffe://", "*.", "\u{0}", "0\u{82}", "U\u{1D}\u{11}", "A",
        ], smoke: 2500
    ) { input in
        for certificate in [try? Certificate(der: input), try? Certificate(pem: input)].compactMap({ $0 }) {
            try holds((try? Certificate(der: certificate.der)) == certificate, "read again it is another")
            for name in certificate.alternativeNames {
                switch name {
                case .dns(let text), .uri(let text):
                    try holds(text.utf8.allSatisfy { $0 != 0 }, "NUL in a name: \(text.debugDescription)")
                default: break
                }
            }
            _ = (certificate.serial, certificate.isCA, try? PeerFacts(certificate))
            _ = try? OCSPStaple(der: input, for: certificate)
        }
        _ = try? Certificate.all(pem: input, skippingDamaged: true)
        _ = try? CertificateRequest(pem: input)
        _ = try? PrivateKey(pem: input)
        _ = try? PublicKey(der: input)
    }
}
