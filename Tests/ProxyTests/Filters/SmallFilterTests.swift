import IO
import Serialization
import Testing

@testable import Proxy

@Suite("Filters: buffer, header_mutation, header_to_metadata, set_metadata, set_filter_state, csrf, health_check")
struct SmallFilterTests {
    private static let http = "envoy.extensions.filters.http."

    @Test("buffer: a chunked request arrives whole with its length; a larger one is 413, and a route may say otherwise")
    func buffer() async throws {
        let config = FilterScene.any(Self.http + "buffer.v3.Buffer", "max_request_bytes: 200000")
        let small = FilterScene.any(Self.http + "buffer.v3.BufferPerRoute", "buffer: { max_request_bytes: 3 }")
        let routes = """
            [ { match: { prefix: "/small" }, route: { cluster: backend }, typed_per_filter_config: { buffer: \(small) } }, \
            { match: { prefix: "/" }, route: { cluster: backend } } ]
            """
        try await FilterScene.run([("buffer", config)], routes: routes) { scene async throws in
            let piece = String(repeating: "x", count: 50_000)
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<3 { try await scene.client.write("c350\r\n\(piece)\r\n") }
            #expect(scene.upstream.requests == 0)
            try await scene.client.write("0\r\n\r\n")
            let response = try await scene.client.response()
            #expect(response.body.contains("content-length: 150000"))
            try await scene.client.write("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour")
            #expect(try await scene.client.response().status == 413)
        }
    }

    @Test("header_mutation: request, query, response, the route after the filter")
    func headerMutation() async throws {
        let config = FilterScene.any(
            Self.http + "header_mutation.v3.HeaderMutation",
            """
            mutations: { request_mutations: [ { remove: x-secret }, { append: { header: { key: x-level, value: filter } } }, \
            { remove_on_match: { key_matcher: { prefix: x-internal- } } } ], \
            query_parameter_mutations: [ { append: { record: { key: added, value: "1" }, action: OVERWRITE_IF_EXISTS_OR_ADD } }, { remove: gone } ], \
            response_mutations: [ { append: { header: { key: x-out, value: "%REQ(x-level)%" }, append_action: OVERWRITE_IF_EXISTS_OR_ADD } } ] }
            """)
        let route = FilterScene.any(
            Self.http + "header_mutation.v3.HeaderMutationPerRoute",
            "mutations: { request_mutations: [ { append: { header: { key: x-level, value: route }, append_action: OVERWRITE_IF_EXISTS_OR_ADD } } ] }"
        )
        try await FilterScene.run([("hm", config)], routes: FilterScene.routes("hm", route)) { scene async throws in
            let response = try await scene.client.get("/p?gone=1&a=b&added=0", "x-secret: 1\r\nx-internal-a: 2\r\n")
            #expect(response.body.hasPrefix("GET /p?a=b&added=1 HTTP/1.1"))
            #expect(!response.body.contains("x-secret"))
            #expect(!response.body.contains("x-internal"))
            #expect(response.body.contains("x-level: route"))
            #expect(response.field("x-out") == "route")
        }
    }

