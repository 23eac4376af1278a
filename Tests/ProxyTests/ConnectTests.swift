import HTTP
import IO
import Testing

@testable import Proxy

@Suite("CONNECT")
struct ConnectTests {
    static let request = "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\nX-Q: 1\r\n\r\n"
    private static let terminated =
        "[ { match: { connect_matcher: {} }, route: { cluster: backend, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: {} } ] } }, { match: { prefix: / }, route: { cluster: backend } } ]"
    private static let forwarded =
        "[ { match: { connect_matcher: {} }, route: { cluster: backend, upgrade_configs: [ { upgrade_type: CONNECT } ] } } ]"

    static func echo(on loop: EventLoop) async throws -> ScriptedUpstream {
        try await ScriptedUpstream(on: loop) { wire, _ in
            while case let bytes = try await wire.stream.read(upTo: 4096), !bytes.isEmpty {
                try await wire.write("echo:" + String(decoding: bytes, as: UTF8.self))
            }
        }
    }

    static func proxy(
        _ routes: String, _ port: UInt16, cluster: String = "", manager: String = ""
    ) async throws -> RunningProxy {
        try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.listener(manager: manager, routes: routes),
                clusters: Yaml.cluster("backend", [port], cluster), admin: true))
    }

    @Test("a tunnel ends here: its payload reaches the host as it is")
    func terminates() async throws {
        try await onLoop { loop in
            let upstream = try await Self.echo(on: loop)
            let proxy = try await Self.proxy(Self.terminated, upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.request)
            let head = try await client.read(until: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            for name in ["content-length", "transfer-encoding", "connection", "x-envoy-upstream-service-time"] {
                #expect(!head.contains(name), "\(head)")
            }
            for text in ["abc", "def"] {
                try await client.write(text)
                #expect(try await client.read(8) == "echo:" + text)
            }
            let stats = try await Admin.get(proxy, "/stats?filter=upgrades|cluster.backend.upstream", on: loop)
            #expect(stats.contains("http.ingress.downstream_cx_upgrades_total: 1\n"))
            #expect(stats.contains("http.ingress.downstream_cx_upgrades_active: 1\n"))
            #expect(stats.contains("cluster.backend.upstream_cx_active: 1\n"))
            #expect(stats.contains("cluster.backend.upstream_rq_200: 1\n"))
            client.close()
            try await until {
                let after = try await Admin.get(proxy, "/stats?filter=_active", on: loop)
                return after.contains("upstream_cx_active: 0\n") && after.contains("upgrades_active: 0\n")
            }
        }
    }

    @Test("ATK-14 bytes sent along with CONNECT wait for the tunnel, and come through")
    func early() async throws {
        try await onLoop { loop in
            let upstream = try await Self.echo(on: loop)
            let proxy = try await Self.proxy(Self.terminated, upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.request + "early")
            _ = try await client.read(until: "\r\n\r\n")
            #expect(try await client.read(10) == "echo:early")
        }
    }

    @Test("over HTTP/2 both ends of the tunnel end on their own")
    func http2() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let all = await wire.readToEnd()
                try await wire.write("all of it: \(all)")
            }
            let proxy = try await Self.proxy(Self.terminated, upstream.port)
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let exchange = try client.begin("CONNECT", "", authority: "b.example:443", isEnd: false)
            exchange.takeAll()
            try await exchange.answered()
            #expect(exchange.response.status == 200)
            try exchange.send("hello")
            try exchange.finish()
            try await exchange.finished()
            #expect(exchange.text == "all of it: hello")
        }
    }

    @Test("CONNECT goes on to a proxy, over HTTP/1 and HTTP/2")
    func forwards() async throws {
        try await onLoop { loop in
            let http1 = try await ScriptedUpstream(on: loop) { wire, _ in
                let request = try await wire.request()
                #expect(request.head.hasPrefix("CONNECT b.example:443 HTTP/1.1\r\nhost: b.example:443\r\n"))
                #expect(!request.head.lowercased().contains("upgrade"))
                try await wire.write("HTTP/1.1 200 Established\r\n\r\nhi ")
                try await wire.write(try await wire.read(4))
            }
            let proxy = try await Self.proxy(Self.forwarded, http1.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.request)
            #expect(try await client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 200 OK\r\n"))
            try await client.write("ping")
            #expect(try await client.read(7) == "hi ping")
            #expect(await client.readToEnd() == "")

            let http2 = try await HTTP2Upstream(on: loop) { exchange in
                #expect(exchange.request.method == .connect)
                #expect(exchange.request.authorityText == "b.example:443")
                exchange.takeAll()
                try exchange.respond(200)
                await exchange.received(text: "ping")
                try exchange.send("pong")
                try exchange.finish()
            }
            let other = try await Self.proxy(Self.forwarded, http2.port, cluster: Yaml.http2)
            defer { other.stop() }
            let second = try await Wire.connect(to: other.address, on: loop)
            try await second.write(Self.request)
            #expect(try await second.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 200 OK\r\n"))
            try await second.write("ping")
            #expect(try await second.read(4) == "pong")
        }
    }

    @Test("a host that refuses is believed, and the connection ends")
    func refusedByHost() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                try await wire.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
                if await wire.readToEnd().contains("GET") { Issue.record("bytes went through without a tunnel") }
            }
            let proxy = try await Self.proxy(Self.forwarded, upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.request + "GET / HTTP/1.1\r\n\r\n")
            let response = try await client.response()
            #expect(response.status == 403)
            #expect(response.body == "no")
            #expect(response.field("connection") == "close")
            #expect(await client.readToEnd() == "")
        }
    }

    @Test("without a route 404, without leave 403")
    func notAllowed() async throws {
        try await onLoop { loop in
            for (routes, manager, status) in [
                (Yaml.forward(), "upgrade_configs: [ { upgrade_type: CONNECT } ]", 404),
                ("[ { match: { connect_matcher: {} }, route: { cluster: backend } } ]", "", 403),
                (
                    "[ { match: { connect_matcher: {} }, route: { cluster: backend, upgrade_configs: [ { upgrade_type: CONNECT, enabled: false } ] } } ]",
                    "upgrade_configs: [ { upgrade_type: CONNECT } ]", 403
                ),
            ] {
                let proxy = try await Self.proxy(routes, 1, manager: manager)
                defer { proxy.stop() }
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write(Self.request)
                let response = try await client.response()
                #expect(response.status == status)
                #expect(response.field("connection") == "close")
                let stats = try await Admin.get(proxy, "/stats?filter=ws_on_non", on: loop)
                #expect(stats.contains("downstream_rq_ws_on_non_ws_route: \(status == 403 ? 1 : 0)\n"))
            }
        }
    }

    @Test("a host that cannot be reached is 503")
    func unreachable() async throws {
        try await onLoop { loop in
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            let port = socket.localAddress?.port ?? 0
            socket.close()
            let proxy = try await Self.proxy(Self.terminated, port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(Self.request)
            let response = try await client.response()
            #expect(response.status == 503)
            #expect(response.body.contains("remote connection failure"))
            let stats = try await Admin.get(proxy, "/stats?filter=cluster.backend.upstream", on: loop)
            #expect(stats.contains("upstream_cx_connect_fail: 1\n"))
            #expect(stats.contains("upstream_cx_active: 0\n"))
            #expect(stats.contains("upstream_rq_pending_active: 0\n"))
        }
    }

    @Test("POST is a tunnel where the route allows it, and a PROXY protocol header goes first")
    func post() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let line = try await ProxyProtocolUpstreamTests.line(wire)
                let all = await wire.readToEnd()
                try await wire.write("\(line.hasPrefix("PROXY TCP4 127.0.0.1 127.0.0.1 ")) \(all)")
            }
            let proxy = try await Self.proxy(
                "[ { match: { prefix: / }, route: { cluster: backend, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: { allow_post: true, proxy_protocol_config: { version: V1 } } } ] } } ]",
                upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            let response = try await client.response()
            #expect(response.status == 200)
            #expect(response.field("transfer-encoding") == "chunked")
            #expect(response.body == "true abc")
        }
    }
}
