internal import HTTP
internal import Telemetry

/// The counters of one cluster, shared by all loops.
final class ClusterMetrics: Sendable {
    /// The cells of a cluster's block, by Envoy's names.
    enum Cell: Int, CaseIterable {
        case upstream_rq_total, upstream_rq_completed, upstream_rq_retry, upstream_rq_retry_success,
            upstream_rq_retry_overflow, upstream_rq_retry_limit_exceeded, upstream_rq_timeout,
            upstream_rq_per_try_timeout, upstream_rq_pending_total, upstream_rq_pending_overflow,
            upstream_rq_pending_failure_eject, upstream_rq_cancelled, upstream_rq_rx_reset, upstream_rq_tx_reset,
            upstream_cx_total, upstream_cx_connect_fail, upstream_cx_connect_timeout, upstream_cx_overflow,
            upstream_cx_destroy, upstream_cx_none_healthy, upstream_cx_max_requests,
            upstream_cx_rx_bytes_total, upstream_cx_tx_bytes_total, upstream_rq_1xx, upstream_rq_2xx,
            upstream_rq_3xx, upstream_rq_4xx, upstream_rq_5xx, lb_healthy_panic, membership_change, update_success,
            bind_errors, upstream_cx_http1_total, outlier_ejections_total, upstream_cx_http2_total,
            upstream_cx_protocol_error, upstream_cx_idle_timeout, upstream_cx_max_duration_reached,
            upstream_cx_close_notify
        // Gauges: they go down as well.
        case upstream_rq_active, upstream_rq_pending_active, upstream_cx_active
    }

    let name: String
    let block: MetricBlock
    let codes: StatusCodeCells
    let requestTime: Histogram
    let connectTime: Histogram
    /// What its HTTP/2 codecs count, `cluster.NAME.http2.…`.
    let http2: MetricBlock

    init(name: String, rows: Int) {
        self.name = name
        block = MetricBlock(count: Cell.allCases.count, rows: rows)
        codes = StatusCodeCells(rows: rows)
        requestTime = Histogram(rows: rows)
        connectTime = Histogram(rows: rows)
        http2 = MetricBlock(count: HTTP2Counter.allCases.count, rows: rows)
    }

    func add(_ cell: Cell, _ amount: UInt64 = 1, row: Int) { block.add(cell.rawValue, amount, row: row) }

    func subtract(_ cell: Cell, row: Int) { block.subtract(cell.rawValue, row: row) }

    func countResponse(_ status: UInt16, row: Int) {
        switch status / 100 {
        case 1: add(.upstream_rq_1xx, row: row)
        case 2: add(.upstream_rq_2xx, row: row)
        case 3: add(.upstream_rq_3xx, row: row)
        case 4: add(.upstream_rq_4xx, row: row)
        default: add(.upstream_rq_5xx, row: row)
        }
        codes.add(status, row: row)
        add(.upstream_rq_completed, row: row)
    }

    func value(_ cell: Cell) -> UInt64 { block.value(cell.rawValue) }
}

/// A counter for each status code that is usual, and one for all others.
final class StatusCodeCells: Sendable {
    static let codes: [UInt16] = [
        200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 412, 413, 429, 431,
        499, 500, 501, 502, 503, 504,
    ]
    private static let indexes: [UInt8] = {
        var table = [UInt8](repeating: UInt8(codes.count), count: 600)
        for (index, code) in codes.enumerated() { table[Int(code)] = UInt8(index) }
        return table
    }()

    private let block: MetricBlock

    init(rows: Int) { block = MetricBlock(count: Self.codes.count + 1, rows: rows) }

    func add(_ code: UInt16, row: Int) {
        let index = Int(code) < Self.indexes.count ? Int(Self.indexes[Int(code)]) : Self.codes.count
        block.add(index, row: row)
    }

    /// The codes that were counted; code 0 stands for all others.
    var counted: [(code: UInt16, count: UInt64)] {
        (Self.codes + [0]).enumerated().compactMap { index, code in
            let count = block.value(index)
            return count == 0 ? nil : (code, count)
        }
    }
}
