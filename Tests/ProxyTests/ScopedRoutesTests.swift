import HTTP
import IO
import Testing

@testable import Proxy

/// Files of discovery in a directory of a test's own.
struct DiscoveryFiles {
    let directory: String

    init(_ name: String) throws {
        directory = "/tmp/skein-\(name)-\(Environment.processID)"
        try? File.removeTree(directory)
        try File.makeDirectory(directory)
    }

    /// Writes beside it, then moves.
    func write(_ name: String, _ text: String) throws {
        try File.write("\(directory)/\(name).new", Array(text.utf8))
        try File.rename("\(directory)/\(name).new", "\(directory)/\(name)")
    }

    func source(_ name: String, _ more: String = "") -> String {
        "{ path_config_source: { path: \(directory)/\(name) }\(more) }"
    }

    func remove() { try? File.removeTree(directory) }
}

@Suite("Scoped routes")
struct ScopedRoutesTests {
    static func listener(_ routes: String, filters: String = "") -> String {
        """
          - name: ingress
            address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
            filter_chains:
            - filters:
              - name: hcm
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: ingress
                  \(routes)
                  http_filters:
        \(filters)          - name: router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }

        """
    }

    private static func direct(_ name: String, _ body: String) -> String {
        "{ name: \(name), virtual_hosts: [ { name: all, domains: [ \"*\" ], routes: [ { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: \(body) } } } ] } ] }"
    }

    private static let builder =
        "scope_key_builder: { fragments: [ { header_value_extractor: { name: x-route, element_separator: \";\", element: { separator: \"=\", key: env } } }, { header_value_extractor: { name: X-Vip, index: 0 } } ] }"

    private static func bootstrap(_ listeners: String) -> String {
        "node: { id: n, cluster: c }\n" + Yaml.bootstrap(listeners: listeners, clusters: Yaml.cluster("c", [1]))
    }

    @Test("a request's key chooses its routes; without one, or with an unknown one, it is 404")
    func inline() async throws {
        try await onLoop { loop in
            let scopes = [("a", "prod", "1"), ("b", "prod", "2"), ("c", "test", "1")].map { name, env, vip in
                "{ name: \(name), key: { fragments: [ { string_key: \(env) }, { string_key: \"\(vip)\" } ] }, route_configuration: \(Self.direct(name, name)) }"
            }.joined(separator: ", ")
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    Self.listener(
                        "scoped_routes: { name: s, \(Self.builder), scoped_route_configurations_list: { scoped_route_configurations: [ \(scopes) ] } }"
                    )))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for (fields, body) in [
                ("x-route: env=prod\r\nx-vip: 1\r\n", "a"), ("x-route: a;x=y;env=prod\r\nx-vip: 2\r\n", "b"),
                ("x-route: env=test;env=prod\r\nx-vip: 1\r\n", "c"),
            ] { #expect(try await client.get("/", fields).body == body) }
            for fields in [
                "", "x-route: env=prod\r\n", "x-route: prod\r\nx-vip: 1\r\n", "x-route: env=x\r\nx-vip: 1\r\n",
            ] {
                #expect(try await client.get("/", fields).status == 404)
            }
        }
    }

    @Test("scopes and their routes are discovered, and change")
    func discovered() async throws {
        try await onLoop { loop in
            let files = try DiscoveryFiles("srds")
            defer { files.remove() }
            func scopes(_ pairs: [(String, String)]) -> String {
                "resources:\n"
                    + pairs.map { key, route in
                        "- { \"@type\": type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration, name: \(key), route_configuration_name: \(route), key: { fragments: [ { string_key: \(key) } ] } }\n"
                    }.joined()
            }
            let routes =
                "resources:\n"
                + ["r1", "r2"].map {
                    "- { \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, "
                        + Self.direct($0, $0).dropFirst(2) + "\n"
                }.joined()
            try files.write("srds.yaml", scopes([("one", "r1")]))
            try files.write("rds.yaml", routes)
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    Self.listener(
                        "scoped_routes: { name: s, scope_key_builder: { fragments: [ { header_value_extractor: { name: x-key, index: 0 } } ] }, rds_config_source: \(files.source("rds.yaml")), scoped_rds: { scoped_rds_config_source: \(files.source("srds.yaml")) } }"
                    )))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/", "x-key: one\r\n").body == "r1")
            #expect(try await client.get("/", "x-key: two\r\n").status == 404)
            try files.write("srds.yaml", scopes([("one", "r2"), ("two", "r1")]))
            try await until { try await client.get("/", "x-key: two\r\n").body == "r1" }
            try await until { try await client.get("/", "x-key: one\r\n").body == "r2" }
        }
    }

    @Test("pieces of values")
    func fragments() {
        typealias Fragment = ScopedRouting.Fragment
        let element = Fragment(
            header: "x", separator: Array(",".utf8), extract: .element(separator: Array("=".utf8), key: Array("k".utf8))
        )
        #expect(element.value("a=b,k=v=w,k=x") == "v=w")
        #expect(element.value("k") == "")
        #expect(element.value("kk=v") == nil)
        let index = Fragment(header: "x", separator: Array("::".utf8), extract: .index(1))
        #expect(index.value("a::b::c") == "b")
        #expect(index.value("a") == nil)
        #expect(index.value("a::") == "")
        #expect(Fragment(header: "x", separator: [], extract: .index(0)).value("a,b") == "a,b")
    }
}

