internal import IO

/// One request or connection that waits for a cluster; given up by `cancel`.
final class ClusterWait {
    private unowned let worker: Worker
    private let name: String
    private var body: ((ClusterDemand.Outcome) -> Void)?
    private var timer: LoopTimer?

    fileprivate init(
        _ worker: Worker, _ name: String, timeout: Duration, _ body: @escaping (ClusterDemand.Outcome) -> Void
    ) {
        self.worker = worker
        self.name = name
        self.body = body
        timer = worker.schedule(after: timeout) { [weak self] in
            guard let self else { return }
            self.worker.forget(self)
            self.finish(.timedOut)
        }
    }

    fileprivate var cluster: String { name }

    func cancel() {
        guard body != nil else { return }
        body = nil
        timer?.cancel()
        worker.forget(self)
    }

    fileprivate func finish(_ outcome: ClusterDemand.Outcome) {
        timer?.cancel()
        let body = body
        self.body = nil
        body?(outcome)
    }
}

extension Worker {
    /// Asks for a cluster; `body` runs once, when it is there, when the server says that there is none, or after `timeout`.
    ///
    /// Nil: nobody can be asked.
    func demandCluster(
        _ name: String, _ clusters: OnDemandClusters, _ body: @escaping (ClusterDemand.Outcome) -> Void
    ) -> ClusterWait? {
        guard let askForCluster, !name.isEmpty else { return nil }
        let wait = ClusterWait(self, name, timeout: clusters.timeout, body)
        clusterWaits[name, default: [:]][ObjectIdentifier(wait)] = wait
        askForCluster(name, clusters.source)
        return wait
    }

    fileprivate func forget(_ wait: ClusterWait) {
        clusterWaits[wait.cluster]?[ObjectIdentifier(wait)] = nil
        if clusterWaits[wait.cluster]?.isEmpty == true { clusterWaits[wait.cluster] = nil }
    }

    /// What became of a cluster that was asked for.
    func clusterAnswered(_ name: String, _ outcome: ClusterDemand.Outcome) {
        for wait in (clusterWaits.removeValue(forKey: name) ?? [:]).values { wait.finish(outcome) }
    }
}