    @Test("header_to_metadata: headers, cookies, rewrites and numbers become metadata; a rule may remove the header")
    func headerToMetadata() async throws {
        let config = FilterScene.any(
            Self.http + "header_to_metadata.v3.Config",
            """
            request_rules: [ { header: x-version, on_header_present: { metadata_namespace: lb, key: version, type: NUMBER }, remove: true }, \
            { cookie: user, on_header_present: { metadata_namespace: lb, key: user, regex_value_rewrite: { pattern: { regex: "^(.)(.*)$" }, substitution: "\\\\1" } }, \
            on_header_missing: { metadata_namespace: lb, key: user, value: nobody } } ]
            """)
        let trace = FakeFilter.Trace()
        let spy = FakeFilters.entry("metadata.spy") { _ in
            let filter = FakeFilter("spy", trace, [.requestHead])
            filter.onRequestHead = { stream, _ in
                trace.add(
                    "\(stream.info.metadata["lb"]?["version"]?.double ?? -1) \(stream.info.metadata["lb"]?["user"]?.string ?? "")"
                )
                return .next
            }
            return filter
        }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in ScriptedUpstream.ok(head) }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        filters: FilterScene.entries([("h2m", config)]) + spy, routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/", "x-version: 2\r\ncookie: a=b; user=jason\r\n")
            #expect(!response.body.contains("x-version"))
            _ = try await client.get("/")
        }
        #expect(trace.all.contains("2.0 j"))
        #expect(trace.all.contains("-1.0 nobody"))
    }

    @Test(
        "set_metadata: values are merged where that is allowed, and left out and counted where not; a route's come last"
    )
    func setMetadata() async throws {
        let type = Self.http + "set_metadata.v3.Config"
        let config = FilterScene.any(
            type,
            """
            metadata_namespace: old, value: { a: one }, metadata: [ { metadata_namespace: n, value: { list: [ 1 ], in: { a: x }, t: first } }, \
            { metadata_namespace: n, allow_overwrite: true, value: { list: [ 2 ], in: { b: y }, t: second } }, \
            { metadata_namespace: n, value: { t: third } } ]
            """)
        let route = FilterScene.any(
            type, "metadata: [ { metadata_namespace: old, allow_overwrite: true, value: { a: two } } ]")
        let shown =
            "%DYNAMIC_METADATA(old:a)% %DYNAMIC_METADATA(n:list)% %DYNAMIC_METADATA(n:in:a)% %DYNAMIC_METADATA(n:in:b)% %DYNAMIC_METADATA(n:t)%"
        let routes = """
            [ { match: { prefix: "/two" }, direct_response: { status: 200 }, typed_per_filter_config: { sm: \(route) }, response_headers_to_add: [ { header: { key: x-shown, value: "\(shown)" } } ] }, \
            { match: { prefix: "/" }, direct_response: { status: 200 }, response_headers_to_add: [ { header: { key: x-shown, value: "\(shown)" } } ] } ]
            """
        try await FilterScene.run([("sm", config)], routes: routes) { scene async throws in
            #expect(try await scene.client.get("/").field("x-shown") == "one [1,2] x y second")
            #expect(try await scene.client.get("/two").field("x-shown") == "two [1,2] x y second")
            #expect(try await scene.stat("http.ingress.set_metadata.overwrite_denied") == 2)
        }
        for (wrong, place) in [
            ("metadata: [ { metadata_namespace: n } ]", "metadata[0].value: is missing"),
            ("metadata: [ { value: {} } ]", "metadata[0].metadata_namespace: is empty"),
        ] {
            await #expect {
                try await FilterScene.run([("sm", FilterScene.any(type, wrong))]) { _ in }
            } throws: { "\($0)".contains(place) }
        }
    }

    @Test("set_filter_state: formats are filled in, empty ones skipped where asked")
    func setFilterState() async throws {
        let config = FilterScene.any(
            Self.http + "set_filter_state.v3.Config",
            """
            on_request_headers: [ { object_key: a, factory_key: envoy.string, format_string: { text_format_source: { inline_string: "%REQ(x-a)%" } } }, \
            { object_key: b, factory_key: envoy.string, format_string: { text_format_source: { inline_string: "%REQ(x-b)%" }, omit_empty_values: true }, skip_if_empty: true } ]
            """)
        let trace = FakeFilter.Trace()
        let spy = FakeFilters.entry("state.spy") { _ in
            let filter = FakeFilter("spy", trace, [.requestHead])
            filter.onRequestHead = { stream, _ in
                trace.add("\(stream.info.filterState["a"] ?? "-") \(stream.info.filterState["b"] ?? "-")")
                return .next
            }
            return filter
        }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in ScriptedUpstream.ok(head) }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        filters: FilterScene.entries([("sfs", config)]) + spy, routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/", "x-a: one\r\n")
        }
        #expect(trace.all.contains("one -"))
    }

    @Test("csrf: a change must come from the site itself or a listed one")
    func csrf() async throws {
        let config = FilterScene.any(
            Self.http + "csrf.v3.CsrfPolicy",
            "filter_enabled: { default_value: { numerator: 100 } }, additional_origins: [ { suffix: .friend.example } ]"
        )
        try await FilterScene.run([("csrf", config)]) { scene async throws in
            func post(_ fields: String) async throws -> Wire.Response {
                try await scene.client.write(
                    "POST / HTTP/1.1\r\nHost: here.example\r\nContent-Length: 0\r\n\(fields)\r\n")
                return try await scene.client.response()
            }
            #expect(try await post("Origin: https://here.example\r\n").status == 200)
            #expect(try await post("Referer: https://a.friend.example/page\r\n").status == 200)
            let foreign = try await post("Origin: https://evil.example\r\n")
            #expect(foreign.status == 403)
            #expect(foreign.body == "Invalid origin")
            #expect(try await post("").status == 403)
            #expect(try await scene.client.get("/", "Origin: https://evil.example\r\n").status == 200)
            #expect(try await scene.stat("http.ingress.csrf.missing_source_origin") == 1)
            #expect(try await scene.stat("http.ingress.csrf.request_invalid") == 1)
            #expect(try await scene.stat("http.ingress.csrf.request_valid") == 2)
        }
    }

    @Test("health_check: answered here, by this process' state and a cluster's")
    func healthCheck() async throws {
        let config = FilterScene.any(
            Self.http + "health_check.v3.HealthCheck",
            "pass_through_mode: false, headers: [ { name: \":path\", string_match: { exact: /healthz } } ]")
        let cluster = FilterScene.any(
            Self.http + "health_check.v3.HealthCheck",
            """
            pass_through_mode: false, cluster_min_healthy_percentages: { backend: { value: 50 }, missing: { value: 1 } }, \
            headers: [ { name: \":path\", string_match: { exact: /cluster } } ]
            """)
        try await FilterScene.run([("hc", config), ("hc2", cluster)]) { scene async throws in
            #expect(try await scene.client.get("/healthz").status == 200)
            #expect(scene.upstream.requests == 0)
            #expect(try await scene.client.get("/cluster").status == 503)
            #expect(try await scene.client.get("/").status == 200)
        }
    }

    @Test("health_check: enough hosts of a cluster is a share, and none at all suffices only for 0 %")
    func healthShares() {
        #expect(HealthCheckFilterConfig.suffices(serving: 1, of: 2, percentage: 50))
        #expect(!HealthCheckFilterConfig.suffices(serving: 1, of: 3, percentage: 50))
        #expect(HealthCheckFilterConfig.suffices(serving: 0, of: 0, percentage: 0))
        #expect(!HealthCheckFilterConfig.suffices(serving: 0, of: 0, percentage: 1))
    }
}
