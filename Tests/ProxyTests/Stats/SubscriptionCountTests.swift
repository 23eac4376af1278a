import IO
import Testing

@testable import Proxy

@Suite("Counting subscriptions")
struct SubscriptionCountTests {
    @Test("updates of clusters and of each route configuration are counted where Envoy counts them")
    func counts() async throws {
        try await onLoop { loop in
            let files = try DiscoveryFiles("counts")
            defer { files.remove() }
            try files.write(
                "cds.yaml",
                "version_info: \"7\"\nresources:\n- { \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: c, type: STATIC, load_assignment: { cluster_name: c } }\n"
            )
            func routes(_ body: String) -> String {
                "resources:\n- { \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: table, virtual_hosts: [ { name: all, domains: [ \(body) ], routes: [ { match: { prefix: / }, direct_response: { status: 200 } } ] } ] }\n"
            }
            try files.write("rds.yaml", routes("\"*\""))
            let proxy = try await RunningProxy.start(
                "node: { id: n, cluster: c }\ndynamic_resources: { cds_config: \(files.source("cds.yaml")) }\n"
                    + "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n"
                    + "static_resources:\n  listeners:\n"
                    + ScopedRoutesTests.listener(
                        "rds: { route_config_name: table, config_source: \(files.source("rds.yaml")) }"))
            defer { proxy.stop() }
            var stats = try await Admin.get(proxy, "/stats", on: loop)
            for line in [
                "cluster_manager.cds.update_attempt: 1", "cluster_manager.cds.update_success: 1",
                "cluster_manager.cds.update_rejected: 0", "http.ingress.rds.table.update_success: 1",
            ] { #expect(stats.contains(line + "\n")) }
            try files.write("rds.yaml", routes("a, a"))
            try await until {
                stats = try await Admin.get(proxy, "/stats?filter=rds", on: loop)
                return stats.contains("http.ingress.rds.table.update_rejected: 1\n")
            }
            #expect(stats.contains("http.ingress.rds.table.update_success: 1\n"))
        }
    }

    @Test("updates of scopes and of discovered filters are counted where Envoy counts them")
    func scopesAndFilters() async throws {
        try await onLoop { loop in
            let files = try DiscoveryFiles("more-counts")
            defer { files.remove() }
            let buffer = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"
            func filter(_ bytes: String) -> String {
                "resources:\n- { \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: buf, typed_config: { \"@type\": \(buffer), max_request_bytes: \(bytes) } }\n"
            }
            func scopes(_ keys: [String]) -> String {
                "resources:\n"
                    + keys.map {
                        "- { \"@type\": type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration, name: \($0), route_configuration_name: r1, key: { fragments: [ { string_key: \($0) } ] } }\n"
                    }.joined()
            }
            try files.write("ecds.yaml", filter("100"))
            try files.write("srds.yaml", scopes(["one", "two"]))
            try files.write(
                "rds.yaml",
                "resources:\n- { \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: r1, virtual_hosts: [ { name: all, domains: [ \"*\" ], routes: [ { match: { prefix: / }, direct_response: { status: 200 } } ] } ] }\n"
            )
            let proxy = try await RunningProxy.start(
                "node: { id: n, cluster: c }\n"
                    + "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n"
                    + "static_resources:\n  listeners:\n"
                    + ScopedRoutesTests.listener(
                        "scoped_routes: { name: scopes, scope_key_builder: { fragments: [ { header_value_extractor: { name: x-key, index: 0 } } ] }, rds_config_source: \(files.source("rds.yaml")), scoped_rds: { scoped_rds_config_source: \(files.source("srds.yaml")) } }",
                        filters:
                            "          - { name: buf, config_discovery: { config_source: \(files.source("ecds.yaml")), type_urls: [ \(buffer) ] } }\n"
                    ))
            defer { proxy.stop() }
            let stats = try await Admin.get(proxy, "/stats", on: loop)
            for line in [
                "extension_config_discovery.http_filter.buf.update_success: 1",
                "extension_config_discovery.http_filter.buf.config_reload: 1",
                "extension_config_discovery.http_filter.buf.config_fail: 0",
                "http.ingress.scoped_rds.scopes.update_success: 1", "http.ingress.scoped_rds.scopes.all_scopes: 2",
                "http.ingress.scoped_rds.scopes.active_scopes: 2", "http.ingress.scoped_rds.scopes.config_reload: 1",
                "http.ingress.rds.r1.update_success: 1", "http.ingress.rds.r1.config_reload: 1",
            ] { #expect(stats.contains(line + "\n"), "\(line)") }
        }
    }
}
