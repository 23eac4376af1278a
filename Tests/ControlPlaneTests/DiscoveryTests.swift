import APIServer
import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Serialization
import Store
import Testing

@testable import ControlPlane

@Suite("The control plane on sockets")
struct DiscoveryTests {
    /// A control plane in a directory of its own, with a pod whose socket was handed over.
    private static func start() async throws -> (EventLoop, ControlPlaneServer, directory: String) {
        let directory = "/tmp/skein-control-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory, mode: 0o700)
        try File.makeDirectory(directory + "/control", mode: 0o700)
        var options = ControlPlaneOptions(dataDirectory: directory, runDirectory: directory)
        options.apiAddress = .ip(.v4(0x7f00_0001), port: 0)
        options.metricsAddress = .ip(.v4(0x7f00_0001), port: 0)
        let loop = try EventLoop.start(name: "control")
        let server = ControlPlaneServer(options, on: loop)
        await Task(executorPreference: loop) {
            server.start()
            // It opens its store elsewhere, and all the rest in one go.
            while server.registry == nil, server.failure == nil { await loop.sleep(for: .milliseconds(1)) }
        }.value
        return (loop, server, directory)
    }

    private static func create(_ server: ControlPlaneServer, _ json: JSON, _ kind: ResourceKind) async throws -> String
    {
        guard let registry = server.registry else { throw server.failure ?? ControlPlaneError("not started") }
        let uid = try registry.create(json, kind, namespace: "default").object.metadata.uid
        try await registry.store.settled()
        return uid
    }

    private static func handOver(_ directory: String, uid: String, path: String) throws -> Socket {
        let listening = try Socket.listen(on: .unix(path))
        let agent = try Socket.connect(to: .unix(directory + "/agent.sock"))
        let line = #"{"op":"xds","uid":"\#(uid)","namespace":"default","name":"web"}"# + "\n"
        _ = try agent.send(Array(line.utf8), descriptor: listening.fd)
        return agent
    }

    private static func call(_ path: String, on loop: EventLoop) async throws -> GRPCStream {
        let stream = try await SocketStream.connect(to: .unix(path), on: loop, timeout: .seconds(5))
        return try GRPCClient(stream, authority: "xds", on: loop).call(ProxyStreams.method)
    }

    private static func request(_ node: String) -> DeltaDiscoveryRequest {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = EnvoyAPI.Cluster.typeURL
        var sender = EnvoyAPI.Node()
        sender.id = node
        request.node = sender
        return request
    }

    @Test(
        "a stream on a pod's socket gets that pod's clusters, and a pod that goes is marked as drained",
        .timeLimit(.minutes(5)))
    func discovery() async throws {
        let (loop, server, directory) = try await Self.start()
        defer { try? File.removeTree(directory) }
        try await Task(executorPreference: loop) {
            let uid = try await Self.create(
                server,
                [
                    "metadata": ["name": "web", "labels": ["app": "web"]],
                    "spec": ["containers": [["name": "c", "image": "i"]]],
                ], .pod)
            _ = try await Self.create(
                server,
                [
                    "metadata": ["name": "web"],
                    "spec": ["selector": ["app": "web"], "ports": [["name": "http", "port": 80]]],
                ],
                .service)
            let path = directory + "/web.sock"
            let agent = try Self.handOver(directory, uid: uid, path: path)
            let call = try await Self.call(path, on: loop)
            try await call.send(Self.request("sidecar~10.244.0.5~web.default~default.svc.cluster.local").serialized())
            let bytes = try #require(try await call.next())
            let response = try DeltaDiscoveryResponse(serialized: bytes)
            #expect(response.resources.map(\.name).contains("outbound|80||web.default.svc.cluster.local"))
            // The only subscriber uses no endpoints: nobody has to acknowledge anything.
            try server.registry?.delete(.pod, "default", "web")
            var isDrained = false
            while !isDrained {
                let pod = try server.registry?.get(.pod, "default", "web")
                isDrained = pod?.metadata.annotations["skein.dev/drained"] != nil
                await loop.sleep(for: .milliseconds(5))
            }
            agent.close()
        }.value
        await Task(executorPreference: loop) { server.stop() }.value
    }

    @Test(
        "decision 9: a node that calls itself something else than the pod of its socket is refused",
        .timeLimit(.minutes(5)))
    func identity() async throws {
        let (loop, server, directory) = try await Self.start()
        defer { try? File.removeTree(directory) }
        try await Task(executorPreference: loop) {
            let uid = try await Self.create(
                server, ["metadata": ["name": "web"], "spec": ["containers": [["name": "c", "image": "i"]]]], .pod)
            let path = directory + "/web.sock"
            let agent = try Self.handOver(directory, uid: uid, path: path)
            let call = try await Self.call(path, on: loop)
            try await call.send(Self.request("sidecar~10.244.0.5~other.default~default.svc.cluster.local").serialized())
            await #expect(throws: GRPCStatus.self) { _ = try await call.next() }
            agent.close()
        }.value
        await Task(executorPreference: loop) { server.stop() }.value
    }

    @Test("a kubeconfig and an authority are made once and kept")
    func identities() async throws {
        let (loop, server, directory) = try await Self.start()
        defer { try? File.removeTree(directory) }
        #expect(server.failure == nil)
        let kubeconfig = try File.text(directory + "/control/kubeconfig")
        #expect(kubeconfig.contains("current-context: default") && kubeconfig.contains("client-key-data:"))
        let again = try Identities(directory: directory + "/control", now: WallClock.now.seconds)
        try again.writeKubeconfig(server: "https://127.0.0.1:0", now: WallClock.now.seconds)
        #expect(try File.text(directory + "/control/kubeconfig") == kubeconfig)
        await Task(executorPreference: loop) { server.stop() }.value
    }

    @Test("messages of the agent are put together from any pieces, and what is none of them ends the connection")
    func messages() {
        var reader = AgentMessageReader()
        let first = reader.receive(Array(#"{"op":"xds-g"#.utf8), descriptor: nil)
        #expect(first?.isEmpty == true)
        let second = reader.receive(Array("one\",\"uid\":\"u\"}\n".utf8), descriptor: nil)
        #expect(second?.map(\.message) == [.xdsGone(uid: "u")])
        let third = reader.receive(Array("{\"op\":\"xds\",\"uid\":\"u\",\"name\":\"n\"}\n".utf8), descriptor: nil)
        #expect(third == nil, "no descriptor")
        var other = AgentMessageReader()
        let unknown = other.receive(Array("{\"op\":\"format\"}\n".utf8), descriptor: nil)
        #expect(unknown == nil)
        var endless = AgentMessageReader()
        let blanks = [UInt8](repeating: 0x20, count: AgentMessageReader.lineBytesMax + 1)
        let tooLong = endless.receive(blanks, descriptor: nil)
        #expect(tooLong == nil)
    }
}
