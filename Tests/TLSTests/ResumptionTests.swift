import Synchronization
import TLS
import Testing

@Suite("Resumption")
struct ResumptionTests {
    let authority: CertificateAuthority
    let server: Identity

    init() throws {
        authority = try makeCA()
        server = try Identity(authority, DistinguishedName(commonName: "server"), [.dns("api.test")], usage: .server)
    }

    private func key(_ byte: UInt8) throws -> TLSTicketKey {
        try #require(TLSTicketKey([UInt8](repeating: byte, count: TLSTicketKey.byteCount)))
    }

    private func serverContext(_ keys: [UInt8], mutual: Bool = false) throws -> TLSContext {
        var configuration = server.configuration(trusting: [authority])
        configuration.peerCertificate = mutual ? .required : .notVerified
        configuration.ticketKeys = try keys.map(key)
        return try TLSContext(configuration, role: .server)
    }

    private func clientContext(
        _ identity: Identity? = nil, judge: (@Sendable (PeerFacts) -> PeerRefusal?)? = nil
    ) throws -> TLSContext {
        var configuration = identity?.configuration(trusting: [authority]) ?? TLSConfiguration()
        configuration.trust = [authority.certificate]
        configuration.clientSessionsMax = 2
        configuration.judge = judge
        return try TLSContext(configuration, role: .client)
    }

    /// A connection with one byte each way, so that the client has read the server's tickets.
    private func connect(_ client: TLSContext, _ server: TLSContext, key: String = "a") throws -> Wire {
        let wire = Wire(
            client: try TLSEngine(client, indicates: "api.test", sessionKey: key), server: try TLSEngine(server))
        try wire.handshake()
        try wire.exchange()
        return wire
    }

    @Test("with ticket keys a client resumes, once per ticket, and keeps what it knows of the server")
    func resumes() throws {
        let server = try serverContext([1])
        let client = try clientContext()
        let first = try connect(client, server)
        #expect(!first.server.isResumed)
        let second = try connect(client, server)
        #expect(second.server.isResumed && second.client.isResumed)
        #expect(second.client.peer?.commonName == "server")
        #expect(try !connect(client, server, key: "b").server.isResumed)
    }

    @Test("rotated keys: the former key still opens, and a key that is gone does not")
    func rotation() throws {
        let client = try clientContext()
        _ = try connect(client, try serverContext([1]))
        // Another context is another generation: its sessions are its own.
        #expect(try !connect(client, try serverContext([2, 1])).server.isResumed)
    }

    @Test("no tickets where client certificates are asked for, and none without keys")
    func never() throws {
        let identity = try Identity(authority, DistinguishedName(commonName: "c"), usage: .client)
        let client = try clientContext(identity)
        let mutual = try serverContext([1], mutual: true)
        _ = try connect(client, mutual)
        #expect(try !connect(client, mutual).server.isResumed)
        let plain = try serverContext([])
        let other = try clientContext()
        _ = try connect(other, plain)
        #expect(try !connect(other, plain).server.isResumed)
    }

    @Test("ATK-28 a client judges the server of a resumed session again")
    func judged() throws {
        final class Mood: Sendable { let isFriendly = Atomic<Bool>(true) }
        let mood = Mood()
        let server = try serverContext([1])
        let client = try clientContext(judge: { _ in mood.isFriendly.load(ordering: .relaxed) ? nil : .name })
        _ = try connect(client, server)
        mood.isFriendly.store(false, ordering: .relaxed)
        #expect(throws: TLSError.self) { try connect(client, server) }
    }
}
