internal import Synchronization
internal import Telemetry

/// The counters of one `stat_prefix`, shared by all loops.
final class HTTPMetrics: Sendable {
    /// The cells, by Envoy's names.
    enum Cell: Int, MetricCell {
        case downstream_cx_total, downstream_cx_http1_total, downstream_cx_http2_total, downstream_cx_http3_total,
            downstream_cx_ssl_total, downstream_cx_upgrades_total, downstream_cx_destroy,
            downstream_cx_destroy_active_rq,
            downstream_cx_destroy_local, downstream_cx_destroy_local_active_rq, downstream_cx_destroy_remote,
            downstream_cx_destroy_remote_active_rq, downstream_cx_delayed_close_timeout, downstream_cx_drain_close,
            downstream_cx_idle_timeout, downstream_cx_max_duration_reached, downstream_cx_max_requests_reached,
            downstream_cx_overload_disable_keepalive, downstream_cx_protocol_error, downstream_cx_rx_bytes_total,
            downstream_cx_tx_bytes_total, downstream_flow_control_paused_reading_total,
            downstream_flow_control_resumed_reading_total, downstream_rq_total, downstream_rq_http1_total,
            downstream_rq_http2_total, downstream_rq_http3_total, downstream_rq_failed_path_normalization,
            downstream_rq_header_timeout, downstream_rq_idle_timeout, downstream_rq_max_duration_reached,
            downstream_rq_non_relative_path, downstream_rq_overload_close,
            downstream_rq_redirected_with_normalized_path, downstream_rq_rejected_via_ip_detection,
            downstream_rq_response_before_rq_complete, downstream_rq_rx_reset, downstream_rq_timeout,
            downstream_rq_too_large, downstream_rq_too_many_premature_resets, downstream_rq_tx_reset,
            downstream_rq_ws_on_non_ws_route, no_cluster, no_route, passthrough_internal_redirect_bad_location,
            passthrough_internal_redirect_no_route, passthrough_internal_redirect_predicate,
            passthrough_internal_redirect_too_many_redirects, passthrough_internal_redirect_unsafe_scheme,
            rq_direct_response, rq_overload_local_reply, rq_redirect, rq_reset_after_downstream_response_started,
            rq_total, rs_too_large, tracing_client_enabled, tracing_health_check, tracing_not_traceable,
            tracing_random_sampling, tracing_service_forced
        case downstream_cx_active, downstream_cx_http1_active, downstream_cx_http1_soft_drain,
            downstream_cx_http2_active, downstream_cx_http3_active, downstream_cx_ssl_active,
            downstream_cx_upgrades_active, downstream_cx_rx_bytes_buffered, downstream_cx_tx_bytes_buffered,
            downstream_rq_active

        static let firstGauge = downstream_cx_active.rawValue
        static let names = makeNames()
        static let groups = [(start: "tracing_", name: "tracing.")]

        static let noRoute = Cell.no_route
        static let noCluster = Cell.no_cluster
        static let redirect = Cell.rq_redirect
        static let protocolError = Cell.downstream_cx_protocol_error
        static let idleTimeout = Cell.downstream_cx_idle_timeout
        static let streamIdleTimeout = Cell.downstream_rq_idle_timeout
    }

    /// Responses by class, and all; one such block for each listener that serves under this prefix.
    ///
    /// The prefix's own figures are the sums, so that a response is counted once.
    final class Responses: Sendable {
        fileprivate let block: MetricBlock

        init(rows: Int) { block = MetricBlock(count: 6, rows: rows) }

        /// Status 0 is a request that got no response: it is not counted.
        func count(_ status: UInt16, row: Int) {
            guard status >= 100 else { return }
            block.add(0, row: row)
            if status < 600 { block.add(Int(status / 100), row: row) }
        }

        fileprivate static func name(_ cell: Int) -> String {
            cell == 0 ? "downstream_rq_completed" : "downstream_rq_\(cell)xx"
        }
    }

    let prefix: String
    let block: MetricBlock
    let requestTime: Histogram
    let connectionLength: Histogram
    private let responses = Mutex<[String: Responses]>([:])
    private let rows: Int

    init(prefix: String, rows: Int, histogram: (String) -> Histogram) {
        self.prefix = prefix
        self.rows = rows
        block = MetricBlock(count: Cell.allCases.count, rows: rows)
        requestTime = histogram("http.\(prefix).downstream_rq_time")
        connectionLength = histogram("http.\(prefix).downstream_cx_length_ms")
    }

    /// The responses that a listener gives under this prefix.
    func responses(listener: String) -> Responses {
        responses.withLock { responses in
            if let known = responses[listener] { return known }
            let fresh = Responses(rows: rows)
            responses[listener] = fresh
            return fresh
        }
    }

    func value(_ cell: Cell) -> UInt64 { block.value(cell.rawValue) }

    func reset() {
        block.reset { $0 < Cell.firstGauge }
        requestTime.reset()
        connectionLength.reset()
        for responses in responses.withLock({ Array($0.values) }) { responses.block.reset { _ in true } }
    }

    var samples: [MetricSample] {
        let element = MetricName.element(prefix)
        let name = "http.\(element)"
        var samples: [MetricSample] = []
        for cell in Cell.allCases {
            samples.append(cell.sample(name, block))
        }
        var sums = [UInt64](repeating: 0, count: 6)
        for (listener, responses) in responses.withLock({ $0 }) {
            for cell in 0..<6 {
                let value = responses.block.value(cell)
                sums[cell] &+= value
                guard !listener.isEmpty else { continue }
                samples.append(
                    MetricSample(
                        MetricName(masked: "listener.\(MetricName.element(listener)).\(name).\(Responses.name(cell))"),
                        .counter(value)))
            }
        }
        for cell in 0..<6 {
            samples.append(MetricSample(MetricName(masked: "\(name).\(Responses.name(cell))"), .counter(sums[cell])))
        }
        samples.append(MetricSample(MetricName(masked: "\(name).downstream_rq_time"), .histogram(requestTime.snapshot)))
        samples.append(
            MetricSample(
                MetricName(masked: "\(name).downstream_cx_length_ms"), .histogram(connectionLength.snapshot)))
        return samples
    }
}
