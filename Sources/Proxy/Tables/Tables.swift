internal import Upstream

/// Everything the loops serve from: immutable, replaced whole.
final class Tables: Sendable {
    let clusters: [String: ClusterConfig]
    let endpoints: [String: EndpointTable]
    let routes: [String: CompiledRoutes]

    init(
        clusters: [String: ClusterConfig] = [:], endpoints: [String: EndpointTable] = [:],
        routes: [String: CompiledRoutes] = [:]
    ) {
        self.clusters = clusters
        self.endpoints = endpoints
        self.routes = routes
    }
}
