import APIServer
import EnvoyAPI
import HTTP
import IO
import Identity
import KubernetesAPI
import Serialization
import Store
import TLS
import Testing

@testable import ControlPlane

@Suite("First contact by token")
struct TokenContactTests {
    private struct Plane: Sendable {
        var loop: EventLoop
        var server: ControlPlaneServer
        var directory: String
        var client: CertificateClient
    }

    /// A control plane with discovery on TCP, and pods `web-1` and `web-2` of account `web` and `db` of account `db`.
    private static func withPlane(_ body: @escaping @Sendable (Plane) async throws -> Void) async throws {
        let directory = "/tmp/skein-token-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory + "/control", mode: 0o700)
        defer { try? File.removeTree(directory) }
        let address = try Self.freeAddress()
        var options = ControlPlaneOptions(dataDirectory: directory, runDirectory: directory)
        options.apiAddress = .ip(.v4(0x7f00_0001), port: 0)
        options.metricsAddress = .ip(.v4(0x7f00_0001), port: 0)
        options.discoveryAddress = address
        let loop = try EventLoop.start(name: "control")
        let server = ControlPlaneServer(options, on: loop)
        await Task(executorPreference: loop) { server.start() }.value
        try await Task(executorPreference: loop) {
            let registry = try #require(server.registry)
            for name in ["web", "db"] {
                _ = try registry.create(["metadata": ["name": .string(name)]], .serviceAccount, namespace: "default")
            }
            for (name, account) in ["web-1": "web", "web-2": "web", "db": "db"] {
                let pod: JSON = [
                    "metadata": ["name": .string(name)],
                    "spec": ["serviceAccountName": .string(account), "containers": [["name": "c", "image": "i"]]],
                ]
                _ = try registry.create(pod, .pod, namespace: "default")
            }
            try await registry.store.settled()
            let authority = try Certificate.all(pem: try File.read(directory + "/control/ca.crt"))
            var client = CertificateClient(address, authority: authority)
            client.timeout = .seconds(120)
            try await body(Plane(loop: loop, server: server, directory: directory, client: client))
        }.value
        await Task(executorPreference: loop) { server.stop() }.value
    }

    /// An address that nobody listens on.
    ///
    /// Below the ports that the kernel gives away: one of those may belong to another test by the time the server opens it, and a
    /// server that could not be started answers nobody.
    private static func freeAddress() throws -> IO.SocketAddress {
        for _ in 0..<100 {
            let address = IO.SocketAddress.ip(.v4(0x7f00_0001), port: .random(in: 16_000...31_000))
            guard let probe = try? Socket.listen(on: address) else { continue }
            probe.close()
            return address
        }
        throw SystemError(98, "a free port")
    }

    /// A token as `kubectl create token` gets it.
    private static func token(
        _ plane: Plane, _ account: String, audience: String = "skein", pod: String? = nil
    ) throws -> String {
        var spec: JSON = ["audiences": [.string(audience)]]
        if let pod { spec["boundObjectRef"] = ["kind": "Pod", "apiVersion": "v1", "name": .string(pod)] }
        let router = try #require(plane.server.router)
        let answer = router.answer(
            try APIRequest(
                method: "POST", target: "/api/v1/namespaces/default/serviceaccounts/\(account)/token",
                contentType: "application/json", body: (["spec": spec] as JSON).bytes))
        guard answer.status == 201, case .bytes(let bytes) = answer.body,
            let token = try JSON.parse(bytes)["status"]?["token"]?.string
        else { throw GRPCStatus(.internal, "\(answer.status)") }
        return token
    }

    private static func request(_ key: PrivateKey, _ names: [SubjectAlternativeName] = []) throws -> [UInt8] {
        try CertificateRequest.make(subject: DistinguishedName(), alternativeNames: names, key: key).pem
    }

    private static func refusal(
        _ plane: Plane, _ credential: CertificateClient.Credential, _ request: [UInt8]? = nil
    ) async throws -> GRPCStatus.Code? {
        do {
            _ = try await plane.client.certify(
                try request ?? Self.request(PrivateKey.makeP256()), showing: credential, on: plane.loop)
            return nil
        } catch let status as GRPCStatus { return status.code }
    }

