internal import EnvoyAPI
internal import IO
internal import Upstream

/// A cluster as `/clusters` tells it: what one worker knows, merged with the others.
struct ClusterReport: Sendable {
    struct HostReport: Sendable {
        var address: String
        var hostname: String
        var weight: UInt32
        var priority: Int
        var region: String
        var zone: String
        var subZone: String
        var health: [String]
        var activeConnections: UInt64
        var activeRequests: UInt64
        var statistics: Host.Statistics
        var isCanary = false
        var successRate = -1.0
        var localOriginSuccessRate = -1.0
    }

    var name: String
    /// What metrics call it.
    var observedName: String
    var limits: ResourceLimits
    var hosts: [HostReport]
    /// Requests that `drop_overloads` dropped, by category.
    var dropped: [String: UInt64]
    /// From a management server or file, not from the bootstrap.
    var isDynamic = false
    /// What EDS calls it, when that is not its name.
    var serviceName = ""

    init(named name: String, limits: ResourceLimits, hosts: [HostReport]) {
        self.name = name
        observedName = name
        self.limits = limits
        self.hosts = hosts
        dropped = [:]
    }

    init(_ cluster: ClusterRuntime) { self.init(cluster.config, cluster.hostSet) }

    init(_ config: ClusterConfig, _ hostSet: HostSet) {
        name = config.name
        observedName = config.observedName
        limits = config.limits
        dropped = hostSet.dropped
        hosts = hostSet.hosts.map { host in
            var health: [String] = []
            if host.conditions.contains(.failedActiveCheck) { health.append("failed_active_hc") }
            if host.conditions.contains(.ejected) { health.append("failed_outlier_check") }
            if host.conditions.contains(.endpointUnhealthy) { health.append("failed_eds_health") }
            if host.conditions.contains(.degradedByCheck) { health.append("degraded_active_hc") }
            if host.conditions.contains(.degraded) { health.append("degraded_eds_health") }
            if host.conditions.contains(.unchecked) { health.append("pending_active_hc") }
            if host.conditions.contains(.excluded) { health.append("excluded_via_immediate_hc_fail") }
            if host.conditions.contains(.draining) { health.append("eds_status_draining") }
            return HostReport(
                address: host.address.description, hostname: host.endpoint.hostname, weight: host.weight,
                priority: host.priority, region: host.locality.region, zone: host.locality.zone,
                subZone: host.locality.subZone, health: health, activeConnections: UInt64(host.activeConnections),
                activeRequests: UInt64(host.activeRequests), statistics: host.statistics, isCanary: host.isCanary,
                successRate: host.successRate, localOriginSuccessRate: host.localOriginSuccessRate)
        }
    }

    /// All clusters, by name: what the loops that use them know, and of the others what is configured.
    static func all(_ proxy: ProxyServer) async -> [ClusterReport] {
        var reports: [String: ClusterReport] = [:]
        for worker in proxy.workers {
            for report in await worker.ask({ worker in worker.clustersInUse.map { ClusterReport($0) } }) ?? [] {
                reports[report.name] = reports[report.name].map { $0.merged(with: report) } ?? report
            }
        }
        let tables = proxy.store.published
        for (name, config) in tables.clusters where reports[name] == nil {
            reports[name] = ClusterReport(config, tables.hosts(of: name))
        }
        return reports.values.sorted { $0.name < $1.name }.map { report in
            var report = report
            report.isDynamic = proxy.store.clusters[report.name]?.isStatic == false
            report.serviceName =
                proxy.store.clusterMessages[report.name]?.message.edsClusterConfig?.serviceName ?? ""
            return report
        }
    }

    private func merged(with other: ClusterReport) -> ClusterReport {
        var merged = self
        let places = Dictionary(
            hosts.indices.map { (hosts[$0].address, $0) }, uniquingKeysWith: { first, _ in first })
        for host in other.hosts {
            if let place = places[host.address] { merged.hosts[place].add(host) } else { merged.hosts.append(host) }
        }
        merged.dropped.merge(other.dropped) { $0 &+ $1 }
        return merged
    }

    /// Envoy's lines.
    var text: String {
        var text = "\(name)::observability_name::\(observedName)\n"
        for (kind, limits) in [("default", limits.normal), ("high", limits.high)] {
            text += "\(name)::\(kind)_priority::max_connections::\(limits.connectionsMax)\n"
            text += "\(name)::\(kind)_priority::max_pending_requests::\(limits.pendingRequestsMax)\n"
            text += "\(name)::\(kind)_priority::max_requests::\(limits.requestsMax)\n"
            text += "\(name)::\(kind)_priority::max_retries::\(limits.retriesMax)\n"
        }
        text += "\(name)::added_via_api::\(isDynamic)\n"
        if !serviceName.isEmpty { text += "\(name)::eds_service_name::\(serviceName)\n" }
        for host in hosts {
            for (key, value) in host.fields { text += "\(name)::\(host.address)::\(key)::\(value)\n" }
        }
        return text
    }

