internal import Synchronization
internal import Telemetry
internal import Upstream

/// The counters of one cluster, shared by all loops.
///
/// Four blocks whose rows come into being at the first count: a cluster that is not used costs half a kilobyte.
final class ClusterMetrics: Sendable {
    /// The cells of a cluster, by Envoy's names.
    enum Cell: Int, MetricCell {
        // What discovery and health counts: a small block of its own, as it is touched for every cluster.
        case membership_change, update_attempt, update_success, update_failure, update_empty, update_no_rebuild,
            assignment_stale, assignment_timeout_received, assignment_use_cached, health_check_attempt,
            health_check_success, health_check_failure, health_check_passive_failure, health_check_network_failure,
            health_check_verify_cluster, original_dst_host_invalid
        // What requests and connections count.
        case upstream_cx_total, upstream_cx_http1_total, upstream_cx_http2_total, upstream_cx_http3_total,
            upstream_cx_close_notify, upstream_cx_connect_attempts_exceeded, upstream_cx_connect_fail,
            upstream_cx_connect_timeout, upstream_cx_connect_with_0_rtt, upstream_cx_destroy,
            upstream_cx_destroy_local, upstream_cx_destroy_local_with_active_rq, upstream_cx_destroy_remote,
            upstream_cx_destroy_remote_with_active_rq, upstream_cx_destroy_with_active_rq, upstream_cx_idle_timeout,
            upstream_cx_max_duration_reached, upstream_cx_max_requests, upstream_cx_none_healthy,
            upstream_cx_overflow, upstream_cx_pool_overflow, upstream_cx_preconnect_skipped,
            upstream_cx_protocol_error, upstream_cx_rx_bytes_total, upstream_cx_tx_bytes_total,
            upstream_flow_control_backed_up_total, upstream_flow_control_drained_total,
            upstream_flow_control_paused_reading_total, upstream_flow_control_resumed_reading_total,
            upstream_internal_redirect_failed_total, upstream_internal_redirect_succeeded_total, upstream_rq_total,
            upstream_rq_active_overflow, upstream_rq_cancelled, upstream_rq_maintenance_mode,
            upstream_rq_max_duration_reached, upstream_rq_pending_failure_eject, upstream_rq_pending_overflow,
            upstream_rq_pending_total, upstream_rq_per_try_idle_timeout, upstream_rq_per_try_timeout,
            upstream_rq_retry, upstream_rq_retry_backoff_exponential, upstream_rq_retry_backoff_ratelimited,
            upstream_rq_retry_limit_exceeded, upstream_rq_retry_overflow, upstream_rq_retry_success,
            upstream_rq_rx_reset, upstream_rq_rx_reset_no_error, upstream_rq_timeout, upstream_rq_tx_reset,
            upstream_rq_0rtt, upstream_rq_drop_overload, retry_or_shadow_abandoned, bind_errors, lb_healthy_panic,
            lb_local_cluster_not_ok, lb_recalculate_zone_structures, lb_subsets_created, lb_subsets_fallback,
            lb_subsets_fallback_panic, lb_subsets_removed, lb_subsets_selected, lb_zone_cluster_too_small,
            lb_zone_no_capacity_left, lb_zone_routing_all_directly, lb_zone_routing_cross_zone,
            lb_zone_routing_sampled, http1_dropped_headers_with_underscores, http1_metadata_not_supported_error,
            http1_requests_rejected_with_underscores_in_headers, http1_response_flood,
            outlier_ejections_enforced_total, outlier_ejections_overflow,
            outlier_ejections_detected_consecutive_5xx, outlier_ejections_enforced_consecutive_5xx,
            outlier_ejections_detected_consecutive_gateway_failure,
            outlier_ejections_enforced_consecutive_gateway_failure,
            outlier_ejections_detected_consecutive_local_origin_failure,
            outlier_ejections_enforced_consecutive_local_origin_failure, outlier_ejections_detected_success_rate,
            outlier_ejections_enforced_success_rate, outlier_ejections_detected_local_origin_success_rate,
            outlier_ejections_enforced_local_origin_success_rate, outlier_ejections_detected_failure_percentage,
            outlier_ejections_enforced_failure_percentage,
            outlier_ejections_detected_local_origin_failure_percentage,
            outlier_ejections_enforced_local_origin_failure_percentage, outlier_ejections_detected_degradation,
            outlier_ejections_total, outlier_ejections_consecutive_5xx, outlier_ejections_success_rate
        // Gauges: they go down as well.
        case upstream_rq_active, upstream_rq_pending_active, upstream_cx_active, upstream_cx_rx_bytes_buffered,
            upstream_cx_tx_bytes_buffered, outlier_ejections_active, lb_subsets_active, warming_state

