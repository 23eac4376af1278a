import TLS
import Testing

@Suite("What a context says of certificates that somebody else has")
struct ChainExaminationTests {
    private let authority: CertificateAuthority
    private let server: Identity

    init() throws {
        authority = try makeCA()
        server = try Identity(authority, DistinguishedName(commonName: "server"), [.dns("api.test")], usage: .server)
    }

    private func identity(
        _ authority: CertificateAuthority, _ name: String, notBefore: Int64 = longAgo, notAfter: Int64 = farAhead,
        usage: CertificateAuthority.Usage = .client
    ) throws -> Identity {
        try Identity(
            authority, DistinguishedName(commonName: "c"), [.uri(name)], usage: usage, notBefore: notBefore,
            notAfter: notAfter)
    }

    /// What the context says, and whether a handshake with the same certificate fails.
    private func judge(
        _ client: Identity, _ change: (inout TLSConfiguration) -> Void = { _ in }
    ) throws -> (refusal: String?, fails: Bool) {
        var configuration = server.configuration(trusting: [authority])
        configuration.peerCertificate = .required
        change(&configuration)
        let context = try TLSContext(configuration, role: .server)
        let engine = try TLSEngine(TLSContext(client.configuration(trusting: [authority]), role: .client))
        var wire = Wire(client: engine, server: try TLSEngine(context))
        var fails = false
        do throws(TLSError) { try wire.handshake() } catch { fails = true }
        wire.pieceBytes = 1
        return (context.refusal(ofPeer: [client.certificate.der]), fails)
    }

    @Test(
        "ATK-26 it says what a handshake does: good, of a stranger, expired, not yet valid, for another use, with another name"
    )
    func sameAsHandshake() throws {
        let good = try judge(identity(authority, "spiffe://a/b"))
        #expect(good.refusal == nil && !good.fails)
        let stranger = try judge(identity(makeCA("other"), "spiffe://a/b"))
        #expect(stranger.refusal?.contains("issuer") == true && stranger.fails, "\(stranger)")
        let expired = try judge(identity(authority, "spiffe://a/b", notAfter: longAgo + year))
        #expect(expired.refusal?.contains("expired") == true && expired.fails, "\(expired)")
        let early = try judge(identity(authority, "spiffe://a/b", notBefore: farAhead - year))
        #expect(early.refusal?.contains("not yet valid") == true && early.fails, "\(early)")
        let use = try judge(identity(authority, "spiffe://a/b", usage: .server))
        #expect(use.refusal != nil && use.fails)
        let name = try judge(identity(authority, "spiffe://a/b")) { configuration in
            configuration.judge = { $0.uris == ["spiffe://a/c"] ? nil : .name }
        }
        #expect(name.refusal?.contains("none of its names is accepted") == true && name.fails, "\(name)")
    }

    @Test("an intermediate of the chain is followed, and nothing at all is no certificate")
    func chains() throws {
        var configuration = server.configuration(trusting: [authority])
        configuration.peerCertificate = .required
        let context = try TLSContext(configuration, role: .server)
        #expect(context.refusal(ofPeer: []) == "no certificate")
        #expect(context.refusal(ofPeer: [[1, 2, 3]]) != nil)
        let client = try identity(authority, "spiffe://a/b")
        #expect(context.refusal(ofPeer: [client.certificate.der, authority.certificate.der]) == nil)
    }
}
