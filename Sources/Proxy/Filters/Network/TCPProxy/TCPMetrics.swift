internal import Telemetry

/// The counters of one TCP `stat_prefix`, shared by all loops.
final class TCPMetrics: Sendable {
    /// The cells, by Envoy's names.
    enum Cell: Int, MetricCell {
        case downstream_cx_total, downstream_cx_no_route, downstream_cx_drain_close, downstream_cx_overload_close,
            downstream_cx_rx_bytes_total, downstream_cx_tx_bytes_total, downstream_flow_control_paused_reading_total,
            downstream_flow_control_resumed_reading_total, early_data_received_count_total, idle_timeout,
            max_downstream_connection_duration, route_delayed_total, upstream_flush_total, on_demand_cluster_attempt,
            on_demand_cluster_missing, on_demand_cluster_success, on_demand_cluster_timeout
        case downstream_cx_rx_bytes_buffered, downstream_cx_tx_bytes_buffered, upstream_flush_active,
            downstream_cx_active

        static let firstGauge = downstream_cx_rx_bytes_buffered.rawValue
        static let names = makeNames()
    }

    let prefix: String
    let block: MetricBlock

    init(prefix: String, rows: Int) {
        self.prefix = prefix
        block = MetricBlock(count: Cell.allCases.count, rows: rows)
    }

    func add(_ cell: Cell, _ amount: UInt64 = 1, row: Int) { block.add(cell.rawValue, amount, row: row) }

    func reset() { block.reset { $0 < Cell.firstGauge } }

    var samples: [MetricSample] {
        let prefix = "tcp.\(MetricName.element(prefix))"
        return Cell.allCases.compactMap { cell in
            let sample = cell.sample(prefix, block)
            let isOptional = Cell.names[cell.rawValue].hasPrefix("on_demand_")
            return isOptional && !sample.isUsed ? nil : sample
        }
    }
}
