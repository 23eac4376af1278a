import KubernetesAPI
import Serialization

/// From `backendRefs` to clusters.
struct BackendResolver {
    typealias Finding = GatewayAPIModel.Finding

    let objects: MeshObjects
    let grants: ReferenceGrants
    let services: ServiceLookup
    let kind: GatewayAPIModel.RouteKind
    let namespace: String
    /// Whether backends of other namespaces must be granted (I-13).
    ///
    /// A route of a Service says where its callers go, who might go there by themselves as well: none is needed (I-15).
    var needsGrants = true

    /// A cluster, or why there is none.
    enum Outcome: Sendable, Hashable {
        case cluster(String)
        case invalid(Finding)
    }

    func resolve(_ reference: GatewayAPI.Reference) -> Outcome {
        func invalid(_ reason: String, _ message: String) -> Outcome {
            .invalid(Finding(reason: reason, message: message))
        }
        let group = reference.group ?? ""
        let kindName = reference.kind.isEmpty ? "Service" : reference.kind
        let key = NamespacedName(namespace: reference.namespace ?? namespace, name: reference.name)
        let host: String
        switch (group, kindName) {
        case ("", "Service"): host = HostName.ofService(key)
        case ("networking.istio.io", "Hostname"): host = reference.name.lowercased()
        default: return invalid("InvalidKind", "\(kindName) of group \"\(group)\" is no backend; use a Service")
        }
        if needsGrants, kindName == "Service",
            !grants.allow(kind.rawValue, in: namespace, toGroup: "", kind: "Service", key)
        {
            return invalid(
                "RefNotPermitted",
                "no ReferenceGrant in namespace \(key.namespace) lets \(kind.rawValue)s of namespace \(namespace) "
                    + "refer to Service \(key.name) (I-13)")
        }
        if kind == .udp { return datagrams(key, reference.port) }
        guard let service = services.service(host) else {
            return invalid("BackendNotFound", "there is no service \"\(host)\"")
        }
        guard let port = reference.port else { return invalid("BackendNotFound", "port is required") }
        guard service.port(port) != nil else {
            return invalid("BackendNotFound", "service \"\(host)\" has no port \(port)")
        }
        return .cluster(Destinations.clusterName(host: service.host, port: port))
    }

    /// The mesh knows no datagrams: a cluster of its own stands for a UDP port.
    private func datagrams(_ key: NamespacedName, _ port: Int?) -> Outcome {
        guard let object = objects.object(.service, key) else {
            return .invalid(Finding(reason: "BackendNotFound", message: "there is no Service \(key)"))
        }
        let isThere = Service(json: object.json).spec.ports.contains { $0.port == port && $0.protocol == "UDP" }
        guard let port, isThere else {
            return .invalid(
                Finding(reason: "BackendNotFound", message: "Service \(key) has no UDP port \(port ?? 0)"))
        }
        return .cluster(DatagramClusters.name(key, port))
    }
}

/// What is wrong with the rules of a route.
struct RouteProblems {
    typealias Finding = GatewayAPIModel.Finding

    let route: GatewayAPIModel.Route
    let resolver: BackendResolver

    /// Why the route cannot be served at all.
    func refusal() -> Finding? {
        func unsupported(_ message: String) -> Finding { Finding(reason: "UnsupportedValue", message: message) }
        if !route.route.useDefaultGateways.isEmpty, route.route.useDefaultGateways != "None" {
            return unsupported("spec.useDefaultGateways: there are no default Gateways")
        }
        if let finding = RouteSyntax.problem(route) { return finding }
        for (index, rule) in route.route.rules.enumerated() {
            let field = "spec.rules[\(index)]"
            if let finding = filters(rule.filters, "\(field).filters", rule) { return finding }
            for (position, backend) in rule.backends.enumerated() {
                let place = "\(field).backendRefs[\(position)].filters"
                if let finding = filters(backend.filters, place, rule) { return finding }
                if rule.backends.count > 1,
                    let filter = backend.filters.first(where: { $0.redirect != nil || $0.rewrite?.path != nil })
                {
                    return unsupported("\(place): \(filter.type) of one among several backends is not supported")
                }
            }
            if let request = rule.requestTimeout, let backend = rule.backendTimeout, request > .zero,
                backend > request
            {
                return unsupported("\(field).timeouts: backendRequest is longer than request (T-14)")
            }
            if let session = rule.sessionPersistence, session.usesHeader && session.headerName.isEmpty {
                return unsupported("\(field).sessionPersistence: a header needs a name")
            }
        }
        return nil
    }

    private func filters(_ filters: [GatewayAPI.Filter], _ field: String, _ rule: GatewayAPI.Rule) -> Finding? {
        for (index, filter) in filters.enumerated() {
            let place = "\(field)[\(index)]"
            switch filter.type {
            case "RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "CORS", "ExtensionRef": break
            case "RequestRedirect", "URLRewrite":
                guard case .prefix = filter.redirect?.path ?? filter.rewrite?.path else { break }
                if rule.matches.contains(where: { $0.pathType != "PathPrefix" }) {
                    return Finding(
                        reason: "UnsupportedValue",
                        message: "\(place).path: ReplacePrefixMatch needs matches of type PathPrefix")
                }
            default:
                return Finding(reason: "UnsupportedValue", message: "\(place): \(filter.type) is not supported")
            }
        }
        if filters.contains(where: { $0.redirect != nil }), filters.contains(where: { $0.rewrite != nil }) {
            return Finding(
                reason: "IncompatibleFilters", message: "\(field): RequestRedirect and URLRewrite exclude each other")
        }
        return nil
    }

    /// Which references lead nowhere.
    func unresolved() -> [Finding] {
        var found: [Finding] = []
        func check(_ reference: GatewayAPI.Reference, _ field: String) {
            guard case .invalid(let finding) = resolver.resolve(reference) else { return }
            found.append(Finding(reason: finding.reason, message: "\(field): \(finding.message)"))
        }
        func check(_ filters: [GatewayAPI.Filter], _ field: String) {
            for (index, filter) in filters.enumerated() {
                if let mirror = filter.mirror { check(mirror.backend, "\(field)[\(index)].requestMirror.backendRef") }
                if filter.type == "ExtensionRef" {
                    found.append(
                        Finding(
                            reason: "InvalidKind",
                            message:
                                "\(field)[\(index)].extensionRef: no kind of filter is known; such requests get 500"))
                }
            }
        }
        for (index, rule) in route.route.rules.enumerated() {
            let field = "spec.rules[\(index)]"
            check(rule.filters, "\(field).filters")
            for (position, backend) in rule.backends.enumerated() {
                check(backend, "\(field).backendRefs[\(position)]")
                check(backend.filters, "\(field).backendRefs[\(position)].filters")
            }
        }
        return found
    }
}
