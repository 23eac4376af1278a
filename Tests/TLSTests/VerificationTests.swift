import Synchronization
import TLS
import Testing

@Suite("Whose certificates are accepted")
struct VerificationTests {
    let authority: CertificateAuthority
    let server: Identity

    init() throws {
        authority = try makeCA()
        server = try Identity(authority, DistinguishedName(commonName: "server"), [.dns("api.test")], usage: .server)
    }

    private func serverConfiguration(_ change: (inout TLSConfiguration) -> Void = { _ in }) -> TLSConfiguration {
        var configuration = server.configuration(trusting: [authority])
        configuration.remembersVerified = 100
        change(&configuration)
        return configuration
    }

    private func client(_ chain: [Certificate], _ key: PrivateKey) -> TLSConfiguration {
        var configuration = TLSConfiguration()
        configuration.certificateChain = chain
        configuration.privateKey = key
        configuration.trust = [authority.certificate]
        return configuration
    }

    private func client(_ identity: Identity) -> TLSConfiguration { client([identity.certificate], identity.key) }

    private func handshake(_ client: TLSConfiguration, _ context: TLSContext) throws -> TLSEngine {
        let wire = Wire(
            client: try TLSEngine(TLSContext(client, role: .client)), server: try TLSEngine(context))
        try wire.handshake()
        return wire.server
    }

    private func leaf(
        _ names: [SubjectAlternativeName] = [], usage: CertificateAuthority.Usage = .client,
        notBefore: Int64 = longAgo, notAfter: Int64 = farAhead
    ) -> CertificateAuthority.Leaf {
        CertificateAuthority.Leaf(
            subject: DistinguishedName(commonName: "c"), alternativeNames: names, usage: usage, notBefore: notBefore,
            notAfter: notAfter)
    }

    // MARK: Measure 4

    @Test("measure 4: a leaf that was verified is remembered by its whole DER, and counted")
    func remembered() throws {
        let context = try TLSContext(serverConfiguration(), role: .server)
        let one = try Identity(authority, DistinguishedName(commonName: "one"), usage: .client)
        let first = try handshake(client(one), context)
        let second = try handshake(client(one), context)
        #expect(first.wasRemembered == false && second.wasRemembered == true)
        #expect(second.peer === first.peer && second.peer?.commonName == "one" && second.peer?.isVerified == true)
        // The same key in another certificate is another peer.
        let again = try authority.sign(leaf(), for: one.key.publicKey)
        #expect(try handshake(client([again], one.key), context).wasRemembered == false)
        #expect(context.verificationCacheUse.hits == 1 && context.verificationCacheUse.misses == 2)
        // Another context, another generation of trust: nothing is remembered.
        #expect(try handshake(client(one), TLSContext(serverConfiguration(), role: .server)).wasRemembered == false)
    }

    @Test("measure 4: a rotated root, a revocation and a wrong purpose are seen although the leaf was verified before")
    func forgotten() throws {
        let one = try Identity(authority, DistinguishedName(commonName: "one"), usage: .client)
        let before = try TLSContext(serverConfiguration(), role: .server)
        _ = try handshake(client(one), before)
        let other = try makeCA("other")
        let rotated = try TLSContext(serverConfiguration { $0.trust = [other.certificate] }, role: .server)
        #expect(throws: TLSError.self) { try handshake(client(one), rotated) }
        let list = try authority.revocationList(
            of: [one.certificate.serial], thisUpdate: longAgo, nextUpdate: farAhead)
        let revoking = try TLSContext(serverConfiguration { $0.revocationLists = list }, role: .server)
        #expect(throws: TLSError.self) { try handshake(client(one), revoking) }
        let innocent = try Identity(authority, DistinguishedName(commonName: "two"), usage: .client)
        #expect(try handshake(client(innocent), revoking).peer?.commonName == "two")
        // A client's certificate does not serve, whatever servers remember of it.
        var asServer = serverConfiguration()
        asServer.certificateChain = [one.certificate]
        asServer.privateKey = one.key
        #expect(throws: TLSError.self) { try handshake(client(innocent), TLSContext(asServer, role: .server)) }
    }

    @Test("measure 4: a failure is not remembered, and an expired list refuses everybody")
    func failures() throws {
        let stranger = try makeCA("stranger")
        let wrong = try Identity(stranger, DistinguishedName(commonName: "x"), usage: .client)
        let context = try TLSContext(serverConfiguration(), role: .server)
        for _ in 0..<2 { #expect(throws: TLSError.self) { try handshake(client(wrong), context) } }
        #expect(context.verificationCacheUse.hits == 0)
        let old = try authority.revocationList(of: [], thisUpdate: longAgo, nextUpdate: longAgo + 60)
        let one = try Identity(authority, DistinguishedName(commonName: "one"), usage: .client)
        let stale = try TLSContext(serverConfiguration { $0.revocationLists = old }, role: .server)
        #expect(throws: TLSError.self) { try handshake(client(one), stale) }
        #expect(throws: TLSError.self) {
            try TLSContext(serverConfiguration { $0.revocationLists = Array("nothing".utf8) }, role: .server)
        }
    }

