import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing

@testable import Proxy

/// The recorder: a bounded sample of requests, without their secrets.
struct RecorderTests {
    private static func page(_ scene: FilterScene, _ query: String = "") async throws -> [JSON] {
        guard let admin = scene.proxy.admin else { throw Wire.Closed() }
        let wire = try await Wire.connect(to: admin, on: scene.loop)
        defer { wire.close() }
        let response = try await wire.get("/recorder" + query)
        return try response.body.split(separator: "\n").map { try JSON.parse(String($0)) }
    }

    private static func record(_ scene: FilterScene, interval: UInt32 = 1, size: Int = 10_000) async {
        _ = await scene.proxy.server.workers[0].ask {
            $0.recorder.configure(
                Recorder.Settings(interval: interval, size: size, key: [1, 2, 3]), loops: 1, row: 0)
        }
    }

    private static let routes = """
        [ { name: user, match: { prefix: "/", headers: [ { name: end-user, present_match: true }, { name: authorization, present_match: false } ] }, route: { cluster: backend } },
          { name: rest, match: { prefix: "/" }, route: { cluster: backend } } ]
        """

    @Test
    func `A record holds what the request was and what was decided, the fields that routes look at, and no others`()
        async throws
    {
        try await FilterScene.run([], routes: Self.routes) { scene in
            await Self.record(scene)
            _ = try await scene.client.get("/a?name=jason&b", "end-user: jason\r\nx-other: secret\r\n")
            let records = try await Self.page(scene)
            #expect(records.count == 1)
            let record = try #require(records.first)
            #expect(record["method"]?.string == "GET")
            #expect(record["authority"]?.string == "test")
            #expect(record["route"]?.string == "user")
            #expect(record["cluster"]?.string == "backend")
            #expect(record["host"]?.string == "127.0.0.1:\(scene.upstream.port)")
            #expect(record["status"]?.int == 200)
            #expect(record["flags"]?.string == "-")
            #expect(record["source"]?.string?.hasPrefix("127.0.0.1:") == true)
            #expect(record["upstream_duration_us"]?.int != nil)
            #expect(record["headers"] == .array([.array([.string("end-user"), .string("jason")])]))
            let path = record["path"]?.string ?? ""
            #expect(path.hasPrefix("/a?name=hash:"))
            #expect(path.hasSuffix("&b"))
            #expect(!path.contains("jason"))
        }
    }

    @Test func `Values of credentials are hashed: equal ones look equal, and nobody can read them`() async throws {
        try await FilterScene.run([], routes: Self.routes) { scene in
            await Self.record(scene)
            for secret in ["Bearer one", "Bearer one", "Bearer two"] {
                _ = try await scene.client.get("/", "end-user: a\r\nauthorization: \(secret)\r\n")
            }
            let values = try await Self.page(scene).map { $0["headers"]?[0]?[1]?.string ?? "" }
            #expect(values.count == 3)
            #expect(values.allSatisfy { $0.hasPrefix("hash:") && !$0.contains("Bearer") })
            #expect(values[0] == values[1])
            #expect(values[0] != values[2])
            let other = RecordedText(key: [9]).value("Bearer one", of: "authorization")
            #expect(other != values[0])
        }
    }

    @Test func `One request in so many is taken, and 0 takes none`() async throws {
        try await FilterScene.run([]) { scene in
            await Self.record(scene, interval: 3)
            for _ in 0..<10 { _ = try await scene.client.get("/") }
            #expect(try await Self.page(scene).count == 3)
            await Self.record(scene, interval: 0)
            for _ in 0..<3 { _ = try await scene.client.get("/") }
            #expect(try await Self.page(scene).isEmpty)
            await Self.record(scene, interval: 1, size: 0)
            _ = try await scene.client.get("/")
            #expect(try await Self.page(scene).isEmpty)
        }
    }

    @Test func `The ring keeps the latest, and limit and since choose among them`() async throws {
        try await FilterScene.run([]) { scene in
            await Self.record(scene, size: 4)
            for number in 0..<6 { _ = try await scene.client.get("/\(number)") }
            let all = try await Self.page(scene)
            #expect(all.compactMap { $0["path"]?.string } == ["/2", "/3", "/4", "/5"])
            #expect(try await Self.page(scene, "?limit=2").compactMap { $0["path"]?.string } == ["/4", "/5"])
            let latest = all.last?["time_ms"]?.int ?? 0
            #expect(try await Self.page(scene, "?since=\(latest)").isEmpty)
            #expect(try await Self.page(scene, "?since=0").count == 4)
        }
    }

