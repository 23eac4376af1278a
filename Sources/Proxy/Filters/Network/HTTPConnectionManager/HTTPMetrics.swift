internal import Telemetry

/// The counters of one `stat_prefix`, shared by all loops.
final class HTTPMetrics: Sendable {
    /// The cells, by Envoy's names.
    enum Cell: Int, CaseIterable {
        case downstream_cx_total, downstream_cx_http1_total, downstream_cx_destroy, downstream_rq_total,
            downstream_rq_http1_total, downstream_rq_completed, downstream_rq_1xx, downstream_rq_2xx,
            downstream_rq_3xx, downstream_rq_4xx, downstream_rq_5xx, no_route, no_cluster, rq_redirect,
            downstream_cx_protocol_error, downstream_cx_idle_timeout, downstream_rq_idle_timeout, delays_injected,
            aborts_injected, faults_overflow, downstream_cx_http2_total, downstream_rq_http2_total,
            downstream_cx_max_requests_reached, downstream_cx_max_duration_reached
        case downstream_cx_active, downstream_rq_active, downstream_cx_http1_active, downstream_cx_http2_active

        static let noRoute = Cell.no_route
        static let noCluster = Cell.no_cluster
        static let redirect = Cell.rq_redirect
        static let protocolError = Cell.downstream_cx_protocol_error
        static let idleTimeout = Cell.downstream_cx_idle_timeout
        static let streamIdleTimeout = Cell.downstream_rq_idle_timeout
        static let delaysInjected = Cell.delays_injected
        static let abortsInjected = Cell.aborts_injected
        static let faultsOverflow = Cell.faults_overflow
    }

    let prefix: String
    let block: MetricBlock
    let requestTime: Histogram

    init(prefix: String, rows: Int) {
        self.prefix = prefix
        block = MetricBlock(count: Cell.allCases.count, rows: rows)
        requestTime = Histogram(rows: rows)
    }

    func countResponse(_ status: UInt16, row: Int) {
        let cell: Cell =
            switch status / 100 {
            case 1: .downstream_rq_1xx
            case 2: .downstream_rq_2xx
            case 3: .downstream_rq_3xx
            case 4: .downstream_rq_4xx
            default: .downstream_rq_5xx
            }
        block.add(cell.rawValue, row: row)
    }

    func value(_ cell: Cell) -> UInt64 { block.value(cell.rawValue) }
}
