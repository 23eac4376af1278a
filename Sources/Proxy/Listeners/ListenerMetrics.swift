internal import Telemetry

/// The counters of one listener, shared by all loops.
final class ListenerMetrics: Sendable {
    /// The cells, by Envoy's names.
    enum Cell: Int, MetricCell {
        case downstream_cx_total, downstream_cx_destroy, downstream_cx_handover_fail, downstream_cx_overflow,
            downstream_cx_overload_reject,
            downstream_cx_transport_socket_connect_timeout, downstream_global_cx_overflow,
            downstream_listener_filter_error, downstream_listener_filter_remote_close, downstream_pre_cx_timeout,
            extension_config_missing, network_extension_config_missing, no_filter_chain_match
        case downstream_cx_active, downstream_pre_cx_active

        static let firstGauge = downstream_cx_active.rawValue
        static let names = makeNames()
    }

    /// `stat_prefix`, or the address as Envoy writes it: `127.0.0.1_8080`.
    let address: String
    let block: MetricBlock
    let connectionLength: Histogram
    /// Connections by worker, for spreading them.
    let balance: ConnectionBalance
    private let rows: Int

    init(address: String, rows: Int, histogram: (String) -> Histogram) {
        self.address = address
        self.rows = rows
        // The last row is the control loop's.
        balance = ConnectionBalance(workers: rows - 1)
        block = MetricBlock(count: Cell.allCases.count, rows: rows)
        connectionLength = histogram("listener.\(address).downstream_cx_length_ms")
    }

    /// An address as an element of a name: colons become underscores.
    static func name(of address: String) -> String {
        String(address.map { $0 == ":" ? "_" : $0 })
    }

    func add(_ cell: Cell, row: Int) { block.add(cell.rawValue, row: row) }

    func subtract(_ cell: Cell, row: Int) { block.subtract(cell.rawValue, row: row) }

    func reset() {
        block.reset { $0 < Cell.firstGauge }
        connectionLength.reset()
    }

    /// `workers` is how many of the rows are workers' (the control loop's row comes after them).
    func samples(workers: Int) -> [MetricSample] {
        let prefix = "listener.\(MetricName.element(address))"
        var samples = Cell.allCases.map { $0.sample(prefix, block) }
        for worker in 0..<min(workers, rows) {
            let total = block.value(Cell.downstream_cx_total.rawValue, row: worker)
            let active = block.value(Cell.downstream_cx_active.rawValue, row: worker)
            let name = "\(prefix).worker_\(worker)"
            samples.append(MetricSample(MetricName(masked: "\(name).downstream_cx_total"), .counter(total)))
            samples.append(
                MetricSample(MetricName(masked: "\(name).downstream_cx_active"), .gauge(Int64(bitPattern: active))))
        }
        samples.append(
            MetricSample(
                MetricName(masked: "\(prefix).downstream_cx_length_ms"), .histogram(connectionLength.snapshot)))
        return samples
    }
}
