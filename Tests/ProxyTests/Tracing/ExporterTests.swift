import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

/// What collectors were given.
final class Received: Sendable {
    private let messages = Mutex<[(head: String, body: [UInt8])]>([])

    func add(_ head: String, _ body: [UInt8]) { messages.withLock { $0.append((head, body)) } }

    var all: [(head: String, body: [UInt8])] { messages.withLock { $0 } }

    func wait(for count: Int, on loop: EventLoop) async {
        for _ in 0..<800 where all.count < count { await loop.sleep(for: .milliseconds(10)) }
    }
}

@Suite("Exporters of spans and logs", .serialized)
struct ExporterTests {
    private func collector(on loop: EventLoop, _ received: Received) async throws -> ScriptedUpstream {
        try await ScriptedUpstream(on: loop) { head, body in
            received.add(head, Array(body.utf8))
            return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        }
    }

    private func gRPC(
        on loop: EventLoop, _ path: String, _ received: Received
    ) async throws -> UInt16 {
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
        return port
    }

    private func bootstrap(_ manager: String, _ upstream: UInt16, _ collector: UInt16, route: String = "") -> String {
        "node: { id: n1, cluster: shop }\n"
            + Yaml.bootstrap(
                listeners: Yaml.listener(
                    manager: manager,
                    routes:
                        "[ { match: { prefix: \"/\" }, route: { cluster: backend }\(route.isEmpty ? "" : ", " + route) } ]"
                ),
                clusters: Yaml.cluster("backend", [upstream]) + Yaml.cluster("collector", [collector]), admin: true)
    }

    private static let zipkin =
        #"tracing: { custom_tags: [ { tag: color, literal: { value: blue } }, { tag: who, request_header: { name: x-who } } ], provider: { name: z, typed_config: { "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: collector, collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON, trace_id_128bit: true } } }"#