        static let firstGauge = upstream_rq_active.rawValue
        static let names = makeNames()
        static let groups = [
            (start: "outlier_", name: "outlier_detection."), (start: "health_check_", name: "health_check."),
            (start: "http1_", name: "http1."),
        ]
        /// Cells before this one lie in the control block.
        fileprivate static let firstOfData = upstream_cx_total.rawValue

        /// Counts of features that print only where they are configured, or were once.
        var isOptional: Bool {
            let name = Self.names[rawValue]
            return name.hasPrefix("outlier_detection.") || name.hasPrefix("health_check.")
        }
    }

    let name: String
    /// Circuit breakers of usual requests and of those with high priority, shared by all loops.
    let outlierLedger = OutlierLedger()
    let normalUse = ResourceUse(ResourceLimits.Thresholds())
    let highUse = ResourceUse(ResourceLimits.Thresholds())
    private let control: MetricBlock
    private let data: MetricBlock
    let codes: StatusCodeCells
    private let times: MetricBlock
    private let bounds: [Double]

    init(name: String, rows: Int, bounds: [Double] = Histogram.bounds) {
        self.name = name
        self.bounds = bounds
        control = MetricBlock(count: Cell.firstOfData, rows: rows)
        data = MetricBlock(count: Cell.allCases.count - Cell.firstOfData, rows: rows)
        codes = StatusCodeCells(rows: rows)
        times = MetricBlock(count: Histogram.cells(bounds) * 5, rows: rows)
        requestTime = Histogram(times, first: 0, bounds: bounds)
        internalRequestTime = Histogram(times, first: Histogram.cells(bounds), bounds: bounds)
    }

    private func histogram(_ index: Int) -> Histogram {
        Histogram(times, first: index * Histogram.cells(bounds), bounds: bounds)
    }

    /// Times of requests from outside; `internalRequestTime` has the others, and their sum is `upstream_rq_time`.
    let requestTime: Histogram
    let internalRequestTime: Histogram
    var connectTime: Histogram { histogram(2) }
    var connectionLength: Histogram { histogram(3) }
    var requestsPerConnection: Histogram { histogram(4) }

    /// A loop's row of the cells that requests and connections count in, and the number of the first of them.
    func dataRow(_ row: Int) -> MetricRow { data.row(row) }
    static var firstOfData: Int { Cell.firstOfData }

    func add(_ cell: Cell, _ amount: UInt64 = 1, row: Int) {
        let index = cell.rawValue
        if index >= Cell.firstOfData {
            data.add(index &- Cell.firstOfData, amount, row: row)
        } else {
            control.add(index, amount, row: row)
        }
    }

    func subtract(_ cell: Cell, row: Int) { add(cell, 0 &- 1, row: row) }

    /// A response of the cluster (or one of ours in its place): its code, its class and that it is complete.
    func countResponse(_ status: UInt16, isInternal: Bool = false, row: Int) {
        codes.add(status, isInternal: isInternal, row: row)
    }

    func value(_ cell: Cell) -> UInt64 {
        let index = cell.rawValue
        return index >= Cell.firstOfData ? data.value(index - Cell.firstOfData) : control.value(index)
    }

    func reset() {
        control.reset { _ in true }
        data.reset { $0 + Cell.firstOfData < Cell.firstGauge }
        codes.reset()
        times.reset { _ in true }
    }

    /// The samples, under the cluster's name or another; `shows` says of which optional features the zeros are shown.
    func samples(as observedName: String? = nil, shows: (Cell) -> Bool) -> [MetricSample] {
        var samples: [MetricSample] = []
        let prefix = "cluster." + MetricName.element(observedName ?? name)
        for cell in Cell.allCases {
            let value = value(cell)
            if value == 0, cell.isOptional, !shows(cell) { continue }
            samples.append(
                MetricSample(
                    MetricName(masked: "\(prefix).\(Cell.names[cell.rawValue])"),
                    cell.isGauge ? .gauge(Int64(bitPattern: value)) : .counter(value)))
        }
        codes.append(to: &samples, prefix)
        func histogram(_ name: String, _ snapshot: HistogramSnapshot) {
            samples.append(MetricSample(MetricName(masked: "\(prefix).\(name)"), .histogram(snapshot)))
        }
        let (outside, inside) = (requestTime.snapshot, internalRequestTime.snapshot)
        if outside.count + inside.count > 0 { histogram("upstream_rq_time", outside + inside) }
        if outside.count > 0 { histogram("external.upstream_rq_time", outside) }
        if inside.count > 0 { histogram("internal.upstream_rq_time", inside) }
        histogram("upstream_cx_connect_ms", connectTime.snapshot)
        histogram("upstream_cx_length_ms", connectionLength.snapshot)
        histogram("upstream_rq_per_cx", requestsPerConnection.snapshot)
        return samples
    }
}
