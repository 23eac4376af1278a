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

    private static func standard(_ requests: Int, workload: String = "reviews-v1") -> [UInt8] {
        let labels =
            #"{"reporter":"source","source_workload":"web","destination_workload":"\#(workload)","response_flags":"-","grpc_response_status":""}"#
        let times = #"{"request_duration_milliseconds":{"sum":\#(requests * 5),"counts":[[2,\#(requests)]]}}"#
        return page(requests)
            + Array(
                (#"# skein-standard {"labels":\#(labels),"counters":{"requests_total":\#(requests)},"histograms":\#(times)}"#
                    + "\n# skein-standard {}\n").utf8)
    }

    private func value(_ query: String, _ store: SeriesStore, at tick: Int64) throws -> [Double] {
        guard case .vector(let found) = try QueryEngine(store).query(query, at: tick * 10_000) else { return [] }
        return found.map(\.value)
    }

    @Test("Istio's metrics of a page are series with all their labels; the clusters then tell edges alone")
    func standard() throws {
        var store = SeriesStore()
        var collector = Collector()
        let pods = ["web-1", "web-2"].map { ObservedPod(namespace: "default", name: $0, workload: "web") }
        for (index, requests) in [100, 160, 40, 90].enumerated() {
            collector.begin(tick: Int64(100 + index))
            for pod in pods { collector.take(ProxyPage(Self.standard(requests)), of: pod, sinceLast: 10) }
            collector.finish(into: &store)
        }
        // Of each pod 60, then 40 since it began anew, then 50.
        let series =
            "istio_requests_total{destination_workload=\"reviews-v1\",source_workload=\"web\",response_flags=\"-\"}"
        #expect(try value(series, store, at: 103) == [300])
        #expect(try value("istio_request_duration_milliseconds_count", store, at: 103) == [300])
        #expect(try value("istio_request_duration_milliseconds_bucket{le=\"1\"}", store, at: 103) == [0])
        #expect(try value("istio_request_duration_milliseconds_bucket{le=\"5\"}", store, at: 103) == [300])
        #expect(try value("istio_requests_total{destination_service=~\".+\"}", store, at: 103).isEmpty)
        #expect(try value("sum(skein_edge_requests_total{reporter=\"source\"})", store, at: 103) == [300])
        #expect(TrafficView(store, now: 103, ticks: 3).edges.first?.value.requests == 300)
    }

    @Test("ATK-19 a proxy's lines of standard metrics that are none, or have too long labels, are counted and left out")
    func hostileStandard() {
        let long = String(repeating: "x", count: 2000)
        let lines = [
            "# skein-standard {", "# skein-standard []", #"# skein-standard {"labels":{"a":"\#(long)"}}"#,
            #"# skein-standard {"labels":{"a":"b"},"counters":{"requests_total":-5,"x":"y"},"histograms":{"h":{"sum":-1,"counts":[[99,4],[-1,2],[3,1e300],[2],["a","b"]]}}}"#,
        ]
        let page = ProxyPage(Array((lines.joined(separator: "\n") + "\n").utf8))
        #expect(page.refused == 2)
        let found = page.standard?[Labels(["a": "b"])]
        #expect(found?.counters == [:] && found?.distributions["h"]?.count == 0)
        #expect(ProxyPage(Self.page(5)).standard == nil)
    }

    private static func entry(_ change: (inout LoggedEntry) -> Void) -> LoggedEntry {
        var entry = LoggedEntry()
        entry.own.workload = "web"
        entry.own.namespace = "default"
        entry.cluster = "outbound|9080||reviews.default.svc.cluster.local"
        entry.setService(ofCluster: entry.cluster)
        entry.status = 200
        entry.milliseconds = 7
        (entry.received, entry.sent) = (100, 1000)
        change(&entry)
        return entry
    }

    @Test("entries of an access log are Istio's metrics and the edges of the views")
    func logged() throws {
        var store = SeriesStore()
        var collector = Collector()
        let pod = ObservedPod(namespace: "default", name: "web-1", workload: "web")
        var log = LoggedTraffic()
        for tick in Int64(100)...102 {
            for number in 0..<10 {
                log.add(
                    Self.entry {
                        if number == 9 { ($0.status, $0.flags, $0.retries) = (503, "UF,URX", 2) }
                    })
            }
            log.add(
                Self.entry {
                    $0.kind = .tcp
                    $0.isOpened = true
                    $0.isClosed = tick > 100
                })
            collector.begin(tick: tick)
            collector.take(nil, of: pod, sinceLast: 10, isLogged: true)
            collector.take(log.take(), of: pod)
            collector.finish(into: &store)
        }
        #expect(log.isEmpty)
        #expect(store.newest("up", since: 102).first?.value == 1)
        #expect(try value("istio_requests_total{response_code=\"200\",response_flags=\"-\"}", store, at: 102) == [27])
        let failed =
            "istio_requests_total{response_code=\"503\",response_flags=\"UF,URX\",destination_service_name=\"reviews\"}"
        #expect(try value(failed, store, at: 102) == [3])
        #expect(try value("sum(istio_request_bytes_sum)", store, at: 102) == [3000])
        #expect(try value("istio_tcp_connections_opened_total{request_protocol=\"tcp\"}", store, at: 102) == [3])
        #expect(try value("istio_tcp_connections_closed_total", store, at: 102) == [2])
        #expect(try value("istio_tcp_sent_bytes_total", store, at: 102) == [3000])
        let (edge, figures) = try #require(TrafficView(store, now: 102, ticks: 3).edges.first)
        #expect(edge.source == "web" && edge.destination == "reviews" && figures.requests == 30)
        #expect(figures.failed == 3 && figures.times.count == 30)
        #expect(try value("skein_edge_failures_total{response_flags=\"URX\"}", store, at: 102) == [3])
        #expect(try value("skein_edge_retries_total", store, at: 102) == [6])
    }

    @Test("ATK-19 of a proxy that logs ever new labels no more than a thousand sets are told, the rest as other")
    func loggedBounds() {
        var log = LoggedTraffic()
        for number in 0..<3000 { log.add(Self.entry { $0.peer.workload = "w\(number)" }) }
        let taken = log.take()
        #expect(taken.standard.count == LoggedTraffic.setsMax + 1 && taken.overflowed == 2000)
        let other = taken.standard.first { $0.key["destination_workload"] == "other" }
        #expect(other?.value.counters["requests_total"] == 2000 && other?.key["source_workload"] == "web")
        // What is known stays known; what nobody tells any more makes room.
        for _ in 0...LoggedTraffic.idleLooks * 2 { _ = log.take() }
        log.add(Self.entry { $0.peer.workload = "fresh" })
        #expect(log.take().standard.keys.contains { $0["destination_workload"] == "fresh" })
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
