internal import Upstream

/// Everything the loops serve from: immutable, replaced whole.
final class Tables: Sendable {
    let clusters: [String: ClusterConfig]
    let endpoints: [String: EndpointTable]
    let routes: [String: CompiledRoutes]
    /// Those of SRDS.
    let scopes: [ScopedRouting.Scope]

    /// The hosts of a cluster that no loop uses, as a loop would begin with them.
    func hosts(of cluster: String) -> HostSet {
        let hosts = HostSet()
        if let endpoints = endpoints[cluster] { hosts.apply(endpoints) }
        return hosts
    }

    init(
        clusters: [String: ClusterConfig] = [:], endpoints: [String: EndpointTable] = [:],
        routes: [String: CompiledRoutes] = [:], scopes: [ScopedRouting.Scope] = []
    ) {
        self.scopes = scopes
        self.clusters = clusters
        self.endpoints = endpoints
        self.routes = routes
    }
}
