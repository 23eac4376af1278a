internal import HTTP
internal import IO
internal import Telemetry

/// Every metric of the process under Envoy's names.
enum MetricReport {
    static func samples(_ proxy: ProxyServer) -> [MetricSample] {
        var samples: [MetricSample] = []
        let all = proxy.metrics.all
        for cluster in all.clusters { append(cluster, to: &samples) }
        for http in all.http { append(http, to: &samples) }
        for tcp in all.tcp { append(tcp, to: &samples) }
        for listener in all.listeners {
            for cell in ListenerMetrics.Cell.allCases {
                samples.append(
                    MetricSample(
                        name: "envoy_listener_\(cell)", labels: [("envoy_listener_address", listener.address)],
                        dotted: "listener.\(listener.address).\(cell)",
                        value: .counter(listener.block.value(cell.rawValue))))
            }
        }
        for counter in HTTP2Counter.allCases {
            samples.append(
                MetricSample(
                    name: "envoy_http2_\(counter)", dotted: "http2.\(counter)",
                    value: .counter(proxy.metrics.http2.value(counter.rawValue))))
        }
        let uptime = (MonotonicTime.now - proxy.started).components.seconds
        samples.append(gauge("live", proxy.state == .live ? 1 : 0))
        samples.append(gauge("uptime", uptime))
        samples.append(gauge("concurrency", Int64(proxy.workers.count)))
        samples.append(gauge("state", proxy.state == .live ? 0 : proxy.state == .draining ? 1 : 2))
        return samples
    }

    private static func gauge(_ name: String, _ value: Int64) -> MetricSample {
        MetricSample(name: "envoy_server_\(name)", dotted: "server.\(name)", value: .gauge(value))
    }

    private static func append(_ cluster: ClusterMetrics, to samples: inout [MetricSample]) {
        let label: (name: String, value: String) = ("envoy_cluster_name", cluster.name)
        func add(
            _ name: String, _ dotted: String, _ labels: [(name: String, value: String)], _ value: MetricSample.Value
        ) {
            samples.append(
                MetricSample(
                    name: "envoy_cluster_\(name)", labels: labels + [label],
                    dotted: "cluster.\(cluster.name).\(dotted)", value: value))
        }
        for cell in ClusterMetrics.Cell.allCases {
            let name = "\(cell)"
            let value = cluster.value(cell)
            if name.hasSuffix("_active") {
                add(name, name, [], .gauge(Int64(bitPattern: value)))
            } else if name.hasPrefix("upstream_rq_"), name.hasSuffix("xx") {
                add(
                    "upstream_rq_xx", name, [("envoy_response_code_class", String(name.dropLast(2).suffix(1)))],
                    .counter(value))
            } else {
                add(name, name, [], .counter(value))
            }
        }
        for counter in HTTP2Counter.allCases {
            add("http2_\(counter)", "http2.\(counter)", [], .counter(cluster.http2.value(counter.rawValue)))
        }
        for (code, count) in cluster.codes.counted {
            let text = code == 0 ? "other" : String(code)
            add("upstream_rq", "upstream_rq_\(text)", [("envoy_response_code", text)], .counter(count))
        }
        for (name, histogram) in [
            ("upstream_rq_time", cluster.requestTime), ("upstream_cx_connect_ms", cluster.connectTime),
        ] {
            add(name, name, [], .histogram(buckets: histogram.buckets, sum: histogram.sumMilliseconds))
        }
    }

    private static func append(_ http: HTTPMetrics, to samples: inout [MetricSample]) {
        let label: (name: String, value: String) = ("envoy_http_conn_manager_prefix", http.prefix)
        for cell in HTTPMetrics.Cell.allCases {
            let name = "\(cell)"
            let value = http.value(cell)
            var labels = [label]
            var metric = name
            if name.hasPrefix("downstream_rq_"), name.hasSuffix("xx") {
                labels.insert(("envoy_response_code_class", String(name.dropLast(2).suffix(1))), at: 0)
                metric = "downstream_rq_xx"
            }
            let isGauge = name.hasSuffix("_active")
            if name == "delays_injected" || name == "aborts_injected" || name == "faults_overflow" {
                metric = "fault_\(name)"
            }
            samples.append(
                MetricSample(
                    name: "envoy_http_\(metric)", labels: labels,
                    dotted: "http.\(http.prefix).\(metric.hasPrefix("fault_") ? "fault.\(name)" : name)",
                    value: isGauge ? .gauge(Int64(bitPattern: value)) : .counter(value)))
        }
        samples.append(
            MetricSample(
                name: "envoy_http_downstream_rq_time", labels: [label],
                dotted: "http.\(http.prefix).downstream_rq_time",
                value: .histogram(buckets: http.requestTime.buckets, sum: http.requestTime.sumMilliseconds)))
    }

    private static func append(_ tcp: TCPMetrics, to samples: inout [MetricSample]) {
        for cell in TCPMetrics.Cell.allCases {
            let name = "\(cell)"
            let value = tcp.block.value(cell.rawValue)
            samples.append(
                MetricSample(
                    name: "envoy_tcp_\(name)", labels: [("envoy_tcp_prefix", tcp.prefix)],
                    dotted: "tcp.\(tcp.prefix).\(name)",
                    value: name.hasSuffix("_active") ? .gauge(Int64(bitPattern: value)) : .counter(value)))
        }
    }
}
