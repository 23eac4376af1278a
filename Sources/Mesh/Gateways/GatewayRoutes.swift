import EnvoyAPI
import KubernetesAPI

/// The route configurations of a gateway for one port: VirtualServices bound to its Gateways, routes of the Gateway
/// API, Ingresses.
///
/// Traffic that enters here is matched by the rules for the host it names, never by the service's own rule.
struct GatewayRoutes {
    let entrances: Entrances
    let port: Int

    /// The configuration of a port without TLS: everybody's hosts.
    func configuration() -> RouteConfiguration {
        var table = HostTable()
        let listeners = entrances.gatewayListeners(port: port)
        gatewayAPI(
            listeners.filter { $0.listener.wire == .http }, entrances.scopes(port: port), &table)
        istio(entrances.openings[port] ?? [], &table)
        if entrances.hasIngresses(port: port) { ingresses(&table) }
        return finished(table.configuration("http.\(entrances.local(port))", port: port))
    }

    /// The configuration of one server of an Istio Gateway that ends TLS.
    func configuration(_ name: String, of opening: Entrances.Opening) -> RouteConfiguration {
        var table = HostTable()
        istio([opening], &table)
        return finished(table.configuration(name, port: port))
    }

    /// The configuration of the HTTPS listeners with one host.
    ///
    /// I-12: a request that names the host of another listener came over the wrong connection and is told so.
    func configuration(
        _ name: String, of host: String, _ listeners: [(position: Int, listener: GatewayAPIModel.Listener)]
    ) -> RouteConfiguration {
        var table = HostTable()
        let ours = listeners.filter { $0.listener.wire == .https && $0.listener.host == host }
        gatewayAPI(ours, entrances.scopes(port: port, host: host), &table)
        for (_, other) in listeners where other.wire == .https && other.host != host {
            if table.hasHost(other.host) { continue }
            var route = Route()
            route.name = "misdirected"
            route.match = Matches.route(nil)
            route.metadata = other.place.metadata
            route.action = .directResponse(Actions.directResponse(status: 421))
            table.grow(other.host, domains: [other.host], routes: [route], place: other.place)
        }
        return finished(table.configuration(name, port: port))
    }

    /// The configuration of all Ingresses, for connections that ended TLS for one of them.
    func ingressConfiguration(_ name: String) -> RouteConfiguration {
        var table = HostTable()
        ingresses(&table)
        return finished(table.configuration(name, port: port))
    }

    private func finished(_ configuration: RouteConfiguration) -> RouteConfiguration {
        var configuration = configuration
        for index in configuration.virtualHosts.indices {
            SniffedUpstreams.mark(&configuration.virtualHosts[index].routes, scope([]))
        }
        return configuration
    }

    // MARK: Gateway API

    /// I-4, I-5, I-10: the routes of all listeners, sorted per host; a listener's own host always has an entry, so that
    /// no other listener answers for it.
    ///
    /// - Parameter scopes: Whose policies the connection manager has.
    private func gatewayAPI(
        _ listeners: [(position: Int, listener: GatewayAPIModel.Listener)], _ scopes: Set<EntrancePolicies.Scope>,
        _ table: inout HostTable
    ) {
        let api = entrances.model.gatewayAPI
        var order: [String] = []
        var routes: [String: [Int: Set<EntrancePolicies.Scope>]] = [:]
        for (position, listener) in listeners {
            table.grow(listener.host, domains: [listener.host], routes: [], place: listener.place)
            for attachment in api.attachments[position] ?? [] {
                for host in api.hosts(of: attachment, at: position) {
                    if routes[host] == nil { order.append(host) }
                    routes[host, default: [:]][attachment.route, default: []].insert(
                        entrances.policies.scope(listener.gateway))
                }
            }
        }
        var ranked: [Int: [RankedRoutes]] = [:]
        for host in order {
            var all: [RankedRoutes] = []
            let byAge = (routes[host] ?? [:]).keys.sorted { api.isOlder($0, $1) }
            for position in byAge where api.routes.indices.contains(position) {
                let made =
                    ranked[position]
                    ?? RouteRules(model: entrances.model, route: api.routes[position], listenerPort: port).ranked()
                ranked[position] = made
                all += made.map { chosen($0, routes[host]?[position] ?? [], of: scopes) }
            }
            guard let first = byAge.first, api.routes.indices.contains(first) else { continue }
            table.grow(
                host, domains: [host], routes: RouteConditions.sorted(all),
                place: Provenance(
                    kind: api.routes[first].kind.rawValue, object: api.routes[first].key, field: "spec.hostnames"))
        }
    }

    /// Routes that go through the policies of their Gateways.
    private func chosen(
        _ made: RankedRoutes, _ wanted: Set<EntrancePolicies.Scope>, of all: Set<EntrancePolicies.Scope>
    ) -> RankedRoutes {
        guard all.count > 1 else { return made }
        var made = made
        for index in made.routes.indices { entrances.policies.choose(wanted, of: all, &made.routes[index]) }
        return made
    }

    // MARK: Istio

    /// H-6: rules of one host are merged in their order, catch-all routes go to the end.
    private func istio(_ openings: [Entrances.Opening], _ table: inout HostTable) {
        var own = HostTable()
        for rule in entrances.model.rules {
            let bound = openings.filter { rule.gateways.contains($0.name) }
            guard !bound.isEmpty, !rule.http.isEmpty,
                HostName.isVisible(
                    exportTo: rule.rule.exportTo, owner: rule.key.namespace, to: entrances.namespace)
            else { continue }
            for (host, redirects) in served(rule, bound) {
                let routes = redirects ? [httpsRedirect] : RuleRoutes(scope: scope(bound), rule: rule).routes()
                own.grow(
                    host, domains: domains(host, rule), routes: routes,
                    place: Provenance(kind: "VirtualService", object: rule.key, field: "spec.hosts"))
            }
        }
        for (name, host) in own.inOrder {
            table.grow(
                name, domains: host.domains, routes: HostTable.catchAllsLast(host.routes), place: host.place)
        }
    }

