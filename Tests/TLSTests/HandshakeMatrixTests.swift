import TLS
import Testing

/// The slim library context must not lack anything that a handshake can need: a missing name shows only in the handshake that needs it.
@Suite("Every kind of certificate with every suite and group")
struct HandshakeMatrixTests {
    static let groups = [("X25519", "X25519"), ("P-256", "P-256"), ("P-384", "P-384"), ("P-521", "P-521")]

    @Test("TLS 1.3: certificate kinds and groups, mutual", arguments: PrivateKey.Kind.allCases)
    func modern(_ kind: PrivateKey.Kind) throws {
        let wires = try Pair(kind)
        for (group, name) in Self.groups {
            var server = wires.server
            var client = wires.client
            server.groups = group
            client.groups = group
            server.minimumVersion = .v1_3
            let wire = try Wire(client, server)
            try wire.handshake()
            #expect(wire.server.version == "TLSv1.3" && wire.server.group == name)
            #expect(wire.server.cipher == "TLS_AES_128_GCM_SHA256")
            #expect(wire.server.peer?.isVerified == true)
            try wire.exchange()
        }
    }

    @Test("TLS 1.2: certificate kinds and suites, mutual", arguments: PrivateKey.Kind.allCases)
    func older(_ kind: PrivateKey.Kind) throws {
        let wires = try Pair(kind)
        let family = kind == .rsa2048 ? "RSA" : "ECDSA"
        for suite in ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"] {
            var server = wires.server
            server.maximumVersion = .v1_2
            server.cipherList = "ECDHE-\(family)-\(suite)"
            let wire = try Wire(wires.client, server)
            try wire.handshake()
            #expect(wire.server.version == "TLSv1.2" && wire.server.cipher == "ECDHE-\(family)-\(suite)")
            try wire.exchange()
        }
    }

    @Test("names of suites are known or not, and several in one are no name")
    func suites() {
        #expect(TLSContext.knows(cipher: "ECDHE-RSA-AES128-GCM-SHA256"))
        #expect(!TLSContext.knows(cipher: "ROT13"))
        #expect(!TLSContext.knows(cipher: "ECDHE-RSA-AES128-GCM-SHA256:ROT13"))
        #expect(!TLSContext.knows(cipher: "@SECLEVEL=0"))
        #expect(!TLSContext.knows(cipher: ""))
    }

    @Test("versions are kept to: what the two sides do not share fails")
    func versions() throws {
        let wires = try Pair(.p256)
        var old = wires.client
        old.maximumVersion = .v1_2
        var new = wires.server
        new.minimumVersion = .v1_3
        let wire = try Wire(old, new)
        #expect(throws: TLSError.self) { try wire.handshake() }
        var crossed = wires.server
        crossed.minimumVersion = .v1_3
        crossed.maximumVersion = .v1_2
        #expect(throws: TLSError.self) { try TLSContext(crossed, role: .server) }
    }

    @Test("a server presents the certificate that fits the name and the kinds of keys that the client knows")
    func choice() throws {
        let authority = try makeCA()
        func identity(_ names: [String], _ kind: PrivateKey.Kind) throws -> TLSIdentity {
            let key = try PrivateKey.make(kind)
            let leaf = CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: names[0]), alternativeNames: names.map { .dns($0) },
                usage: .server, notBefore: longAgo, notAfter: farAhead)
            return TLSIdentity(chain: [try authority.sign(leaf, for: key.publicKey)], key: key)
        }
        var server = TLSConfiguration()
        server.peerCertificate = .notVerified
        server.identities = [
            try identity(["first.test"], .p256), try identity(["*.wild.test", "both.test"], .rsa2048),
            try identity(["both.test"], .p256),
        ]
        let context = try TLSContext(server, role: .server)
        func presented(_ name: String?, _ algorithms: String? = nil) throws -> String? {
            var client = TLSConfiguration()
            client.trust = [authority.certificate]
            client.signatureAlgorithms = algorithms
            let wire = Wire(
                client: try TLSEngine(TLSContext(client, role: .client), indicates: name),
                server: try TLSEngine(context))
            try wire.handshake()
            #expect(wire.server.local?.commonName == wire.client.peer?.commonName)
            return wire.client.peer?.commonName
        }
        #expect(try presented("first.test") == "first.test")
        #expect(try presented("FIRST.test") == "first.test")
        #expect(try presented("a.wild.test") == "*.wild.test")
        #expect(try presented("a.b.wild.test") == "first.test")
        #expect(try presented("both.test") == "both.test")
        #expect(try presented("both.test", "rsa_pss_rsae_sha256:RSA+SHA256") == "*.wild.test")
        #expect(try presented("unknown.test") == "first.test")
        #expect(try presented(nil) == "first.test")
    }
}

/// Configurations of two sides with certificates of one kind.
struct Pair {
    var client: TLSConfiguration
    var server: TLSConfiguration

    init(_ kind: PrivateKey.Kind) throws {
        let authority = try CertificateAuthority.make(
            subject: DistinguishedName(commonName: "ca"), key: .make(kind), notBefore: longAgo, notAfter: farAhead)
        func side(_ name: String) throws -> TLSConfiguration {
            let key = try PrivateKey.make(kind)
            let leaf = CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: name), alternativeNames: [.dns("\(name).test")],
                usage: [.client, .server], notBefore: longAgo, notAfter: farAhead)
            var configuration = TLSConfiguration()
            configuration.certificateChain = [try authority.sign(leaf, for: key.publicKey)]
            configuration.privateKey = key
            configuration.trust = [authority.certificate]
            return configuration
        }
        client = try side("client")
        server = try side("server")
    }
}

extension Wire {
    init(_ client: TLSConfiguration, _ server: TLSConfiguration) throws {
        self.init(
            client: try TLSEngine(TLSContext(client, role: .client)),
            server: try TLSEngine(TLSContext(server, role: .server)))
    }

    /// Some bytes each way.
    func exchange() throws {
        let text = Array("ping".utf8)
        try client.write(text.span.bytes)
        _ = carry(client, server)
        #expect(try read(server).1 == text)
        try server.write(text.span.bytes)
        _ = carry(server, client)
        #expect(try read(client).1 == text)
    }
}
