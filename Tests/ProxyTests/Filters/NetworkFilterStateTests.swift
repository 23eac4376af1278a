import Testing

@testable import Proxy

@Suite("Network filter: set_filter_state")
struct NetworkFilterStateTests {
    private static let filter =
        "{ name: state, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config, on_new_connection: [ %VALUES% ] } }"

    private static let echo =
        "{ name: e, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo } }"

    @Test("values of the handshake come after those of the connection; values of the first bytes are refused")
    func handshake() async throws {
        let router =
            "{ name: r, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }"
        let manager = """
            { name: hcm, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
            stat_prefix: in, http_filters: [ \(router) ], route_config: { virtual_hosts: [ { name: a, domains: ["*"], response_headers_to_add: \
            [ { header: { key: x-kind, value: "%FILTER_STATE(kind:PLAIN)%" } } ], routes: [ { match: { prefix: / }, direct_response: { status: 200 } } ] } ] } } }
            """
        let late = Self.value("kind", "late", "factory_key: envoy.string, ")
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener(
                        [Self.value("kind", "early", "factory_key: envoy.string, ")], manager
                    ).replacing(
                        "] } }, { name: hcm", with: "], on_downstream_tls_handshake: [ \(late) ] } }, { name: hcm"),
                    clusters: ""))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").field("x-kind") == "late")
        }
        await #expect {
            try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener([], Self.echo).replacing(
                        "on_new_connection: [  ]", with: "on_downstream_data: [ \(late) ]"), clusters: "")
            ).stop()
        } throws: { "\($0)".contains("on_downstream_data") }
    }

    private static func value(_ key: String, _ format: String, _ more: String = "") -> String {
        "{ object_key: \(key), \(more)format_string: { text_format_source: { inline_string: \"\(format)\" } } }"
    }

    /// A listener whose first network filter sets values.
    private static func listener(_ values: [String], _ terminal: String) -> String {
        let filter = filter.replacing("%VALUES%", with: values.joined(separator: ", "))
        return """
              - name: in
                address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                filter_chains: [ { filters: [ \(filter), \(terminal) ] } ]

            """
    }

    @Test("a connection's cluster comes from a format, the first read-only value stays")
    func tcp() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("one") }
            let other = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("two") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener(
                        [
                            Self.value(
                                "envoy.tcp_proxy.cluster", "of-%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
                                "read_only: true, "),
                            Self.value("envoy.tcp_proxy.cluster", "other"),
                        ],
                        "{ name: tcp, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: other } }"
                    ),
                    clusters: Yaml.cluster("of-127.0.0.1", [upstream.port]) + Yaml.cluster("other", [other.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").body == "one")
        }
    }

    @Test("requests begin with what their connection has: in formats, by members of objects, and in RBAC")
    func http() async throws {
        let rbac =
            "{ name: rbac, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC, rules: { policies: { p: { permissions: [ { any: true } ], principals: [ { filter_state: { key: kind, string_match: { exact: good } } } ] } } } } }"
        let router =
            "{ name: r, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }"
        for (kind, wanted) in [("good", 200), ("bad", 403)] {
            try await onLoop { loop in
                let manager = """
                    { name: hcm, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
                    stat_prefix: in, http_filters: [ \(rbac), \(router) ], route_config: { virtual_hosts: [ { name: a, domains: ["*"], response_headers_to_add: \
                    [ { header: { key: x-kind, value: "%FILTER_STATE(kind:PLAIN)% %FILTER_STATE(json:FIELD:a)% %FILTER_STATE(json:FIELD:b)%" } } ], \
                    routes: [ { match: { prefix: / }, direct_response: { status: 200 } } ] } ] } } }
                    """
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Self.listener(
                            [
                                Self.value("kind", kind, "factory_key: envoy.string, "),
                                Self.value("json", "{\\\"a\\\": 7}", "factory_key: envoy.string, "),
                            ], manager), clusters: ""))
                defer { proxy.stop() }
                let client = try await Wire.connect(to: proxy.address, on: loop)
                let response = try await client.get("/")
                #expect(response.status == wanted)
                // What is not there leaves nothing in a header field.
                #expect(response.field("x-kind") == "\(kind) 7")
            }
        }
    }

    @Test("objects that nobody makes, and formats of filter state that there are not, are refused with their place")
    func refused() async throws {
        for (values, place) in [
            ([Self.value("unknown", "x")], "on_new_connection[0].object_key"),
            ([Self.value("a", "%FILTER_STATE(a:WHAT)%", "factory_key: envoy.string, ")], "PLAIN, TYPED or FIELD:name"),
        ] {
            await #expect {
                try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Self.listener(
                            values,
                            "{ name: e, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo } }"
                        ), clusters: "")
                ).stop()
            } throws: { "\($0)".contains(place) }
        }
    }
}
