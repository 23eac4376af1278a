import APIServer
import EnvoyAPI
import HTTP
import IO
import Identity
import KubernetesAPI
import Mesh
import Serialization
import Store
import TLS
import Testing
import XDS

@testable import ControlPlane

@Suite("Certificates for proxies without an agent, on their streams")
struct StreamSecretsTests {
    private static let node = "sidecar~10.244.0.5~web.default~default.svc.cluster.local"

    /// A control plane with pods `web` (account `web`) and `db` (account `db`), each with its socket.
    private static func withPlane(
        _ body: @escaping @Sendable (EventLoop, ControlPlaneServer, _ directory: String) async throws -> Void
    ) async throws {
        let directory = "/tmp/skein-secrets-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory + "/control", mode: 0o700)
        defer { try? File.removeTree(directory) }
        var options = ControlPlaneOptions(dataDirectory: directory, runDirectory: directory)
        options.apiAddress = .ip(.v4(0x7f00_0001), port: 0)
        options.metricsAddress = .ip(.v4(0x7f00_0001), port: 0)
        let loop = try EventLoop.start(name: "control")
        let server = ControlPlaneServer(options, on: loop)
        await Task(executorPreference: loop) { server.start() }.value
        try await Task(executorPreference: loop) {
            let agent = try Socket.connect(to: .unix(directory + "/agent.sock"))
            for name in ["web", "db"] {
                let pod: JSON = [
                    "metadata": ["name": .string(name)],
                    "spec": ["serviceAccountName": .string(name), "containers": [["name": "c", "image": "i"]]],
                ]
                let registry = try #require(server.registry)
                let uid = try registry.create(pod, .pod, namespace: "default").object.metadata.uid
                try await registry.store.settled()
                let listening = try Socket.listen(on: .unix("\(directory)/\(name).sock"))
                let line = #"{"op":"xds","uid":"\#(uid)","namespace":"default","name":"\#(name)"}"# + "\n"
                _ = try agent.send(Array(line.utf8), descriptor: listening.fd)
            }
            try await body(loop, server, directory)
            agent.close()
        }.value
        await Task(executorPreference: loop) { server.stop() }.value
    }

    private static func call(
        _ path: String, _ method: String = ProxyStreams.method, on loop: EventLoop
    ) async throws -> GRPCStream {
        let stream = try await SocketStream.connect(to: .unix(path), on: loop, timeout: .seconds(5))
        return try GRPCClient(stream, authority: "xds", on: loop).call(method)
    }

    private static func request(_ names: [String], _ type: String = Secret.typeURL, nonce: String = "")
        -> DeltaDiscoveryRequest
    {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = type
        request.resourceNamesSubscribe = names
        request.responseNonce = nonce
        var sender = EnvoyAPI.Node()
        sender.id = node
        sender.userAgentName = "envoy"
        if nonce.isEmpty { request.node = sender }
        return request
    }

