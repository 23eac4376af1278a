internal import Upstream

// Redirects that the proxy follows itself.
extension HTTPStream {
    /// The route that the changed request takes, for a redirect that the router follows; the present one stays in force.
    func redirectedRoute() -> (route: Route, target: ClusterTarget?, virtualHost: String)? {
        guard let table = manager.table(for: request),
            let found = readRequest({ table.route(for: $0, random: worker.random.next(), facts: self) })
        else { return nil }
        var target: ClusterTarget?
        if case .forward(let forwarding) = found.route.action {
            target = readRequest {
                forwarding.target(for: $0, random: worker.random.next(), facts: self, hash: { nil })
            }
        }
        return (found.route, target, found.virtualHost.name)
    }
}
