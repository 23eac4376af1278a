internal import Telemetry
internal import Upstream

/// The counters of a virtual cluster (`vhost.<host>.vcluster.<name>`) or of a route with a `stat_prefix`
/// (`vhost.<host>.route.<prefix>`).
final class RouteMetrics: Sendable {
    private let prefix: String
    private let codes: StatusCodeCells
    private let block: MetricBlock
    private let time: Histogram

    /// The cells, by Envoy's names.
    enum Cell: Int, MetricCell {
        case upstream_rq_total, upstream_rq_retry, upstream_rq_retry_limit_exceeded, upstream_rq_retry_overflow,
            upstream_rq_retry_success, upstream_rq_timeout

        static let firstGauge = allCases.count
        static let names = makeNames()
    }

    /// `prefix` has its elements masked.
    init(prefix: String, rows: Int, bounds: [Double]) {
        self.prefix = prefix
        codes = StatusCodeCells(rows: rows)
        block = MetricBlock(count: Cell.allCases.count, rows: rows)
        time = Histogram(rows: rows, bounds: bounds)
    }

    func add(_ cell: Cell, row: Int) { block.add(cell.rawValue, row: row) }

    func countResponse(_ status: UInt16, isInternal: Bool, row: Int) {
        codes.add(status, isInternal: isInternal, row: row)
    }

    func record(_ duration: Duration, row: Int) { time.record(duration, row: row) }

    func reset() {
        codes.reset()
        block.reset { _ in true }
        time.reset()
    }

    var samples: [MetricSample] {
        var samples = Cell.allCases.map { $0.sample(prefix, block) }
        // Envoy shows these without the split into internal and external.
        codes.appendSums(to: &samples, prefix)
        samples.append(MetricSample(MetricName(masked: "\(prefix).upstream_rq_time"), .histogram(time.snapshot)))
        return samples
    }
}

/// What a request counts for besides its cluster: few configurations use it, so that all others pay one nil check.
struct RequestMetrics {
    var virtualCluster: RouteMetrics?
    var route: RouteMetrics?

    /// nil when the virtual host has no virtual clusters and the route no name for metrics.
    init?(_ host: VirtualHost, _ route: Route, virtualCluster index: Int?, _ worker: Worker) {
        if !host.virtualClusters.isEmpty {
            // What matches none counts as `other`, as in Envoy.
            let name = index.map { host.virtualClusters[$0].name } ?? "other"
            virtualCluster = worker.routeMetrics("vhost", host.name, "vcluster", name)
        }
        if !route.statPrefix.isEmpty {
            self.route = worker.routeMetrics("vhost", host.name, "route", route.statPrefix)
        }
        if virtualCluster == nil, self.route == nil { return nil }
    }

    func add(_ cell: RouteMetrics.Cell, row: Int) {
        virtualCluster?.add(cell, row: row)
        route?.add(cell, row: row)
    }

    func countResponse(_ status: UInt16, isInternal: Bool, row: Int) {
        virtualCluster?.countResponse(status, isInternal: isInternal, row: row)
        route?.countResponse(status, isInternal: isInternal, row: row)
    }

    func record(_ duration: Duration, row: Int) {
        virtualCluster?.record(duration, row: row)
        route?.record(duration, row: row)
    }
}
