internal import Upstream

// Load reports out of band.
extension ConfigurationStore {
    /// Begins, changes or ends the streams to a cluster's hosts, as it is now.
    func updateReportStreams(_ name: String) {
        guard let config = clusters[name]?.config, config.reportedWeights?.outOfBand != nil else {
            reportStreams.removeValue(forKey: name)?.cancel()
            return
        }
        let streams: HostReportStreams
        if let known = reportStreams[name] {
            streams = known
        } else {
            streams = HostReportStreams(config, loop: loop, metrics: metrics) { [workers] address, report in
                for worker in workers { worker.send { $0.take(report, of: address, inCluster: name) } }
            }
            reportStreams[name] = streams
        }
        streams.update(config, endpoints: endpoints[key(of: config)] ?? EndpointTable())
    }
}