    var message: ClusterStatus {
        var status = ClusterStatus()
        status.name = name
        status.observabilityName = observedName
        status.addedViaApi = isDynamic
        status.edsServiceName = serviceName
        status.hostStatuses = hosts.map(\.message)
        var breakers = CircuitBreakers()
        for (priority, limits) in [(RoutingPriority.default, limits.normal), (.high, limits.high)] {
            var thresholds = CircuitBreakers.Thresholds()
            thresholds.priority = priority
            thresholds.maxConnections = UInt32(clamping: limits.connectionsMax)
            thresholds.maxPendingRequests = UInt32(clamping: limits.pendingRequestsMax)
            thresholds.maxRequests = UInt32(clamping: limits.requestsMax)
            thresholds.maxRetries = UInt32(clamping: limits.retriesMax)
            breakers.thresholds.append(thresholds)
        }
        status.circuitBreakers = breakers
        return status
    }
}

extension ClusterReport.HostReport {
    mutating func add(_ other: ClusterReport.HostReport) {
        activeConnections += other.activeConnections
        activeRequests += other.activeRequests
        statistics.requestsTotal &+= other.statistics.requestsTotal
        statistics.successes &+= other.statistics.successes
        statistics.errors &+= other.statistics.errors
        statistics.timeouts &+= other.statistics.timeouts
        statistics.connectionsTotal &+= other.statistics.connectionsTotal
        statistics.connectFailures &+= other.statistics.connectFailures
        for flag in other.health where !health.contains(flag) { health.append(flag) }
    }

    var fields: [(String, String)] {
        [
            ("cx_active", "\(activeConnections)"), ("cx_connect_fail", "\(statistics.connectFailures)"),
            ("cx_total", "\(statistics.connectionsTotal)"), ("rq_active", "\(activeRequests)"),
            ("rq_error", "\(statistics.errors)"), ("rq_success", "\(statistics.successes)"),
            ("rq_timeout", "\(statistics.timeouts)"), ("rq_total", "\(statistics.requestsTotal)"),
            ("hostname", hostname), ("health_flags", health.isEmpty ? "healthy" : "/" + health.joined(separator: "/")),
            ("weight", "\(weight)"), ("region", region), ("zone", zone), ("sub_zone", subZone),
            ("canary", "\(isCanary)"),
            ("priority", "\(priority)"), ("success_rate", Self.rate(successRate)),
            ("local_origin_success_rate", Self.rate(localOriginSuccessRate)),
        ]
    }

    /// As Envoy prints it: `-1` where it was not measured.
    private static func rate(_ value: Double) -> String {
        value < 0 ? "-1" : value == value.rounded() ? "\(Int(value))" : "\(value)"
    }

    var message: HostStatus {
        var status = HostStatus()
        status.address = IO.SocketAddress(address).map { EnvoyAPI.Address($0) } ?? EnvoyAPI.Address()
        status.weight = weight
        status.hostname = hostname
        status.priority = UInt32(clamping: priority)
        var locality = EnvoyAPI.Locality()
        (locality.region, locality.zone, locality.subZone) = (region, zone, subZone)
        status.locality = locality
        var conditions = HostHealthStatus()
        conditions.failedActiveHealthCheck = health.contains("failed_active_hc")
        conditions.failedOutlierCheck = health.contains("failed_outlier_check")
        conditions.edsHealthStatus =
            health.contains("failed_eds_health")
            ? .unhealthy : health.contains("degraded_eds_health") ? .degraded : .healthy
        status.healthStatus = conditions
        func metric(_ name: String, _ value: UInt64, _ kind: SimpleMetric.MetricKind = .counter) {
            var metric = SimpleMetric()
            (metric.name, metric.value, metric.type) = (name, value, kind)
            status.stats.append(metric)
        }
        metric("cx_connect_fail", statistics.connectFailures)
        metric("cx_total", statistics.connectionsTotal)
        metric("rq_error", statistics.errors)
        metric("rq_success", statistics.successes)
        metric("rq_timeout", statistics.timeouts)
        metric("rq_total", statistics.requestsTotal)
        metric("cx_active", activeConnections, .gauge)
        metric("rq_active", activeRequests, .gauge)
        return status
    }
}