@Suite("Discovered HTTP filters")
struct DiscoveredFilterTests {
    private static let buffer = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"

    private static func mutation(_ value: String) -> String {
        "{ \"@type\": \(buffer), mutations: { response_mutations: [ { append: { header: { key: x-from, value: \(value) }, append_action: OVERWRITE_IF_EXISTS_OR_ADD } } ] } }"
    }

    private static func bootstrap(_ discovery: String) -> String {
        let routes =
            "route_config: { virtual_hosts: [ { name: all, domains: [ \"*\" ], routes: [ { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: ok } } } ] } ] }"
        return "node: { id: n, cluster: c }\n"
            + Yaml.bootstrap(
                listeners: ScopedRoutesTests.listener(
                    routes,
                    filters:
                        "          - { name: mine, config_discovery: { type_urls: [ \(buffer) ], \(discovery) } }\n"),
                clusters: Yaml.cluster("c", [1]))
    }

    private static func extensionOf(_ value: String) -> String {
        "resources:\n- { \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: mine, typed_config: \(mutation(value)) }\n"
    }

    @Test("a filter is what its file says, and changes in place; what is refused changes nothing")
    func changes() async throws {
        try await onLoop { loop in
            let files = try DiscoveryFiles("ecds")
            defer { files.remove() }
            try files.write("ecds.yaml", Self.extensionOf("one"))
            let proxy = try await RunningProxy.start(
                Self.bootstrap("config_source: \(files.source("ecds.yaml"))"))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").field("x-from") == "one")
            try files.write(
                "ecds.yaml",
                "resources:\n- { \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: mine, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1 } }\n"
            )
            #expect(try await client.get("/").field("x-from") == "one")
            try files.write("ecds.yaml", Self.extensionOf("two"))
            try await until { try await client.get("/").field("x-from") == "two" }
        }
    }

    @Test("a default stands in at once where that is wanted, and otherwise when nothing comes in time")
    func defaults() async throws {
        try await onLoop { loop in
            let files = try DiscoveryFiles("ecds-default")
            defer { files.remove() }
            for more in [
                "config_source: \(files.source("none.yaml")), apply_default_config_without_warming: true, default_config: \(Self.mutation("default"))",
                "config_source: \(files.source("none.yaml", ", initial_fetch_timeout: 0.05s")), default_config: \(Self.mutation("default"))",
            ] {
                let proxy = try await RunningProxy.start(Self.bootstrap(more))
                defer { proxy.stop() }
                let client = try await Wire.connect(to: proxy.address, on: loop)
                #expect(try await client.get("/").field("x-from") == "default")
            }
        }
    }

    @Test("without any configuration requests are 500: the filter may be one that protects")
    func missing() async throws {
        try await onLoop { loop in
            let files = try DiscoveryFiles("ecds-missing")
            defer { files.remove() }
            let proxy = try await RunningProxy.start(
                Self.bootstrap("config_source: \(files.source("none.yaml", ", initial_fetch_timeout: 0.05s"))"))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 500)
        }
    }

    @Test("a default must be of a type that may come")
    func refused() throws {
        var options = Options()
        options.configYAML = Self.bootstrap(
            "config_source: { path_config_source: { path: /x } }, default_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1 }"
        )
        #expect { _ = try ProxyServer.validate(options) } throws: { "\($0)".contains("is none of type_urls") }
    }
}
