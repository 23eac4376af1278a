import EnvoyAPI

/// The route configuration of a sidecar for one port.
struct OutboundRoutes {
    var outbound: Outbound
    let port: Int

    /// The virtual hosts: one per service on the port, one per host of a rule that is no service, then the one for
    /// everything else.
    ///
    /// A domain belongs to the first that claims it.
    func configuration() -> RouteConfiguration {
        var claimed: Set<String> = []
        var configuration = RouteConfiguration()
        for var host in members.map({ virtualHost($0) }) + others {
            host.domains = host.domains.filter { claimed.insert($0).inserted }
            if !host.domains.isEmpty { configuration.virtualHosts.append(host) }
        }
        configuration.name = String(port)
        configuration.validateClusters = false
        configuration.maxDirectResponseBodySizeBytes = UInt32(Actions.bodyBytesMax)
        return configuration
    }

    /// The services on the port that speak HTTP, or may.
    var members: [Outbound.Member] { (outbound.ports[port] ?? []).filter { $0.port.portProtocol.mayBeHTTP } }

    /// The virtual hosts behind those of services.
    var others: [VirtualHost] {
        var hosts: [VirtualHost] = []
        if port == 80 {
            for rule in outbound.rules where !rule.http.isEmpty {
                for host in rule.hosts where host != "*" && !outbound.model.hasService(host: host) {
                    hosts.append(virtualHost(foreign: host, rule))
                }
            }
        }
        return hosts + [unmatched]
    }

    private var scope: RouteScope {
        RouteScope(
            model: outbound.model, namespace: outbound.namespace, labels: outbound.labels,
            gateways: [Mesh.meshGateway], port: port)
    }

    /// Which requests a virtual host of a service is for.
    enum Form: Hashable, Sendable {
        /// Those with its host, wherever they go.
        case byHost
        /// Those with its host on a chain for connections to many addresses.
        case shared
        /// All requests to its addresses (`AddressedServices`).
        case own
    }

    func virtualHost(_ member: Outbound.Member, _ form: Form = .byHost) -> VirtualHost {
        let service = member.service
        var names = service.names(callerNamespace: outbound.namespace)
        for alias in outbound.model.aliases(of: service) {
            names += alias.names(callerNamespace: outbound.namespace)  // S-9
        }
        names += service.domainAddresses
        if service.isHeadless {
            // S-8: by pod address and by the pod's own name.
            for endpoint in outbound.model.endpoints(of: service) {
                names.append(endpoint.address)
                guard let hostname = endpoint.hostname else { continue }
                names += service.names(callerNamespace: outbound.namespace).map {
                    "\(hostname).\($0)"
                }
            }
        }
        var host = VirtualHost()
        host.name = "\(service.host):\(port)"
        host.domains = HostName.domains(names, port: port) + (form == .own ? ["*"] : [])
        host.metadata = service.place("spec.ports").metadata
        let routes = ServiceRoutes(model: outbound.model, caller: outbound.namespace)
        if let routes = routes.http(service.key, port: port) {
            host.routes =
                form == .shared && outbound.isAddressed(member)
                ? AddressedServices.routes(routes, addresses: service.addresses, elsewhere: elsewhere(service))
                : routes  // I-15
        } else if let rule = outbound.rule(for: service.host, where: { !$0.http.isEmpty }) {
            // A request that no route of the rule matches gets 404, as with Istio.
            host.routes = RuleRoutes(scope: scope, rule: rule).routes()
        } else {
            host.routes = defaultRoutes(member)
        }
        SniffedUpstreams.mark(&host.routes, scope)
        return host
    }

    /// The routes of a service that no rule touches: everything to its own cluster.
    private func defaultRoutes(_ member: Outbound.Member) -> [Route] {
        var route = Route()
        route.name = "default"
        route.match = Matches.route(nil)
        route.metadata = member.service.place("spec.ports").metadata
        var action = RouteAction()
        action.clusterSpecifier = .cluster(
            Destinations.clusterName(host: member.service.host, port: member.port.number))
        action.timeout = .zero  // T-1
        action.hashPolicy = HashPolicies(scope: scope).policies(member.service, port: member.port.number)
        return RuleRoutes.expand(
            route, action,
            RetryPolicies.outbound(nil, config: outbound.model.config, isHashed: !action.hashPolicy.isEmpty))
    }

    private func virtualHost(foreign name: String, _ rule: MeshModel.Rule) -> VirtualHost {
        var host = VirtualHost()
        host.name = "\(name):\(port)"
        host.domains = HostName.domains([name], port: port)
        host.metadata = Provenance(kind: "VirtualService", object: rule.key, field: "spec.hosts").metadata
        host.routes = RuleRoutes(scope: scope, rule: rule).routes()
        SniffedUpstreams.mark(&host.routes, scope)
        return host
    }

    /// where it was going, or 502.
    private var unmatched: VirtualHost {
        var host = VirtualHost()
        let route = whereItWasGoing
        host.name = route.name
        host.domains = ["*"]
        host.routes = [route]
        return host
    }

    private var whereItWasGoing: Route {
        var route = Route()
        route.match = Matches.route(nil)
        if outbound.outboundPolicy == .allowAny {
            route.name = "allow_any"
            var action = RouteAction()
            action.clusterSpecifier = .cluster(ClusterNames.passthrough)
            action.timeout = .zero
            route.action = .route(action)
        } else {
            route.name = "block_all"
            route.action = .directResponse(Actions.directResponse(status: 502))
        }
        return route
    }

    /// The name of the route for that.
    static let elsewhereName = "another_address"

    /// What becomes of a request with the host of a service that is known by its address, and to another address.
    private func elsewhere(_ service: MeshService) -> Route {
        var route = whereItWasGoing
        route.name = Self.elsewhereName
        route.metadata = service.place("spec.clusterIP").metadata
        return route
    }
}