    @Test(
        "ATK-39 a token brings a certificate for its service account, for one key; the certificate brings the next",
        .timeLimit(.minutes(5)))
    func contact() async throws {
        try await Self.withPlane { plane in
            for pod in ["web-1", nil] {
                let token = try Self.token(plane, "web", pod: pod)
                let key = try PrivateKey.makeP256()
                let (chain, roots) = try await plane.client.certify(
                    Self.request(key), showing: .token(token), on: plane.loop)
                #expect(chain.first?.alternativeNames == [.uri("spiffe://cluster.local/ns/default/sa/web")])
                #expect(chain.first?.matches(key) == true)
                let now = WallClock.now.seconds
                #expect(ChainCheck.problem(chain, trusting: TrustBundle(roots), at: now) == nil)
                // The same request again is the same caller; another key is a thief.
                #expect(try await Self.refusal(plane, .token(token), Self.request(key)) == nil)
                #expect(try await Self.refusal(plane, .token(token)) == .permissionDenied)
                let next = try PrivateKey.makeP256()
                let (renewed, _) = try await plane.client.certify(
                    Self.request(next), showing: .certificate(chain: chain, key: key), on: plane.loop)
                #expect(renewed.first?.alternativeNames == chain.first?.alternativeNames)
                #expect(
                    try await plane.client.roots(showing: .certificate(chain: renewed, key: next), on: plane.loop)
                        == roots)
            }
        }
    }

    @Test(
        "ATK-39 refused: a token of another audience, a changed one, one whose pod or account is gone, and another's name",
        .timeLimit(.minutes(5)))
    func refusals() async throws {
        try await Self.withPlane { plane in
            let registry = try #require(plane.server.registry)
            #expect(try await Self.refusal(plane, .none) == .unauthenticated)
            #expect(try await Self.refusal(plane, .token("abc")) == .unauthenticated)
            let foreign = try Self.token(plane, "web", audience: "https://kubernetes.default.svc")
            #expect(try await Self.refusal(plane, .token(foreign)) == .unauthenticated)
            let token = try Self.token(plane, "web", pod: "web-1")
            #expect(try await Self.refusal(plane, .token(token + "A")) == .unauthenticated)
            // Whatever the request says, it is signed for the caller or not at all.
            for name in ["spiffe://cluster.local/ns/default/sa/db", "spiffe://other/ns/default/sa/web"] {
                let request = try Self.request(PrivateKey.makeP256(), [.uri(name)])
                let fresh = try Self.token(plane, "web", pod: "web-1")
                #expect(try await Self.refusal(plane, .token(fresh), request) == .permissionDenied)
            }
            var options = DeleteOptions()
            options.gracePeriodSeconds = 0
            try registry.delete(.pod, "default", "web-1", options: options)
            try await registry.store.settled()
            #expect(try await Self.refusal(plane, .token(token)) == .unauthenticated, "its pod is gone")
            let unbound = try Self.token(plane, "db")
            try registry.delete(.serviceAccount, "default", "db", options: options)
            _ = try registry.create(["metadata": ["name": "db"]], .serviceAccount, namespace: "default")
            try await registry.store.settled()
            #expect(try await Self.refusal(plane, .token(unbound)) == .unauthenticated, "its account was made again")
            let refused = plane.server.authorityFacts["refused"]
            #expect(refused?["BadToken"]?.int == 5 && refused?["OtherIdentity"]?.int == 2)
        }
    }

    @Test("ATK-39 a token opens a stream for its own pod, and no secrets", .timeLimit(.minutes(5)))
    func stream() async throws {
        try await Self.withPlane { plane in
            func ask(
                _ token: String, pod: String, _ type: String, _ names: [String] = [], endsPod: Bool = false
            ) async throws -> Int {
                let socket = try await SocketStream.connect(
                    to: plane.client.address, on: plane.loop, timeout: plane.client.timeout)
                defer { socket.close() }
                var configuration = TLSConfiguration()
                configuration.trust = plane.client.authority
                configuration.applicationProtocols = ["h2"]
                let secured = try await TLSStream.connect(
                    socket, try TLSContext(configuration, role: .client), serverName: CertificateClient.serverName)
                var metadata = HeaderTable()
                try metadata.append("authorization", "Bearer \(token)")
                let call = try GRPCClient(secured, authority: "x", on: plane.loop)
                    .call(ProxyStreams.method, metadata: metadata)
                var request = DeltaDiscoveryRequest()
                request.typeUrl = type
                request.resourceNamesSubscribe = names
                var node = EnvoyAPI.Node()
                node.id = "sidecar~10.244.0.5~\(pod).default~default.svc.cluster.local"
                node.userAgentName = "envoy"
                request.node = node
                try await call.send(request.serialized())
                let count = try DeltaDiscoveryResponse(serialized: #require(try await call.next())).resources.count
                guard endsPod else { return count }
                // Who is no pod any more has no stream.
                var options = DeleteOptions()
                options.gracePeriodSeconds = 0
                _ = try #require(plane.server.registry).delete(.pod, "default", pod, options: options)
                while try await call.next() != nil {}
                return -1
            }
            let token = try Self.token(plane, "web", pod: "web-1")
            #expect(try await ask(token, pod: "web-1", EnvoyAPI.Cluster.typeURL) > 0)
            // Bound to one pod it is not the other's, though that runs as the same account.
            await #expect(throws: GRPCStatus.self) { _ = try await ask(token, pod: "web-2", EnvoyAPI.Cluster.typeURL) }
            await #expect(throws: GRPCStatus.self) {
                _ = try await ask(token, pod: "web-1", EnvoyAPI.Secret.typeURL, ["default"])
            }
            let unbound = try Self.token(plane, "web")
            #expect(try await ask(unbound, pod: "web-2", EnvoyAPI.Cluster.typeURL) > 0)
            await #expect(throws: GRPCStatus.self) { _ = try await ask(unbound, pod: "db", EnvoyAPI.Cluster.typeURL) }
            // The stream of a pod that is deleted ends: with a status, or without one.
            let ended = try? await ask(token, pod: "web-1", EnvoyAPI.Cluster.typeURL, endsPod: true)
            #expect(ended == nil || ended == -1)
            await #expect(throws: GRPCStatus.self) { _ = try await ask(token, pod: "web-1", EnvoyAPI.Cluster.typeURL) }
        }
    }
}