    @Test("the judge is asked at every handshake, also of leaves that are remembered")
    func judged() throws {
        final class Mood: Sendable { let isFriendly = Atomic<Bool>(true) }
        let mood = Mood()
        let context = try TLSContext(
            serverConfiguration { $0.judge = { _ in mood.isFriendly.load(ordering: .relaxed) ? nil : .name } },
            role: .server)
        let one = try Identity(authority, DistinguishedName(commonName: "one"), usage: .client)
        _ = try handshake(client(one), context)
        mood.isFriendly.store(false, ordering: .relaxed)
        let wire = Wire(
            client: try TLSEngine(TLSContext(client(one), role: .client)), server: try TLSEngine(context))
        #expect(throws: TLSError.self) { try wire.handshake() }
        #expect(wire.server.refusal == .name)
    }

    // MARK: Chains

    @Test("ATK-26 chains: intermediates must be in time, be authorities, and be few enough")
    func chains() throws {
        func intermediate(_ change: (inout CertificateAuthority.Leaf) -> Void = { _ in }) throws -> CertificateAuthority
        {
            let root = try CertificateAuthority.make(
                subject: DistinguishedName(commonName: "root"), key: .makeP256(), notBefore: longAgo,
                notAfter: farAhead, pathLength: 1)
            let key = try PrivateKey.makeP256()
            var draft = CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: "middle"), usage: [], notBefore: longAgo, notAfter: farAhead)
            draft.pathLength = 0
            change(&draft)
            let certificate = try root.sign(draft, for: key.publicKey)
            let middle = CertificateAuthority(uncheckedCertificate: certificate, key: key)
            roots.append(root)
            return middle
        }
        var roots: [CertificateAuthority] = []
        func isAccepted(_ middle: CertificateAuthority, sends: Bool = true) throws -> Bool {
            guard let root = roots.last else { return false }
            let key = try PrivateKey.makeP256()
            let certificate = try middle.sign(leaf(), for: key.publicKey)
            let context = try TLSContext(serverConfiguration { $0.trust = [root.certificate] }, role: .server)
            let peer = client(sends ? [certificate, middle.certificate] : [certificate], key)
            guard let engine = try? handshake(peer, context) else { return false }
            return engine.peer?.chain.count == (sends ? 2 : 1)
        }
        #expect(try isAccepted(intermediate()))
        #expect(try !isAccepted(intermediate(), sends: false))
        #expect(try !isAccepted(intermediate { $0.notAfter = longAgo + 60 }))
        #expect(try !isAccepted(intermediate { $0.notBefore = farAhead - 60 }))
        #expect(try !isAccepted(intermediate { $0.pathLength = nil }))
        // An intermediate that is trusted ends the chain.
        let middle = try intermediate()
        let key = try PrivateKey.makeP256()
        let certificate = try middle.sign(leaf(), for: key.publicKey)
        let context = try TLSContext(serverConfiguration { $0.trust = [middle.certificate] }, role: .server)
        #expect(try handshake(client([certificate], key), context).peer != nil)
    }

    // MARK: Names

    /// `GeneralNames` of one name: its tag and its bytes.
    private static func names(_ list: [(tag: UInt8, bytes: [UInt8])]) -> [UInt8] {
        let inner = list.flatMap { [$0.tag] + length($0.bytes.count) + $0.bytes }
        return [0x30] + length(inner.count) + inner
    }

    private static func length(_ count: Int) -> [UInt8] {
        count < 128 ? [UInt8(count)] : [0x82, UInt8(count >> 8), UInt8(count & 255)]
    }

    /// OTHERNAME with a text of a kind: `[0] { OID 1.2.3.4, [0] text }`.
    private static func other(_ text: [UInt8], kind: UInt8 = 0x0C) -> (UInt8, [UInt8]) {
        let value = [kind] + length(text.count) + text
        return (0xA0, [0x06, 0x03, 0x2A, 0x03, 0x04, 0xA0] + length(value.count) + value)
    }

    static let good = Array("spiffe://cluster.local/ns/a/sa/b".utf8)

    /// Lists of names, and whether a reader that looks for the one good URI may accept them.
    static let corpus: [(String, [(tag: UInt8, bytes: [UInt8])], Bool)] = {
        let text = { (text: String) in Array(text.utf8) }
        var cases: [(String, [(tag: UInt8, bytes: [UInt8])], Bool)] = [
            ("the URI", [(0x86, good)], true),
            ("the URI behind a DNS name", [(0x82, text("a.test")), (0x86, good)], true),
            ("the URI behind an address", [(0x87, [1, 2, 3, 4]), (0x86, good)], true),
            ("the URI behind another URI", [(0x86, text("spiffe://x/y")), (0x86, good)], true),
            ("the URI behind an OTHERNAME", [other(text("x")), (0x86, good)], true),
            ("as DNS name", [(0x82, good)], false),
            ("as mail address", [(0x81, good)], false),
            ("as registered id", [(0x88, [0x2A, 0x03])], false),
            ("as OTHERNAME", [other(good)], false),
            ("as OTHERNAME of IA5", [other(good, kind: 0x16)], false),
            ("as OTHERNAME with NUL", [other(good + [0])], false),
            ("as OTHERNAME with NUL before the URI", [other(text("x") + [0] + text("y")), (0x86, good)], false),
            ("nothing", [(0x82, text("a.test"))], false),
            ("address of 3 bytes", [(0x87, [1, 2, 3]), (0x86, good)], false),
            ("address of 17 bytes", [(0x87, [UInt8](repeating: 1, count: 17)), (0x86, good)], false),
            ("empty URI", [(0x86, [])], false),
            ("wildcard", [(0x86, text("spiffe://cluster.local/ns/a/sa/*"))], false),
            ("wildcard domain", [(0x86, text("spiffe://*/ns/a/sa/b"))], false),
            ("only a wildcard", [(0x86, text("*"))], false),
            ("other domain", [(0x86, text("spiffe://cluster.local.evil/ns/a/sa/b"))], false),
            ("domain as user", [(0x86, text("spiffe://cluster.local@evil/ns/a/sa/b"))], false),
            ("port", [(0x86, text("spiffe://cluster.local:1/ns/a/sa/b"))], false),
            ("slash at the end", [(0x86, good + [0x2F])], false),
            ("query", [(0x86, good + text("?x"))], false),
            ("fragment", [(0x86, good + text("#x"))], false),
            ("upper case scheme", [(0x86, text("SPIFFE://cluster.local/ns/a/sa/b"))], false),
            ("upper case domain", [(0x86, text("spiffe://Cluster.local/ns/a/sa/b"))], false),
            ("encoded", [(0x86, text("spiffe://cluster.local/ns/a/sa/%62"))], false),
            ("dots", [(0x86, text("spiffe://cluster.local/ns/a/sa/c/../b"))], false),
            ("double slash", [(0x86, text("spiffe://cluster.local//ns/a/sa/b"))], false),
            ("cut", [(0x86, Array(good.dropLast()))], false),
            ("two in one", [(0x86, good + text(",") + good)], false),
            ("URI with a URI inside", [(0x86, text("x:") + good)], false),
        ]
        // A byte that some readers take for an end, at every kind of place.
        for byte: UInt8 in [0x00, 0x01, 0x09, 0x0A, 0x0D, 0x20, 0x7F, 0x80, 0xC3, 0xFF] {
            let name = String(byte, radix: 16)
            cases.append(("byte \(name) at the end", [(0x86, good + [byte])], false))
            cases.append(("byte \(name) at the start", [(0x86, [byte] + good)], false))
            cases.append(("byte \(name) in a DNS name beside it", [(0x82, text("a") + [byte]), (0x86, good)], false))
        }
        return cases
    }()

    @Test(
        "ATK-26 corpus: one URI passes, byte for byte; NUL, kinds, wildcards and look-alikes do not",
        arguments: corpus.indices)
    func corpusOfNames(_ index: Int) throws {
        let (name, list, isGood) = Self.corpus[index]
        let key = try PrivateKey.makeP256()
        var draft = leaf()
        draft.extensions = [CertificateAuthority.Extension(oid: "2.5.29.17", value: Self.names(list))]
        let der = try authority.signUnread(draft, for: key.publicKey)
        #expect(try accepts(der, key) == isGood, "\(name)")
    }

    @Test("ATK-26 two lists of names, or one that is no list, are refused")
    func repeated() throws {
        let key = try PrivateKey.makeP256()
        let one = CertificateAuthority.Extension(oid: "2.5.29.17", value: Self.names([(0x86, Self.good)]))
        for extensions in [
            [one, one], [CertificateAuthority.Extension(oid: "2.5.29.17", value: [0x30, 0x05, 1])],
            [CertificateAuthority.Extension(oid: "2.5.29.17", value: [])],
            [one, CertificateAuthority.Extension(oid: "1.2.3.4.5", isCritical: true, value: [5, 0])],
        ] {
            var draft = leaf()
            draft.extensions = extensions
            let der = try authority.signUnread(draft, for: key.publicKey)
            #expect(try !accepts(der, key))
        }
    }

    /// Whether a server that wants the good URI accepts a certificate that may be unreadable to us as a client.
    private func accepts(_ der: [UInt8], _ key: PrivateKey) throws -> Bool {
        let context = try TLSContext(
            serverConfiguration {
                $0.judge = { facts in
                    facts.uris.contains { Array($0.utf8) == Self.good } ? nil : .name
                }
            }, role: .server)
        let identity = TLSConfiguration(presentingUnread: der, key: key, trusting: authority)
        guard let engine = try? handshake(identity, context) else { return false }
        return engine.peer != nil
    }
}
