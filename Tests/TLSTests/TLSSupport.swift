import TLS

/// 2026-01-01 and the times around it, in unix seconds.
let now: Int64 = 1_767_225_600
let year: Int64 = 365 * 86_400
/// Far enough away for handshakes, which look at the real clock.
let longAgo: Int64 = 1_000_000_000
let farAhead: Int64 = 4_000_000_000

func makeCA(_ name: String = "test-ca") throws -> CertificateAuthority {
    try CertificateAuthority.make(
        subject: DistinguishedName(commonName: name), key: .makeP256(), notBefore: longAgo, notAfter: farAhead)
}

/// A key and a certificate of an authority.
struct Identity {
    var certificate: Certificate
    var key: PrivateKey

    init(
        _ authority: CertificateAuthority, _ subject: DistinguishedName, _ names: [SubjectAlternativeName] = [],
        usage: CertificateAuthority.Usage, notBefore: Int64 = longAgo, notAfter: Int64 = farAhead
    ) throws {
        key = try .makeP256()
        certificate = try authority.sign(
            CertificateAuthority.Leaf(
                subject: subject, alternativeNames: names, usage: usage, notBefore: notBefore, notAfter: notAfter),
            for: key.publicKey)
    }

    func configuration(trusting authorities: [CertificateAuthority]) -> TLSConfiguration {
        var configuration = TLSConfiguration()
        configuration.certificateChain = [certificate]
        configuration.privateKey = key
        configuration.trust = authorities.map(\.certificate)
        return configuration
    }
}

/// Two engines and the wire between them.
struct Wire {
    var client: TLSEngine
    var server: TLSEngine
    /// Cut what goes over the wire into pieces of so many bytes.
    var pieceBytes = Int.max

    /// Moves what one engine has for the other; whether there was anything.
    func carry(_ from: TLSEngine, _ to: TLSEngine) -> Bool {
        var bytes: [UInt8] = []
        from.takeOutput(into: &bytes)
        to.receive(bytes.span.bytes)
        return !bytes.isEmpty
    }

    /// Runs both handshakes to their end; the error of the first side that fails, and both sides' alerts delivered.
    func handshake() throws(TLSError) {
        var clientDone = false
        var serverDone = false
        for _ in 0..<10 where !clientDone || !serverDone {
            if !clientDone { clientDone = try client.handshake() }
            _ = carry(client, server)
            if !serverDone { serverDone = try server.handshake() }
            _ = carry(server, client)
        }
        guard clientDone, serverDone else { throw TLSError("test", "the handshake does not come to an end") }
    }

    func read(_ engine: TLSEngine, upTo count: Int = 65536) throws(TLSError) -> (TLSEngine.ReadResult, [UInt8]) {
        var buffer = [UInt8](repeating: 0, count: count)
        var result = TLSEngine.ReadResult.end
        var failure: TLSError?
        buffer.withUnsafeMutableBytes { bytes in
            do throws(TLSError) { result = try engine.read(into: bytes) } catch { failure = error }
        }
        if let failure { throw failure }
        if case .bytes(let read) = result { return (result, Array(buffer[..<read])) }
        return (result, [])
    }
}
