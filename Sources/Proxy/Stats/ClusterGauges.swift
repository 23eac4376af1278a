internal import Telemetry
internal import Upstream

/// What of clusters is not counted but asked: members, circuit breakers.
///
/// Asked only when metrics are read, so that 10,000 clusters cost no cells for it.
struct ClusterGauges: Sendable {
    let name: String
    var members = 0
    var healthy = 0
    var degraded = 0
    var excluded = 0
    var weightMax: UInt32 = 0
    var ejected = 0
    var normal: Breakers
    var high: Breakers

    /// The circuit breakers of one priority.
    struct Breakers: Sendable {
        /// Whether the limit is reached, and how much is left, by resource.
        var remaining: [UInt32]
        var tracksRemaining: Bool

        init(_ use: ResourceUse) {
            remaining = ResourceUse.Resource.allCases.map { resource in
                let (limit, count) = (use.limit(of: resource), use.count(of: resource))
                return limit > count ? limit - count : 0
            }
            tracksRemaining = use.thresholds.tracksRemaining
        }

        /// Every loop has breakers of its own: open is what is open anywhere.
        mutating func merge(_ other: Breakers) {
            for index in remaining.indices { remaining[index] = min(remaining[index], other.remaining[index]) }
        }

        func append(_ prefix: String, to samples: inout [MetricSample]) {
            for resource in ResourceUse.Resource.allCases {
                let left = remaining[resource.rawValue]
                let (open, name): (String, String) =
                    switch resource {
                    case .connection: ("cx_open", "remaining_cx")
                    case .pendingRequest: ("rq_pending_open", "remaining_pending")
                    case .request: ("rq_open", "remaining_rq")
                    case .retry: ("rq_retry_open", "remaining_retries")
                    case .pool: ("cx_pool_open", "remaining_cx_pools")
                    }
                samples.append(MetricSample(MetricName(masked: "\(prefix).\(open)"), .gauge(left == 0 ? 1 : 0)))
                if tracksRemaining {
                    samples.append(MetricSample(MetricName(masked: "\(prefix).\(name)"), .gauge(Int64(left))))
                }
            }
        }
    }

    init(_ cluster: ClusterRuntime) {
        self.init(
            cluster.name, cluster.hostSet, normal: Breakers(cluster.normalUse), high: Breakers(cluster.highUse))
    }

    /// A cluster that no loop uses yet.
    init(_ config: ClusterConfig, _ hosts: HostSet) {
        self.init(
            config.name, hosts, normal: Breakers(ResourceUse(config.limits.normal)),
            high: Breakers(ResourceUse(config.limits.high)))
    }

    private init(_ name: String, _ hostSet: HostSet, normal: Breakers, high: Breakers) {
        self.name = name
        self.normal = normal
        self.high = high
        for priority in hostSet.priorities {
            members += priority.hosts.count
            healthy += priority.healthy.count
            degraded += priority.degraded.count
            for host in priority.hosts {
                weightMax = max(weightMax, host.endpoint.weight)
                if host.conditions.contains(.ejected) { ejected += 1 }
            }
        }
    }

    /// Members as the first loop that uses the cluster sees them, breakers of all loops.
    static func samples(_ proxy: ProxyServer) async -> [MetricSample] {
        var gauges: [String: ClusterGauges] = [:]
        for worker in proxy.workers {
            for one in await worker.ask({ worker in worker.clustersInUse.map { ClusterGauges($0) } }) ?? [] {
                if gauges[one.name] == nil {
                    gauges[one.name] = one
                } else {
                    gauges[one.name]?.normal.merge(one.normal)
                    gauges[one.name]?.high.merge(one.high)
                }
            }
        }
        let tables = proxy.store.published
        for (name, config) in tables.clusters where gauges[name] == nil {
            gauges[name] = ClusterGauges(config, tables.hosts(of: name))
        }
        var samples: [MetricSample] = []
        for one in gauges.values {
            let prefix = "cluster.\(MetricName.element(tables.clusters[one.name]?.observedName ?? one.name))"
            func gauge(_ name: String, _ value: Int) {
                samples.append(MetricSample(MetricName(masked: "\(prefix).\(name)"), .gauge(Int64(value))))
            }
            gauge("membership_total", one.members)
            gauge("membership_healthy", one.healthy)
            gauge("membership_degraded", one.degraded)
            gauge("membership_excluded", one.excluded)
            // Envoy leaves it at zero where all hosts weigh the same.
            gauge("max_host_weight", one.weightMax > 1 ? Int(one.weightMax) : 0)
            one.normal.append("\(prefix).circuit_breakers.default", to: &samples)
            one.high.append("\(prefix).circuit_breakers.high", to: &samples)
        }
        return samples
    }
}
