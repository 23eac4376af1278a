internal import IO
internal import Telemetry

/// What Envoy counts about one subscription: `cluster_manager.cds.*`, `listener_manager.lds.*`,
/// `http.<prefix>.rds.<name>.*`, `cluster.<name>.*` of EDS.
///
/// On the control loop. Whoever subscribes holds it: the metrics leave with it.
struct SubscriptionMetrics: Sendable {
    private let scope: MetricScope
    private let attempt: MetricCounter
    private let success: MetricCounter
    private let failure: MetricCounter
    private let rejected: MetricCounter
    private let fetchTimeout: MetricCounter
    private let time: MetricGauge
    private let version: MetricGauge
    private let row: Int

    /// `metrics.scope("cluster_manager", "cds")`, with the control loop's row.
    init(_ scope: MetricScope, row: Int) {
        self.scope = scope
        self.row = row
        attempt = scope.counter("update_attempt")
        success = scope.counter("update_success")
        failure = scope.counter("update_failure")
        rejected = scope.counter("update_rejected")
        fetchTimeout = scope.counter("init_fetch_timeout")
        time = scope.gauge("update_time")
        version = scope.gauge("version")
    }

    /// Something is asked for.
    func asked() { attempt.add(row: row) }

    /// An update was taken; `now` is milliseconds since 1970.
    func accepted(version text: String, now: UInt64) {
        success.add(row: row)
        time.set(now, row: row)
        version.set(Self.hash(text), row: row)
        scope.setText("version_text", text)
    }

    /// An update was refused (NACK).
    func refused() { rejected.add(row: row) }

    /// The stream broke.
    func failed() { failure.add(row: row) }

    /// The first answer did not come in time.
    func timedOut() { fetchTimeout.add(row: row) }

    /// Some number that changes with the text: FNV-1a, cut to what a gauge holds.
    private static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0100_0000_01B3 }
        return hash >> 1
    }
}
