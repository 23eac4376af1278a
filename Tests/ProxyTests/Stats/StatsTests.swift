import EnvoyAPI
import HTTP
import IO
import Serialization
import Telemetry
import Testing
import Upstream

@testable import Proxy

@Suite("Statistics")
struct StatsTests {
    private func labels(_ name: MetricName, _ extraction: TagExtraction = TagExtraction()) -> String {
        let (left, tags) = extraction.extract(name)
        return left + "{" + tags.map { "\($0.name)=\($0.value)" }.joined(separator: ",") + "}"
    }

    @Test(
        "labels are taken out of names as Envoy's default tags do, in its order",
        arguments: [
            ("cluster.b.upstream_rq_200", "cluster.upstream_rq{envoy.response_code=200,envoy.cluster_name=b}"),
            (
                "cluster.b.external.upstream_rq_5xx",
                "cluster.external.upstream_rq_xx{envoy.response_code_class=5,envoy.cluster_name=b}"
            ),
            (
                "listener.127.0.0.1_80.http.in.downstream_rq_2xx",
                "listener.http.downstream_rq_xx{envoy.response_code_class=2,envoy.http_conn_manager_prefix=in,envoy.listener_address=127.0.0.1_80}"
            ),
            (
                "listener.127.0.0.1_80.worker_1.downstream_cx_total",
                "listener.worker.downstream_cx_total{envoy.worker_id=1,envoy.listener_address=127.0.0.1_80}"
            ),
            ("listener.admin.downstream_cx_total", "listener.admin.downstream_cx_total{}"),
            (
                "vhost.v.vcluster.c.upstream_rq_200",
                "vhost.vcluster.upstream_rq{envoy.response_code=200,envoy.virtual_cluster=c,envoy.virtual_host=v}"
            ),
            ("vhost.v.route.r.upstream_rq_total", "vhost.route.upstream_rq_total{envoy.virtual_host=v,envoy.route=r}"),
            ("server.worker_0.watchdog_miss", "server.worker.watchdog_miss{envoy.worker_id=0}"),
            ("tcp.t.downstream_cx_total", "tcp.downstream_cx_total{envoy.tcp_prefix=t}"),
            ("cluster_manager.active_clusters", "cluster_manager.active_clusters{}"),
            ("x.http_local_rate_limit.ok", "http_local_rate_limit.ok{envoy.local_http_ratelimit_prefix=x}"),
            (
                "http.in.rds.table.update_success",
                "http.rds.update_success{envoy.rds_route_config=table,envoy.http_conn_manager_prefix=in}"
            ),
            ("cluster.b.upstream_rq_time", "cluster.upstream_rq_time{envoy.cluster_name=b}"),
        ])
    func defaultTags(name: String, expected: String) {
        // The address is one element, as the listener's metrics say it.
        let masked = name.split(separator: "127.0.0.1_80", omittingEmptySubsequences: false)
            .joined(separator: MetricName.element("127.0.0.1_80"))
        #expect(labels(MetricName(masked: masked)) == expected)
    }

