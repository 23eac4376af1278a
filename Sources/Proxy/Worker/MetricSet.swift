internal import HTTP
internal import Synchronization
internal import Telemetry

/// Every metric block of the process, made on demand and kept: counters survive their cluster's update.
final class MetricSet: Sendable {
    private struct Blocks {
        var clusters: [String: ClusterMetrics] = [:]
        var http: [String: HTTPMetrics] = [:]
        var tcp: [String: TCPMetrics] = [:]
        var listeners: [String: ListenerMetrics] = [:]
    }

    let rows: Int
    /// Taken when a configuration is published and when metrics are read, never per request.
    private let blocks = Mutex(Blocks())

    /// What downstream HTTP/2 codecs count, `http2.…`; those of clusters are theirs.
    let http2: MetricBlock

    init(rows: Int) {
        self.rows = rows
        http2 = MetricBlock(count: HTTP2Counter.allCases.count, rows: rows)
    }

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
            let fresh = HTTPMetrics(prefix: prefix, rows: rows)
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

    func listener(_ address: String) -> ListenerMetrics {
        blocks.withLock { blocks in
            if let known = blocks.listeners[address] { return known }
            let fresh = ListenerMetrics(address: address, rows: rows)
            blocks.listeners[address] = fresh
            return fresh
        }
    }

    /// Forgets clusters that are gone: names come from a control plane and must not pile up.
    func keep(clusters names: Set<String>) {
        blocks.withLock { $0.clusters = $0.clusters.filter { names.contains($0.key) } }
    }

    var all: (clusters: [ClusterMetrics], http: [HTTPMetrics], tcp: [TCPMetrics], listeners: [ListenerMetrics]) {
        blocks.withLock {
            (
                $0.clusters.values.sorted { $0.name < $1.name }, $0.http.values.sorted { $0.prefix < $1.prefix },
                $0.tcp.values.sorted { $0.prefix < $1.prefix }, $0.listeners.values.sorted { $0.address < $1.address }
            )
        }
    }
}
