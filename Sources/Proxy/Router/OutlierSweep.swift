internal import IO
internal import Telemetry
internal import Upstream

/// Feeds a cluster's outlier detector with results and time.
final class OutlierSweep {
    /// How an exchange with a host ended.
    enum Report {
        case response(UInt16)
        case localFailure
        case timeout
    }

    private var detector: OutlierDetector
    private unowned let cluster: ClusterRuntime
    private var timer: LoopTimer?
    private static let log = Logger("outlier")

    init(_ settings: OutlierDetection, cluster: ClusterRuntime) {
        detector = OutlierDetector(settings)
        self.cluster = cluster
        schedule()
    }

    func report(_ report: Report, _ host: Host) {
        let result: OutlierDetector.Result
        switch report {
        case .response(let status): result = .response(status: status)
        case .localFailure, .timeout: result = .localOriginFailure
        }
        let worker = cluster.worker
        guard
            let detection = detector.record(
                result, for: host, in: cluster.hostSet, now: worker.loop.now.nanoseconds, random: worker.random.next()),
            detection.isEjected
        else { return }
        cluster.count(.outlier_ejections_enforced_total)
        Self.log.info(
            "host ejected",
            ["cluster": cluster.name, "host": host.address.description, "cause": "\(detection.cause)"])
    }

    private func schedule() {
        timer = cluster.worker.schedule(after: detector.settings.interval) { [weak self] in
            guard let self else { return }
            let worker = self.cluster.worker
            _ = self.detector.sweep(
                self.cluster.hostSet, now: worker.loop.now.nanoseconds, random: worker.random.next())
            self.schedule()
        }
    }

    func cancel() {
        timer?.cancel()
        timer = nil
    }
}