    @Test("a dot inside a cluster's name does not cut it")
    func dots() {
        #expect(
            labels(MetricName("cluster", "outbound|80||a.b.svc", "upstream_cx_total"))
                == "cluster.upstream_cx_total{envoy.cluster_name=outbound|80||a.b.svc}")
    }

    @Test("stats_tags: the first group leaves the name, the second is the value; fixed values stand at every metric")
    func customTags() throws {
        var message = StatsConfig()
        message.statsTags = try [
            TagSpecifier(json: ["tag_name": "zone", "fixed_value": "z1"]),
            TagSpecifier(json: ["tag_name": "kind", "regex": #"^cluster\.((\w+)_svc\.)"#]),
        ]
        message.useAllDefaultTags = false
        let configuration = try StatsConfiguration(compiling: message, at: "stats_config")
        #expect(
            labels(MetricName(masked: "cluster.blue_svc.upstream_rq_200"), configuration.tags)
                == "cluster.upstream_rq_200{zone=z1,kind=blue}")
        // Istio's, of the time when patterns could look ahead.
        message.statsTags = [
            try TagSpecifier(json: ["tag_name": "p", "regex": #"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*))\.)"#])
        ]
        let istio = try StatsConfiguration(compiling: message, at: "stats_config")
        #expect(
            labels(MetricName(masked: "listener.a.http.10_1.downstream_rq"), istio.tags)
                == "listener.a.http.downstream_rq{p=10_1}")
        #expect(
            labels(MetricName(masked: "listener.http.10_1.downstream_rq"), istio.tags)
                == "listener.http.downstream_rq{p=10_1}")
        message.statsTags = [try TagSpecifier(json: ["tag_name": "kind", "regex": "("])]
        #expect(throws: ConfigurationError.self) { try StatsConfiguration(compiling: message, at: "stats_config") }
    }

    @Test("stats_matcher shows what is included, and hides what is excluded")
    func selection() throws {
        var message = StatsConfig()
        message.statsMatcher = try StatsMatcher(json: ["inclusion_list": ["patterns": [["prefix": "cluster.a."]]]])
        let including = try StatsConfiguration(compiling: message, at: "stats_config")
        #expect(including.shows("cluster.a.upstream_rq_total"))
        #expect(!including.shows("cluster.b.upstream_rq_total"))
        message.statsMatcher = try StatsMatcher(json: ["exclusion_list": ["patterns": [["suffix": "_total"]]]])
        let excluding = try StatsConfiguration(compiling: message, at: "stats_config")
        #expect(!excluding.shows("cluster.a.upstream_rq_total"))
        #expect(excluding.shows("cluster.a.upstream_rq_active"))
    }

    @Test("a metric is shared by name, and is gone with its last user")
    func scopes() {
        let registry = MetricRegistry(rows: 2)
        var first: MetricCounter? = registry.scope("http", "in", "rbac").counter("allowed")
        var second: MetricCounter? = registry.scope("http", "in", "rbac").counter("allowed")
        first?.add(row: 0)
        second?.add(2, row: 1)
        #expect(first?.value == 3)
        #expect(registry.scopes.flatMap { $0.samples() }.map(\.name.dotted) == ["http.in.rbac.allowed"])
        first = nil
        second = nil
        #expect(registry.scopes.isEmpty)
    }

    @Test("ATK-19 names from outside are bounded: what does not fit counts as other")
    func families() {
        let registry = MetricRegistry(rows: 1)
        let family = registry.scope("grpc").family(limit: 3)
        for number in 0..<1000 { family.counter("method-\(number)", ".total").add(row: 0) }
        #expect(family.counter("beyond", ".total").value == 997)
        #expect(registry.scopes.flatMap { $0.samples() }.count == 4)
        #expect(family.counter("a.b\nc", "").value == 997 - 997)
    }

    @Test("rows exist from the first count on, loops do not see each other, and reset begins at zero")
    func blocks() {
        let block = MetricBlock(count: 3, rows: 4)
        #expect(!block.isUsed)
        block.add(1, row: 2)
        block.add(1, 4, row: 0)
        block.subtract(2, row: 1)
        block.add(2, row: 3)
        #expect(block.isUsed)
        #expect(block.value(1) == 5)
        #expect(block.value(1, row: 2) == 1)
        #expect(block.value(2) == 0)
        block.reset { $0 == 1 }
        block.add(1, row: 2)
        #expect(block.value(1) == 1)
    }

    @Test("every value is counted in the first bucket whose bound it does not exceed, however many buckets there are")
    func buckets() {
        for bounds in [Histogram.bounds, [], [1], [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8, 9]] {
            var values = bounds.flatMap { [UInt64($0), UInt64($0) + 1, UInt64($0) &- ($0 < 1 ? 0 : 1)] }
            values += [0, 1, 7, 4_000_000_000]
            for value in values {
                let histogram = Histogram(rows: 1, bounds: bounds)
                histogram.record(value: value, row: 0)
                let expected = bounds.firstIndex { Double(value) <= $0 } ?? bounds.count
                #expect(histogram.snapshot.counts.firstIndex(of: 1) == expected, "\(value) in \(bounds)")
            }
        }
    }

    @Test("quantiles lie inside the bucket they fall into")
    func quantiles() {
        let histogram = Histogram(rows: 1)
        for _ in 0..<90 { histogram.record(.microseconds(300), row: 0) }
        for _ in 0..<10 { histogram.record(.milliseconds(40), row: 0) }
        let snapshot = histogram.snapshot
        #expect(snapshot.count == 100)
        #expect((snapshot.quantile(0.5) ?? 9) <= 0.5)
        #expect((25...50).contains(snapshot.quantile(0.99) ?? 0))
        #expect(HistogramSnapshot(bounds: [1], counts: [0, 0], sum: 0).quantile(0.5) == nil)
    }

    @Test("codes, classes and completed responses come from one count; unusual codes are counted too")
    func codes() {
        let metrics = ClusterMetrics(name: "a.b", rows: 1)
        for status: UInt16 in [200, 204, 503, 299, 200] { metrics.countResponse(status, row: 0) }
        metrics.countResponse(200, isInternal: true, row: 0)
        var values: [String: UInt64] = [:]
        for sample in metrics.samples(shows: { _ in false }) {
            if case .counter(let value) = sample.value { values[sample.name.dotted] = value }
        }
        #expect(values["cluster.a.b.upstream_rq_200"] == 3)
        #expect(values["cluster.a.b.upstream_rq_299"] == 1)
        #expect(values["cluster.a.b.upstream_rq_2xx"] == 5)
        #expect(values["cluster.a.b.upstream_rq_completed"] == 6)
        #expect(values["cluster.a.b.internal.upstream_rq_200"] == 1)
        #expect(values["cluster.a.b.external.upstream_rq_2xx"] == 4)
        #expect(values["cluster.a.b.health_check.attempt"] == nil)
        #expect(values["cluster.a.b.upstream_cx_total"] == 0)
    }

    private let entries: [StatsText.Entry] = [
        ("a.b", MetricSample(MetricName(masked: "a.b"), .counter(3))),
        ("a.g", MetricSample(MetricName(masked: "a.g"), .gauge(-1))),
        (
            "a.h",
            MetricSample(
                MetricName(masked: "a.h"),
                .histogram(HistogramSnapshot(bounds: [1, 2_500_000], counts: [1, 1, 0], sum: 3)))
        ),
        ("a.t", MetricSample(MetricName(masked: "a.t"), .text("v\"1"))),
    ]

    @Test("/stats prints texts, numbers, histograms in Envoy's forms")
    func text() throws {
        #expect(
            StatsText.text(entries, try StatsQuery(["histogram_buckets": "cumulative"]))
                == "a.t: \"v\\\"1\"\na.b: 3\na.g: -1\na.h: B1(0,1) B2.5e+06(0,2)\n")
        #expect(
            StatsText.text(entries, try StatsQuery([:])).contains("a.h: P0(nan,0) P25(nan,0.5) P50(nan,1) P75(nan,"))
        #expect(
            StatsText.text(entries, try StatsQuery(["histogram_buckets": "detailed"])).contains(
                "a.h: \n  totals=0,1:1, 1,2499999:1\n  intervals=\n  summary=P0(nan,0)"))
    }

    @Test("/stats?format=json has Envoy's shape")
    func json() throws {
        let json = StatsText.json(entries, try StatsQuery(["histogram_buckets": "disjoint"]))
        #expect(
            json.text
                == #"{"stats":[{"name":"a.t","value":"v\"1"},{"name":"a.b","value":3},{"name":"a.g","value":-1},{"histograms":[{"buckets":[{"cumulative":1,"interval":0,"upper_bound":1},{"cumulative":1,"interval":0,"upper_bound":2500000}],"name":"a.h"}]}]}"#
        )
        #expect(StatsText.json([], try StatsQuery([:])).text == #"{"stats":[]}"#)
    }

    @Test("Prometheus text: one type line a name, labels escaped, texts only when they are asked for")
    func prometheus() throws {
        let text = PrometheusText.text(
            entries + [
                (
                    "cluster.x\"\n.up",
                    MetricSample(MetricName(masked: "cluster.x\"\n.up"), .counter(1))
                )
            ], try StatsQuery([:], isPrometheus: true), TagExtraction())
        #expect(
            text
                == """
                # TYPE envoy_a_b counter
                envoy_a_b{} 3
                # TYPE envoy_cluster_up counter
                envoy_cluster_up{envoy_cluster_name="x\\"\\n"} 1
                # TYPE envoy_a_g gauge
                envoy_a_g{} -1
                # TYPE envoy_a_h histogram
                envoy_a_h_bucket{le="1"} 1
                envoy_a_h_bucket{le="2500000"} 2
                envoy_a_h_bucket{le="+Inf"} 2
                envoy_a_h_sum{} 3
                envoy_a_h_count{} 2

                """)
    }

    @Test("a query that cannot be answered is refused in Envoy's words")
    func refusals() {
        func refusal(_ items: [String: String]) -> String? {
            do throws(StatsQuery.Refusal) {
                _ = try StatsQuery(items)
                return nil
            } catch {
                return error.text
            }
        }
        #expect(refusal(["filter": "("]) == "Invalid re2 regex: missing ): (")
        #expect(refusal(["type": "foo"]) == "invalid &type= param")
        #expect(refusal(["format": "foo"])?.hasPrefix("usage: /stats?format=") == true)
        #expect(refusal(["filter": "upstream_rq", "usedonly": "", "type": "Gauges"]) == nil)
    }
}

