import HTTP
import IO
import Telemetry
import Testing

@testable import Proxy

@Suite("Load shed points of the overload manager")
struct LoadShedTests {
    /// The pressure of a test, in a file.
    private final class Pressure: Sendable {
        let path: String

        init(_ name: String, _ value: Double) throws {
            path = "/tmp/skein-shed-\(name)-\(Environment.processID)"
            try set(value)
        }

        func set(_ value: Double) throws { try File.write(path, Array("\(value)\n".utf8)) }

        deinit { try? File.remove(path) }
    }

    private static func manager(_ pressure: Pressure, _ points: [String]) -> String {
        """
        overload_manager:
          refresh_interval: 0.02s
          resource_monitors:
          - name: injected
            typed_config: { "@type": type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig, filename: \(pressure.path) }
          loadshed_points:
        \(points.map { "  - { name: envoy.load_shed_points.\($0), triggers: [ { name: injected, threshold: { value: 0.9 } } ] }" }.joined(separator: "\n"))

        """
    }

    private static let routes =
        #"[ { match: { prefix: "/direct" }, direct_response: { status: 200, body: { inline_string: "ok" } } }, { match: { prefix: "/" }, route: { cluster: backend } } ]"#

    /// A proxy that is under pressure when the body runs, unless it begins calm.
    private static func run(
        _ points: String..., isCalm: Bool = false, cluster: String = "",
        _ body: @escaping @Sendable (RunningProxy, Pressure, ScriptedUpstream, EventLoop) async throws -> Void
    ) async throws {
        let pressure = try Pressure(points.joined(separator: "-"), isCalm ? 0.1 : 0.95)
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("upstream") }
            let proxy = try await RunningProxy.start(
                manager(pressure, points)
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: routes)
                            + Yaml.tcpListener("tcp", "cluster: backend"),
                        clusters: Yaml.cluster("backend", [upstream.port], cluster), admin: true))
            defer { proxy.stop() }
            if !isCalm { try await until("pressure") { try await scale(proxy, points, on: loop) == 100 } }
            try await body(proxy, pressure, upstream, loop)
        }
    }

    private static func name(_ point: String) -> String { "overload.envoy.load_shed_points." + point }

    private static func scale(_ proxy: RunningProxy, _ points: [String], on loop: EventLoop) async throws -> Int? {
        try await Admin.stat(proxy, name(points.last ?? "") + ".scale_percent", on: loop)
    }

    private static func shed(_ proxy: RunningProxy, _ point: String, on loop: EventLoop) async throws -> Int? {
        try await Admin.stat(proxy, name(point) + ".shed_load_count", on: loop)
    }

    private static func tcpAddress(_ proxy: RunningProxy) async -> IO.SocketAddress? {
        await withCheckedContinuation { continuation in
            proxy.server.loop.execute { continuation.resume(returning: proxy.server.listenerAddresses["tcp"]) }
        }
    }

    @Test("tcp_listener_accept: new connections are closed, and served again when the pressure is over")
    func accept() async throws {
        try await Self.run("tcp_listener_accept") { proxy, pressure, _, loop in
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(await client.readToEnd() == "")
            #expect(try await Self.shed(proxy, "tcp_listener_accept", on: loop) ?? 0 >= 1)
            let stats = try await Admin.get(proxy, "/stats", on: loop)
            #expect(stats.contains("downstream_cx_overload_reject: 1"))
            try pressure.set(0.1)
            try await until("service") {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                return (try? await client.get("/direct").status) == 200
            }
        }
    }

    @Test("http_connection_manager_decode_headers: a request is answered with 503, and the connection goes on")
    func heads() async throws {
        try await Self.run("http_connection_manager_decode_headers") { proxy, pressure, upstream, loop in
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/direct")
            #expect(response.status == 503 && response.body == "envoy overloaded")
            #expect(try await Admin.stat(proxy, "http.ingress.downstream_rq_overload_close", on: loop) == 1)
            #expect(try await Self.shed(proxy, "http_connection_manager_decode_headers", on: loop) == 1)
            try pressure.set(0.1)
            try await until("service") { try await client.get("/").body == "upstream" }
            #expect(upstream.requests == 1)
        }
    }

    @Test("http_downstream_filter_check: what would go to a host is answered with 503, what the proxy answers is not")
    func router() async throws {
        try await Self.run("http_downstream_filter_check") { proxy, _, upstream, loop in
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/direct").body == "ok")
            let response = try await client.get("/")
            #expect(response.status == 503 && response.body == "envoy overloaded")
            #expect(upstream.requests == 0)
            #expect(try await Self.shed(proxy, "http_downstream_filter_check", on: loop) == 1)
            #expect(try await Admin.stat(proxy, "http.ingress.rq_overload_local_reply", on: loop) == 1)
        }
    }

    @Test(
        "connection_pool_new_connection: without a connection a request fails, with one it goes on",
        arguments: [false, true])
    func pools(isHTTP2: Bool) async throws {
        let pressure = try Pressure("pool-\(isHTTP2)", 0.95)
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("upstream") }
            let other = try await HTTP2Upstream(on: loop) { exchange in
                try exchange.respond(200)
                try exchange.send("upstream")
                try exchange.finish()
            }
            let proxy = try await RunningProxy.start(
                Self.manager(pressure, ["connection_pool_new_connection"])
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Self.routes),
                        clusters: Yaml.cluster(
                            "backend", [isHTTP2 ? other.port : upstream.port], isHTTP2 ? Yaml.http2 : ""), admin: true))
            defer { proxy.stop() }
            try await until("pressure") {
                try await Self.scale(proxy, ["connection_pool_new_connection"], on: loop) == 100
            }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/")
            #expect(response.status == 503 && response.body.contains("overflow"), "\(response.body)")
            #expect(try await Self.shed(proxy, "connection_pool_new_connection", on: loop) == 1)
            #expect(try await Admin.stat(proxy, "cluster.backend.upstream_cx_total", on: loop) == 0)
            #expect(try await Admin.stat(proxy, "cluster.backend.upstream_rq_pending_active", on: loop) == 0)
            try pressure.set(0.1)
            try await until("service") { try await client.get("/").body == "upstream" }
            try pressure.set(0.95)
            try await until("pressure") {
                try await Self.scale(proxy, ["connection_pool_new_connection"], on: loop) == 100
            }
            // The connection that there is serves.
            for _ in 0..<5 { #expect(try await client.get("/").body == "upstream") }
        }
    }

    @Test("hcm_ondata_creating_codec: a connection closes with its first bytes; one that has a codec goes on")
    func codec() async throws {
        try await Self.run("hcm_ondata_creating_codec", isCalm: true) { proxy, pressure, _, loop in
            let known = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await known.get("/direct").status == 200)
            let first = try await HTTP2End.connect(to: proxy.address, on: loop)
            #expect(try await first.get("/direct").status == 200)
            try pressure.set(0.95)
            try await until("pressure") { try await Self.scale(proxy, ["hcm_ondata_creating_codec"], on: loop) == 100 }
            #expect(try await known.get("/direct").status == 200)
            #expect(try await first.get("/direct").status == 200)
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET /direct HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await client.readToEnd() == "")
            let second = try await HTTP2End.connect(to: proxy.address, on: loop)
            await second.wait { second.isOver }
            #expect(try await Self.shed(proxy, "hcm_ondata_creating_codec", on: loop) == 2)
            #expect(try await Admin.stat(proxy, "http.ingress.downstream_rq_overload_close", on: loop) == 2)
        }
    }

    @Test("http1_server_abort_dispatch: what comes is not looked at but answered, and the connection ends")
    func http1() async throws {
        try await Self.run("http1_server_abort_dispatch") { proxy, _, _, loop in
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET /direct HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = await client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 500 Internal Server Error\r\n"), "\(answer)")
            #expect(answer.hasSuffix("\r\n\r\nInternal Server Error"))
            #expect(answer.lowercased().contains("connection: close"))
            #expect(try await Self.shed(proxy, "http1_server_abort_dispatch", on: loop) == 1)
            #expect(try await Admin.stat(proxy, "http.ingress.downstream_rq_overload_close", on: loop) == 1)
            // HTTP/2 is none of its business.
            let other = try await HTTP2End.connect(to: proxy.address, on: loop)
            #expect(try await other.get("/direct").status == 200)
        }
    }

    @Test("http2_server_go_away_on_dispatch: the client is told to leave, and what it has under way is answered")
    func goAway() async throws {
        try await Self.run("http2_server_go_away_on_dispatch", isCalm: true) { proxy, pressure, _, loop in
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let request = try client.begin("POST", "/direct", isEnd: false)
            try await request.answered()
            let open = try client.begin("POST", "/", isEnd: false)
            try await until("the stream is open") {
                try await Admin.stat(proxy, "http.ingress.downstream_rq_http2_total", on: loop) == 2
            }
            try pressure.set(0.95)
            try await until("pressure") {
                try await Self.scale(proxy, ["http2_server_go_away_on_dispatch"], on: loop) == 100
            }
            try open.finish()
            try await open.finished()
            #expect(open.text == "upstream")
            await client.wait { !client.goAways.isEmpty }
            #expect(client.goAways.first == 0)
            #expect(try await Self.shed(proxy, "http2_server_go_away_on_dispatch", on: loop) == 1)
        }
    }

    @Test("http2_server_go_away_and_close_on_dispatch: the connection ends with what is under way")
    func goAwayAndClose() async throws {
        try await Self.run("http2_server_go_away_and_close_on_dispatch", isCalm: true) { proxy, pressure, _, loop in
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let open = try client.begin("POST", "/", isEnd: false)
            try await until("the stream is open") {
                try await Admin.stat(proxy, "http.ingress.downstream_rq_http2_total", on: loop) == 1
            }
            try pressure.set(0.95)
            try await until("pressure") {
                try await Self.scale(proxy, ["http2_server_go_away_and_close_on_dispatch"], on: loop) == 100
            }
            try open.finish()
            await client.wait { client.isOver }
            #expect(client.goAways.first == 0)
            #expect(try await Admin.stat(proxy, "http.ingress.downstream_rq_active", on: loop) == 0)
        }
    }

    @Test(
        "tcp_proxy points: a connection ends before it has a host, or with the bytes that come",
        arguments: ["tcp_proxy_upstream_connect", "tcp_proxy_on_data"])
    func tcp(point: String) async throws {
        try await Self.run(point) { proxy, _, upstream, loop in
            let address = try #require(await Self.tcpAddress(proxy))
            let client = try await Wire.connect(to: address, on: loop)
            try await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await client.readToEnd() == "")
            #expect(upstream.requests == 0)
            #expect(try await Admin.stat(proxy, "tcp.tcp.downstream_cx_overload_close", on: loop) == 1)
            #expect(try await Self.shed(proxy, point, on: loop) == 1)
        }
    }

    @Test("a scaled trigger sheds a share")
    func share() throws {
        var options = Options()
        options.configYAML = """
            overload_manager:
              resource_monitors:
              - name: injected
                typed_config: { "@type": type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig, filename: /x }
              loadshed_points:
              - { name: envoy.load_shed_points.tcp_listener_accept, triggers: [ { name: injected, scaled: { scaling_threshold: 0.5, saturation_threshold: 1 } } ] }
            """
        let config = try #require(try BootstrapConfig(options).overload)
        let state = OverloadState(config)
        #expect(!state.shedsLoad)
        for (pressure, thousandths) in [(0.5, 0), (0.75, 500), (1.0, 1000), (0.2, 0)] as [(Double, UInt32)] {
            for (point, share) in OverloadMonitor.shedding(config, [pressure]) { state.set(point, share) }
            #expect(state.thousandths(.tcpListenerAccept) == thousandths)
            #expect(state.shedsLoad == (thousandths > 0))
        }
        state.set(.tcpListenerAccept, 0.5)
        #expect(state.sheds(.tcpListenerAccept, row: 0, 0) && !state.sheds(.tcpListenerAccept, row: 0, .max))
        #expect(!state.sheds(.requestHead, row: 0, 0))
    }

    @Test("mistakes are refused with their path, as are points of what is not there")
    func mistakes() {
        let monitor =
            "resource_monitors: [ { name: i, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig, filename: /x } } ]"
        let accept = "name: envoy.load_shed_points.tcp_listener_accept"
        let trigger = "triggers: [ { name: i, threshold: { value: 1 } } ]"
        for (points, expected) in [
            ("{ name: x }", "loadshed_points[0].name: unknown load shed point \"x\"; known: envoy."),
            (
                "{ name: envoy.load_shed_points.http3_server_go_away_on_dispatch, \(trigger) }",
                "loadshed_points[0].name: envoy.load_shed_points.http3_server_go_away_on_dispatch: HTTP/3 is not"
            ), ("{ \(accept) }", "loadshed_points[0].triggers: a trigger is needed"),
            ("{ \(accept), \(trigger) }, { \(accept), \(trigger) }", "loadshed_points[1].name: "),
            (
                "{ \(accept), triggers: [ { name: nobody, threshold: { value: 1 } } ] }",
                "loadshed_points[0].triggers[0].name: there is no resource monitor"
            ),
        ] {
            var options = Options()
            options.configYAML = "overload_manager: { \(monitor), loadshed_points: [ \(points) ] }"
            let error = #expect(throws: ProxyError.self) { _ = try ProxyServer.validate(options) }
            #expect(
                error?.description.hasPrefix("overload_manager." + expected) == true, "\(error?.description ?? "")")
        }
    }
}
