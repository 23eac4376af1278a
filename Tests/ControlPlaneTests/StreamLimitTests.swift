import APIServer
import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Mesh
import Serialization
import Store
import TLS
import Testing
import XDS

@testable import ControlPlane

@Suite("Limits of discovery streams")
struct StreamLimitTests {
    /// Streams of one pod's socket under small limits.
    private struct Scene {
        var loop: EventLoop
        var streams: ProxyStreams
        var path: String

        func call(windowBytes: UInt32? = nil) async throws -> GRPCStream {
            let stream = try await SocketStream.connect(to: .unix(path), on: loop, timeout: .seconds(5))
            var limits = HTTP2Limits()
            if let windowBytes { limits.streamWindow = windowBytes }
            return try GRPCClient(stream, authority: "xds", on: loop, limits: limits).call(ProxyStreams.method)
        }

        /// The status with which a call ends.
        func end(_ call: GRPCStream) async -> GRPCStatus {
            do throws(GRPCStatus) {
                while try await call.next() != nil {}
                return .ok
            } catch {
                return error
            }
        }
    }

    private static func request(_ type: String = Cluster.typeURL, id: String = "sidecar~10.0.0.1~web.default~d")
        -> DeltaDiscoveryRequest
    {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = type
        var node = EnvoyAPI.Node()
        node.id = id
        request.node = node
        return request
    }

    private static func run(
        _ limits: DiscoveryLimits, services: Int = 1, _ body: @escaping @Sendable (Scene) async throws -> Void
    ) async throws {
        let loop = try EventLoop.start(name: "streams")
        let path = "/tmp/skein-streams-\(Environment.processID)-\(UInt32.random(in: 0 ... .max)).sock"
        defer { try? File.remove(path) }
        try await Task(executorPreference: loop) {
            let time = Timestamp(seconds: 1_800_000_000)
            let registry = ObjectRegistry(store: try SQLiteStore(path: ":memory:"), now: { time })
            try registry.bootstrap()
            for number in 0..<services {
                _ = try registry.create(
                    [
                        "metadata": ["name": .string("service-\(number)")],
                        "spec": ["ports": [["name": "http", "port": 80]]],
                    ], .service, namespace: "default")
            }
            let pod = try registry.create(
                ["metadata": ["name": "web"], "spec": ["containers": [["name": "c", "image": "i"]]]], .pod,
                namespace: "default")
            let streams = ProxyStreams(RegistrySource(registry), on: loop, limits: limits, now: { time })
            try streams.start {}
            streams.add(
                try Socket.listen(on: .unix(path)), uid: pod.object.metadata.uid,
                pod: NamespacedName(namespace: "default", name: "web"))
            try await body(Scene(loop: loop, streams: streams, path: path))
            streams.remove(uid: pod.object.metadata.uid)
        }.value
        loop.stop()
    }

    @Test("ATK-34 an oversized request ends its stream before anything is made of it, counted", .timeLimit(.minutes(5)))
    func oversized() async throws {
        var limits = DiscoveryLimits()
        limits.requestBytes = 4096
        try await Self.run(limits) { scene in
            let call = try await scene.call()
            try await call.send(Self.request(id: String(repeating: "x", count: 8192)).serialized())
            #expect(await scene.end(call).code != .ok)
            #expect(scene.streams.counts.violations == 1 && scene.streams.publisher.streamCount == 0)
            let other = try await scene.call()
            try await other.send(Self.request().serialized())
            #expect(try await other.next() != nil, "others are served")
        }
    }

    @Test("ATK-34 bytes that are no request end the stream", .timeLimit(.minutes(5)))
    func garbage() async throws {
        try await Self.run(DiscoveryLimits()) { scene in
            let call = try await scene.call()
            try await call.send([UInt8](repeating: 0xFF, count: 100))
            #expect(await scene.end(call).code == .invalidArgument)
        }
    }

