import IO
import Testing

@testable import Proxy

@Suite("The edge: who a client is, and what is done to its request first")
struct EdgeTests {
    private static let who = """
        [ { match: { prefix: / }, route: { cluster: web }, request_headers_to_add: [ { header: { key: x-who, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" } } ] } ]
        """
    private static let field = "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"
    private static let list = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"

    private func detection(_ type: String, _ fields: String) -> String {
        "original_ip_detection_extensions: [ { name: d, typed_config: { \"@type\": type.googleapis.com/\(type)\(fields.isEmpty ? "" : ", " + fields) } } ]"
    }

    /// Sends a request with those fields; returns the status, and the head that the upstream got.
    private func ask(_ manager: String, _ fields: String, routes: String = EdgeTests.who) async throws -> (
        status: Int, body: String, upstream: String
    ) {
        nonisolated(unsafe) var result = (0, "", "")
        try await onLoop { loop in
            nonisolated(unsafe) var seen = ""
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                seen = head
                return ScriptedUpstream.ok("yes")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: manager, routes: routes),
                    clusters: Yaml.cluster("web", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET /p HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
            let response = try await client.response()
            result = (response.status, response.body, seen.lowercased())
        }
        return result
    }

    @Test("a client is who the field of a trusted proxy says, or is refused where it says nothing")
    func byField() async throws {
        let refusing = detection(Self.field, "header_name: x-client, reject_with_status: { code: Unauthorized }")
        let found = try await ask(refusing, "x-client: 9.8.7.6\r\n")
        #expect(found.status == 200 && found.upstream.contains("x-who: 9.8.7.6\r\n"))
        #expect(try await ask(refusing, "").status == 401)
        #expect(try await ask(refusing, "x-client: nobody\r\n").status == 401)
        let open = try await ask(detection(Self.field, "header_name: x-client"), "")
        #expect(open.status == 200 && open.upstream.contains("x-who: 127.0.0.1\r\n"))
    }

