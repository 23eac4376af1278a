import EnvoyAPI
import KubernetesAPI

/// Routes of services inside of the mesh (I-15): a route whose parent is a Service takes the place of the service's
/// default routing, and what it does not match gets 404.
///
/// In the service's own namespace it is the producer's and counts for all callers; in another namespace it is a
/// consumer's and counts for callers of that namespace only, in the place of the producer's. Where the service has an address of its own,
/// they are for requests to that address (`AddressedServices`).
struct ServiceRoutes {
    let model: MeshModel
    /// The namespace of the caller.
    let caller: String

    /// The positions of the routes that count for a port of a service, oldest first.
    private func routes(
        _ service: NamespacedName, port: Int, _ kinds: Set<GatewayAPIModel.RouteKind>
    ) -> [GatewayAPIModel.Route] {
        let api = model.gatewayAPI
        guard let all = api.meshRoutes[service] else { return [] }
        let fitting = all.filter { entry in
            (entry.port ?? port) == port && api.routes.indices.contains(entry.route)
                && kinds.contains(api.routes[entry.route].kind)
        }.map(\.route)
        func owned(by namespace: String) -> [Int] {
            fitting.filter { api.routes[$0].key.namespace == namespace }
        }
        let own = caller == service.namespace ? [] : owned(by: caller)
        var seen: Set<Int> = []
        return (own.isEmpty ? owned(by: service.namespace) : own).filter { seen.insert($0).inserted }
            .sorted { api.isOlder($0, $1) }.map { api.routes[$0] }
    }

    /// Whether a route of requests has the service for its parent.
    func hasHTTP(_ service: NamespacedName, port: Int) -> Bool { !routes(service, port: port, [.http, .grpc]).isEmpty }

    /// The routes of requests; `nil` when no route has the service for its parent.
    func http(_ service: NamespacedName, port: Int) -> [Route]? {
        let found = routes(service, port: port, [.http, .grpc])
        guard !found.isEmpty else { return nil }
        return RouteConditions.sorted(
            found.flatMap { RouteRules(model: model, route: $0, listenerPort: nil).ranked() })
    }

    /// Where connections go, in the place of the service itself; `nil` when no route has the service for its parent.
    func tcp(_ service: NamespacedName, port: Int, replacing own: TcpProxy) -> TcpProxy? {
        guard let first = routes(service, port: port, [.tcp]).first,
            let position = model.gatewayAPI.routes.firstIndex(where: { $0.kind == .tcp && $0.key == first.key })
        else { return nil }
        var proxy = own
        StreamRoutes(model: model, isEdge: false).route(position, into: &proxy)
        return proxy
    }
}
