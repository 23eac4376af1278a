import EnvoyAPI
import IO
import Serialization
import Synchronization
import Telemetry
import Testing
import Upstream

@testable import Proxy

@Suite("Istio's standard metrics")
struct StandardMetricsTests {
    private static let filter = (
        name: "istio.stats", config: FilterScene.any("stats.PluginConfig", "")
    )

    private static func page(_ scene: FilterScene) async throws -> [String] {
        let wire = try await Wire.connect(to: try #require(scene.proxy.admin), on: scene.loop)
        defer { wire.close() }
        let page = try await wire.get("/stats/prometheus?filter=istio_").body
        return page.split(separator: "\n").map(String.init)
    }

    @Test("a request is told with its service, code and flags; whose the host is, once the control plane has said so")
    func request() async throws {
        try await FilterScene.run([Self.filter]) { scene async throws in
            for _ in 0..<3 { _ = try await scene.client.get("/") }
            let before = try await Self.page(scene)
            let line = try #require(before.first { $0.hasPrefix("istio_requests_total{") })
            for label in [
                #"reporter="source""#, #"response_code="200""#, #"response_flags="-""#, #"request_protocol="http""#,
                #"destination_service_name="backend""#, #"destination_workload="unknown""#,
                #"connection_security_policy="unknown""#, #"grpc_response_status="""#,
            ] {
                #expect(line.contains(label), "\(label)")
            }
            #expect(line.hasSuffix("} 3"))
            #expect(
                before.contains { $0.hasPrefix("istio_request_duration_milliseconds_count{") && $0.hasSuffix(" 3") })
            #expect(before.contains { $0.hasPrefix("istio_request_bytes_sum{") && !$0.hasSuffix(" 0") })
            #expect(before.contains { $0 == "# TYPE istio_requests_total counter" })
            var message = EnvoyAPI.Workload()
            message.name = "shop-v1"
            message.namespace = "shops"
            scene.proxy.server.metrics.standard.directory.set(.v4(0x7f00_0001), WorkloadFacts(message))
            let after = try await Self.page(scene)
            let lines = after.filter { $0.hasPrefix("istio_requests_total{") }
            #expect(lines.count == 1)
            #expect(lines.first?.contains(#"destination_workload="shop-v1""#) == true)
            #expect(lines.first?.contains(#"destination_workload_namespace="shops""#) == true)
        }
    }

    @Test("the control plane's store gets the same in short: one line for each set of labels, without empty buckets")
    func compact() async throws {
        try await FilterScene.run([Self.filter]) { scene async throws in
            for _ in 0..<3 { _ = try await scene.client.get("/") }
            let wire = try await Wire.connect(to: try #require(scene.proxy.admin), on: scene.loop)
            defer { wire.close() }
            let page = try await wire.get("/stats/prometheus?standard=compact&usedonly&filter=nothing").body
            let prefix = "# skein-standard "
            let lines = page.split(separator: "\n").filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count) }
            #expect(lines.count == 2 && lines.last == "{}" && !page.contains("istio_requests_total"))
            let json = try JSON.parse(Array((lines.first ?? "").utf8))
            #expect(json["labels"]?["response_code"]?.string == "200" && json["counters"]?["requests_total"]?.int == 3)
            let times = json["histograms"]?["request_duration_milliseconds"]
            #expect((times?["counts"]?.array ?? []).reduce(0) { $0 + ($1[1]?.int ?? 0) } == 3)
            #expect((times?["sum"]?.double ?? 0) > 0 && json["histograms"]?["response_bytes"] != nil)
        }
    }

    @Test("an address that another pod got is another peer; what was counted for the first stays his")
    func reused() {
        let directory = WorkloadDirectory()
        func facts(_ name: String) -> WorkloadFacts {
            var message = EnvoyAPI.Workload()
            message.name = name
            return WorkloadFacts(message)
        }
        let address = IPAddress.v4(0x0a00_0001)
        let first = directory.peer(address)
        #expect(first?.facts.workload == "unknown")
        let generation = directory.generation
        directory.set(address, facts("a"))
        #expect(first?.facts.workload == "a")
        #expect(directory.generation == generation)
        directory.set(address, facts("b"))
        #expect(first?.facts.workload == "a")
        #expect(directory.peer(address)?.facts.workload == "b")
        #expect(directory.generation > generation)
    }

    @Test("ATK-19: combinations beyond the limit are counted together")
    func bounded() {
        let metrics = StandardMetrics(rows: 1, limit: 2)
        func series(_ cluster: String) -> StandardSeries {
            var key = StandardSeries.Key(plan: StandardPlan())
            key.cluster = cluster
            return metrics.series(key, peer: nil, own: nil)
        }
        let known = series("a")
        _ = series("b")
        #expect(series("c") === series("d"))
        #expect(series("a") === known)
        #expect(metrics.all.count == 3)
        #expect(metrics.overflowed == 2)
    }

    @Test(
        "a cluster's name tells the service",
        arguments: [
            ("outbound|80|v1|web.shop.svc.cluster.local", "web.shop.svc.cluster.local", "web", "shop"),
            ("outbound|443||example.org", "example.org", "example.org", "unknown"),
            ("inbound|80||", "unknown", "unknown", "unknown"),
            ("PassthroughCluster", "unknown", "PassthroughCluster", "unknown"), ("", "unknown", "unknown", "unknown"),
        ])
    func services(_ cluster: String, _ host: String, _ name: String, _ namespace: String) {
        #expect(
            StandardLabels.service(ofCluster: cluster)
                == StandardService(host: host, name: name, namespace: namespace))
    }

    @Test("overrides drop metrics, remove labels and compute others; what cannot be computed is refused with its path")
    func overrides() throws {
        var config = IstioStatsConfig()
        var all = IstioMetricConfig()
        all.dimensions = ["method": "request.method", "team": "'books'", "destination_app": "string(destination.port)"]
        all.tagsToRemove = ["source_principal"]
        var bytes = IstioMetricConfig()
        bytes.name = "request_bytes"
        bytes.drop = true
        config.metrics = [all, bytes]
        let plan = try StandardPlan(compiling: config, isServer: true, at: "here")
        var key = StandardSeries.Key(plan: plan)
        key.extras = plan.expressions.map { "\($0)" }
        let series = StandardSeries(key, peer: nil, own: nil, rows: 1)
        #expect(StandardLabels.labels(series, .requestBytes) == nil)
        let labels = try #require(StandardLabels.labels(series, .requests))
        #expect(labels["source_principal"] == nil)
        #expect(labels["method"] == "requestMethod" && labels["destination_app"] == "destinationPort")
        #expect(labels["reporter"] == "destination" && labels["connection_security_policy"] == "none")
        config.metrics[0].dimensions = ["x": "size(request.headers)"]
        #expect {
            try StandardPlan(compiling: config, isServer: true, at: "here")
        } throws: {
            "\($0)".hasPrefix("here.metrics[0].dimensions[x]")
        }
    }
}
