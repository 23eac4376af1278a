import XDS

/// The forms in which proxies get what the mesh has for them: by who asks for secrets, who asks on demand, and who is no proxy of ours.
struct ProxyForms {
    private(set) var onDemand = OnDemandResources()
    private var agentless = AgentlessResources.resources
    private var metricChains = MetricChains.resources
    /// Resources with access logs to us, by the cluster that leads here.
    private var logged: [String: AdaptedResources] = [:]
    /// How often a proxy's access logs were left out, because too many name different clusters for them.
    private(set) var refusedLogClusters = 0

    /// A new generation begins.
    mutating func begin() {
        onDemand.begin()
        agentless.begin()
        metricChains.begin()
        for cluster in logged.keys { logged[cluster]?.begin() }
    }

    /// What a proxy gets of a translation.
    mutating func snapshot(_ base: Snapshot, of stream: ProxyStream) -> Snapshot {
        let own = AgentlessResources.isAgentless(stream.server.node) ? agentless.snapshot(base) : base
        guard stream.client == .skein else { return withLogs(own, of: stream) }
        return stream.asksOnDemand ? onDemand.snapshot(own, like: stream.base) : metricChains.snapshot(own)
    }

    /// The part that all proxies of ours share which have an agent and see the same world.
    mutating func part(_ shared: SnapshotPart, asksOnDemand: Bool, like last: SnapshotPart) -> SnapshotPart {
        asksOnDemand ? onDemand.part(shared, like: last) : metricChains.part(shared)
    }

    private mutating func withLogs(_ base: Snapshot, of stream: ProxyStream) -> Snapshot {
        guard let cluster = LoggedProxies.cluster(stream.server.node) else { return base }
        guard logged[cluster] != nil || logged.count < LoggedProxies.namesMax else {
            refusedLogClusters += 1
            return base
        }
        return logged[cluster, default: LoggedProxies.resources(cluster)].snapshot(base)
    }
}
