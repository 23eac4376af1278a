internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

// Counters that few requests touch: retried responses, canaries. Their names are made when they are counted.
extension Router {
    /// A response that is not delivered, because the request is tried again: `cluster.<name>.retry.upstream_rq_503`.
    func countRetried(_ status: UInt16) {
        guard let cluster else { return }
        count(status, in: cluster.retryScope)
    }

    /// A canary's response that the client gets.
    func countCanary(_ status: UInt16) {
        guard let cluster else { return }
        count(status, in: cluster.canaryScope)
    }

    private func count(_ status: UInt16, in scope: MetricScope) {
        scope.counter("upstream_rq_\(status)").add(1, row: worker.index)
        scope.counter("upstream_rq_\(status / 100)xx").add(1, row: worker.index)
        scope.counter("upstream_rq_completed").add(1, row: worker.index)
    }

    func countBytes(_ count: Int) {
        guard countsActive, let pool else { return }
        bytesCounted &+= UInt64(count)
        pool.host.bytesInFlight &+= UInt64(count)
    }

    /// How long the try's answer took, by the cluster's and the route's histograms and the host's own average.
    func recordTime(_ cluster: ClusterRuntime, _ pool: HostPool) {
        let nanoseconds = worker.loop.now.nanoseconds(since: tryStarted)
        if stream.isInternal {
            cluster.metrics.internalRequestTime.record(nanoseconds: nanoseconds, row: worker.index)
        } else {
            cluster.metrics.requestTime.record(nanoseconds: nanoseconds, row: worker.index)
        }
        guard stream.requestMetrics != nil || cluster.measuresLatency else { return }
        let time = Duration.nanoseconds(Int64(clamping: nanoseconds))
        stream.requestMetrics?.record(time, row: worker.index)
        if cluster.measuresLatency, case .peakEWMA(let settings) = cluster.config.balancing {
            pool.host.latency.record(time, now: worker.loop.now.nanoseconds, decay: settings.decayTime)
        }
    }

    func countResponse(_ status: UInt16) {
        if stream.info.isHealthCheck { return }
        cluster?.metrics.countResponse(status, isInternal: stream.isInternal, row: worker.index)
        stream.requestMetrics?.countResponse(status, isInternal: stream.isInternal, row: worker.index)
    }
}
