import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing
import XDS

@testable import Proxy

@Suite("Clusters on demand")
struct OnDemandClusterTests {
    private static let type = "envoy.extensions.filters.http.on_demand.v3"
    private static let own = "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters"

    /// A proxy with an ADS and no CDS: only what is asked for comes.
    private static func bootstrap(
        _ server: ADSTests.ManagementServer, kind: String = "DELTA_GRPC", listeners: String
    ) -> String {
        "node: { id: n, cluster: c }\n"
            + "dynamic_resources: { ads_config: { api_type: \(kind), transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] } }\n"
            + Yaml.bootstrap(
                listeners: listeners, clusters: Yaml.cluster("xds", [server.address.port ?? 0], Yaml.http2), admin: true
            )
    }

    private static func http(_ odcds: String = "odcds: { source: { ads: {} } }", routes: String? = nil) -> String {
        Yaml.listener(
            filters: FilterScene.entries([("on_demand", FilterScene.any(type + ".OnDemand", odcds))]),
            routes: routes ?? "[ { match: { prefix: / }, route: { cluster_header: x-cluster } } ]")
    }

    /// Clusters of EDS, each with one host.
    private static func snapshot(_ clusters: [String: UInt16]) throws -> Snapshot {
        var snapshot = Snapshot(version: "\(clusters.count)")
        for (name, port) in clusters {
            snapshot.add(
                try Cluster(
                    json: try JSON.parse(
                        #"{"name":"\#(name)","type":"EDS","connect_timeout":"1s","eds_cluster_config":{"service_name":"\#(name)/e","eds_config":{"ads":{}}}}"#
                    )), name: name)
            snapshot.add(
                try ClusterLoadAssignment(
                    json: try JSON.parse(
                        #"{"cluster_name":"\#(name)/e","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":\#(port)}}}}]}]}"#
                    )), name: "\(name)/e")
        }
        return snapshot
    }

