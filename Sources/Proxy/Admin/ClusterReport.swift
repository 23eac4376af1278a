internal import Serialization
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
    var limits: ResourceLimits
    var hosts: [HostReport]

    init(_ cluster: ClusterRuntime) {
        name = cluster.name
        limits = cluster.config.limits
        hosts = cluster.hostSet.hosts.map { host in
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

    static func merge(_ left: [ClusterReport], _ right: [ClusterReport]) -> [ClusterReport] {
        if left.isEmpty { return right }
        var merged = left
        for report in right {
            guard let index = merged.firstIndex(where: { $0.name == report.name }) else {
                merged.append(report)
                continue
            }
            for host in report.hosts {
                guard let place = merged[index].hosts.firstIndex(where: { $0.address == host.address }) else {
                    merged[index].hosts.append(host)
                    continue
                }
                merged[index].hosts[place].add(host)
            }
        }
        return merged
    }

    /// Envoy's lines.
    var text: String {
        var text = "\(name)::observability_name::\(name)\n"
        text += "\(name)::default_priority::max_connections::\(limits.normal.connectionsMax)\n"
        text += "\(name)::default_priority::max_pending_requests::\(limits.normal.pendingRequestsMax)\n"
        text += "\(name)::default_priority::max_requests::\(limits.normal.requestsMax)\n"
        text += "\(name)::default_priority::max_retries::\(limits.normal.retriesMax)\n"
        text += "\(name)::added_via_api::true\n"
        for host in hosts {
            for (key, value) in host.fields { text += "\(name)::\(host.address)::\(key)::\(value)\n" }
        }
        return text
    }

    var json: JSON {
        .object([
            "name": .string(name), "observability_name": .string(name), "added_via_api": .bool(true),
            "host_statuses": .array(hosts.map(\.json)),
        ])
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

    var json: JSON {
        var address = JSON.object(["pipe": .object(["path": .string(self.address)])])
        if let colon = self.address.lastIndex(of: ":"),
            let port = Int64(self.address[self.address.index(after: colon)...])
        {
            address = .object([
                "socket_address": .object([
                    "address": .string(String(self.address[..<colon])), "port_value": .integer(port),
                ])
            ])
        }
        func counter(_ name: String, _ value: UInt64) -> JSON {
            .object(["name": .string(name), "value": .string(String(value))])
        }
        var status: [String: JSON] = [
            "eds_health_status": .string(health.contains("failed_eds_health") ? "UNHEALTHY" : "HEALTHY")
        ]
        if health.contains("failed_active_hc") { status["failed_active_health_check"] = .bool(true) }
        if health.contains("failed_outlier_check") { status["failed_outlier_check"] = .bool(true) }
        return .object([
            "address": address, "weight": .integer(Int64(weight)), "health_status": .object(status),
            "hostname": .string(hostname), "priority": .integer(Int64(priority)),
            "locality": .object([
                "region": .string(region), "zone": .string(zone), "sub_zone": .string(subZone),
            ]),
            "stats": .array([
                counter("cx_total", statistics.connectionsTotal),
                counter("cx_connect_fail", statistics.connectFailures),
                counter("cx_active", activeConnections), counter("rq_total", statistics.requestsTotal),
                counter("rq_success", statistics.successes), counter("rq_error", statistics.errors),
                counter("rq_timeout", statistics.timeouts), counter("rq_active", activeRequests),
            ]),
        ])
    }
}
