import KubernetesAPI
import Serialization

/// Attaches routes to listeners and services.
struct RouteAttachment {
    typealias Finding = GatewayAPIModel.Finding

    let objects: MeshObjects
    let grants: ReferenceGrants
    let services: ServiceLookup

    func attach(_ model: inout GatewayAPIModel) {
        // H-6's order is the API's own: the oldest first, then by name; across kinds as well.
        let found = GatewayAPIModel.RouteKind.allCases.flatMap { kind in
            objects.inOrder(kind.kind).map { (kind: kind, object: $0) }
        }
        for (kind, object) in found {
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            let position = model.routes.count
            var route = GatewayAPIModel.Route(kind: kind, key: key, route: GatewayAPI.Route(json: object.json))
            route.created = object.metadata.creationTimestamp
            let problems = RouteProblems(route: route, resolver: resolver(route))
            route.refusal = problems.refusal()
            route.unresolved = problems.unresolved()
            for reference in route.route.parents {
                guard let parent = self.parent(reference, route, position, &model) else { continue }
                route.parents.append(parent)
            }
            model.routes.append(route)
        }
        for position in Set(model.attachments.values.joined().map(\.route)) {
            guard model.routes.indices.contains(position), model.routes[position].kind == .grpc else { continue }
            let route = model.routes[position]
            for backend in route.route.rules.flatMap(\.backends) {
                guard case .cluster(let name) = resolver(route).resolve(backend),
                    let target = Destinations.parts(name)
                else { continue }
                model.callPorts[target.host, default: []].insert(target.port)
            }
        }
    }

    private func resolver(_ route: GatewayAPIModel.Route) -> BackendResolver {
        // Backends are judged once for all parents: a single gateway among them asks for grants.
        let parents = route.route.parents
        let isInside = !parents.isEmpty && parents.allSatisfy { $0.group == "" && $0.kind == "Service" }
        return BackendResolver(
            objects: objects, grants: grants, services: services, kind: route.kind, namespace: route.key.namespace,
            needsGrants: !isInside)
    }

    /// What becomes of one `parentRef`; `nil` when it is not ours to answer for.
    private func parent(
        _ reference: GatewayAPI.Reference, _ route: GatewayAPIModel.Route, _ position: Int,
        _ model: inout GatewayAPIModel
    ) -> GatewayAPIModel.Parent? {
        let key = NamespacedName(namespace: reference.namespace ?? route.key.namespace, name: reference.name)
        switch (reference.group ?? GatewayAPI.group, reference.kind.isEmpty ? "Gateway" : reference.kind) {
        case (GatewayAPI.group, "Gateway"):
            guard model.gateways.contains(where: { $0.key == key }) else { return nil }
            return attach(reference, route, position, .gateway(key), &model)
        case (GatewayAPI.group, "ListenerSet"):
            let isOurs =
                model.refusedSets[key] != nil || model.listeners.contains { $0.owner == .listenerSet(key) }
            return isOurs ? attach(reference, route, position, .listenerSet(key), &model) : nil
        case ("", "Service"):
            return attach(toService: reference, key, route, position, &model)
        default: return nil
        }
    }

    private func attach(
        _ reference: GatewayAPI.Reference, _ route: GatewayAPIModel.Route, _ position: Int,
        _ owner: GatewayAPIModel.Owner, _ model: inout GatewayAPIModel
    ) -> GatewayAPIModel.Parent {
        var parent = GatewayAPIModel.Parent(reference: reference)
        let candidates = model.listeners.indices.filter { index in
            let listener = model.listeners[index]
            return listener.owner == owner
                && (reference.sectionName.map { $0 == listener.listener.name } ?? true)
                && (reference.port.map { $0 == listener.listener.port } ?? true)
        }
        if candidates.isEmpty {
            parent.accepted = Finding(
                reason: "NoMatchingParent", message: "\(owner.kind) \(owner.key) has no listener of that name and port")
            return parent
        }
        let listeners = ListenerResolution(objects: objects, grants: grants)
        let letIn = candidates.filter { index in
            let listener = model.listeners[index]
            return listener.kinds.contains(route.kind)
                && listeners.allows(
                    listener.listener.allowedNamespaces, namespace: route.key.namespace,
                    own: listener.owner.key.namespace)
        }
        if letIn.isEmpty {
            parent.accepted = Finding(
                reason: "NotAllowedByListeners",
                message: "no listener lets \(route.kind.rawValue)s of namespace \(route.key.namespace) in (I-14)")
            return parent
        }
        if let refusal = route.refusal {
            parent.accepted = refusal
            return parent
        }
        var hasAttached = false
        for index in letIn {
            let hosts = hosts(route, model.listeners[index])
            guard !hosts.isEmpty else { continue }
            hasAttached = true
            // A route may name a listener twice: by the Gateway and by section.
            if model.attachments[index]?.contains(where: { $0.route == position }) == true { continue }
            model.attachments[index, default: []].append(GatewayAPIModel.Attachment(route: position, hosts: hosts))
            model.listeners[index].attachedRoutes += 1
        }
        if !hasAttached {
            parent.accepted = Finding(
                reason: "NoMatchingListenerHostname",
                message: "spec.hostnames has no host in common with the listeners (I-11)")
        }
        return parent
    }

    /// I-11: the hosts that the route and the listener have in common.
    private func hosts(_ route: GatewayAPIModel.Route, _ listener: GatewayAPIModel.Listener) -> [String] {
        guard route.kind.hasHostnames, !route.route.hostnames.isEmpty else { return [listener.host] }
        var found: [String] = []
        for host in route.route.hostnames {
            if let common = HostName.intersection(listener.host, host), !found.contains(common) { found.append(common) }
        }
        return found
    }

    /// I-15: a route for callers of a service inside of the mesh.
    private func attach(
        toService reference: GatewayAPI.Reference, _ key: NamespacedName, _ route: GatewayAPIModel.Route,
        _ position: Int, _ model: inout GatewayAPIModel
    ) -> GatewayAPIModel.Parent? {
        var parent = GatewayAPIModel.Parent(reference: reference)
        guard let service = services.service(HostName.ofService(key)) else {
            parent.accepted = Finding(reason: "NoMatchingParent", message: "there is no Service \(key)")
            return parent
        }
        if let port = reference.port, service.port(port) == nil {
            parent.accepted = Finding(reason: "NoMatchingParent", message: "Service \(key) has no port \(port)")
        } else if route.kind == .udp || route.kind == .tls {
            parent.accepted = Finding(
                reason: "NotAllowedByListeners",
                message:
                    "a \(route.kind.rawValue) has no effect inside of the mesh; use HTTPRoute, GRPCRoute or TCPRoute")
        } else if let refusal = route.refusal {
            parent.accepted = refusal
        } else {
            model.meshRoutes[key, default: []].append((position, reference.port))
        }
        return parent
    }
}
