import IO
import Proxy
import Testing

@Suite("Admin server and draining")
struct AdminTests {
    @Test("the admin server tells readiness, metrics under Envoy's names, clusters and configuration")
    func pages() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]),
                    admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/")
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let ready = try await admin.get("/ready")
            #expect(ready.status == 200)
            #expect(ready.body == "LIVE\n")
            let metrics = try await admin.get("/stats/prometheus").body
            #expect(metrics.contains("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"backend\"} 1\n"))
            #expect(
                metrics.contains(
                    "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"backend\"} 1\n"))
            #expect(try await admin.get("/clusters").body.contains("backend::127.0.0.1:\(upstream.port)::rq_total::1"))
            #expect(try await admin.get("/config_dump").body.contains("ClustersConfigDump"))
            #expect(try await admin.get("/server_info").body.contains("LIVE"))
            #expect(try await admin.get("/quitquitquit").status == 405)
            try await admin.write("POST /healthcheck/fail HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            #expect(try await admin.response().status == 200)
            #expect(try await admin.get("/ready").status == 503)
        }
    }

    @Test("P-6 a drain loses no request: what is under way is answered with connection: close")
    func drain() async throws {
        try await onLoop { loop in
            let mayAnswer = Gate()
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                await mayAnswer.wait()
                try await wire.write(ScriptedUpstream.ok("late"))
                _ = await wire.readToEnd()
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try await until { upstream.connections != 0 }
            proxy.stop()
            // It drains from the moment when nobody can come any more.
            try await until {
                guard let late = try? await Wire.connect(to: proxy.address, on: loop) else { return true }
                late.close()
                return false
            }
            mayAnswer.open()
            let response = try await client.response()
            #expect(response.body == "late")
            #expect(response.field("connection") == "close")
            #expect(await client.readToEnd() == "")
        }
    }
}
