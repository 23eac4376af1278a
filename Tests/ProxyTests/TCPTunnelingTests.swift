import HTTP
import IO
import Testing

@testable import Proxy

@Suite("TCP inside HTTP")
struct TCPTunnelingTests {
    private static func proxy(_ tunneling: String, _ port: UInt16, cluster: String = "") async throws -> RunningProxy {
        try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.tcpListener("tcp", "cluster: backend\n          tunneling_config: { \(tunneling) }"),
                clusters: Yaml.cluster("backend", [port], cluster), admin: true))
    }

    @Test("a connection travels inside CONNECT over HTTP/1")
    func connect() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let request = try await wire.request()
                #expect(request.head.hasPrefix("CONNECT host.test:443 HTTP/1.1\r\nhost: host.test:443\r\n"))
                #expect(request.head.contains("x-client: 127.0.0.1\r\n"))
                try await wire.write("HTTP/1.1 200 OK\r\n\r\n")
                let text = await wire.readToEnd()
                try await wire.write("got \(text)")
            }
            let proxy = try await Self.proxy(
                "hostname: \"host.test:443\", headers_to_add: [ { header: { key: x-client, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" } } ]",
                upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("ping")
            (client.stream as? SocketStream)?.socket.shutdownWrite()
            #expect(await client.readToEnd() == "got ping")
            // One request, however far it came (Envoy).
            #expect(try await Admin.stat(proxy, "cluster.backend.upstream_rq_total", on: loop) == 1)
        }
    }

    @Test("and inside one stream of HTTP/2 each, by CONNECT or POST", arguments: [false, true])
    func http2(usesPost: Bool) async throws {
        try await onLoop { loop in
            let upstream = try await HTTP2Upstream(on: loop) { exchange in
                exchange.takeAll()
                #expect(exchange.request.method == (usesPost ? .post : .connect))
                #expect(exchange.request.pathText == (usesPost ? "/in" : ""))
                try exchange.respond(200)
                await exchange.received(text: "ping")
                try exchange.send("pong")
                try exchange.finish()
            }
            let proxy = try await Self.proxy(
                "hostname: host.test" + (usesPost ? ", use_post: true, post_path: /in" : ""), upstream.port,
                cluster: Yaml.http2)
            defer { proxy.stop() }
            for _ in 0..<2 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write("ping")
                #expect(await client.readToEnd() == "pong")
            }
            #expect(upstream.connections == 1)
        }
    }

    @Test("a host that refuses ends the connection")
    func refused() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(
                on: loop, answering: { _, _ in "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" })
            let proxy = try await Self.proxy("hostname: host.test", upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("ping")
            #expect(await client.readToEnd() == "")
            let stats = try await Admin.get(proxy, "/stats?filter=cluster.backend.upstream_rq", on: loop)
            #expect(stats.contains("upstream_rq_503: 1\n"))
        }
    }

    @Test("many bytes go both ways without piling up")
    func large() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                try await wire.write("HTTP/1.1 200 OK\r\n\r\n")
                while case let bytes = try await wire.stream.read(upTo: 65_536), !bytes.isEmpty {
                    try await wire.stream.write(bytes)
                }
            }
            let proxy = try await Self.proxy("hostname: host.test", upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let piece = [UInt8](repeating: 7, count: 100_000)
            let sending = Task(executorPreference: loop) {
                for _ in 0..<20 { try await client.stream.write(piece) }
            }
            #expect(try await client.bytes(2_000_000).allSatisfy { $0 == 7 })
            try await sending.value
        }
    }
}