    @Test func `ATK-19 Huge paths and headers are cut, and all records together stay below the limit`() async throws {
        try await FilterScene.run([], routes: Self.routes) { scene in
            await Self.record(scene)
            let huge = String(repeating: "x", count: 20_000)
            _ = try await scene.client.get("/\(huge)?q=\(huge)", "end-user: \(huge)\r\n")
            let record = try #require(try await Self.page(scene).first)
            #expect((record["path"]?.string ?? "").utf8.count <= Limits.recordedPathBytes + 3)
            #expect((record["headers"]?[0]?[1]?.string ?? "").utf8.count <= Limits.recordedValueBytes + 3)
            // So many that they do not fit: the oldest go.
            let bytes = await scene.proxy.server.workers[0].ask { worker in
                worker.recorder.configure(
                    Recorder.Settings(interval: 1, size: 1_000_000, key: []), loops: 2_000, row: 0)
                return worker.recorder.bytes
            }
            #expect(bytes == 0)
            for _ in 0..<20 { _ = try await scene.client.get("/\(huge)", "end-user: a\r\n") }
            let kept = await scene.proxy.server.workers[0].ask { worker in
                (worker.recorder.bytes, worker.recorder.records.count)
            }
            let (size, count) = try #require(kept)
            #expect(size <= Limits.recorderBytes / 2_000)
            #expect(count > 0 && count < 20)
        }
    }

    @Test func `A query of one word is hashed, names of parameters stay`() {
        let text = RecordedText(key: [1])
        #expect(text.path("/a") == "/a")
        #expect(text.path("/a?") == "/a?")
        #expect(text.path("/a?token").hasPrefix("/a?hash:"))
        #expect(text.path("/a?x=&y=1").hasPrefix("/a?x=hash:"))
        #expect(text.value("plain", of: "x-user") == "plain")
        #expect(text.value("plain", of: "x-session-id").hasPrefix("hash:"))
    }

    @Test func `A gRPC access log service gets the records, hashed as they are`() async throws {
        try await onLoop { loop in
            let received = Received()
            let path = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            let port = socket.localAddress?.port ?? 0
            let listener = try SocketListener(socket, on: loop)
            let server = GRPCServer(
                on: loop,
                methods: [
                    path: { call throws(GRPCStatus) in
                        while let message = try await call.next() { received.add(path, message) }
                        try await call.send([])
                    }
                ])
            Task(executorPreference: loop) {
                while let accepted = try? await listener.accept() {
                    guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                    Task(executorPreference: loop) { await server.serve(stream) }
                }
            }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("") }
            let proxy = try await RunningProxy.start(
                "node: { id: n1, cluster: shop }\n"
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Self.routes),
                        clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("collector", [port])))
            defer { proxy.stop() }
            let proxyServer = proxy.server
            _ = await proxyServer.workers[0].ask { worker in
                worker.recorder.configure(
                    Recorder.Settings(
                        interval: 1, size: 10, key: [1],
                        export: RecorderExport(
                            cluster: "collector", node: proxyServer.bootstrap.node, metrics: proxyServer.metrics,
                            hub: proxyServer.collectors)), loops: 1, row: 0)
            }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/one?key=secret", "end-user: jason\r\n")
            await received.wait(for: 1, on: loop)
            let message = try StreamAccessLogsMessage(serialized: try #require(received.all.first).body)
            #expect(message.identifier?.logName == "skein.recorder")
            #expect(message.identifier?.node?.id == "n1")
            guard case .httpLogs(let entries)? = message.logEntries, let entry = entries.logEntry.first else {
                Issue.record("no entry")
                return
            }
            #expect(entry.request?.path.hasPrefix("/one?key=hash:") == true)
            #expect(entry.request?.requestMethod == .get)
            #expect(entry.request?.requestHeaders["end-user"] == "jason")
            #expect(entry.response?.responseCode == 200)
            #expect(entry.commonProperties?.routeName == "user")
            #expect(entry.commonProperties?.upstreamCluster == "backend")
            #expect(entry.commonProperties?.customTags["virtual_host"] == "all")
        }
    }
}
