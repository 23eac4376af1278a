import HTTP
import IO
import Testing

@testable import Proxy

@Suite("How long connections live")
struct ConnectionLifeTests {
    private static func proxy(_ manager: String, _ port: UInt16) async throws -> RunningProxy {
        try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.listener(manager: manager, routes: Yaml.forward()),
                clusters: Yaml.cluster("backend", [port]), admin: true))
    }

    @Test("max_connection_duration: responses say close, and an idle connection ends")
    func duration() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("ok") }
            let proxy = try await Self.proxy(
                "common_http_protocol_options: { max_connection_duration: 0.05s }\n          drain_timeout: 0.1s",
                upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 200)
            try await until {
                try await Admin.get(proxy, "/stats?filter=max_duration", on: loop)
                    .contains("http.ingress.downstream_cx_max_duration_reached: 1\n")
            }
            #expect(await client.readToEnd() == "")
            let busy = try await Wire.connect(to: proxy.address, on: loop)
            try await until {
                guard let response = try? await busy.get("/") else { return true }
                return response.field("connection") == "close"
            }
            #expect(await busy.readToEnd() == "")
        }
    }

    @Test("max_requests_per_connection is counted")
    func requests() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("ok") }
            let proxy = try await Self.proxy(
                "common_http_protocol_options: { max_requests_per_connection: 2 }", upstream.port)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").field("connection") == nil)
            #expect(try await client.get("/").field("connection") == "close")
            let stats = try await Admin.get(proxy, "/stats?filter=max_requests", on: loop)
            #expect(stats.contains("http.ingress.downstream_cx_max_requests_reached: 1\n"))
        }
    }

    @Test("ATK-05 request_headers_timeout: a head of HTTP/2 that does not end ends the connection")
    func headers() async throws {
        try await onLoop { loop in
            let proxy = try await Self.proxy("request_headers_timeout: 0.05s", 1)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            // SETTINGS; HEADERS on stream 1 with :method GET, END_STREAM, and no END_HEADERS.
            try await client.stream.write([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82])
            _ = await client.readToEnd()
            let stats = try await Admin.get(proxy, "/stats?filter=header_timeout", on: loop)
            #expect(stats.contains("http.ingress.downstream_rq_header_timeout: 1\n"))
        }
    }
}
