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
            while !stats.contains("http.ingress.rds.table.update_rejected: 1\n") {
                stats = try await Admin.get(proxy, "/stats?filter=rds", on: loop)
            }
            #expect(stats.contains("http.ingress.rds.table.update_success: 1\n"))
        }
    }
}
