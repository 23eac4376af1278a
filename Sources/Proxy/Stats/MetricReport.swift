internal import IO
internal import Telemetry
import Telemetry
internal import Upstream

/// Every metric of the process under Envoy's names.
enum MetricReport {
    static func samples(_ proxy: ProxyServer) async -> [MetricSample] {
        var samples: [MetricSample] = []
        let all = proxy.metrics.all
        let configs = proxy.store.clusters
        for cluster in all.clusters {
            let config = configs[cluster.name]?.config
            let hasOutlier = config?.outlierDetection != nil
            let hasChecks = config?.healthChecks.isEmpty == false
            samples += cluster.samples(as: config?.observedName) { cell in
                ClusterMetrics.Cell.names[cell.rawValue].hasPrefix("outlier") ? hasOutlier : hasChecks
            }
        }
        samples += await ClusterGauges.samples(proxy)
        // Clusters may share an `alt_stat_name`: what they count is one.
        if configs.values.contains(where: { !$0.config.statName.isEmpty }) { samples = joined(samples) }
        for http in all.http { samples += http.samples }
        for tcp in all.tcp { samples += tcp.samples }
        for listener in all.listeners { samples += listener.samples(workers: proxy.metrics.workers) }
        for route in proxy.metrics.routes { samples += route.samples }
        for scope in proxy.metrics.registry.scopes { samples += scope.samples() }
        append(proxy, to: &samples)
        return samples
    }

    /// Samples of one name added up.
    private static func joined(_ samples: [MetricSample]) -> [MetricSample] {
        var places: [MetricName: Int] = [:]
        var result: [MetricSample] = []
        for sample in samples {
            guard let place = places[sample.name] else {
                places[sample.name] = result.count
                result.append(sample)
                continue
            }
            switch (result[place].value, sample.value) {
            case (.counter(let one), .counter(let other)): result[place].value = .counter(one &+ other)
            case (.gauge(let one), .gauge(let other)): result[place].value = .gauge(one &+ other)
            case (.histogram(let one), .histogram(let other)): result[place].value = .histogram(one + other)
            default: result[place] = sample
            }
        }
        return result
    }

    private static func append(_ proxy: ProxyServer, to samples: inout [MetricSample]) {
        func gauge(_ name: String, _ value: Int64) {
            samples.append(MetricSample(MetricName(masked: name), .gauge(value)))
        }
        let memory = Environment.memory
        let state: Int64 =
            switch proxy.state {
            case .live: 0
            case .draining: 1
            case .preInitializing: 2
            case .initializing: 3
            }
        gauge("server.live", proxy.state == .live ? 1 : 0)
        gauge("server.uptime", (MonotonicTime.now - proxy.started).components.seconds)
        gauge("server.concurrency", Int64(proxy.workers.count))
        gauge("server.state", state)
        gauge("server.memory_allocated", Int64(memory.resident))
        gauge("server.memory_heap_size", Int64(memory.resident))
        gauge("server.memory_physical_size", Int64(memory.resident))
        gauge("server.parent_connections", 0)
        for (name, value) in ControlGauges.of(proxy) { gauge(name, value) }
        gauge("server.hot_restart_generation", 1)
        gauge("server.hot_restart_epoch", 0)
        gauge("server.version", Int64(Product.version.utf8.reduce(into: UInt32(0)) { $0 = $0 &* 31 &+ UInt32($1) }))
        var connections: Int64 = 0
        for listener in proxy.metrics.all.listeners {
            connections += Int64(bitPattern: listener.block.value(ListenerMetrics.Cell.downstream_cx_active.rawValue))
        }
        gauge("server.total_connections", connections)
        let listeners = proxy.store.listeners.values
        gauge("listener_manager.total_listeners_active", Int64(listeners.count { $0.isWarm }))
        gauge("listener_manager.total_listeners_warming", Int64(listeners.count { !$0.isWarm }))
        gauge("listener_manager.workers_started", proxy.state == .preInitializing ? 0 : 1)
        let clusters = proxy.store.clusters.values
        gauge("cluster_manager.active_clusters", Int64(clusters.count { $0.isWarm }))
        gauge("cluster_manager.warming_clusters", Int64(clusters.count { !$0.isWarm }))
    }
}
