internal import HTTP
internal import IO
internal import Identity
internal import Serialization
internal import TLS
internal import Telemetry

/// Who this node is towards the control plane: key, certificate and what it was told, kept in the data directory.
struct NodeIdentity: Sendable {
    let name: String
    let server: ControlPlaneAddress
    let key: PrivateKey
    var certificate: [UInt8]
    var authority: [UInt8]
    /// What the control plane said: `podPools`, `servicePools`.
    var settings: JSON
    /// The node's blocks; none while it has none.
    var blocks: [Prefix]

    /// The file with it, mode 0600.
    static func file(_ dataDirectory: String) -> String { "\(dataDirectory)/node/identity.json" }

    /// Prefixes among the settings.
    func prefixes(_ member: String) -> [Prefix] {
        (settings[member]?.array ?? []).compactMap(\.string).compactMap { Prefix($0) }
    }

    /// The identity that is kept there; nil when there is none.
    static func kept(_ dataDirectory: String) throws(CommandError) -> NodeIdentity? {
        let file = file(dataDirectory)
        guard File.exists(file) else { return nil }
        do {
            let json = try JSON.parse(try File.read(file))
            func text(_ member: String) -> String { json[member]?.string ?? "" }
            guard let server = ControlPlaneAddress(text("server")), !text("name").isEmpty else {
                throw CommandError("\(file) is damaged")
            }
            return NodeIdentity(
                name: text("name"), server: server, key: try PrivateKey(pem: Array(text("key").utf8)),
                certificate: Array(text("certificate").utf8), authority: Array(text("authority").utf8),
                settings: json["settings"] ?? [:],
                blocks: (json["blocks"]?.array ?? []).compactMap(\.string).compactMap { Prefix($0) })
        } catch {
            throw CommandError(
                "skein node: \(file) cannot be read (\(error)); remove it and join again with --token")
        }
    }

    /// Writes it down.
    func keep(_ dataDirectory: String) throws(CommandError) {
        func text(_ bytes: [UInt8]) -> JSON { .string(String(decoding: bytes, as: UTF8.self)) }
        let json: JSON = [
            "name": .string(name), "server": .string(server.text), "key": text(key.pem),
            "certificate": text(certificate), "authority": text(authority), "settings": settings,
            "blocks": .array(blocks.map { .string($0.description) }),
        ]
        do throws(SystemError) { try File.replace(Self.file(dataDirectory), json.bytes, mode: 0o600) } catch {
            throw CommandError("skein node: \(error)")
        }
    }

    /// What this node presents and trusts.
    func context() throws(CommandError) -> TLSContext {
        do throws(TLSError) {
            var configuration = TLSConfiguration()
            configuration.applicationProtocols = ["http/1.1"]
            configuration.trust = try Certificate.all(pem: authority, skippingDamaged: false)
            configuration.certificateChain = try Certificate.all(pem: certificate, skippingDamaged: false)
            configuration.privateKey = key
            return try TLSContext(configuration, role: .client)
        } catch { throw CommandError("skein node: the node's certificate: \(error)") }
    }

    /// When the certificate ends, unix seconds; 0 when it cannot be read.
    var notAfter: Int64 { (try? Certificate(pem: certificate))?.notAfter ?? 0 }
}

/// Asks the control plane for the node's certificate.
///
/// The first time nobody is trusted yet: the authority comes with a proof that only who knows the token can make, and the
/// token itself is shown only to a server with a certificate of that authority.
struct NodeJoining: Sendable {
    let server: ControlPlaneAddress
    let address: SocketAddress
    let loop: EventLoop

    private static let patience = Duration.seconds(15)

    /// A certificate for a new key, by a token.
    func join(name: String, token: BootstrapToken) async throws(CommandError) -> NodeIdentity {
        var open = TLSConfiguration()
        open.applicationProtocols = ["http/1.1"]
        open.peerCertificate = .notVerified
        let known = try await ask(.get, "authority?token=\(token.id)", try Self.context(open))
        let authority = Array((known["authority"]?.string ?? "").utf8)
        guard !authority.isEmpty, token.accepts(known["proof"]?.string ?? "", of: authority) else {
            throw CommandError(
                "skein node: \(server.text) does not know the token (its proof is wrong): it is another control plane, or "
                    + "somebody stands between")
        }
        let key: PrivateKey
        do throws(TLSError) { key = try PrivateKey.makeP256() } catch { throw CommandError("skein node: \(error)") }
        return try await join(
            NodeIdentity(
                name: name, server: server, key: key, certificate: [], authority: authority, settings: [:], blocks: []),
            token)
    }

    /// A new certificate for the key that the node has.
    func renew(_ identity: NodeIdentity) async throws(CommandError) -> NodeIdentity { try await join(identity, nil) }

    /// Asks with the token, or with the certificate that there is.
    func join(_ identity: NodeIdentity, _ token: BootstrapToken?) async throws(CommandError) -> NodeIdentity {
        let context: TLSContext
        let request: [UInt8]
        do throws(TLSError) {
            request = try CertificateRequest.make(
                subject: DistinguishedName(commonName: NodeJoin.user(identity.name), organizations: [NodeJoin.group]),
                key: identity.key
            ).pem
            var trusting = TLSConfiguration()
            trusting.applicationProtocols = ["http/1.1"]
            trusting.trust = try Certificate.all(pem: identity.authority, skippingDamaged: false)
            context = token == nil ? try identity.contextOrThrow() : try TLSContext(trusting, role: .client)
        } catch { throw CommandError("skein node: \(error)") }
        let answer = try await ask(
            .post, "join", context,
            body: ["name": .string(identity.name), "request": .string(String(decoding: request, as: UTF8.self))],
            token: token)
        var result = identity
        result.certificate = Array((answer["certificate"]?.string ?? "").utf8)
        result.authority = Array((answer["authority"]?.string ?? "").utf8)
        result.settings = answer["settings"] ?? [:]
        guard !result.certificate.isEmpty, !result.authority.isEmpty else {
            throw CommandError("skein node: \(server.text) has sent no certificate")
        }
        return result
    }

    private static func context(_ configuration: TLSConfiguration) throws(CommandError) -> TLSContext {
        do throws(TLSError) { return try TLSContext(configuration, role: .client) } catch {
            throw CommandError("skein node: \(error)")
        }
    }

    private func ask(
        _ method: HTTPMethod, _ path: String, _ context: TLSContext, body: JSON? = nil, token: BootstrapToken? = nil
    ) async throws(CommandError) -> JSON {
        let client = HTTPClient(to: address, serverName: server.host, tls: context, on: loop)
        client.headTimeout = Self.patience
        defer { client.close() }
        let status: UInt16
        let json: JSON
        do {
            var request = HTTPClientRequest(method, NodeJoin.path + path, body: body?.bytes ?? [])
            if body != nil { try request.headers.append("content-type", "application/json") }
            if let token { try request.headers.append("authorization", "Bearer \(token.text)") }
            let response = try await client.send(request)
            status = response.status
            json = (try? JSON.parse(try await response.collect(limit: 1 << 20))) ?? .null
        } catch { throw CommandError("skein node: \(server.text): \(error)") }
        guard status == 200 else {
            throw CommandError("skein node: \(server.text) refuses: \(json["message"]?.string ?? "status \(status)")")
        }
        return json
    }
}

extension NodeIdentity {
    fileprivate func contextOrThrow() throws(TLSError) -> TLSContext {
        do throws(CommandError) { return try context() } catch { throw TLSError("node certificate", error.message) }
    }
}
