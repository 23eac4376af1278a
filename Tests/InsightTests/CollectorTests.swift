import Testing

@testable import Insight

@Suite("What proxies tell")
struct CollectorTests {
    static func page(_ requests: Int, failed: Int = 0, uptime: Int = 100) -> [UInt8] {
        Array(
            """
            # TYPE envoy_cluster_upstream_rq counter
            envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local"} \(requests)
            envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local"} \(failed)
            envoy_cluster_external_upstream_rq{envoy_response_code="200",envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local"} 9999
            envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local",le="0.5"} 0
            envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local",le="5"} \(requests / 2)
            envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local",le="10"} \(requests)
            envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local",le="+Inf"} \(requests)
            envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local"} \(requests * 5)
            envoy_cluster_upstream_cx_total{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local"} 2
            envoy_cluster_ssl_handshake{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local"} 2
            envoy_cluster_upstream_cx_active{envoy_cluster_name="outbound|9080|v1|reviews.default.svc.cluster.local"} 2
            envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="inbound|8080||"} \(requests)
            envoy_server_uptime{} \(uptime)

            """.utf8)
    }

    @Test(
        "two pods of a workload feed one edge, a restart is no step back, a pod that was there before counts from now on"
    )
    func edges() throws {
        var store = SeriesStore()
        var collector = Collector()
        let pods = ["web-1", "web-2"].map { ObservedPod(namespace: "default", name: $0, workload: "web") }
        let ticks: [(Int, Int, Int)] = [(1000, 500, 100), (1100, 600, 110), (1200, 30, 5), (1300, 130, 15)]
        for (index, (first, second, uptime)) in ticks.enumerated() {
            collector.begin(tick: Int64(100 + index))
            collector.take(ProxyPage(Self.page(first, uptime: 1000 + index * 10)), of: pods[0], sinceLast: 10)
            collector.take(ProxyPage(Self.page(second, uptime: uptime)), of: pods[1], sinceLast: 10)
            collector.finish(into: &store)
        }
        let view = TrafficView(store, now: 103, ticks: 3)
        let (edge, figures) = try #require(view.edges.first)
        #expect(edge.source == "web" && edge.destination == "reviews/v1" && view.edges.count == 1)
        // 300 by the first pod; by the second 100, 30 since its restart, 100.
        #expect(figures.requests == 530 && figures.success == 1)
        #expect(figures.times.count == 530)
        #expect(try #require(figures.times.quantile(0.5)) > 4 && figures.times.mean == 5)
        #expect(figures.mutualTLS == true && figures.open == 4)
        #expect(view.workloads["default/web"]?.requests == 530)
    }

    @Test("what a new series began with is seen by rates")
    func beginning() throws {
        var store = SeriesStore()
        var collector = Collector()
        let pod = ObservedPod(namespace: "default", name: "web-1", workload: "web")
        for index in 0..<5 {
            collector.begin(tick: Int64(100 + index))
            let page = index == 0 ? Array("envoy_server_uptime{} 5\n".utf8) : Self.page(70, uptime: 5 + index * 10)
            collector.take(ProxyPage(page), of: pod, sinceLast: 10)
            collector.finish(into: &store)
        }
        let query = "sum(increase(istio_requests_total{reporter=\"source\"}[50s]))"
        guard case .vector(let elements) = try QueryEngine(store).query(query, at: 1_041_000) else {
            Issue.record("no vector")
            return
        }
        #expect(abs((elements.first?.value ?? 0) - 70) < 20)
        guard
            case .vector(let counts) = try QueryEngine(store).query(
                "istio_request_duration_milliseconds_count{reporter=\"source\"} offset 40s", at: 1_041_000)
        else { return }
        #expect(counts.first?.value == 0)
    }

    @Test("failures count, and a proxy that does not answer is down")
    func failures() throws {
        var store = SeriesStore()
        var collector = Collector()
        let pod = ObservedPod(namespace: "default", name: "web-1", workload: "web")
        for (index, failed) in [0, 10].enumerated() {
            collector.begin(tick: Int64(100 + index))
            collector.take(ProxyPage(Self.page(index * 90, failed: failed)), of: pod, sinceLast: 10)
            collector.finish(into: &store)
        }
        let figures = try #require(TrafficView(store, now: 101, ticks: 1).services.first?.figures)
        #expect(figures.requests == 100 && abs((figures.success ?? 0) - 0.9) < 1e-9)
        collector.begin(tick: 102)
        collector.take(nil, of: pod, sinceLast: 10)
        collector.finish(into: &store)
        #expect(store.newest("up", since: 102).first?.value == 0)
    }

    @Test(
        "ATK-19 a page with any text is read, its lines that are no samples are counted, and too many samples are left out"
    )
    func hostile() {
        let lines = [
            "x{a=\"b", "x{a=\"\\", "{}", "x", "x NaN 1 2", "é 1", "x{=\"b\"} 1", "x{a=\"1\",} 2",
            "x{a=\"\\n\\\\\\\"\"} +Inf",
            String(repeating: "y", count: 20_000) + " 1", "x 1e999", "ok 3 1700000000000",
        ]
        var parser = ExpositionParser()
        var found: [ExpositionParser.Sample] = []
        parser.parse(Array(lines.joined(separator: "\n").utf8)) { found.append($0) }
        #expect(parser.malformed >= 6 && parser.refused == 1)
        #expect(found.contains { $0.labels.first?.value == "\n\\\"" && $0.value == .infinity })
        #expect(found.last?.timestamp == 1_700_000_000_000)
        var limits = ExpositionParser.Limits()
        limits.samplesMax = 3
        var small = ExpositionParser(limits)
        small.parse(Array(String(repeating: "x 1\n", count: 10).utf8)) { _ in }
        #expect(small.refused == 7)
    }
}