    @Test(
        "a request waits for its cluster and the endpoints of that; one that does not exist is 503 as soon as the server says so"
    )
    func waits() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("here") }
            let server = try ADSTests.ManagementServer(on: loop)
            try await server.publish(try Self.snapshot(["outbound|80||a.b": upstream.port, "other": upstream.port]))
            let proxy = try await RunningProxy.start(
                Self.bootstrap(server, listeners: Self.http()), concurrency: 2)
            defer { proxy.stop() }
            for _ in 0..<4 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                #expect(try await client.get("/", "x-cluster: outbound|80||a.b\r\n").body == "here")
                let missing = try await client.get("/", "x-cluster: nobody\r\n")
                #expect(missing.status == 503)
                #expect(try await client.get("/").status == 503)
            }
            // What nobody asked for has not come.
            #expect(server.wanted == ["outbound|80||a.b", "outbound|80||a.b/e", "nobody"])
            #expect(try await !Admin.get(proxy, "/clusters", on: loop).contains("other::"))
            // It is there later: the server tells.
            try await server.publish(try Self.snapshot(["outbound|80||a.b": upstream.port, "nobody": upstream.port]))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await until { try await client.get("/", "x-cluster: nobody\r\n").status == 200 }
            // And not any more.
            try await server.publish(try Self.snapshot(["outbound|80||a.b": upstream.port]))
            try await until { try await client.get("/", "x-cluster: nobody\r\n").status == 503 }
        }
    }

    @Test("an explanation asks for a cluster as a request would, when it is told to, and tells what came of it")
    func explained() async throws {
        try await onLoop { loop in
            let server = try ADSTests.ManagementServer(on: loop)
            try await server.publish(try Self.snapshot(["web": 81]))
            let proxy = try await RunningProxy.start(Self.bootstrap(server, listeners: Self.http()))
            defer { proxy.stop() }
            func ask(_ cluster: String, _ more: String = "") async throws -> JSON {
                let query = "/explain?listener=ingress&url=http://a/&header=x-cluster:%20\(cluster)&format=json\(more)"
                return try JSON.parse(try await Admin.get(proxy, query, on: loop))
            }
            let before = try await ask("web")
            #expect(before["flags"]?.string == "NC" && before["state"]?["asked"] == nil)
            #expect(server.wanted.isEmpty)
            let asked = try await ask("web", "&demand=1")
            #expect(asked["outcome"]?.string == "forwarded" && asked["host"]?.string == "127.0.0.1:81")
            #expect(asked["state"]?["asked"]?.array?.first?["arrived"]?.bool == true)
            #expect(asked["state"]?["control_plane"]?["is_connected"]?.bool == true)
            let missing = try await ask("nobody", "&demand=1")
            #expect(missing["flags"]?.string == "NC")
            #expect(missing["state"]?["asked"]?.array?.first?["arrived"]?.bool == false)
        }
    }

    @Test("a cluster that nobody uses leaves, with its endpoints, and comes back when it is wanted")
    func leaves() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("here") }
            let server = try ADSTests.ManagementServer(on: loop)
            try await server.publish(try Self.snapshot(["a": upstream.port]))
            let proxy = try await RunningProxy.start(Self.bootstrap(server, listeners: Self.http()))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<2 {
                #expect(try await client.get("/", "x-cluster: a\r\n").body == "here")
                #expect(server.wanted == ["a", "a/e"])
                let control = proxy.server
                control.loop.execute {
                    // The first look sees the traffic.
                    control.store.sweepDemand(now: control.loop.now)
                    control.store.sweepDemand(now: control.loop.now + .seconds(31 * 60))
                }
                try await until { server.wanted.isEmpty }
                #expect(try await !Admin.get(proxy, "/clusters", on: loop).contains("a::"))
            }
        }
    }

    @Test("a server that says nothing is waited for as long as the filter says")
    func timesOut() async throws {
        try await onLoop { loop in
            let server = try ADSTests.ManagementServer(on: loop, isSilent: true)
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    server, listeners: Self.http("odcds: { source: { ads: {} }, timeout: 0.05s }")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/", "x-cluster: a\r\n").status == 503)
            // A client that leaves takes its wait along.
            let leaving = try await Wire.connect(to: proxy.address, on: loop)
            try await leaving.write("GET / HTTP/1.1\r\nHost: a\r\nx-cluster: b\r\n\r\n")
            try await until { server.wanted.contains("b") }
            leaving.close()
            #expect(try await client.get("/", "x-cluster: a\r\n").status == 503)
        }
    }

    @Test("a cluster that cannot be taken is refused with its path, and nobody waits for it")
    func refusedCluster() async throws {
        try await onLoop { loop in
            let server = try ADSTests.ManagementServer(on: loop)
            var snapshot = Snapshot(version: "1")
            snapshot.add(
                try Cluster(json: try JSON.parse(#"{"name":"a","type":"STATIC","connect_timeout":"-1s"}"#)), name: "a")
            try await server.publish(snapshot)
            let proxy = try await RunningProxy.start(Self.bootstrap(server, listeners: Self.http()))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/", "x-cluster: a\r\n").status == 503)
            try await until { !(server.rejections.isEmpty) }
            #expect(server.rejections.first?.contains("clusters[a].connect_timeout") == true)
        }
    }

    @Test("a route has a source of its own, or none")
    func perRoute() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("here") }
            let server = try ADSTests.ManagementServer(on: loop)
            let other = try ADSTests.ManagementServer(on: loop, path: Self.own)
            var snapshot = Snapshot(version: "1")
            snapshot.add(
                try Cluster(
                    json: try JSON.parse(
                        #"{"name":"own","type":"STATIC","connect_timeout":"1s","load_assignment":{"cluster_name":"own","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":\#(upstream.port)}}}}]}]}}"#
                    )), name: "own")
            try await other.publish(snapshot)
            try await server.publish(Snapshot(version: "1"))
            let perRoute = FilterScene.any(
                Self.type + ".PerRouteConfig",
                "odcds: { source: { api_config_source: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds2 } } ] } } }"
            )
            let none = FilterScene.any(Self.type + ".PerRouteConfig")
            let routes =
                "[ { match: { prefix: /own }, route: { cluster: own }, typed_per_filter_config: { on_demand: \(perRoute) } }, { match: { prefix: /none }, route: { cluster: never }, typed_per_filter_config: { on_demand: \(none) } }, { match: { prefix: / }, route: { cluster: asked } } ]"
            let bootstrap = Self.bootstrap(server, listeners: Self.http(routes: routes))
                .replacingFirst(
                    "  clusters:\n",
                    with: "  clusters:\n" + Yaml.cluster("xds2", [other.address.port ?? 0], Yaml.http2) + "\n")
            let proxy = try await RunningProxy.start(bootstrap)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/own").body == "here")
            #expect(other.wanted == ["own"])
            #expect(try await client.get("/none").status == 503)
            #expect(try await client.get("/else").status == 503)
            #expect(server.wanted == ["asked"])
        }
    }

    @Test("what cannot answer for clusters that do not exist is refused, with its place")
    func refused() async throws {
        try await onLoop { loop in
            let server = try ADSTests.ManagementServer(on: loop, isSilent: true)
            for (kind, odcds, words) in [
                ("GRPC", "odcds: { source: { ads: {} } }", "odcds.source.ads: clusters on demand need delta"),
                (
                    "DELTA_GRPC", "odcds: { source: { path_config_source: { path: /tmp/x } } }",
                    "odcds.source.path_config_source: a file cannot be asked"
                ),
                (
                    "DELTA_GRPC", "odcds: { source: { ads: {} }, resources_locator: \"xdstp://a\" }",
                    "odcds.resources_locator: names of the form xdstp://"
                ),
                ("DELTA_GRPC", "odcds: { timeout: 1s }", "odcds.source: a source is needed"),
            ] {
                await #expect {
                    try await RunningProxy.start(Self.bootstrap(server, kind: kind, listeners: Self.http(odcds)))
                        .stop()
                } throws: {
                    "\($0)".contains(words)
                }
            }
        }
    }

    @Test("a TCP connection waits for its cluster; without one it ends")
    func tcp() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                try await wire.write("got \(try await wire.read(4))")
                wire.close()
            }
            let server = try ADSTests.ManagementServer(on: loop)
            try await server.publish(try Self.snapshot(["a": upstream.port]))
            for (cluster, answer) in [("a", "got ping"), ("b", "")] {
                let proxy = try await RunningProxy.start(
                    Self.bootstrap(
                        server,
                        listeners: Yaml.tcpListener(
                            "tcp", "cluster: \(cluster)\n          on_demand: { odcds_config: { ads: {} } }")))
                defer { proxy.stop() }
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write("ping")
                #expect(await client.readToEnd() == answer)
                let stats = try await Admin.get(proxy, "/stats?filter=on_demand|no_route", on: loop)
                #expect(stats.contains("on_demand_cluster_attempt: 1"))
                #expect(
                    stats.contains(cluster == "a" ? "on_demand_cluster_success: 1" : "on_demand_cluster_missing: 1"))
                #expect(stats.contains("downstream_cx_no_route: \(cluster == "a" ? 0 : 1)"))
            }
        }
    }

    @Test("and for no longer than its timeout")
    func tcpTimeout() async throws {
        try await onLoop { loop in
            let server = try ADSTests.ManagementServer(on: loop, isSilent: true)
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    server,
                    listeners: Yaml.tcpListener(
                        "tcp", "cluster: a\n          on_demand: { odcds_config: { ads: {} }, timeout: 0.05s }")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(await client.readToEnd() == "")
            #expect(
                try await Admin.get(proxy, "/stats?filter=on_demand", on: loop).contains("on_demand_cluster_timeout: 1")
            )
        }
    }
}

extension String {
    fileprivate func replacingFirst(_ text: String, with other: String) -> String {
        guard let range = firstRange(of: text) else { return self }
        return replacingCharacters(range, other)
    }

    private func replacingCharacters(_ range: Range<Index>, _ other: String) -> String {
        String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
