import APIServer
import HTTP
import IO
import Identity
import KubernetesAPI
import Mesh
import Serialization
import TLS
import Telemetry

/// What nodes of other machines ask: to be one of them, certificates for their pods, and their proxies' streams.
///
/// All of it goes through the API's port, with the node's certificate; only the first certificate is given for a bootstrap
/// token. A token makes new nodes: it never takes over the name of one that is there.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class NodeService: @unchecked Sendable {
    /// How long a node's certificate holds, seconds; a node has it renewed whenever it starts, and each day.
    static let lifetime: Int64 = 30 * 86_400
    /// Proxies' streams of one node at once.
    static let streamsMax = 4096
    /// A node's line of this length or more ends its connection.
    static let lineBytesMax = 64 * 1024
    /// Lines that may wait for a node that does not read.
    static let linesMax = 1024
    /// A node that says nothing for so long is gone: it says something every ten seconds.
    static let silence = Duration.seconds(NodeJoin.silence)

    private let registry: ObjectRegistry
    private let router: APIRouter
    private let authority: CertificateAuthority
    private let mesh: MeshAuthority
    private let streams: ProxyStreams
    let loop: EventLoop
    private let now: () -> Timestamp
    private let log = Logger("nodes")
    private let settings: JSON
    private(set) var agents: [String: RemoteAgent] = [:]
    let dialer: NodeDialer
    var open: [String: [ObjectIdentifier: any ByteStream]] = [:]
    /// What a node's name server must know besides services.
    var furtherNames: () -> JSON? = { nil }
    /// What was refused, by reason.
    private(set) var refused: [String: Int] = [:]

    init(
        _ registry: ObjectRegistry, _ router: APIRouter, _ authority: CertificateAuthority, mesh: MeshAuthority,
        streams: ProxyStreams, settings: JSON, on loop: EventLoop, now: @escaping () -> Timestamp
    ) {
        self.registry = registry
        self.router = router
        self.authority = authority
        self.mesh = mesh
        self.streams = streams
        self.settings = settings
        self.loop = loop
        self.now = now
        dialer = NodeDialer(on: loop) {
            var random = SystemRandomNumberGenerator()
            return String(random.next(), radix: 36) + String(random.next(), radix: 36)
        }
        dialer.tell = { [weak self] node, message in
            guard let agent = self?.agents[node] else { return false }
            agent.send(message)
            return true
        }
    }

    /// This server's name among those of its store; nil where there are no others.
    var serverName: String?
    /// The node beside this server, and the socket of its agent.
    var localSocket: (node: String, path: String)?
    /// Connections of other servers to agents here at once.
    static let relaysMax = 1024
    var relays = 0
    var relayed: UInt64 = 0

    /// Nodes whose agents can be asked through this server.
    var reachable: [String] {
        guard let localSocket, File.exists(localSocket.path) else { return connected }
        return Set(connected + [localSocket.node]).sorted()
    }

    /// Nodes whose agents are connected here.
    var connected: [String] { agents.keys.sorted() }

    /// The figures of joined nodes, in Prometheus' text format.
    var metrics: String {
        var text = """
            # HELP skein_control_nodes Joined nodes whose agents are connected.
            # TYPE skein_control_nodes gauge
            skein_control_nodes \(agents.count)
            # HELP skein_control_node_dials_turned_away_total Connections of a node not asked for: more than \(NodeDialer.waitingMax) were waited for.
            # TYPE skein_control_node_dials_turned_away_total counter
            skein_control_node_dials_turned_away_total \(dialer.turnedAway)
            # HELP skein_control_node_dials_late_total Connections of a node that were asked for and did not come in time.
            # TYPE skein_control_node_dials_late_total counter
            skein_control_node_dials_late_total \(dialer.late)
            # HELP skein_control_node_relays Connections of other servers to agents of nodes here; at most \(Self.relaysMax).
            # TYPE skein_control_node_relays gauge
            skein_control_node_relays \(relays)
            # HELP skein_control_node_relayed_total Connections that were made for other servers to agents of nodes here.
            # TYPE skein_control_node_relayed_total counter
            skein_control_node_relayed_total \(relayed)
            # HELP skein_control_node_requests_refused_total What nodes asked for and did not get, by reason.
            # TYPE skein_control_node_requests_refused_total counter

            """
        for (reason, count) in refused.sorted(by: { $0.key < $1.key }) {
            text += "skein_control_node_requests_refused_total{reason=\"\(reason)\"} \(count)\n"
        }
        return text
    }

    /// A client of a node's agent; nil when it is not connected here.
    func client(of node: String) -> HTTPClient? { agents[node] == nil ? nil : dialer.client(of: node) }

    /// Who a client certificate says its holder is: of a node only while its object is there, with the key of the certificate.
    func user(_ certificate: Certificate) -> APIUser? {
        let user = APIUser(
            name: certificate.subject.commonName,
            groups: certificate.subject.organizations + ["system:authenticated"])
        guard let node = NodeJoin.node(user: user.name, groups: user.groups) else { return user }
        if let problem = problem(of: certificate, node) {
            refused["removed", default: 0] += 1
            log.warning("the certificate of a node is refused", ["node": node, "reason": problem])
            return nil
        }
        return user
    }

    /// Why a certificate no longer speaks for a node; nil when it does.
    private func problem(of certificate: Certificate, _ node: String) -> String? {
        let object: KubernetesObject
        do throws(StatusError) { object = try registry.get(.node, "", node) } catch { return error.message }
        let (known, given) = (object.metadata.annotations[Node.keyAnnotation], NodeJoin.fingerprint(certificate))
        return known == given ? nil : "its key is \(given), and the node's is \(known, default: "not there")"
    }

    /// Answers a request below `NodeJoin.path`.
    func answer(_ request: HTTPRequest, user: APIUser?) async -> HTTPResponse {
        do throws(StatusError) {
            switch (request.method, request.path.dropFirst(NodeJoin.path.count)) {
            case ("GET", "authority"): return try proof(request)
            case ("POST", "join"): return try await join(request, user)
            case ("GET", "agent"): return try serveAgent(try node(user))
            case ("GET", "xds"): return try serveProxy(request, try node(user))
            case ("GET", "relay"): return try await serveRelay(request, user)
            case ("GET", "kubelet"): return try serveDialed(request, try node(user))
            default: throw StatusError(code: 404, reason: "NotFound", message: "\(request.path) is not served here")
            }
        } catch {
            refused[error.reason, default: 0] += 1
            log.warning("a node is refused", ["path": request.path, "reason": error.message])
            return HTTPResponse(
                status: UInt16(clamping: error.code), contentType: "application/json", body: error.json.bytes)
        }
    }

    private func node(_ user: APIUser?) throws(StatusError) -> String {
        guard let user, let node = NodeJoin.node(user: user.name, groups: user.groups) else {
            throw StatusError(code: 401, reason: "Unauthorized", message: "the certificate of a node is needed")
        }
        return node
    }

    // MARK: Joining

    /// The authority of this API with a proof that only who knows the token can make; to anybody, as it holds no secret.
    private func proof(_ request: HTTPRequest) throws(StatusError) -> HTTPResponse {
        let id = request.queryItems.first { $0.name == "token" }?.value ?? ""
        guard let token = router.bootstrapToken(id: id).flatMap({ BootstrapToken($0) }) else {
            throw StatusError(
                code: 404, reason: "NotFound", message: "there is no such bootstrap token, or it has expired")
        }
        let pem = authority.certificate.pem
        return json([
            "authority": .string(String(decoding: pem, as: UTF8.self)), "proof": .string(token.proof(of: pem)),
        ])
    }

    private func join(_ request: HTTPRequest, _ user: APIUser?) async throws(StatusError) -> HTTPResponse {
        var caller = user
        if caller == nil, let field = request.head.headers["authorization"], field.lowercased().hasPrefix("bearer ") {
            caller = try router.authenticate(String(field.dropFirst(7)))
        }
        guard let caller else {
            throw StatusError(
                code: 401, reason: "Unauthorized", message: "a bootstrap token, or the node's certificate, is needed")
        }
        let bytes: [UInt8]
        do throws(HTTPError) { bytes = try await request.body.collect() } catch {
            throw .badRequest("the body cannot be read: \(error)")
        }
        guard bytes.count <= Self.lineBytesMax, let body = try? JSON.parse(bytes), let name = body["name"]?.string,
            !name.isEmpty,
            let csr = body["request"]?.string
        else { throw .badRequest("name and request are needed") }
        if let node = NodeJoin.node(user: caller.name, groups: caller.groups) {
            guard node == name else {
                throw StatusError(code: 403, reason: "Forbidden", message: "node \(node) cannot become \(name)")
            }
        } else if !caller.groups.contains("system:bootstrappers") {
            throw StatusError(
                code: 403, reason: "Forbidden", message: "\(caller.name) may not make nodes: a bootstrap token may")
        }
        let key: PublicKey
        do throws(TLSError) { key = try CertificateRequest(pem: Array(csr.utf8)).publicKey } catch {
            throw .badRequest("request: \(error)")
        }
        try register(name, NodeJoin.fingerprint(key))
        let time = now().seconds
        let certificate: Certificate
        do throws(TLSError) {
            certificate = try authority.sign(
                CertificateAuthority.Leaf(
                    subject: DistinguishedName(commonName: NodeJoin.user(name), organizations: [NodeJoin.group]),
                    usage: .client, notBefore: time - 3600, notAfter: time + Self.lifetime), for: key)
        } catch {
            throw .internalError("the certificate cannot be made: \(error)")
        }
        log.info("a node has a certificate", ["node": name, "by": caller.name])
        return json([
            "certificate": .string(String(decoding: certificate.pem, as: UTF8.self)),
            "authority": .string(String(decoding: authority.certificate.pem, as: UTF8.self)), "settings": settings,
        ])
    }

    /// Makes the node's object, or sees that it is this key's.
    private func register(_ name: String, _ fingerprint: String) throws(StatusError) {
        if let object = try? registry.get(.node, "", name) {
            guard object.metadata.annotations[Node.keyAnnotation] == fingerprint else {
                throw StatusError(
                    code: 409, reason: "AlreadyExists",
                    message: "node \(name) is there already with another key: choose another --name, or remove it with "
                        + "kubectl delete node \(name) if that machine is gone")
            }
            return
        }
        if (try? registry.get(.namespace, "", NodeJoin.leaseNamespace)) == nil {
            _ = try registry.create(["metadata": ["name": .string(NodeJoin.leaseNamespace)]], .namespace)
        }
        _ = try registry.create(
            [
                "metadata": [
                    "name": .string(name), "annotations": .object([Node.keyAnnotation: .string(fingerprint)]),
                    "labels": ["kubernetes.io/hostname": .string(name), "kubernetes.io/os": "linux"],
                ]
            ], .node)
    }

    private func json(_ value: JSON) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: "application/json", body: value.bytes)
    }

    func upgrade(_ name: String, _ use: @escaping @Sendable (any ByteStream) async -> Void) -> HTTPResponse {
        var head = ResponseHead(status: 101)
        // A name of ours: it holds no byte that a field may not have.
        try? head.headers.append(.upgrade, name)
        return HTTPResponse(head, .upgrade(use))
    }

    // MARK: Certificates of pods

    private func serveAgent(_ node: String) throws(StatusError) -> HTTPResponse {
        upgrade("skein-agent") { [self] stream in await run(RemoteAgent(node, stream, on: loop)) }
    }

    /// One node's agent, until it ends or is silent; an older connection of the node gives way.
    private func run(_ agent: RemoteAgent) async {
        agents[agent.name]?.close()
        agents[agent.name] = agent
        log.info("a node's agent is connected", ["node": agent.name])
        mesh.connected(agent)
        if let names = furtherNames() { agent.send(names) }
        let reason = await agent.read { line in
            guard let json = try? JSON.parse(line) else { return false }
            if json["op"]?.string == "ping" {
                agent.send(["op": "pong"])
            } else if let request = IdentityRequest(json: json) {
                mesh.handle(request, from: agent)
            } else {
                return false
            }
            return true
        }
        log.info("the connection with a node's agent has ended", ["node": agent.name, "reason": reason])
        agent.close()
        mesh.disconnected(agent)
        guard agents[agent.name] === agent else { return }
        agents[agent.name] = nil
        dialer.forget(agent.name)
        // What came through a node that is gone waits for nobody.
        open.removeValue(forKey: agent.name)?.values.forEach { $0.close() }
    }

    /// A connection that the node was asked for, to be asked itself.
    private func serveDialed(_ request: HTTPRequest, _ node: String) throws(StatusError) -> HTTPResponse {
        let id = request.queryItems.first { $0.name == "id" }?.value ?? ""
        guard dialer.expects(id, of: node) else {
            throw StatusError(code: 404, reason: "NotFound", message: "nobody waits for this connection")
        }
        return upgrade("skein-kubelet") { [self] stream in
            open[node, default: [:]][ObjectIdentifier(stream)] = stream
            await dialer.run(id, stream)
            open[node]?[ObjectIdentifier(stream)] = nil
        }
    }

    /// Tells all nodes something.
    func tell(_ message: JSON) { for agent in agents.values { agent.send(message) } }

    // MARK: Proxies

    /// The stream of a pod's proxy: the node says whose it is, and is believed for the pods that are bound to it.
    private func serveProxy(_ request: HTTPRequest, _ node: String) throws(StatusError) -> HTTPResponse {
        let query = request.queryItems
        func item(_ name: String) -> String { query.first { $0.name == name }?.value ?? "" }
        let (uid, pod) = (item("uid"), NamespacedName(namespace: item("namespace"), name: item("name")))
        guard let bound = streams.boundPod(uid: uid, name: pod) else {
            throw StatusError(code: 404, reason: "NotFound", message: "there is no pod \(pod) with the uid \(uid)")
        }
        guard bound.node == node else {
            throw StatusError(
                code: 403, reason: "Forbidden", message: "pod \(pod) runs on node \(bound.node), not on \(node)")
        }
        guard (open[node]?.count ?? 0) < Self.streamsMax else {
            throw StatusError(
                code: 429, reason: "TooManyRequests", message: "more than \(Self.streamsMax) streams of node \(node)")
        }
        return upgrade("skein-xds") { [self] stream in
            do throws(SystemError) {
                let (inner, outer) = try Socket.pair()
                let (served, carried) = (try SocketStream(inner, on: loop), try SocketStream(outer, on: loop))
                open[node, default: [:]][ObjectIdentifier(stream)] = stream
                let server = streams.server { _ in .pod(pod, uid: uid) }
                Task(executorPreference: loop) { await server.serve(served) }
                await StreamSplice.run(stream, carried, on: loop)
                open[node]?[ObjectIdentifier(stream)] = nil
            } catch {
                log.error("a proxy's stream cannot be served", ["node": node, "error": error.description])
                stream.close()
            }
        }
    }

    /// Ends everything.
    func close() {
        agents.values.forEach { $0.close() }
        open.values.flatMap(\.values).forEach { $0.close() }
    }
}

