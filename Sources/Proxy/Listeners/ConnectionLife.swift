internal import IO
internal import Telemetry

/// What must be done when a downstream connection ends, however it ends: whoever closes the socket sets it off.
///
/// Loop-owned, as the socket that holds it.
final class ConnectionLife: SocketObserver {
    private let metrics: ListenerMetrics
    private unowned let worker: Worker
    /// What the listener's access logs get at the end; nil where there are none, as nearly always.
    private var logged: Logged?
    private let started: MonotonicTime
    /// Of the listener that took the connection first and handed it over.
    private let previous: (any SocketObserver)?
    /// Network filters that count the connection as theirs.
    private var filters: [any NetworkFilter] = []

    /// In an object of its own: each connection has a life, and few are logged.
    private final class Logged {
        let logs: [AccessLogConfig]
        let info: ConnectionInfo

        init(_ logs: [AccessLogConfig], _ info: ConnectionInfo) {
            self.logs = logs
            self.info = info
        }
    }

    init(_ metrics: ListenerMetrics, previous: (any SocketObserver)?, worker: Worker) {
        self.metrics = metrics
        self.previous = previous
        self.worker = worker
        started = worker.loop.now
    }

    /// The connection's end leaves a line in these logs.
    func tell(_ logs: [AccessLogConfig], _ info: ConnectionInfo) { logged = Logged(logs, info) }

    func tell(_ filter: any NetworkFilter) { filters.append(filter) }

    func socketClosed() {
        let row = worker.index
        metrics.subtract(.downstream_cx_active, row: row)
        metrics.add(.downstream_cx_destroy, row: row)
        metrics.connectionLength.record(worker.loop.now - started, row: row)
        if let logged { worker.log(logged.logs, logged.info, started: started) }
        for filter in filters { filter.connectionClosed() }
        metrics.balance.release(row)
        previous?.socketClosed()
    }
}
