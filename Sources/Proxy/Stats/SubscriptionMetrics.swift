internal import IO
internal import Telemetry

/// What Envoy counts about one subscription: `cluster_manager.cds.*`, `listener_manager.lds.*`,
/// `http.<prefix>.rds.<name>.*`, `http.<prefix>.scoped_rds.<name>.*`, `extension_config_discovery.http_filter.<name>.*`, `cluster.<name>.*` of EDS.
///
/// On the control loop. Whoever subscribes holds it: the metrics leave with it.
struct SubscriptionMetrics: Sendable {
    /// What is subscribed to: some kinds have counters of their own.
    enum Kind: Sendable { case plain, routes, scopes, filter }

    private let scope: MetricScope
    private let attempt: MetricCounter
    private let success: MetricCounter
    private let failure: MetricCounter
    private let rejected: MetricCounter
    private let fetchTimeout: MetricCounter
    private let time: MetricGauge
    private let version: MetricGauge
    private let row: Int
    /// Updates that changed something, and when the last one did; nil for a plain subscription.
    private let reload: MetricCounter?
    private let reloadTime: MetricGauge?
    /// Updates that could not be put in force; filters alone.
    private let configFailure: MetricCounter?
    /// How many scopes there are; scopes alone.
    private let scopes: (all: MetricGauge, active: MetricGauge)?

    /// `metrics.scope("cluster_manager", "cds")`, with the control loop's row.
    init(_ scope: MetricScope, row: Int, kind: Kind = .plain) {
        self.scope = scope
        self.row = row
        attempt = scope.counter("update_attempt")
        success = scope.counter("update_success")
        failure = scope.counter("update_failure")
        rejected = scope.counter("update_rejected")
        fetchTimeout = scope.counter("init_fetch_timeout")
        time = scope.gauge("update_time")
        version = scope.gauge("version")
        reload = kind == .plain ? nil : scope.counter("config_reload")
        reloadTime = kind == .routes || kind == .scopes ? scope.gauge("config_reload_time_ms") : nil
        configFailure = kind == .filter ? scope.counter("config_fail") : nil
        scopes = kind == .scopes ? (scope.gauge("all_scopes"), scope.gauge("active_scopes")) : nil
    }

    /// Something is asked for.
    func asked() { attempt.add(row: row) }

    /// An update was taken; `now` is milliseconds since 1970.
    func accepted(version text: String, now: UInt64) {
        success.add(row: row)
        reload?.add(row: row)
        reloadTime?.set(now, row: row)
        time.set(now, row: row)
        version.set(Self.hash(text), row: row)
        scope.setText("version_text", text)
    }

    /// An update was refused (NACK).
    func refused() {
        rejected.add(row: row)
        configFailure?.add(row: row)
    }

    /// So many scopes are in force.
    func counted(scopes count: Int) {
        scopes?.all.set(UInt64(count), row: row)
        scopes?.active.set(UInt64(count), row: row)
    }

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
