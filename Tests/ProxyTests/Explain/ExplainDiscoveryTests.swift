import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

/// Explanations of what is discovered, by a file and by a running proxy.
struct ExplainDiscoveryTests {
    private static func temporary(_ name: String) throws -> String {
        let path = "/tmp/skein-explain-\(Environment.processID)-\(name)"
        try? File.removeTree(path)
        try File.makeDirectory(path)
        return path
    }

    private static func write(_ directory: String, port: UInt16) throws {
        let type = "type.googleapis.com/envoy."
        let files = [
            "lds": """
            resources:
            - "@type": \(type)config.listener.v3.Listener
              name: in
              address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
              filter_chains:
              - filters:
                - name: hcm
                  typed_config:
                    "@type": \(type)extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                    stat_prefix: in
                    rds: { route_config_name: local, config_source: { path_config_source: { path: \(directory)/rds.yaml } } }
                    http_filters: [ { name: router, typed_config: { "@type": \(type)extensions.filters.http.router.v3.Router } } ]
            """,
            "rds": """
            resources:
            - "@type": \(type)config.route.v3.RouteConfiguration
              name: local
              virtual_hosts: [ { name: all, domains: ["*"], routes: [ { name: only, match: { prefix: "/" }, route: { cluster: web } } ] } ]
            """,
            "cds": """
            resources:
            - "@type": \(type)config.cluster.v3.Cluster
              name: web
              type: EDS
              eds_cluster_config: { eds_config: { path_config_source: { path: \(directory)/eds.yaml } } }
            """,
            "eds": """
            resources:
            - "@type": \(type)config.endpoint.v3.ClusterLoadAssignment
              cluster_name: web
              endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } } } ] } ]
            """,
        ]
        for (name, text) in files { try File.write("\(directory)/\(name).yaml", Array(text.utf8)) }
    }

    private static func bootstrap(_ directory: String) -> String {
        """
        node: { id: n, cluster: c }
        admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
        dynamic_resources:
          cds_config: { path_config_source: { path: \(directory)/cds.yaml } }
          lds_config: { path_config_source: { path: \(directory)/lds.yaml } }
        """
    }

    @Test func `Resources of files are read, and named by file, type and name`() throws {
        let directory = try Self.temporary("file")
        defer { try? File.removeTree(directory) }
        try Self.write(directory, port: 80)
        let (status, json) = try ExplainTests.json(Self.bootstrap(directory), ["http://a/"])
        #expect(status == 0)
        #expect(
            json["route_path"]?.string
                == "\(directory)/rds.yaml: RouteConfiguration \"local\".virtual_hosts[0].routes[0]")
        #expect(json["host"]?.string == "127.0.0.1:80")
        let paths = (json["steps"]?.array ?? []).compactMap { $0["path"]?.string }
        #expect(paths.contains("\(directory)/eds.yaml: ClusterLoadAssignment \"web\".endpoints[0].lb_endpoints[0]"))
    }

    @Test func `A running proxy names what it discovered by type and name`() async throws {
        try await onLoop { loop in
            let directory = try Self.temporary("page")
            defer { try? File.removeTree(directory) }
            try Self.write(directory, port: 81)
            let proxy = try await RunningProxy.start(Self.bootstrap(directory))
            defer { proxy.stop() }
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let page = try JSON.parse(try await admin.get("/explain?listener=in&url=http://a/&format=json").body)
            #expect(page["route"]?.string == "only")
            #expect(page["route_path"]?.string == "RouteConfiguration \"local\".virtual_hosts[0].routes[0]")
            let paths = (page["steps"]?.array ?? []).compactMap { $0["path"]?.string }
            #expect(paths.contains("Listener \"in\""))
            #expect(paths.contains("ClusterLoadAssignment \"web\".endpoints[0].lb_endpoints[0]"))
            #expect(page["host"]?.string == "127.0.0.1:81")
        }
    }

    @Test func `What a server would tell has a stand-in, and routes from a server are not there`() throws {
        let yaml = """
            node: { id: n, cluster: c }
            dynamic_resources: { ads_config: { api_type: GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] } }
            static_resources:
              listeners:
            \(Yaml.listener(port: 10_000, routes: Yaml.forward("web")))
              - name: dynamic
                address: { socket_address: { address: 127.0.0.1, port_value: 10001 } }
                filter_chains:
                - filters:
                  - name: hcm
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: d
                      rds: { route_config_name: far, config_source: { ads: {}, resource_api_version: V3 } }
                      http_filters: [ { name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ]
              clusters:
            \(Yaml.cluster("xds", [1]))
              - { name: web, type: EDS, eds_cluster_config: { eds_config: { ads: {}, resource_api_version: V3 } } }
            """
        let web = try ExplainTests.json(yaml, ["--listener", "ingress", "/"])
        #expect(web.status == 0)
        #expect(web.json["host"]?.string == "an endpoint of \"web\" (discovered at run time)")
        let dynamic = try ExplainTests.json(yaml, ["--listener", "dynamic", "/"])
        #expect(dynamic.status == 4)
        #expect(dynamic.json["flags"]?.string == "NR")
        let texts = (dynamic.json["steps"]?.array ?? []).compactMap { $0["text"]?.string }
        #expect(texts.contains { $0.hasPrefix("RouteConfiguration \"far\" is not there") })
    }

    @Test func `A redirected connection goes to the listener of its destination, and on to where it wanted to go`()
        throws
    {
        let tcp =
            "{ name: t, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: pass } }"
        let yaml = """
            static_resources:
              listeners:
              - name: outbound
                address: { socket_address: { address: 0.0.0.0, port_value: 15001 } }
                use_original_dst: true
                filter_chains: [ { filters: [ \(tcp) ] } ]
              - name: web
                address: { socket_address: { address: 0.0.0.0, port_value: 80 } }
                bind_to_port: false
                filter_chains: [ { name: web, filters: [ \(tcp) ] } ]
              clusters:
              - { name: pass, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED }
            """
        let web = try ExplainTests.json(yaml, ["--listener", "outbound", "--destination", "10.1.1.1:80", "/"])
        #expect(web.json["listener"]?.string == "web")
        #expect(web.json["filter_chain"]?.string == "web")
        #expect(web.json["host"]?.string == "10.1.1.1:80")
        let other = try ExplainTests.json(yaml, ["--listener", "outbound", "--destination", "10.1.1.1:81", "/"])
        #expect(other.json["listener"]?.string == "outbound")
        #expect(other.json["host"]?.string == "10.1.1.1:81")
    }

    @Test func `Hosts that would be checked are taken to be healthy, since nobody checks them here`() throws {
        let yaml = Yaml.bootstrap(
            listeners: Yaml.listener(port: 10_000, routes: Yaml.forward()),
            clusters: Yaml.cluster(
                "backend", [1],
                "health_checks: [ { timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]"
            ))
        let result = try ExplainTests.json(yaml, ["/"])
        #expect(result.status == 0)
        let texts = (result.json["steps"]?.array ?? []).compactMap { $0["text"]?.string }
        #expect(texts.contains("priority 0: 1 of 1 healthy, gets 100 %"))
    }
}