    private static func secrets(_ resources: [AnyMessage?]) throws -> [String: EnvoyAPI.Secret] {
        let all = try resources.compactMap { try $0?.unpack(as: Secret.self) }
        return Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private static func chain(_ secret: EnvoyAPI.Secret?) throws -> (chain: [Certificate], key: PrivateKey) {
        guard case .tlsCertificate(let certificate)? = secret?.type,
            case .inlineBytes(let chain)? = certificate.certificateChain?.specifier,
            case .inlineBytes(let key)? = certificate.privateKey?.specifier
        else { throw GRPCStatus(.notFound, "no certificate") }
        return (try Certificate.all(pem: chain), try PrivateKey(pem: key))
    }

    @Test(
        "ATK-39 a stream gets the certificate of the pod that it is, by ADS and by SDS, and nobody else's",
        .timeLimit(.minutes(5)))
    func own() async throws {
        try await Self.withPlane { loop, server, directory in
            for isDelta in [true, false] {
                for method in [
                    DiscoveryMethod.aggregated(isDelta: isDelta),
                    try #require(DiscoveryMethod.single(Secret.typeURL, isDelta: isDelta)),
                ] {
                    let call = try await Self.call(directory + "/web.sock", method, on: loop)
                    let found: [String: EnvoyAPI.Secret]
                    if isDelta {
                        try await call.send(Self.request(["default", "ROOTCA"]).serialized())
                        let response = try DeltaDiscoveryResponse(serialized: #require(try await call.next()))
                        found = try Self.secrets(response.resources.map(\.resource))
                    } else {
                        var request = DiscoveryRequest()
                        request.typeUrl = Secret.typeURL
                        request.resourceNames = ["default", "ROOTCA"]
                        request.node = Self.request([]).node
                        try await call.send(request.serialized())
                        let response = try DiscoveryResponse(serialized: #require(try await call.next()))
                        found = try Self.secrets(response.resources)
                    }
                    let (chain, key) = try Self.chain(found["default"])
                    #expect(chain.first?.alternativeNames == [.uri("spiffe://cluster.local/ns/default/sa/web")])
                    #expect(chain.first?.matches(key) == true)
                    guard case .validationContext(let roots)? = found["ROOTCA"]?.type,
                        case .inlineBytes(let pem)? = roots.trustedCa?.specifier
                    else { return #expect(Bool(false), "no roots") }
                    #expect(
                        ChainCheck.problem(chain, trusting: try TrustBundle(pem: pem), at: WallClock.now.seconds) == nil
                    )
                    call.cancel()
                }
            }
            // Names of other workloads' secrets mean nothing here.
            let call = try await Self.call(directory + "/web.sock", on: loop)
            let others = ["spiffe://cluster.local/ns/default/sa/db", "kubernetes://default/tls", "db"]
            try await call.send(Self.request(others).serialized())
            let response = try DeltaDiscoveryResponse(serialized: #require(try await call.next()))
            #expect(response.resources.isEmpty && response.removedResources.sorted() == others.sorted())
            // Nor may a pod say that it is another.
            let thief = try await Self.call(directory + "/db.sock", on: loop)
            try await thief.send(Self.request(["default"]).serialized())
            await #expect(throws: GRPCStatus.self) { _ = try await thief.next() }
            #expect(server.streams?.counts.refusedIdentities == 1)
        }
    }

    @Test("a stream for secrets takes no other type, and is no proxy of its own", .timeLimit(.minutes(5)))
    func onlySecrets() async throws {
        try await Self.withPlane { loop, server, directory in
            let method = try #require(DiscoveryMethod.single(Secret.typeURL, isDelta: true))
            let call = try await Self.call(directory + "/web.sock", method, on: loop)
            try await call.send(Self.request(["default"]).serialized())
            _ = try await call.next()
            #expect(server.streams?.publisher.states.isEmpty == true && server.streams?.identities?.count == 1)
            try await call.send(Self.request([], Cluster.typeURL, nonce: "0").serialized())
            await #expect(throws: GRPCStatus.self) { _ = try await call.next() }
        }
    }

    /// What was published last, by stream.
    private final class Published {
        var secrets: [Int: [String: EnvoyAPI.Secret]] = [:]
    }

    @Test("ATK-40 a certificate is renewed at half life, new roots come with it, and a pod that is gone gets none")
    func renewal() async throws {
        let directory = "/tmp/skein-secrets-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory, mode: 0o700)
        defer { try? File.removeTree(directory) }
        let loop = try EventLoop.start(name: "secrets-test")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            var time: Int64 = 1_800_000_000
            var pods = ["u1": BoundPod(uid: "u1", namespace: "shop", name: "web", serviceAccount: "web", node: "n2")]
            let authority = try MeshAuthority(directory: directory, node: "n1", on: loop, now: { time })
            authority.pod = { uid, _ in pods[uid] }
            let published = Published()
            let identities = StreamIdentities(authority, on: loop, now: { time })
            identities.publish = { number, part in
                let resources = part.tables[Secret.typeURL]?.flatMap(\.resources.values) ?? []
                published.secrets[number] = try? Self.secrets(resources.map(\.message))
            }
            authority.onTrust.append { identities.trustChanged() }
            authority.otherReports = { identities.reports }
            let name = NamespacedName(namespace: "shop", name: "web")
            identities.open(1, uid: "u1", pod: name)
            identities.open(2, uid: "u1", pod: name)
            func leaf(_ stream: Int = 1) throws -> Certificate {
                try #require(try Self.chain(published.secrets[stream]?["default"]).chain.first)
            }
            let first = try leaf()
            #expect(try leaf(2) == first, "streams of one pod have one certificate")
            // Half life is 12 h, and a renewal may be up to a tenth of the life earlier.
            time += 9 * 3600
            identities.tick()
            #expect(try leaf() == first, "not yet")
            time += 3 * 3600
            identities.tick()
            let second = try leaf()
            #expect(second != first && second.notAfter > first.notAfter)
            #expect(try leaf(2) == second)
            #expect(second.alternativeNames == [.uri("spiffe://cluster.local/ns/shop/sa/web")])

            // A root that a stream has not acknowledged yet does not sign.
            identities.acknowledgedRoots = { _ in "older" }
            _ = authority.run(.rotate(nil))
            #expect(identities.reports.first?.bundle.isEmpty == true)
            #expect(authority.run(.list)["roots"]?.array?.count == 2)
            guard case .validationContext(let roots)? = published.secrets[2]?["ROOTCA"]?.type,
                case .inlineBytes(let pem)? = roots.trustedCa?.specifier
            else { return #expect(Bool(false), "no roots") }
            #expect(try TrustBundle(pem: pem).roots.count == 2)
            identities.acknowledgedRoots = { _ in authority.authority.bundle.version }
            #expect(identities.reports.first?.bundle == authority.authority.bundle.version)

            _ = authority.run(.recover)
            let third = try leaf()
            #expect(third != second, "all certificates are replaced at once")
            pods = [:]
            time += 12 * 3600
            identities.tick()
            #expect(try leaf() == third)
            #expect(identities.reports.first?.problem.contains("no such pod") == true)
            identities.close(1)
            identities.close(2)
            #expect(identities.count == 0, "the key is gone with the last stream")
        }.value
    }

    @Test("decision 9: the source of a workload's secrets is the agent for our proxy and the stream for all others")
    func source() throws {
        var publisher = SnapshotPublisher()
        let now = MonotonicTime(nanoseconds: 1)
        for document in try YAML.parse(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: web, namespace: default}
            spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: web, namespace: default, uid: u1, labels: {app: web}}
            spec: {containers: [{name: c, image: i}]}
            status: {podIP: 10.244.0.5}
            """, file: "test")
        { publisher.set(KubernetesObject(json: document.json), now: now) }
        func resources(_ agent: String, _ metadata: JSON? = nil) throws -> String {
            let stream = publisher.open(
                ProxyIdentity(pod: NamespacedName(namespace: "default", name: "web"), role: .sidecar))
            defer { publisher.close(stream) }
            var text = ""
            for type in [Cluster.typeURL, Listener.typeURL] {
                var request = DeltaDiscoveryRequest()
                request.typeUrl = type
                var node = EnvoyAPI.Node()
                node.userAgentName = agent
                node.metadata = metadata
                request.node = node
                for message in try publisher.received(.delta(request), on: stream) {
                    let response = try DeltaDiscoveryResponse(serialized: message.bytes)
                    request.responseNonce = response.nonce
                    _ = try publisher.received(.delta(request), on: stream)
                    for case let resource? in response.resources.map(\.resource) {
                        guard type == Listener.typeURL else {
                            text += try resource.unpack(as: Cluster.self).json(names: .proto).text
                            continue
                        }
                        // Only proxies of ours count connections: their chains of bytes have one filter more.
                        func uncounted(_ chain: FilterChain) -> FilterChain {
                            var chain = chain
                            chain.filters.removeAll { $0.name == "istio.stats" }
                            return chain
                        }
                        var listener = try resource.unpack(as: Listener.self)
                        let before = listener
                        listener.filterChains = listener.filterChains.map(uncounted)
                        listener.defaultFilterChain = listener.defaultFilterChain.map(uncounted)
                        #expect((listener != before) == (agent == "skein-proxy"))
                        text += listener.json(names: .proto).text
                    }
                }
            }
            return text
        }
        func count(_ text: String, _ part: String) -> Int { text.split(separator: part).count - 1 }
        let agent = try resources("skein-proxy")
        #expect(count(agent, "sds-grpc") == count(agent, "sds_config") && agent.contains("sds-grpc"))
        let own = try resources("envoy")
        #expect(count(own, "sds-grpc") == 0 && count(own, "sds_config") == count(agent, "sds_config"))
        #expect(count(own, "\"ads\"") >= count(own, "sds_config"))
        #expect(try resources("skein-proxy", ["skein.secrets": "ads"]) == own)
        #expect(try resources("envoy", ["skein.secrets": "agent"]) == agent)
    }
}
