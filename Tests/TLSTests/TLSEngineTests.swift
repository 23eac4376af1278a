import TLS
import Testing

@Suite("TLS engine")
struct TLSEngineTests {
    let authority: CertificateAuthority
    let server: Identity
    let client: Identity

    init() throws {
        authority = try makeCA()
        server = try Identity(
            authority, DistinguishedName(commonName: "server"), [.dns("api.test"), .ip([127, 0, 0, 1])], usage: .server)
        client = try Identity(
            authority, DistinguishedName(commonName: "admin", organizations: ["system:masters"]), usage: .client)
    }

    func wire(
        name: String? = "api.test", client clientConfiguration: TLSConfiguration? = nil,
        server serverConfiguration: TLSConfiguration? = nil
    ) throws -> Wire {
        let client = try TLSContext(
            clientConfiguration ?? self.client.configuration(trusting: [authority]), role: .client)
        let server = try TLSContext(
            serverConfiguration ?? self.server.configuration(trusting: [authority]), role: .server)
        return try Wire(client: TLSEngine(client, serverName: name), server: TLSEngine(server))
    }

    @Test("both sides see each other's certificate, name and protocol, and bytes go both ways")
    func mutual() throws {
        var ours = client.configuration(trusting: [authority])
        ours.applicationProtocols = ["h2", "http/1.1"]
        var theirs = server.configuration(trusting: [authority])
        theirs.applicationProtocols = ["http/1.1"]
        let wire = try wire(client: ours, server: theirs)
        try wire.handshake()
        #expect(try wire.server.peerCertificate?.subject.organizations == ["system:masters"])
        #expect(try wire.client.peerCertificate == server.certificate)
        #expect(wire.server.serverName == "api.test" && wire.client.version == "TLSv1.3")
        #expect(wire.client.applicationProtocol == "http/1.1" && wire.server.applicationProtocol == "http/1.1")

        let large = [UInt8](repeating: 0x61, count: 100_000)
        try wire.client.write(large.span.bytes)
        _ = wire.carry(wire.client, wire.server)
        var received: [UInt8] = []
        loop: while true {
            let (result, bytes) = try wire.read(wire.server)
            received += bytes
            if result == .needsInput { break loop }
        }
        #expect(received == large)
        wire.server.shutdown()
        _ = wire.carry(wire.server, wire.client)
        #expect(try wire.read(wire.client).0 == .end)
    }

    @Test("measure 1: no tickets are sent, so a handshake leaves nothing to read")
    func noTickets() throws {
        let wire = try wire()
        try wire.handshake()
        #expect(!wire.server.hasOutput)
        #expect(try wire.read(wire.client).0 == .needsInput)
    }

    @Test("wrong names, unknown authorities, expired and misused certificates are refused, with the reason")
    func refused() throws {
        func failure(_ wire: Wire) -> String {
            do throws(TLSError) {
                try wire.handshake()
                // With TLS 1.3 a client learns of its refusal when it reads.
                return "accepted"
            } catch {
                return error.description
            }
        }
        let stranger = try makeCA("stranger")
        #expect(failure(try wire(name: "other.test")).contains("hostname mismatch"))
        #expect(failure(try wire(name: "127.0.0.2")).contains("IP address mismatch"))
        #expect(failure(try wire(name: "127.0.0.1")) == "accepted")
        #expect(
            failure(try wire(client: client.configuration(trusting: [stranger]))).contains("unable to get local issuer")
        )
        #expect(
            failure(try wire(server: server.configuration(trusting: [stranger]))).contains("unable to get local issuer")
        )
        var anonymous = TLSConfiguration()
        anonymous.trust = [authority.certificate]
        #expect(failure(try wire(client: anonymous)).contains("peer did not return a certificate"))
        var lenient = server.configuration(trusting: [authority])
        lenient.peerCertificate = .optional
        #expect(failure(try wire(client: anonymous, server: lenient)) == "accepted")
        let expired = try Identity(
            authority, DistinguishedName(commonName: "x"), usage: .client, notBefore: longAgo, notAfter: longAgo + 60)
        #expect(
            failure(try wire(client: expired.configuration(trusting: [authority]))).contains("certificate has expired"))
        // ATK-26: the extended key usage counts, in both directions.
        #expect(
            failure(try wire(client: server.configuration(trusting: [authority]))).contains(
                "unsuitable certificate purpose"))
        let misused = try Identity(authority, DistinguishedName(), [.dns("api.test")], usage: .client)
        #expect(
            failure(try wire(server: misused.configuration(trusting: [authority]))).contains(
                "unsuitable certificate purpose"))
        let forged = try Identity(
            CertificateAuthority(certificate: authority.certificate, key: authority.key), DistinguishedName(),
            usage: .client)
        #expect(failure(try wire(client: forged.configuration(trusting: [authority]))) == "accepted")
    }

    @Test("contexts that cannot work are refused when made")
    func contexts() throws {
        var mixed = server.configuration(trusting: [authority])
        mixed.privateKey = client.key
        #expect(throws: TLSError.self) { try TLSContext(mixed, role: .server) }
        #expect(throws: TLSError.self) { try TLSContext(server.configuration(trusting: []), role: .server) }
        #expect(throws: TLSError.self) { try TLSContext(TLSConfiguration(), role: .server) }
        var keyless = server.configuration(trusting: [authority])
        keyless.privateKey = nil
        #expect(throws: TLSError.self) { try TLSContext(keyless, role: .server) }
        let pem = try TLSConfiguration(
            chainPEM: server.certificate.pem, keyPEM: server.key.pem, trustPEM: authority.certificate.pem)
        _ = try TLSContext(pem, role: .server)
    }

    @Test("a handshake works when the wire gives one byte at a time")
    func oneByteAtATime() throws {
        let wire = try wire()
        var done = (false, false)
        for _ in 0..<10 where done != (true, true) {
            for (index, (from, to)) in [(wire.client, wire.server), (wire.server, wire.client)].enumerated() {
                var bytes: [UInt8] = []
                if index == 0, !done.0 { done.0 = try from.handshake() }
                if index == 1, !done.1 { done.1 = try from.handshake() }
                from.takeOutput(into: &bytes)
                for byte in bytes {
                    to.receive([byte].span.bytes)
                    if index == 0, !done.1 { done.1 = try to.handshake() }
                    if index == 1, !done.0 { done.0 = try to.handshake() }
                }
            }
        }
        #expect(done == (true, true))
    }

    @Test("garbage instead of a handshake is an error that leaves the thread's error queue empty")
    func garbage() throws {
        let wire = try wire()
        wire.server.receive(Array("GET / HTTP/1.1\r\n\r\n".utf8).span.bytes)
        #expect(throws: TLSError("TLS handshake", "http request")) { try wire.server.handshake() }
        try self.wire().handshake()
    }
}
