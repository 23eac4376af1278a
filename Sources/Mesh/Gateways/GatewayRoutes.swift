import EnvoyAPI
import KubernetesAPI

/// The route configuration of a gateway for one port: VirtualServices bound to its Gateways, then Ingresses.
///
/// Traffic that enters here is matched by the rules for the host it names, never by the service's own rule.
struct GatewayRoutes {
    let entrances: Entrances
    let port: Int

    /// A virtual host that grows rule by rule.
    private struct Growing {
        var domains: [String]
        var routes: [Route]
        var place: Provenance
    }

    func configuration() -> RouteConfiguration {
        var order: [String] = []
        var hosts: [String: Growing] = [:]
        func grow(_ host: String, domains: [String], routes: [Route], place: Provenance) {
            if hosts[host] == nil {
                order.append(host)
                hosts[host] = Growing(domains: [], routes: [], place: place)
            }
            for domain in domains where hosts[host]?.domains.contains(domain) == false {
                hosts[host]?.domains.append(domain)
            }
            hosts[host]?.routes += routes
        }
        let openings = entrances.openings[port] ?? []
        for rule in entrances.model.rules {
            let bound = openings.filter { rule.gateways.contains($0.name) }
            guard !bound.isEmpty, !rule.http.isEmpty,
                HostName.isVisible(
                    exportTo: rule.rule.exportTo, owner: rule.key.namespace, to: entrances.namespace)
            else { continue }
            for (host, redirects) in served(rule, bound) {
                let routes = redirects ? [httpsRedirect] : RuleRoutes(scope: scope(bound), rule: rule).routes()
                grow(
                    host, domains: domains(host, rule), routes: routes,
                    place: Provenance(kind: "VirtualService", object: rule.key, field: "spec.hosts"))
            }
        }
        if port == 80 && entrances.servesIngresses {
            for host in IngressRoutes(model: entrances.model).hosts() {
                grow(host.name, domains: [host.name], routes: host.routes, place: host.place)
            }
        }
        var configuration = RouteConfiguration()
        configuration.name = "http.\(port)"
        configuration.ignorePortInHostMatching = true
        configuration.validateClusters = false
        var claimed: Set<String> = []
        configuration.virtualHosts = order.sorted().compactMap { name in
            guard let growing = hosts[name] else { return nil }
            var host = VirtualHost()
            host.name = "\(name):\(port)"
            host.domains = growing.domains.filter { claimed.insert($0).inserted }
            host.routes = Self.catchAllsLast(growing.routes)
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

    /// H-6: rules of one host are merged in their order, catch-all routes go to the end.
    ///
    /// The two routes that one catch-all makes for its methods stay together.
    static func catchAllsLast(_ routes: [Route]) -> [Route] {
        func isCatchAll(_ route: Route) -> Bool {
            guard var match = route.match else { return false }
            match.headers.removeAll { $0 == Matches.header(":method", regex: RetryPolicies.idempotentMethods) }
            return Matches.isCatchAll(match)
        }
        return routes.filter { !isCatchAll($0) } + routes.filter(isCatchAll)
    }

    /// The hosts that the rule and the servers have in common, and whether the server wants HTTPS only.
    private func served(_ rule: MeshModel.Rule, _ bound: [Entrances.Opening]) -> [(String, Bool)] {
        var found: [(String, Bool)] = []
        for host in rule.hosts {
            for opening in bound {
                for written in opening.server.hosts {
                    guard let pattern = pattern(written, opening, rule),
                        let common = HostName.intersection(pattern, host),
                        !found.contains(where: { $0.0 == common })
                    else { continue }
                    found.append((common, opening.server.httpsRedirect))
                }
            }
        }
        return found
    }

    /// A server's host without its namespace; `nil` when the namespace shuts the rule out.
    private func pattern(_ written: String, _ opening: Entrances.Opening, _ rule: MeshModel.Rule) -> String? {
        let parts = written.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2, let namespace = parts.first, let host = parts.last else {
            return HostName.expanded(written, ruleNamespace: opening.entrance.key.namespace)
        }
        let wanted = namespace == "." ? opening.entrance.key.namespace : namespace
        guard wanted == "*" || wanted == rule.key.namespace else { return nil }
        return HostName.expanded(host, ruleNamespace: opening.entrance.key.namespace)
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
}