    @Test("a filter's call is a span below the request's, sampled as the script says")
    func calls() async throws {
        try await onLoop { loop in
            let received = Received()
            let seen = Received()
            let collector = try await self.collector(on: loop, received)
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                seen.add(head, [])
                return ScriptedUpstream.ok("hello")
            }
            let script =
                "function envoy_on_request(h) for i, traced in pairs({ 1, false }) do h:httpCall('backend', { [':method'] = 'GET', [':path'] = '/call' .. i, [':authority'] = 'a' }, nil, { timeout_ms = 1000, trace_sampled = i == 1 }) end end"
            let lua = FilterScene.any(
                "envoy.extensions.filters.http.lua.v3.Lua", "default_source_code: { inline_string: \"\(script)\" }")
            let proxy = try await RunningProxy.start(
                "node: { id: n1, cluster: shop }\n"
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(
                            manager: Self.zipkin, filters: FilterScene.entries([("lua", lua)]), routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("collector", [collector.port])
                    ))
            defer { proxy.stop() }
            #expect(try await Wire.connect(to: proxy.address, on: loop).get("/").status == 200)
            #expect(seen.all.count == 3)
            func field(_ index: Int, _ name: String) -> String? {
                seen.all[index].head.split(separator: "\r\n").first { $0.hasPrefix(name + ": ") }.map {
                    String($0.dropFirst(name.utf8.count + 2))
                }
            }
            for index in 0..<2 {
                #expect(field(index, "x-b3-traceid") == field(2, "x-b3-traceid"))
                #expect(field(index, "x-b3-parentspanid") == field(2, "x-b3-spanid"))
                #expect(field(index, "x-b3-sampled") == (index == 0 ? "1" : "0"))
            }
            await received.wait(for: 1, on: loop)
            try await until {
                received.all.contains { String(decoding: $0.body, as: UTF8.self).contains("async backend egress") }
            }
        }
    }

    @Test("the bootstrap's tracer gets the spans of a connection manager that names none")
    func bootstrapTracer() async throws {
        try await onLoop { loop in
            let received = Received()
            let collector = try await self.collector(on: loop, received)
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hello") }
            let tracer =
                #"tracing: { http: { name: z, typed_config: { "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: collector, collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON } } }"#
            let proxy = try await RunningProxy.start(
                self.bootstrap("tracing: {}", upstream.port, collector.port) + "\n" + tracer + "\n")
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/p")
            proxy.stop()
            await received.wait(for: 1, on: loop)
            #expect(try #require(received.all.first).head.hasPrefix("POST /api/v2/spans HTTP/1.1\r\n"))
        }
    }

    @Test("Zipkin gets a span with Envoy's tags, the upstream gets its context")
    func zipkin() async throws {
        try await onLoop { loop in
            let received = Received()
            let seen = Received()
            let collector = try await self.collector(on: loop, received)
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                seen.add(head, [])
                return ScriptedUpstream.ok("hello")
            }
            let proxy = try await RunningProxy.start(
                self.bootstrap(
                    Self.zipkin, upstream.port, collector.port, route: "decorator: { operation: checkout }"))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET /p?q HTTP/1.1\r\nHost: shop.example\r\nx-who: me\r\nUser-Agent: t\r\n\r\n")
            let response = try await client.response()
            #expect(response.field("x-envoy-decorator-operation") == "checkout")
            proxy.stop()
            await received.wait(for: 1, on: loop)
            let post = try #require(received.all.first)
            #expect(post.head.hasPrefix("POST /api/v2/spans HTTP/1.1\r\n"))
            let span = try #require(try JSON.parse(String(decoding: post.body, as: UTF8.self))[0])
            #expect(span["name"] == "checkout")
            #expect(span["kind"] == "SERVER")
            #expect(span["traceId"]?.string?.utf8.count == 32)
            #expect(span["localEndpoint"]?["serviceName"] == "shop")
            let tags = try #require(span["tags"])
            #expect(tags["http.method"] == "GET")
            #expect(tags["http.url"] == "http://shop.example/p?q")
            #expect(tags["http.status_code"] == "200")
            #expect(tags["response_size"] == "5")
            #expect(tags["response_flags"] == "-")
            #expect(tags["upstream_cluster"] == "backend")
            #expect(tags["user_agent"] == "t")
            #expect(tags["node_id"] == "n1")
            #expect(tags["component"] == "proxy")
            #expect(tags["color"] == "blue")
            #expect(tags["who"] == "me")
            let head = try #require(seen.all.first).head.lowercased()
            #expect(head.contains("x-b3-traceid: \(span["traceId"]?.string ?? "?")\r\n"))
            #expect(head.contains("x-b3-spanid: \(span["id"]?.string ?? "?")\r\n"))
            #expect(head.contains("x-b3-sampled: 1\r\n"))
            // The request id says that it was sampled.
            let id = try #require(tags["guid:x-request-id"]?.string)
            #expect(Array(id.utf8)[14] == UInt8(ascii: "9"))
        }
    }

    @Test("OTLP over HTTP gets the request's span and a span for the try, in one trace with the caller's")
    func openTelemetry() async throws {
        try await onLoop { loop in
            let received = Received()
            let seen = Received()
            let collector = try await ScriptedUpstream(on: loop) { wire, _ in
                let head = try await wire.read(until: "\r\n\r\n")
                let length =
                    head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
                    .flatMap { Int($0.dropFirst(15).drop { $0 == " " }) } ?? 0
                received.add(head, try await wire.bytes(length))
                try await wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            }
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                seen.add(head, [])
                return ScriptedUpstream.ok("hello")
            }
            let tracing =
                #"tracing: { spawn_upstream_span: true, provider: { name: o, typed_config: { "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig, service_name: shop, http_service: { http_uri: { uri: "http://otel.example/v1/traces", cluster: collector, timeout: 1s } } } } }"#
            let proxy = try await RunningProxy.start(self.bootstrap(tracing, upstream.port, collector.port))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write(
                "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
            )
            _ = try await client.response()
            proxy.stop()
            await received.wait(for: 1, on: loop)
            let post = try #require(received.all.first)
            #expect(post.head.hasPrefix("POST /v1/traces HTTP/1.1\r\n"))
            #expect(post.head.lowercased().contains("content-type: application/x-protobuf\r\n"))
            let message = try ExportTraceServiceRequest(serialized: post.body)
            let resource = try #require(message.resourceSpans.first)
            #expect(resource.resource?.attributes.first?.key == "service.name")
            let spans = resource.scopeSpans.flatMap(\.spans)
            #expect(spans.count == 2)
            let server = try #require(spans.first { $0.kind == .server })
            let child = try #require(spans.first { $0.kind == .client })
            #expect(server.parentSpanId == TraceContext.bytes(0x00f0_67aa_0ba9_02b7))
            #expect(child.parentSpanId == server.spanId)
            #expect(child.traceId == server.traceId)
            #expect(server.name == "ingress")
            #expect(child.name == "router backend egress")
            var id: [UInt8] = []
            for byte in child.spanId { id += Array((byte < 16 ? "0" : "").utf8) + Array(String(byte, radix: 16).utf8) }
            #expect(
                try #require(seen.all.first).head.lowercased().contains(
                    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-\(String(decoding: id, as: UTF8.self))-01\r\n"))
        }
    }

    @Test("the access log service gets entries with who speaks in the first message")
    func accessLogService() async throws {
        try await onLoop { loop in
            let received = Received()
            let port = try await self.gRPC(
                on: loop, "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs", received)
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hello", "x-up: 7\r\n") }
            let log =
                #"access_log: [ { name: g, typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig, additional_response_headers_to_log: [x-up], common_config: { log_name: shop, transport_api_version: V3, buffer_flush_interval: 0.01s, grpc_service: { envoy_grpc: { cluster_name: collector } } } } } ]"#
            let proxy = try await RunningProxy.start(self.bootstrap(log, upstream.port, port))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/one")
            await received.wait(for: 1, on: loop)
            _ = try await client.get("/two")
            await received.wait(for: 2, on: loop)
            let messages = try received.all.map { try StreamAccessLogsMessage(serialized: $0.body) }
            #expect(messages.first?.identifier?.logName == "shop")
            #expect(messages.first?.identifier?.node?.id == "n1")
            #expect(messages.last?.identifier == nil)
            guard case .httpLogs(let entries)? = messages.first?.logEntries, let entry = entries.logEntry.first else {
                Issue.record("no entry")
                return
            }
            #expect(entry.request?.path == "/one")
            #expect(entry.request?.requestMethod == .get)
            #expect(entry.response?.responseCode == 200)
            #expect(entry.response?.responseBodyBytes == 5)
            #expect(entry.response?.responseHeaders["x-up"] == "7")
            #expect(entry.response?.responseCodeDetails == "via_upstream")
            #expect(entry.commonProperties?.upstreamCluster == "backend")
            #expect(entry.commonProperties?.accessLogType == .downstreamEnd)
            #expect(entry.protocolVersion == .http11)
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            var stats = ""
            for _ in 0..<300 {
                stats = try await admin.get("/stats?filter=access_logs").body
                if stats.contains("logs_written: 2") { break }
                await loop.sleep(for: .milliseconds(10))
            }
            #expect(
                stats
                    == "access_logs.grpc_access_log.logs_dropped: 0\naccess_logs.grpc_access_log.logs_written: 2\n")
        }
    }

    @Test("OpenTelemetry's logs over gRPC: body, attributes, resource")
    func openTelemetryLogs() async throws {
        try await onLoop { loop in
            let received = Received()
            let port = try await self.gRPC(
                on: loop, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", received)
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hello") }
            let log =
                #"access_log: [ { name: g, typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig, body: { string_value: "%REQ(:METHOD)% %RESPONSE_CODE%" }, attributes: { values: [ { key: path, value: { string_value: "%REQ(:PATH)%" } } ] }, buffer_flush_interval: 0.01s, grpc_service: { envoy_grpc: { cluster_name: collector } }, log_name: shop } } ]"#
            let proxy = try await RunningProxy.start(self.bootstrap(log, upstream.port, port))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/one")
            await received.wait(for: 1, on: loop)
            let message = try ExportLogsServiceRequest(serialized: try #require(received.all.first).body)
            let logs = try #require(message.resourceLogs.first)
            #expect(logs.resource?.attributes.map(\.key) == ["log_name", "zone_name", "cluster_name", "node_name"])
            let record = try #require(logs.scopeLogs.first?.logRecords.first)
            #expect(record.body?.value == .stringValue("GET 200"))
            #expect(record.attributes.first?.key == "path")
            #expect(record.attributes.first?.value?.value == .stringValue("/one"))
        }
    }

    @Test("a collector that is not there costs counted records, and no request")
    func noCollector() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hello") }
            let log =
                #"access_log: [ { name: g, typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig, common_config: { log_name: shop, transport_api_version: V3, buffer_flush_interval: 0.01s, grpc_service: { envoy_grpc: { cluster_name: collector } } } } } ]"#
            let proxy = try await RunningProxy.start(self.bootstrap(log, upstream.port, 1))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/one").status == 200)
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            var stats = ""
            for _ in 0..<500 {
                stats = try await admin.get("/stats?filter=logs_dropped").body
                if stats.contains(": 1") { break }
                await loop.sleep(for: .milliseconds(10))
            }
            #expect(stats == "access_logs.grpc_access_log.logs_dropped: 1\n")
        }
    }
}
