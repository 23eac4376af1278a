import IO
import Proxy
import Testing

@Suite("WebSocket and TCP")
struct TunnelTests {
    private static let upgrade =
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"

    @Test("P-4 an upgrade becomes a tunnel in both directions")
    func webSocket() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let request = try await wire.request()
                guard request.head.lowercased().contains("upgrade: websocket") else { return }
                try await wire.write(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
                let ping = try await wire.read(4)
                try await wire.write("pong-\(ping)")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: "upgrade_configs: [ { upgrade_type: websocket } ]", routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.upgrade)
            let response = try await client.response()
            #expect(response.status == 101)
            #expect(response.field("upgrade") == "websocket")
            #expect(try await client.read(5) == "hello")
            try await client.write("ping")
            #expect(try await client.read(9) == "pong-ping")
            #expect(await client.readToEnd() == "")
        }
    }

    @Test("ATK-14 bytes behind an upgrade wait until the upstream agrees, and are dropped when it refuses")
    func earlyBytes() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let request = try await wire.request()
                if request.head.contains("smuggled") { return try await wire.write(ScriptedUpstream.ok("smuggled")) }
                try await wire.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
                let more = await wire.readToEnd()
                if more.contains("smuggled") { Issue.record("early bytes reached the upstream") }
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: "upgrade_configs: [ { upgrade_type: websocket } ]",
                        routes: "[ { match: { path: /chat }, route: { cluster: backend } } ]"),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.upgrade + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try await client.response().status == 403)
            // What stood behind it was meant for a tunnel that there is not: it is nobody's request.
            #expect(await client.readToEnd().isEmpty)
        }
    }

    @Test("an upgrade that is not configured is refused with 403")
    func upgradeRefused() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("no") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.upgrade)
            #expect(try await client.response().status == 403)
        }
    }

    @Test("TCP passes both ways, with half-closed connections, by weight")
    func tcp() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let all = await wire.readToEnd()
                try await wire.write("got \(all.utf8.count)")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.tcpListener(
                        "tcp", "weighted_clusters: { clusters: [ { name: a, weight: 1 }, { name: b, weight: 1 } ] }"),
                    clusters: Yaml.cluster("a", [upstream.port]) + Yaml.cluster("b", [upstream.port])))
            defer { proxy.stop() }
            for count in [1, 1000, 3_000_000] {
                let socket = try Socket.connect(to: proxy.address)
                let client = Wire(try SocketStream(socket, on: loop))
                try await client.write(String(repeating: "x", count: count))
                socket.shutdownWrite()
                #expect(await client.readToEnd() == "got \(count)")
            }
        }
    }

    @Test("TCP to a cluster without hosts closes the connection")
    func tcpNoHost() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.tcpListener("tcp", "cluster: empty"), clusters: Yaml.cluster("empty", [])))
            defer { proxy.stop() }
            do {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                #expect(await client.readToEnd() == "")
            } catch let error as SystemError {
                // Closed before our side has noticed that it is connected.
                #expect(error.reason == "connection reset by peer")
            }
        }
    }
}
