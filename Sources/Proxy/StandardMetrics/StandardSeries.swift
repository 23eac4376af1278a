internal import Synchronization
internal import Telemetry

/// What was counted of requests or connections that all standard metrics tell alike: one set of labels.
final class StandardSeries: Sendable {
    /// What labels say, but for those that only the control plane knows of an address.
    struct Key: Hashable, Sendable {
        var plan: StandardPlan
        /// Whoever is on the other side; nil: nobody who could be asked about.
        var peer: ObjectIdentifier?
        /// The cluster that it went to: it names the service.
        var cluster = ""
        /// The service, where the cluster's metadata name it.
        var service: StandardService?
        var outcome = StandardOutcome()
        var sourcePrincipal = ""
        var destinationPrincipal = ""
        var isMutualTLS = false
        /// What overrides compute, in the plan's order.
        var extras: [String] = []
        /// Everything that has no series of its own.
        var isOverflow = false
    }

    let key: Key
    /// Keeps the peer alive whose identity is in the key.
    let peer: WorkloadDirectory.Peer?
    /// Who counted.
    let own: WorkloadDirectory.Peer?
    private let block: MetricBlock
    private let duration: Histogram
    private let requestBytes: Histogram
    private let responseBytes: Histogram

    /// The cells of a connection's series.
    private enum TCPCell: Int, CaseIterable { case opened, closed, sent, received }

    init(_ key: Key, peer: WorkloadDirectory.Peer?, own: WorkloadDirectory.Peer?, rows: Int) {
        self.key = key
        self.peer = peer
        self.own = own
        let cells = Histogram.cells(Histogram.bounds)
        block = MetricBlock(count: key.outcome.kind == .tcp ? TCPCell.allCases.count : cells * 3, rows: rows)
        duration = Histogram(block, first: 0)
        requestBytes = Histogram(block, first: cells)
        responseBytes = Histogram(block, first: cells * 2)
    }

    /// Counts a request on a loop's row.
    func record(nanoseconds: UInt64, request: UInt64, response: UInt64, row: Int) {
        duration.record(nanoseconds: nanoseconds, row: row)
        requestBytes.record(value: request, row: row)
        responseBytes.record(value: response, row: row)
    }

    func opened(row: Int) { block.add(TCPCell.opened.rawValue, row: row) }

    func closed(row: Int) { block.add(TCPCell.closed.rawValue, row: row) }

    /// Counts bytes of a connection: `sent` to the client, as Istio calls the answer's.
    func moved(sent: UInt64, received: UInt64, row: Int) {
        block.add(TCPCell.sent.rawValue, sent, row: row)
        block.add(TCPCell.received.rawValue, received, row: row)
    }

    /// The value of a metric; nil when this is no series of it.
    func value(_ metric: StandardMetric) -> MetricSample.Value? {
        if key.outcome.kind == .tcp {
            let cell: TCPCell
            switch metric {
            case .tcpConnectionsOpened: cell = .opened
            case .tcpConnectionsClosed: cell = .closed
            case .tcpSentBytes: cell = .sent
            case .tcpReceivedBytes: cell = .received
            default: return nil
            }
            return .counter(block.value(cell.rawValue))
        }
        switch metric {
        case .requests: return .counter(duration.snapshot.count)
        case .requestDuration: return .histogram(duration.snapshot)
        case .requestBytes: return .histogram(requestBytes.snapshot)
        case .responseBytes: return .histogram(responseBytes.snapshot)
        default: return nil
        }
    }

    /// Everything that was ever added: whether it grows tells whether somebody uses the series.
    var activity: UInt64 { (0..<block.count).reduce(0) { $0 &+ block.value($1) } }

    func reset() { block.reset { _ in true } }
}

/// The service that a cluster leads to.
struct StandardService: Hashable, Sendable {
    var host: String
    var name: String
    var namespace: String
}

/// How a request ended, as far as labels tell it.
struct StandardOutcome: Hashable, Sendable {
    enum Kind: UInt8, Sendable { case http, grpc, tcp }

    var kind = Kind.http
    var status: UInt16 = 0
    /// gRPC's own status; 255: it said none.
    var grpcStatus: UInt8 = 255
    var flags: ResponseFlags = []

    /// All of it in one number.
    var packed: UInt64 {
        UInt64(flags.rawValue) << 32 | UInt64(status) << 16 | UInt64(grpcStatus) << 8 | UInt64(kind.rawValue)
    }
}

/// Istio's standard metrics of one proxy: https://istio.io/latest/docs/reference/config/metrics/.
///
/// Loops count in series that they keep; this is asked when a loop meets a combination for the first time.
final class StandardMetrics: Sendable {
    let directory = WorkloadDirectory()
    private let rows: Int
    private struct State {
        var series: [StandardSeries.Key: StandardSeries] = [:]
        var overflowed: UInt64 = 0
    }
    private let state = Mutex(State())
    private let limit: Int

    init(rows: Int, limit: Int = Limits.standardSeries) {
        self.rows = rows
        self.limit = limit
    }

    /// The series of a combination, made at first sight.
    ///
    /// ATK-19: who has the choice of labels cannot make the proxy keep more than `Limits.standardSeries`; what does not fit is
    /// counted together.
    func series(
        _ key: StandardSeries.Key, peer: WorkloadDirectory.Peer?, own: WorkloadDirectory.Peer?
    ) -> StandardSeries {
        state.withLock { state in
            if let known = state.series[key] { return known }
            var (key, peer) = (key, peer)
            if state.series.count >= limit {
                state.overflowed &+= 1
                var rest = StandardSeries.Key(plan: key.plan)
                rest.outcome.kind = key.outcome.kind
                rest.extras = key.extras.map { _ in "other" }
                rest.isOverflow = true
                if let known = state.series[rest] { return known }
                (key, peer) = (rest, nil)
            }
            let fresh = StandardSeries(key, peer: peer, own: own, rows: rows)
            state.series[key] = fresh
            return fresh
        }
    }

    /// Every series.
    var all: [StandardSeries] { state.withLock { Array($0.series.values) } }

    /// How often there was no room for a combination of labels.
    var overflowed: UInt64 { state.withLock(\.overflowed) }

    /// Counts begin at zero again.
    func reset() { for series in all { series.reset() } }
}
