internal import Upstream

/// Everything the loops serve from: immutable, replaced whole.
final class Tables: Sendable {
    let clusters: [String: ClusterConfig]
    let endpoints: [String: EndpointTable]
    let routes: [String: CompiledRoutes]
    /// Those of SRDS.
    let scopes: [ScopedRouting.Scope]

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
