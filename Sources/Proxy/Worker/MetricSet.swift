internal import Synchronization
internal import Telemetry

/// Every metric of the process, made on demand and kept: counters survive their cluster's update.
///
/// Clusters, listeners, connection managers and TCP proxies have fixed sets of cells; all else (filters, subscriptions,
/// loggers, …) asks `scope` for metrics by name when its configuration is compiled.
final class MetricSet: Sendable {
    private struct Blocks {
        var clusters: [String: ClusterMetrics] = [:]
        var http: [String: HTTPMetrics] = [:]
        var tcp: [String: TCPMetrics] = [:]
        var listeners: [String: ListenerMetrics] = [:]
        var routes: [String: RouteMetrics] = [:]
    }

    /// One row for each worker loop, and the last for the control loop.
    let rows: Int
    let workers: Int
    let registry: MetricRegistry
    /// Istio's, where a filter `istio.stats` asks for them.
    let standard: StandardMetrics
    /// Taken when a configuration is published and when metrics are read, never per request.
    private let blocks = Mutex(Blocks())

    init(workers: Int) {
        self.workers = workers
        rows = workers + 1
        registry = MetricRegistry(rows: rows)
        standard = StandardMetrics(rows: rows)
    }

    /// The row that code on the control loop counts in.
    var controlRow: Int { workers }

    /// The metrics of names that begin with these elements: `scope("http", statPrefix, "rbac")`.
    func scope(_ elements: String...) -> MetricScope { registry.scope(elements) }

    func cluster(_ name: String) -> ClusterMetrics {
        blocks.withLock { blocks in
            if let known = blocks.clusters[name] { return known }
            let fresh = ClusterMetrics(name: name, rows: rows)
            blocks.clusters[name] = fresh
            return fresh
        }
    }

    func http(_ prefix: String) -> HTTPMetrics {
        blocks.withLock { blocks in
            if let known = blocks.http[prefix] { return known }
            let fresh = HTTPMetrics(prefix: prefix, rows: rows) { registry.histogram(named: $0) }
            blocks.http[prefix] = fresh
            return fresh
        }
    }

    func tcp(_ prefix: String) -> TCPMetrics {
        blocks.withLock { blocks in
            if let known = blocks.tcp[prefix] { return known }
            let fresh = TCPMetrics(prefix: prefix, rows: rows)
            blocks.tcp[prefix] = fresh
            return fresh
        }
    }

    /// The `ssl` counters of a listener or a cluster: `tls("cluster", name)`.
    func tls(_ kind: String, _ name: String) -> TLSMetrics {
        TLSMetrics(scope(kind, name), isListener: kind == "listener")
    }

    /// A listener's metrics by its `stat_prefix` or address.
    func listener(_ address: String) -> ListenerMetrics {
        let name = ListenerMetrics.name(of: address)
        return blocks.withLock { blocks in
            if let known = blocks.listeners[name] { return known }
            let fresh = ListenerMetrics(address: name, rows: rows) { registry.histogram(named: $0) }
            blocks.listeners[name] = fresh
            return fresh
        }
    }

    /// The metrics of a virtual cluster or a named route; nil when there are too many.
    func route(_ elements: [String]) -> RouteMetrics? {
        let prefix = elements.map(MetricName.element).joined(separator: ".")
        return blocks.withLock { blocks in
            if let known = blocks.routes[prefix] { return known }
            guard blocks.routes.count < Limits.routeMetrics else { return nil }
            let fresh = RouteMetrics(
                prefix: prefix, rows: rows, bounds: registry.bounds(of: MetricName(masked: prefix).dotted))
            blocks.routes[prefix] = fresh
            return fresh
        }
    }

    var routes: [RouteMetrics] { blocks.withLock { Array($0.routes.values) } }

    /// Forgets clusters that are gone: names come from a control plane and must not pile up.
    func keep(clusters names: Set<String>) {
        blocks.withLock { blocks in
            blocks.clusters = blocks.clusters.filter { names.contains($0.key) }
        }
    }

    var all: (clusters: [ClusterMetrics], http: [HTTPMetrics], tcp: [TCPMetrics], listeners: [ListenerMetrics]) {
        blocks.withLock {
            (
                $0.clusters.values.sorted { $0.name < $1.name }, $0.http.values.sorted { $0.prefix < $1.prefix },
                $0.tcp.values.sorted { $0.prefix < $1.prefix }, $0.listeners.values.sorted { $0.address < $1.address }
            )
        }
    }

    /// `/reset_counters`: counters and histograms begin at zero again, gauges stay.
    func resetCounters() {
        let all = all
        for cluster in all.clusters { cluster.reset() }
        for http in all.http { http.reset() }
        for tcp in all.tcp { tcp.reset() }
        for listener in all.listeners { listener.reset() }
        for route in routes { route.reset() }
        for scope in registry.scopes { scope.reset() }
        standard.reset()
    }
}
