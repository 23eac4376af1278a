internal import HTTP
internal import IO
internal import Synchronization
internal import Telemetry

/// Who takes what is exported, and how it is spoken to.
struct CollectorTarget: Sendable, Hashable {
    /// How a batch goes out.
    enum Transport: Sendable, Hashable {
        /// One call that lasts, a message for each batch (access logs by gRPC).
        case grpcStream(path: String)
        /// One call for each batch (OTLP over gRPC).
        case grpcUnary(path: String)
        /// One POST for each batch (OTLP over HTTP, Zipkin).
        case http(path: String, contentType: String)
        /// Bytes as they are, on one connection (statsd over TCP).
        case bytes
    }

    var cluster: String
    /// The cluster, where it is made for this collector.
    var implicit: ImplicitCluster?
    var authority: String
    var transport: Transport
    var headers: [HeaderField] = []
    var timeout: Duration = .seconds(10)

    /// One field that goes with each call.
    struct HeaderField: Sendable, Hashable {
        var name: String
        var value: String
    }
}

/// Records on their way to a collector: bounded, batched, and dropped with a count when nobody takes them.
///
/// Workers add, the control loop takes; the lock is held for an append.
final class ExportQueue: Sendable {
    private struct State {
        var records: [[UInt8]] = []
        var bytes = 0
        var isAnnounced = false
    }

    let target: CollectorTarget
    let interval: Duration
    let batchBytes: Int
    /// Makes a message of records; the first on a stream says who speaks.
    let encode: @Sendable (_ records: [[UInt8]], _ isFirst: Bool) -> [UInt8]
    private let state = Mutex(State())
    private let hub: CollectorHub?
    let written: MetricCounter
    let dropped: MetricCounter
    let timerFlushed: MetricCounter?

    init(
        _ target: CollectorTarget, interval: Duration, batchBytes: Int, hub: CollectorHub?, written: MetricCounter,
        dropped: MetricCounter, timerFlushed: MetricCounter? = nil,
        encode: @escaping @Sendable (_ records: [[UInt8]], _ isFirst: Bool) -> [UInt8]
    ) {
        self.target = target
        self.interval = interval
        self.batchBytes = batchBytes
        self.hub = hub
        self.written = written
        self.dropped = dropped
        self.timerFlushed = timerFlushed
        self.encode = encode
    }

    /// Adds a record; from any worker.
    func add(_ record: [UInt8], row: Int) {
        enum Outcome { case quiet, announce, full, overflow }
        let outcome: Outcome = state.withLock { state in
            guard state.bytes + record.count <= Limits.exportQueueBytes else { return .overflow }
            state.records.append(record)
            let was = state.bytes
            state.bytes += record.count
            if state.bytes >= batchBytes, was < batchBytes { return .full }
            if state.isAnnounced { return .quiet }
            state.isAnnounced = true
            return .announce
        }
        switch outcome {
        case .quiet: return
        case .overflow: dropped.add(row: row)
        case .announce: hub?.flush(self, after: interval)
        case .full: hub?.flush(self, after: .zero)
        }
    }

    /// Everything that waits.
    func take() -> [[UInt8]] {
        state.withLock { state in
            let records = state.records
            state = State()
            return records
        }
    }
}
