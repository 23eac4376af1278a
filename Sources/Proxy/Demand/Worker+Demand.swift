internal import IO

/// One request or connection that waits for a cluster or a virtual host; given up by `cancel`.
final class DemandWait {
    /// What is waited for.
    enum Kind: Hashable {
        case cluster, host
    }

    private unowned let worker: Worker
    fileprivate let kind: Kind
    private let name: String
    private var body: ((ClusterDemand.Outcome) -> Void)?
    private var timer: LoopTimer?

    fileprivate init(
        _ worker: Worker, _ kind: Kind, _ name: String, timeout: Duration,
        _ body: @escaping (ClusterDemand.Outcome) -> Void
    ) {
        self.worker = worker
        self.kind = kind
        self.name = name
        self.body = body
        timer = worker.schedule(after: timeout) { [weak self] in
            guard let self else { return }
            self.worker.forget(self)
            self.finish(.timedOut)
        }
    }

    fileprivate var key: String { name }

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
    ) -> DemandWait? {
        guard let askForCluster, !name.isEmpty else { return nil }
        let wait = begin(.cluster, name, timeout: clusters.timeout, body)
        askForCluster(name, clusters.source)
        return wait
    }

    /// Asks for the virtual host of a domain; `body` runs once, when there is an answer or after `timeout`.
    ///
    /// Nil: nobody can be asked.
    func demandHost(
        _ host: String, ofRoutes routes: String, timeout: Duration, _ body: @escaping (ClusterDemand.Outcome) -> Void
    ) -> DemandWait? {
        guard let askForHost else { return nil }
        let wait = begin(.host, "\(routes)/\(host)", timeout: timeout, body)
        askForHost(host, routes)
        return wait
    }

    private func begin(
        _ kind: DemandWait.Kind, _ name: String, timeout: Duration, _ body: @escaping (ClusterDemand.Outcome) -> Void
    ) -> DemandWait {
        let wait = DemandWait(self, kind, name, timeout: timeout, body)
        demandWaits[kind, default: [:]][name, default: [:]][ObjectIdentifier(wait)] = wait
        return wait
    }

    fileprivate func forget(_ wait: DemandWait) {
        demandWaits[wait.kind]?[wait.key]?[ObjectIdentifier(wait)] = nil
        if demandWaits[wait.kind]?[wait.key]?.isEmpty == true { demandWaits[wait.kind]?[wait.key] = nil }
    }

    /// What became of a cluster or host that was asked for.
    func answered(_ kind: DemandWait.Kind, _ name: String, _ outcome: ClusterDemand.Outcome) {
        for wait in (demandWaits[kind]?.removeValue(forKey: name) ?? [:]).values { wait.finish(outcome) }
    }
}
