internal import IO
internal import Telemetry

/// What must be done when a downstream connection ends, however it ends: whoever closes the socket sets it off.
///
/// Loop-owned, as the socket that holds it.
final class ConnectionLife: SocketObserver {
    private let metrics: ListenerMetrics
    private let row: Int
    private unowned let loop: EventLoop
    private let started: MonotonicTime
    /// Of the listener that took the connection first and handed it over.
    private let previous: (any SocketObserver)?
    /// Network filters that count the connection as theirs.
    private var filters: [any NetworkFilter] = []

    init(_ metrics: ListenerMetrics, previous: (any SocketObserver)?, worker: Worker) {
        self.metrics = metrics
        self.previous = previous
        row = worker.index
        loop = worker.loop
        started = loop.now
    }

    func tell(_ filter: any NetworkFilter) { filters.append(filter) }

    func socketClosed() {
        metrics.subtract(.downstream_cx_active, row: row)
        metrics.add(.downstream_cx_destroy, row: row)
        metrics.connectionLength.record(loop.now - started, row: row)
        for filter in filters { filter.connectionClosed() }
        previous?.socketClosed()
    }
}
