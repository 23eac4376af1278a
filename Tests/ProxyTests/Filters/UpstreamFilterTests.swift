import IO
import Testing

@testable import Proxy

@Suite("Filters behind the router")
struct UpstreamFilterTests {
    private static let codec =
        "{ name: codec, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }"

    private static func mutation(_ fields: String) -> String {
        "{ name: mutation, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: { \(fields) } } }"
    }

    private static func append(_ name: String, _ value: String) -> String {
        "{ append: { header: { key: \(name), value: \"\(value)\" } } }"
    }

    private static func cluster(_ port: UInt16, _ filters: String) -> String {
        Yaml.cluster(
            "backend", [port],
            "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http_protocol_options: {} }, http_filters: [ \(filters) ] } }"
        )
    }

    private func run(
        _ filters: String, routes: String = Yaml.forward(),
        answer: @escaping @Sendable (String, String) -> String = { head, body in ScriptedUpstream.ok(head + body) },
        _ body: @escaping @Sendable (Wire) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop, answering: answer)
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: routes), clusters: Self.cluster(upstream.port, filters)))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(client)
        }
    }

    @Test("a cluster's filters change request and response of each try")
    func mutations() async throws {
        let filters = Self.mutation(
            "request_mutations: [ \(Self.append("x-in", "1")) ], response_mutations: [ \(Self.append("x-out", "2")) ]")
        try await run(filters + ", " + Self.codec) { client in
            let response = try await client.get("/")
            #expect(response.body.contains("x-in: 1"))
            #expect(response.head.contains("x-out: 2"))
        }
    }

    @Test("retries are decided by what the filters made of the response")
    func retries() async throws {
        let filters = Self.mutation("response_mutations: [ \(Self.append("x-envoy-ratelimited", "true")) ]")
        let routes = Yaml.forward(
            "backend", "retry_policy: { retry_on: envoy-ratelimited, num_retries: 1 }, timeout: 30s")
        let count = Counted()
        try await run(
            filters + ", " + Self.codec, routes: routes,
            answer: { _, _ in
                count.add()
                return "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
            }
        ) { client in
            let response = try await client.get("/")
            #expect(response.status == 429)
        }
        #expect(count.value == 2)
    }

    @Test("a body that a filter collects is collected again for the next try")
    func bodies() async throws {
        let buffer =
            "{ name: buffer, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 100 } }"
        let routes = Yaml.forward("backend", "retry_policy: { retry_on: 5xx, num_retries: 1 }, timeout: 30s")
        let count = Counted()
        try await run(
            buffer + ", " + Self.codec, routes: routes,
            answer: { _, body in
                count.add()
                return count.value == 1
                    ? "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" : ScriptedUpstream.ok("got \(body)")
            }
        ) { client in
            try await client.write(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
            #expect(try await client.response().body == "got onetwo")
            let large = String(repeating: "x", count: 200)
            try await client.write(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n" + large)
            #expect(try await client.response().status == 413)
        }
        #expect(count.value == 2)
    }

    @Test(
        "what is no filter of upstream requests is refused with its path",
        arguments: [
            (mutation(""), "http_filters[0]", "the last upstream HTTP filter must be"),
            (codec + ", " + mutation(""), "http_filters[0]", "upstream_codec must be the last"),
            (
                "{ name: cors, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors } }, "
                    + codec, "http_filters[0]", "is no filter of upstream requests"
            ),
        ])
    func refused(filters: String, path: String, text: String) async throws {
        let yaml = Yaml.bootstrap(
            listeners: Yaml.listener(routes: Yaml.forward()), clusters: Self.cluster(9, filters))
        do {
            let proxy = try await RunningProxy.start(yaml)
            proxy.stop()
            Issue.record("it was taken")
        } catch {
            #expect("\(error)".contains(path) && "\(error)".contains(text), "\(error)")
        }
    }

    @Test("the router's log of tries has a line when a try has its connection, and then each so often")
    func logOptions() async throws {
        try await onLoop { loop in
            let answers = Counted()
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                try await until { answers.value > 0 }
                try await wire.write(ScriptedUpstream.ok("late"))
            }
            let path = "/tmp/skein-tries-\(Environment.processID).log"
            defer { try? File.remove(path) }
            let log =
                "upstream_log: [ { name: f, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \(path), log_format: { text_format_source: { inline_string: \"%ACCESS_LOG_TYPE% %RESPONSE_CODE%\\n\" } } } } ]"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()).split(
                        separator: "envoy.extensions.filters.http.router.v3.Router"
                    ).joined(
                        separator:
                            "envoy.extensions.filters.http.router.v3.Router\n              \(log)\n              upstream_log_options: { flush_upstream_log_on_upstream_stream: true, upstream_log_flush_interval: 0.05s }"
                    ), clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try await until { (try? File.text(path))?.contains("UpstreamPeriodic") ?? false }
            answers.add()
            #expect(try await client.response().body == "late")
            try await until { (try? File.text(path))?.contains("UpstreamEnd 200\n") ?? false }
            let lines = try File.text(path).split(separator: "\n")
            #expect(lines.first == "UpstreamPoolReady 0" && lines.last == "UpstreamEnd 200")
        }
    }
}
