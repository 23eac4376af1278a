internal import EnvoyAPI
internal import IO
internal import Telemetry
internal import Upstream

// Clusters that requests ask for (ODCDS).
extension ConfigurationStore {
    private static let log = Logger("xds")

    /// A worker wants a cluster; it is told when the cluster is complete, or does not exist.
    func demandCluster(_ name: String, from source: DiscoverySource, worker: Int) {
        let isPresent = clusters[name]?.isWarm ?? false
        switch clusterDemand.ask(name, from: source, worker: worker, isPresent: isPresent, now: loop.now) {
        case .known(let outcome): tell([ClusterDemand.Notice(name: name, workers: [worker], outcome: outcome)])
        case .overflow:
            Self.log.warning("so many clusters are asked for that no other can be", ["cluster": name])
            tell([ClusterDemand.Notice(name: name, workers: [worker], outcome: .missing)])
        case .wait(let isNew):
            guard isNew else { return }
            sweepLater()
            wantsChanged()
            onChange()
        }
    }

    /// The workers have what is complete: who waits for some of it goes on.
    func answerDemand() { tell(clusterDemand.arrived { clusters[$0]?.isWarm ?? false }) }

    /// The server has not got these clusters, or what it sent of them was refused.
    func missDemanded(_ names: some Sequence<String>) {
        tell(clusterDemand.missing(names.filter { clusters[$0] == nil }, now: loop.now))
    }

    /// In order behind the tables: a worker that hears of a cluster has it.
    func tell(_ notices: [ClusterDemand.Notice], _ kind: DemandWait.Kind = .cluster) {
        for notice in notices {
            for worker in workers where notice.workers.contains(worker.index) {
                worker.send { $0.answered(kind, notice.name, notice.outcome) }
            }
        }
    }

    func sweepLater() {
        guard !isSweepingDemand else { return }
        isSweepingDemand = true
        loop.schedule(after: Limits.demandSweepInterval) { [weak self] in
            guard let self else { return }
            self.isSweepingDemand = false
            self.sweepDemand(now: self.loop.now)
            self.sweepHosts(now: self.loop.now)
            if self.clusterDemand.count + self.hostDemand.count > 0 { self.sweepLater() }
        }
    }

    /// Clusters that nobody has used for long leave; they are asked for again when somebody wants them.
    func sweepDemand(now: MonotonicTime) {
        let mirrors = mirrorClusters
        let (left, notices) = clusterDemand.sweep(now: now) { name in
            let cells = metrics.cluster(name)
            // Who mirrors to it does not wait for it, so it stays as long as a virtual host names it.
            return ClusterDemand.Traffic(
                total: cells.value(.upstream_rq_total) &+ cells.value(.upstream_cx_total),
                active: cells.value(.upstream_rq_active) &+ (mirrors.contains(name) ? 1 : 0))
        }
        guard !left.isEmpty else { return }
        tell(notices)
        for name in left where clusters[name] != nil {
            Self.log.info("nobody has used a cluster for long", ["cluster": name])
            removeCluster(name)
        }
        wantsChanged()
        publish()
    }
}