/// The agent of another machine, by a connection that has left HTTP: one JSON object in a line, both ways.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class RemoteAgent: AgentPeer, @unchecked Sendable {
    let name: String
    var node: String? { name }
    private let stream: any ByteStream
    private let loop: EventLoop
    private var waiting: [[UInt8]] = []
    private var isSending = false
    private var isClosed = false
    private var timer: LoopTimer?

    init(_ node: String, _ stream: any ByteStream, on loop: EventLoop) {
        name = node
        self.stream = stream
        self.loop = loop
    }

    /// Hands on each line until the connection ends; why it did.
    func read(_ each: ([UInt8]) -> Bool) async -> String {
        var rest: [UInt8] = []
        while !isClosed {
            timer?.cancel()
            timer = loop.schedule(after: NodeService.silence) { [weak self] in self?.close() }
            do throws(SystemError) {
                let piece = try await stream.read(upTo: 16 * 1024)
                guard !piece.isEmpty else { return "it has gone" }
                rest += piece
            } catch {
                return isClosed ? "it was closed, or silent for \(NodeJoin.silence) s" : error.description
            }
            while let end = rest.firstIndex(of: 0x0A) {
                let line = Array(rest[..<end])
                rest.removeSubrange(...end)
                guard line.isEmpty || each(line) else { return "it broke the protocol" }
            }
            guard rest.count < NodeService.lineBytesMax else { return "it broke the protocol" }
        }
        return "it was closed"
    }

    func send(_ json: JSON) {
        guard !isClosed else { return }
        guard waiting.count < NodeService.linesMax else { return close() }
        waiting.append(json.bytes + [0x0A])
        guard !isSending else { return }
        isSending = true
        Task(executorPreference: loop) { await self.drain() }
    }

    private func drain() async {
        while !waiting.isEmpty, !isClosed {
            let bytes = waiting.removeFirst()
            do throws(SystemError) { try await stream.write(bytes) } catch { close() }
        }
        isSending = false
    }

    func close() {
        timer?.cancel()
        isClosed = true
        waiting = []
        stream.close()
    }
}
