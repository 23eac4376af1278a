import IO
import Testing

@testable import Proxy

@Suite("Clusters in use")
struct ClusterUseTests {
    @Test("a cluster that no request has used is told of like any other, and serves its first request")
    func unused() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: "[ { match: { prefix: / }, route: { cluster: used } } ]"),
                    clusters: Yaml.cluster("used", [upstream.port]) + Yaml.cluster("spare", [upstream.port, 9]),
                    admin: true),
                concurrency: 2)
            defer { proxy.stop() }
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            for _ in 0..<2 {
                let stats = Set(
                    try await admin.get("/stats?filter=cluster.spare").body.split(separator: "\n").map(String.init))
                for line in [
                    "cluster.spare.membership_total: 2", "cluster.spare.membership_healthy: 2",
                    "cluster.spare.membership_change: 1", "cluster.spare.upstream_rq_total: 0",
                    "cluster.spare.circuit_breakers.default.rq_open: 0",
                ] { #expect(stats.contains(line), "\(line)") }
                let clusters = try await admin.get("/clusters").body
                #expect(clusters.contains("spare::127.0.0.1:9::health_flags::healthy\n"))
                #expect(clusters.contains("spare::default_priority::max_connections::1024\n"))
                let client = try await Wire.connect(to: proxy.address, on: loop)
                #expect(try await client.get("/").status == 200)
            }
            #expect(try await admin.get("/clusters").body.contains("used::127.0.0.1:\(upstream.port)::rq_total::2\n"))
            let dump = try await admin.get("/config_dump").body
            #expect(dump.contains("\"spare\""))
        }
    }
}
