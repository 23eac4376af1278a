internal import EnvoyAPI
internal import IO
internal import Upstream

/// What clusters did since the last report, for a load reporting service (LRS).
///
/// Pure: what was counted goes in with the time, what is new since the last time comes out. See `envoy.service.load_stats.v3` and `envoy.config.endpoint.v3.ClusterStats`.
struct ClusterLoadReport {
    /// What is counted up for ever.
    private struct Totals {
        var issued: UInt64 = 0
        var successes: UInt64 = 0
        var errors: UInt64 = 0

        init() {}

        init(_ host: ClusterReport.HostReport) {
            issued = host.statistics.requestsTotal
            successes = host.statistics.successes
            errors = host.statistics.errors
        }

        /// A host that left and came again counts from zero.
        func since(_ earlier: Totals) -> Totals {
            var new = self
            guard issued >= earlier.issued, successes >= earlier.successes, errors >= earlier.errors else { return new }
            new.issued -= earlier.issued
            new.successes -= earlier.successes
            new.errors -= earlier.errors
            return new
        }
    }

    /// A cluster at its last report.
    private struct Known {
        var since: MonotonicTime
        var hosts: [String: Totals] = [:]
        var dropped: [String: UInt64] = [:]

        init(_ report: ClusterReport, at now: MonotonicTime) {
            since = now
            dropped = report.dropped
            for host in report.hosts { hosts[host.address] = Totals(host) }
        }

        /// One that came after the last report: all of it is new.
        init(since: MonotonicTime) { self.since = since }
    }

    private struct Place: Hashable, Comparable {
        var priority: Int
        var region: String
        var zone: String
        var subZone: String

        static func < (one: Place, other: Place) -> Bool {
            (one.priority, one.region, one.zone, one.subZone)
                < (other.priority, other.region, other.zone, other.subZone)
        }
    }

    private var names: Set<String> = []
    private var wantsAll = false
    private var wantsEndpoints = false
    private var known: [String: Known] = [:]
    private var last: MonotonicTime?

    /// What the server wants from now on; clusters that it wanted before go on from their last report.
    mutating func want(_ response: LoadStatsResponse, _ clusters: [ClusterReport], at now: MonotonicTime) {
        names = Set(response.clusters)
        wantsAll = response.sendAllClusters
        wantsEndpoints = response.reportEndpointGranularity
        known = known.filter { wants($0.key) }
        for cluster in clusters where wants(cluster.name) && known[cluster.name] == nil {
            known[cluster.name] = Known(cluster, at: now)
        }
        last = now
    }

    /// A new stream begins from nothing.
    mutating func forget() { self = ClusterLoadReport() }

    private func wants(_ name: String) -> Bool { wantsAll || names.contains(name) }

    /// What is to be told now, by name of cluster.
    mutating func take(_ clusters: [ClusterReport], at now: MonotonicTime) -> [ClusterStats] {
        var told: [ClusterStats] = []
        var next: [String: Known] = [:]
        for cluster in clusters where wants(cluster.name) {
            let before = known[cluster.name] ?? Known(since: last ?? now)
            told.append(report(cluster, since: before, at: now))
            next[cluster.name] = Known(cluster, at: now)
        }
        known = next
        last = now
        return told
    }

    private func report(_ cluster: ClusterReport, since before: Known, at now: MonotonicTime) -> ClusterStats {
        var stats = ClusterStats()
        stats.clusterName = cluster.name
        stats.clusterServiceName = cluster.serviceName
        stats.loadReportInterval = now - before.since
        for (category, count) in cluster.dropped.sorted(by: { $0.key < $1.key }) {
            let earlier = before.dropped[category] ?? 0
            let new = count >= earlier ? count - earlier : count
            guard new > 0 else { continue }
            var dropped = ClusterStats.DroppedRequests()
            (dropped.category, dropped.droppedCount) = (category, new)
            stats.droppedRequests.append(dropped)
            stats.totalDroppedRequests &+= new
        }
        var places: [Place: UpstreamLocalityStats] = [:]
        for host in cluster.hosts {
            let new = Totals(host).since(before.hosts[host.address] ?? Totals())
            // As Envoy: who had nothing to do is not told of.
            guard new.issued > 0 || new.successes > 0 || new.errors > 0 || host.activeRequests > 0 else { continue }
            let place = Place(
                priority: host.priority, region: host.region, zone: host.zone, subZone: host.subZone)
            places[place, default: UpstreamLocalityStats()].add(
                host, issued: new.issued, successes: new.successes, errors: new.errors, wantsEndpoint: wantsEndpoints)
        }
        for (place, sums) in places.sorted(by: { $0.key < $1.key }) {
            var sums = sums
            var locality = EnvoyAPI.Locality()
            (locality.region, locality.zone, locality.subZone) = (place.region, place.zone, place.subZone)
            sums.locality = locality
            sums.priority = UInt32(clamping: place.priority)
            stats.upstreamLocalityStats.append(sums)
        }
        return stats
    }
}

extension UpstreamLocalityStats {
    fileprivate mutating func add(
        _ host: ClusterReport.HostReport, issued: UInt64, successes: UInt64, errors: UInt64, wantsEndpoint: Bool
    ) {
        totalIssuedRequests &+= issued
        totalSuccessfulRequests &+= successes
        totalErrorRequests &+= errors
        totalRequestsInProgress &+= host.activeRequests
        guard wantsEndpoint else { return }
        var endpoint = UpstreamEndpointStats()
        endpoint.address = IO.SocketAddress(host.address).map { EnvoyAPI.Address($0) }
        endpoint.totalIssuedRequests = issued
        endpoint.totalSuccessfulRequests = successes
        endpoint.totalErrorRequests = errors
        endpoint.totalRequestsInProgress = host.activeRequests
        upstreamEndpointStats.append(endpoint)
    }
}