    @Test(
        "ATK-17 the client is the first address from the right that no trusted proxy has, over all lines of x-forwarded-for"
    )
    func byRanges() async throws {
        let trusted = detection(
            Self.list,
            "xff_trusted_cidrs: { cidrs: [ { address_prefix: 127.0.0.0, prefix_len: 8 }, { address_prefix: 10.0.0.0, prefix_len: 8 } ] }"
        )
        for (fields, who) in [
            ("x-forwarded-for: 6.6.6.6, 1.2.3.4, 10.0.0.7\r\n", "1.2.3.4"),
            ("x-forwarded-for: 6.6.6.6\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-for: 10.0.0.7\r\n", "1.2.3.4"),
            ("x-forwarded-for: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1"),
            ("x-forwarded-for: 6.6.6.6, nonsense\r\n", "127.0.0.1"),
        ] {
            #expect(try await ask(trusted, fields).upstream.contains("x-who: \(who)\r\n"), "\(fields)")
        }
        // Without trusted ranges the number of proxies counts, over all lines, too.
        let lines = "x-forwarded-for: 6.6.6.6\r\nx-forwarded-for: 1.2.3.4, 10.0.0.7\r\n"
        #expect(try await ask("xff_num_trusted_hops: 1", lines).upstream.contains("x-who: 1.2.3.4\r\n"))
        #expect(
            try await ask("xff_num_trusted_hops: 1", lines).upstream.contains(
                "x-forwarded-for: 6.6.6.6,1.2.3.4, 10.0.0.7\r\n"))
    }

    @Test(
        "ways to find the client that contradict each other are refused",
        arguments: [
            ("use_remote_address: true\n          ", "", "original_ip_detection_extensions"),
            ("xff_num_trusted_hops: 1\n          ", "", "original_ip_detection_extensions"),
            (
                "", "xff_num_trusted_hops: 1, xff_trusted_cidrs: { cidrs: [] }",
                "original_ip_detection_extensions[0].typed_config"
            ),
        ])
    func contradictions(manager: String, fields: String, path: String) {
        let refused = #expect(throws: ProxyError.self) {
            var options = Options()
            options.configYAML = Yaml.bootstrap(
                listeners: Yaml.listener(manager: manager + detection(Self.list, fields), routes: Yaml.forward()),
                clusters: Yaml.cluster("backend", [1]))
            _ = try ProxyServer.validate(options)
        }
        #expect(refused?.description.contains(path) == true, "\(refused?.description ?? "")")
    }

    @Test("early changes come before the route is chosen, and before the client is looked for")
    func early() async throws {
        let early = """
            early_header_mutation_extensions: [ { name: e, typed_config: { "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation, mutations: [ { append: { header: { key: x-way, value: "%REQ(x-in)%" } } }, { remove: x-gone } ] } } ]
            """
        let routes = """
            [ { match: { prefix: /, headers: [ { name: x-way, string_match: { exact: b } } ] }, route: { cluster: web } }, { match: { prefix: / }, direct_response: { status: 404 } } ]
            """
        let found = try await ask(early, "x-in: b\r\nx-gone: 1\r\n", routes: routes)
        #expect(found.status == 200 && !found.upstream.contains("x-gone"))
        #expect(try await ask(early, "x-in: c\r\n", routes: routes).status == 404)
    }

    @Test("wishes to speak another protocol that are to be passed over are passed over")
    func ignoredUpgrades() async throws {
        let ignoring = "http_protocol_options: { ignore_http_11_upgrade: [ { prefix: TLS/ } ] }"
        let passed = try await ask(ignoring, "connection: upgrade\r\nupgrade: TLS/1.2\r\n")
        #expect(passed.status == 200 && !passed.upstream.contains("upgrade"))
        #expect(try await ask(ignoring, "connection: upgrade\r\nupgrade: other\r\n").status == 403)
    }

    @Test("a direct response is made by its format, and has its type")
    func formatted() async throws {
        let routes = """
            [ { match: { prefix: / }, direct_response: { status: 418, body: { inline_string: inner }, body_format: { text_format_source: { inline_string: "<%LOCAL_REPLY_BODY% %REQ(:PATH)% %RESPONSE_CODE%>" }, content_type: text/html } } } ]
            """
        let answer = try await ask("", "", routes: routes)
        #expect(answer.status == 418 && answer.body == "<inner /p 418>")
    }

    @Test("an old connection of HTTP/1 is closed with an answer, never between two requests")
    func safeEnds() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("yes") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: [
                            "http1_safe_max_connection_duration: true", "drain_timeout: 0.05s",
                            "common_http_protocol_options: { max_connection_duration: 0.1s }",
                        ]
                        .joined(separator: "\n          "), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 200)
            // Longer than duration and drain timeout together: the connection would be closed without the option.
            await loop.sleep(for: .milliseconds(600))
            let last = try await client.get("/")
            #expect(last.status == 200 && last.field("connection") == "close")
        }
    }

    private func cluster(_ ports: [UInt16], _ options: String, more: String = "lb_policy: ROUND_ROBIN") -> String {
        let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        return Yaml.cluster(
            "web", ports,
            more + "\n    typed_extension_protocol_options: { \(name): { \"@type\": type.googleapis.com/\(name), "
                + "explicit_http_config: { http_protocol_options: {} }, \(options) } }")
    }

    @Test("a cluster says how long one request may take: 504, and 408 to who has not sent all of it")
    func streamDuration() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in "" }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: "[ { match: { prefix: / }, route: { cluster: web } } ]"),
                    clusters: cluster(
                        [upstream.port], "common_http_protocol_options: { max_stream_duration: 0.1s }")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let late = try await client.get("/")
            #expect(late.status == 504 && late.body == "upstream max stream duration reached")
            let slow = try await Wire.connect(to: proxy.address, on: loop)
            try await slow.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
            #expect(try await slow.response().status == 408)
        }
    }

    @Test("what a cluster hashes goes before what a route hashes")
    func hashes() async throws {
        try await onLoop { loop in
            var upstreams: [ScriptedUpstream] = []
            for name in ["one", "two", "three", "four"] {
                upstreams.append(try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok(name) })
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes:
                            "[ { match: { prefix: / }, route: { cluster: web, hash_policy: [ { header: { header_name: x-route } } ] } } ]"
                    ),
                    clusters: cluster(
                        upstreams.map(\.port), "hash_policy: [ { header: { header_name: x-cluster } } ]",
                        more: "lb_policy: RING_HASH")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            func ask(_ cluster: Int, _ route: Int) async throws -> String {
                try await client.write(
                    "GET / HTTP/1.1\r\nHost: a\r\nx-cluster: c\(cluster)\r\nx-route: r\(route)\r\n\r\n")
                return try await client.response().body
            }
            let first = try await ask(1, 0)
            for route in 1..<12 { #expect(try await ask(1, route) == first) }
            var others: Set<String> = []
            for cluster in 2..<30 { others.insert(try await ask(cluster, 0)) }
            #expect(others.count > 1)
        }
    }
}
