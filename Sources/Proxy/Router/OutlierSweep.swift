internal import IO
internal import Telemetry
internal import Upstream

/// Feeds a cluster's outlier detector with results and time.
///
/// Results count for all loops together; the first loop looks at the clock for all, and who ejects a host tells the others.
final class OutlierSweep {
    /// How an exchange with a host ended.
    enum Report {
        case response(UInt16)
        case localFailure
        case localSuccess
        case timeout
    }

    private var detector: OutlierDetector
    private unowned let cluster: ClusterRuntime
    private var timer: LoopTimer?
    private static let log = Logger("outlier")

    init(_ settings: OutlierDetection, cluster: ClusterRuntime) {
        detector = OutlierDetector(settings)
        self.cluster = cluster
        if cluster.worker.index == 0 { schedule() }
    }

    func report(_ report: Report, _ host: Host) {
        let result: OutlierDetector.Result
        switch report {
        case .response(let status): result = .response(status: status)
        case .localFailure: result = .localOriginFailure
        // As Envoy: without the split a timeout is a 504, hence also a gateway failure.
        case .timeout:
            result = detector.settings.splitsLocalOriginErrors ? .localOriginFailure : .response(status: 504)
        case .localSuccess:
            guard detector.settings.splitsLocalOriginErrors else { return }
            result = .localOriginSuccess
        }
        let worker = cluster.worker
        let detection = detector.record(
            result, for: host, in: cluster.hostSet, now: worker.loop.now.nanoseconds, random: worker.random.next())
        if let detection { take(detection, host) }
    }

    /// Counts a detection, and what follows from it.
    private func take(_ detection: OutlierDetector.Detection, _ host: Host) {
        let (detected, enforced) = Self.cells(detection.cause)
        cluster.count(detected)
        // Names of former times, which dashboards still ask for: two causes, enforced or not.
        if detection.cause == .consecutive5xx { cluster.count(.outlier_ejections_consecutive_5xx) }
        if detection.cause == .successRate { cluster.count(.outlier_ejections_success_rate) }
        if detection.isOverflow {
            cluster.count(.outlier_ejections_overflow)
        } else if detection.cause == .consecutive5xx || detection.cause == .successRate {
            cluster.count(.outlier_ejections_total)
        }
        guard detection.isEjected else { return }
        cluster.count(enforced)
        cluster.count(.outlier_ejections_enforced_total)
        cluster.count(.outlier_ejections_active)
        Self.log.info(
            "host ejected",
            ["cluster": cluster.name, "host": host.address.description, "cause": detection.cause.name])
        cluster.hostFailed(host)
        tellOthers(host)
    }

    private func tellOthers(_ host: Host) {
        let name = cluster.name
        let address = host.address
        for peer in cluster.worker.peers where peer.index != cluster.worker.index {
            peer.handle?.send { $0.clusterInUse(named: name)?.outlierChanged(address) }
        }
    }

    private static func cells(
        _ cause: OutlierDetector.Cause
    ) -> (detected: ClusterMetrics.Cell, enforced: ClusterMetrics.Cell) {
        switch cause {
        case .consecutive5xx:
            (.outlier_ejections_detected_consecutive_5xx, .outlier_ejections_enforced_consecutive_5xx)
        case .consecutiveGatewayFailure:
            (
                .outlier_ejections_detected_consecutive_gateway_failure,
                .outlier_ejections_enforced_consecutive_gateway_failure
            )
        case .consecutiveLocalOriginFailure:
            (
                .outlier_ejections_detected_consecutive_local_origin_failure,
                .outlier_ejections_enforced_consecutive_local_origin_failure
            )
        case .successRate: (.outlier_ejections_detected_success_rate, .outlier_ejections_enforced_success_rate)
        case .failurePercentage:
            (.outlier_ejections_detected_failure_percentage, .outlier_ejections_enforced_failure_percentage)
        case .localOriginSuccessRate:
            (
                .outlier_ejections_detected_local_origin_success_rate,
                .outlier_ejections_enforced_local_origin_success_rate
            )
        case .localOriginFailurePercentage:
            (
                .outlier_ejections_detected_local_origin_failure_percentage,
                .outlier_ejections_enforced_local_origin_failure_percentage
            )
        }
    }

    /// A passed active check ends an ejection, unless the settings say otherwise.
    func activeCheckPassed(_ host: Host) {
        if detector.activeCheckPassed(host, in: cluster.hostSet) { cluster.uncount(.outlier_ejections_active) }
    }

    private func schedule() {
        timer = cluster.worker.schedule(after: detector.settings.interval) { [weak self] in
            guard let self else { return }
            let worker = self.cluster.worker
            let sweep = self.detector.sweep(
                self.cluster.hostSet, now: worker.loop.now.nanoseconds, random: worker.random.next())
            for host in sweep.returned {
                self.cluster.uncount(.outlier_ejections_active)
                self.tellOthers(host)
                Self.log.info(
                    "host is back", ["cluster": self.cluster.name, "host": host.address.description])
            }
            for (host, detection) in sweep.detections { self.take(detection, host) }
            self.schedule()
        }
    }

    func cancel() {
        timer?.cancel()
        timer = nil
    }
}