    @Test("ATK-35 a flood of requests ends its stream, counted", .timeLimit(.minutes(5)))
    func flood() async throws {
        var limits = DiscoveryLimits()
        limits.requestBurst = 20
        limits.requestRate = 0.001
        try await Self.run(limits) { scene in
            let call = try await scene.call()
            for _ in 0..<40 { try? await call.send(Self.request().serialized()) }
            #expect(await scene.end(call).code == .resourceExhausted)
            #expect(scene.streams.counts.floods == 1)
        }
    }

    @Test(
        "ATK-48 streams over the limit of a pod, and more at once than can be served, are told to come later",
        .timeLimit(.minutes(5)))
    func streams() async throws {
        var limits = DiscoveryLimits()
        limits.streamsPerPod = 2
        limits.openingBurst = 4
        limits.openingRate = 0.001
        try await Self.run(limits) { scene in
            var open: [GRPCStream] = []
            for _ in 0..<2 {
                let call = try await scene.call()
                try await call.send(Self.request().serialized())
                #expect(try await call.next() != nil)
                open.append(call)
            }
            let third = try await scene.call()
            try await third.send(Self.request().serialized())
            #expect(await scene.end(third).code == .resourceExhausted)
            open[0].cancel()
            while scene.streams.publisher.streamCount > 1 { await scene.loop.sleep(for: .milliseconds(2)) }
            let fourth = try await scene.call()
            try await fourth.send(Self.request().serialized())
            #expect(try await fourth.next() != nil, "there is room again")
            let fifth = try await scene.call()
            #expect(await scene.end(fifth).code == .unavailable, "too many at once")
            #expect(scene.streams.counts.refusedStreams == 2)
        }
    }

    @Test("ATK-35 a subscriber that does not read is cut off, counted", .timeLimit(.minutes(5)))
    func slowReader() async throws {
        var limits = DiscoveryLimits()
        limits.unreadTime = .milliseconds(300)
        try await Self.run(limits, services: 500) { scene in
            let call = try await scene.call(windowBytes: 65_535)
            try await call.send(Self.request().serialized())
            while scene.streams.counts.unread == 0 { await scene.loop.sleep(for: .milliseconds(10)) }
            #expect(scene.streams.publisher.streamCount == 0)
        }
    }

    @Test("a subscriber that says nothing is let go", .timeLimit(.minutes(5)))
    func silent() async throws {
        var limits = DiscoveryLimits()
        limits.firstRequestTime = .milliseconds(100)
        try await Self.run(limits) { scene in
            let call = try await scene.call()
            #expect(await scene.end(call).code != .ok)
        }
    }

    @Test("whose certificate it is: one URI of the trust domain, and nothing like it (ATK-26)")
    func identity() {
        func account(_ uris: String...) -> String? {
            DiscoveryListener.serviceAccount(uris, trustDomain: "cluster.local").map { "\($0)" }
        }
        #expect(account("spiffe://cluster.local/ns/a/sa/b") == "a/b")
        for uri in [
            "spiffe://cluster.local/ns/a/sa/b/c", "spiffe://cluster.local/ns//sa/b", "spiffe://cluster.local/ns/a/sa/",
            "spiffe://other/ns/a/sa/b", "https://cluster.local/ns/a/sa/b", "spiffe://cluster.local.evil/ns/a/sa/b",
            "spiffe:///cluster.local/ns/a/sa/b", "spiffe://CLUSTER.LOCAL/ns/a/sa/b", "",
        ] {
            #expect(account(uri) == nil, "\(uri)")
        }
        #expect(account("spiffe://cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/a/sa/c") == nil)
    }

    @Test("node ids: role, pod and namespace, or nothing")
    func nodeID() {
        #expect(NodeID("sidecar~10.0.0.1~web.v1.default~default.svc")?.pod.name == "web.v1")
        #expect(NodeID("router~~gw.skein-system~")?.role == "router")
        for text in [
            "", "web", "sidecar~1~web~d", "sidecar~1~.default~d", "sidecar~1~web.~d", "other~1~a.b~d", "sidecar~1~a.b",
        ] {
            #expect(NodeID(text) == nil, "\(text)")
        }
    }
}