    /// The hosts that the rule and the servers have in common, and whether the server wants HTTPS only.
    private func served(_ rule: MeshModel.Rule, _ bound: [Entrances.Opening]) -> [(String, Bool)] {
        var found: [(String, Bool)] = []
        for host in rule.hosts {
            for opening in bound {
                for pattern in Self.patterns(opening, for: rule) {
                    guard let common = HostName.intersection(pattern, host),
                        !found.contains(where: { $0.0 == common })
                    else { continue }
                    found.append((common, opening.server.httpsRedirect))
                }
            }
        }
        return found
    }

    /// A server's hosts without their namespaces, those that let the rule in.
    static func patterns(_ opening: Entrances.Opening, for rule: MeshModel.Rule) -> [String] {
        let own = opening.entrance.key.namespace
        return opening.server.hosts.compactMap { written in
            let (namespace, host) = split(written)
            if let namespace {
                let wanted = namespace == "." ? own : namespace
                guard wanted == "*" || wanted == rule.key.namespace else { return nil }
            }
            return HostName.expanded(host, ruleNamespace: own)
        }
    }

    /// The names under which a server that ends TLS is asked for.
    static func serverNames(_ opening: Entrances.Opening) -> [String] {
        opening.server.hosts.map {
            HostName.expanded(split($0).host, ruleNamespace: opening.entrance.key.namespace)
        }
    }

    private static func split(_ written: String) -> (namespace: String?, host: String) {
        let parts = written.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2, let namespace = parts.first, let host = parts.last else { return (nil, written) }
        return (namespace, host)
    }

    /// The domains of a host.
    ///
    /// A rule for a short name answers to the short name as well: somebody who writes `hosts: [my-service]` asks for it
    /// with `Host: my-service`.
    private func domains(_ host: String, _ rule: MeshModel.Rule) -> [String] {
        guard let namespace = HostName.namespace(ofService: host), namespace == rule.key.namespace,
            let name = host.split(separator: ".").first, rule.rule.hosts.contains(String(name))
        else { return [host] }
        return HostName.forms(
            of: NamespacedName(namespace: namespace, name: String(name)), callerNamespace: namespace)
    }

    private func scope(_ bound: [Entrances.Opening]) -> RouteScope {
        RouteScope(
            model: entrances.model, namespace: entrances.namespace, labels: entrances.labels,
            gateways: Set(bound.map(\.name)), port: port)
    }

    private var httpsRedirect: Route {
        var action = RedirectAction()
        action.schemeRewriteSpecifier = .httpsRedirect(true)
        var route = Route()
        route.name = "https-redirect"
        route.match = Matches.route(nil)
        route.action = .redirect(action)
        return route
    }

    // MARK: Ingresses

    private func ingresses(_ table: inout HostTable) {
        for host in IngressRoutes(model: entrances.model).hosts() {
            table.grow(host.name, domains: [host.name], routes: host.routes, place: host.place)
        }
    }
}

/// Virtual hosts that grow route by route.
struct HostTable {
    /// A host so far.
    struct Growing {
        var domains: [String]
        var routes: [Route]
        var place: Provenance
    }

    private var order: [String] = []
    private var hosts: [String: Growing] = [:]

    /// The hosts in the order in which they came.
    var inOrder: [(name: String, host: Growing)] {
        order.compactMap { name in hosts[name].map { (name, $0) } }
    }

    func hasHost(_ name: String) -> Bool { hosts[name] != nil }

    mutating func grow(_ host: String, domains: [String], routes: [Route], place: Provenance) {
        if hosts[host] == nil {
            order.append(host)
            hosts[host] = Growing(domains: [], routes: [], place: place)
        } else if hosts[host]?.routes.isEmpty == true, !routes.isEmpty {
            hosts[host]?.place = place
        }
        for domain in domains where hosts[host]?.domains.contains(domain) == false {
            hosts[host]?.domains.append(domain)
        }
        hosts[host]?.routes += routes
    }

    func configuration(_ name: String, port: Int) -> RouteConfiguration {
        var configuration = RouteConfiguration()
        configuration.name = name
        configuration.ignorePortInHostMatching = true
        configuration.validateClusters = false
        configuration.maxDirectResponseBodySizeBytes = UInt32(Actions.bodyBytesMax)
        var claimed: Set<String> = []
        configuration.virtualHosts = order.sorted().compactMap { name in
            guard let growing = hosts[name] else { return nil }
            var host = VirtualHost()
            host.name = "\(name):\(port)"
            host.domains = growing.domains.filter { claimed.insert($0).inserted }
            host.routes = growing.routes
            host.metadata = growing.place.metadata
            return host.domains.isEmpty ? nil : host
        }
        if configuration.virtualHosts.isEmpty {
            var host = VirtualHost()
            host.name = "blackhole:\(port)"
            host.domains = ["*"]
            configuration.virtualHosts = [host]
        }
        return configuration
    }

    /// H-6: catch-all routes go to the end; the two that one of them makes for its methods stay together.
    static func catchAllsLast(_ routes: [Route]) -> [Route] {
        func isCatchAll(_ route: Route) -> Bool {
            guard var match = route.match else { return false }
            match.headers.removeAll { $0 == Matches.header(":method", regex: RetryPolicies.idempotentMethods) }
            return Matches.isCatchAll(match)
        }
        return routes.filter { !isCatchAll($0) } + routes.filter(isCatchAll)
    }
}