@Suite("Statistics of a running proxy")
struct RunningStatsTests {
    @Test("virtual clusters and named routes have metrics of their own; what the proxy does is counted once")
    func virtualClusters() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            let listener = """
                  - name: ingress
                    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                    filter_chains:
                    - filters:
                      - name: envoy.filters.network.http_connection_manager
                        typed_config:
                          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                          stat_prefix: ingress
                          http_filters:
                          - name: envoy.filters.http.router
                            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                          route_config:
                            virtual_hosts:
                            - name: all
                              domains: ["*"]
                              virtual_clusters: [ { name: vc1, headers: [ { name: ":path", string_match: { prefix: /vc } } ] } ]
                              routes: [ { match: { prefix: "/" }, route: { cluster: back.end }, stat_prefix: r1 } ]

                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(listeners: listener, clusters: Yaml.cluster("back.end", [upstream.port]), admin: true),
                concurrency: 2)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/vc/1")
            _ = try await client.get("/other")
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let text = try await admin.get("/stats?usedonly").body
            let lines = Set(text.split(separator: "\n").map(String.init))
            for line in [
                "vhost.all.vcluster.vc1.upstream_rq_200: 1", "vhost.all.vcluster.vc1.upstream_rq_total: 1",
                "vhost.all.vcluster.other.upstream_rq_2xx: 1", "vhost.all.route.r1.upstream_rq_completed: 2",
                "cluster.back.end.membership_change: 1", "cluster.back.end.membership_total: 1",
                "cluster.back.end.upstream_rq_total: 2", "cluster.back.end.upstream_rq_200: 2",
                "http.ingress.rq_total: 2", "http.ingress.downstream_rq_2xx: 2",
                "listener.127.0.0.1_0.http.ingress.downstream_rq_2xx: 2", "cluster_manager.cluster_added: 1",
                "listener_manager.listener_added: 1", "listener_manager.listener_create_success: 2",
            ] {
                #expect(lines.contains(line), "\(line)")
            }
            let prometheus = try await admin.get("/stats/prometheus?usedonly").body
            #expect(
                prometheus.contains(
                    "envoy_vhost_vcluster_upstream_rq{envoy_response_code=\"200\",envoy_virtual_cluster=\"vc1\",envoy_virtual_host=\"all\"} 1\n"
                ))
            #expect(prometheus.contains("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"back.end\"} 2\n"))
            try await admin.write("POST /reset_counters HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            #expect(try await admin.response().body == "OK\n")
            let after = try await admin.get("/stats?filter=upstream_rq_total$").body
            #expect(after.contains("cluster.back.end.upstream_rq_total: 0\n"))
            #expect(after.contains("vhost.all.vcluster.vc1.upstream_rq_total: 0\n"))
            #expect(try await admin.get("/stats?filter=%28").status == 400)
        }
    }
}
