import KubernetesAPI

/// What a VirtualService says that does not, or not yet, take effect.
struct RuleAnalysis {
    let model: MeshModel
    let rule: MeshModel.Rule

    func diagnostics() -> [Diagnostic] {
        hosts() + gateways() + rule.http.enumerated().flatMap { http($0.offset, $0.element) }
            + rule.tcp.enumerated().flatMap { tcp($0.offset, $0.element) } + others()
    }

    private func warn(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .warning, kind: "VirtualService", object: rule.key, field: field, message: message)
    }

    private func refuse(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .error, kind: "VirtualService", object: rule.key, field: field, message: message)
    }

    /// H-6, X-4, X-5: who else claims the host, and who wins.
    private func hosts() -> [Diagnostic] {
        guard rule.gateways.contains(Mesh.meshGateway) else { return [] }
        var found: [Diagnostic] = []
        for (index, host) in rule.hosts.enumerated() {
            let field = "spec.hosts[\(index)]"
            let rivals = model.rules.filter {
                $0.gateways.contains(Mesh.meshGateway) && $0.hosts.contains(host)
                    && $0.http.isEmpty == rule.http.isEmpty
                    && ($0.key.namespace == rule.key.namespace || HostName.namespace(ofService: host) == nil)
            }
            if let winner = rivals.first, winner.key != rule.key {
                found.append(
                    warn(
                        field,
                        "host \"\(host)\" belongs to the older VirtualService \(winner.key) in sidecars; "
                            + "this one has no effect there: merge the two"))
            } else if let loser = rivals.first(where: { $0.key != rule.key }) {
                found.append(warn(field, "VirtualService \(loser.key) claims host \"\(host)\", too; this one wins"))
            }
            if model.config.guardsHosts, let owner = HostName.namespace(ofService: host),
                owner != rule.key.namespace, rule.key.namespace != Mesh.rootNamespace
            {
                found.append(
                    warn(
                        field,
                        "host \"\(host)\" belongs to namespace \(owner): the rule counts for callers in namespace "
                            + "\(rule.key.namespace) only"))
            }
        }
        return found
    }

    private func gateways() -> [Diagnostic] {
        rule.rule.gateways.enumerated().compactMap { index, written in
            let name = MeshModel.Rule.gateway(written, namespace: rule.key.namespace)
            guard name != Mesh.meshGateway, !model.entrances.contains(where: { $0.key.description == name })
            else { return nil }
            return warn("spec.gateways[\(index)]", "no Gateway \"\(name)\"")
        }
    }

    private func http(_ index: Int, _ route: VirtualService.HTTPRoute) -> [Diagnostic] {
        let field = "spec.http[\(index)]"
        var found = destinations("\(field).route", route.route)
        if route.route.isEmpty && route.redirect == nil && route.directResponse == nil && !route.hasDelegate {
            found.append(refuse(field, "one of route, redirect and directResponse is required"))
        }
        if route.hasMirror {
            found.append(warn("\(field).mirror", "mirroring is not supported yet; requests go to the route only"))
        }
        if route.hasCORSPolicy {
            found.append(warn("\(field).corsPolicy", "CORS policies are not supported yet; the field has no effect"))
        }
        if route.hasDelegate {
            found.append(warn("\(field).delegate", "delegates are not supported yet; the route answers 503"))
        }
        if let code = route.redirect?.redirectCode, ![301, 302, 303, 307, 308].contains(code) {
            found.append(refuse("\(field).redirect.redirectCode", "\(code) is none of 301, 302, 303, 307, 308"))
        }
        if let code = route.directResponse?.status, !(200...599).contains(code) {
            found.append(refuse("\(field).directResponse.status", "\(code) is no status between 200 and 599"))
        }
        if let earlier = unreachable(before: index) {
            found.append(
                warn(field, "never reached: spec.http[\(earlier)] matches every request before it (H-2)"))
        }
        return found
    }

    /// The position of a route that takes everything, before that one.
    private func unreachable(before index: Int) -> Int? {
        rule.http.prefix(index).firstIndex { earlier in
            earlier.match.isEmpty
                || earlier.match.contains { match in
                    match.port == nil && match.gateways.isEmpty && match.sourceLabels.isEmpty
                        && match.sourceNamespace.isEmpty && Matches.isCatchAll(Matches.route(match))
                }
        }
    }

    private func tcp(_ index: Int, _ route: VirtualService.TCPRoute) -> [Diagnostic] {
        let field = "spec.tcp[\(index)]"
        var found = destinations("\(field).route", route.route)
        if route.route.isEmpty { found.append(refuse(field, "route is required")) }
        for (position, match) in route.match.enumerated() where !match.destinationSubnets.isEmpty {
            found.append(
                warn("\(field).match[\(position)].destinationSubnets", "not supported yet; the condition has no effect")
            )
        }
        return found
    }

    private func destinations(_ field: String, _ destinations: [VirtualService.Destination]) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if destinations.count > 1 && destinations.allSatisfy({ $0.weight == 0 }) {
            found.append(refuse(field, "all weights are 0: give at least one destination a weight (H-8)"))
        }
        for (index, destination) in destinations.enumerated() {
            let place = "\(field)[\(index)].destination"
            if destination.host.isEmpty {
                found.append(refuse("\(place).host", "required"))
                continue
            }
            let host = HostName.expanded(destination.host, ruleNamespace: rule.key.namespace)
            guard let service = model.service(host: host) else {
                found.append(warn("\(place).host", "no service \"\(host)\": such requests get 503 (H-10)"))
                continue
            }
            if let port = destination.port {
                if service.port(port) == nil {
                    found.append(
                        warn("\(place).port.number", "service \"\(host)\" has no port \(port): such requests get 503"))
                }
            } else if service.ports.count > 1 {
                found.append(
                    warn(
                        "\(place).port", "service \"\(host)\" has \(service.ports.count) ports: say which one (H-9)"))
            }
            if !destination.subset.isEmpty && !hasSubset(destination.subset, service) {
                found.append(
                    warn(
                        "\(place).subset",
                        "no DestinationRule for \"\(host)\" defines subset \"\(destination.subset)\": such requests "
                            + "get 503 (H-11)"))
            }
        }
        return found
    }

    private func hasSubset(_ name: String, _ service: MeshService) -> Bool {
        DestinationPolicy.find(
            host: service.host, serviceNamespace: service.key.namespace, callerNamespace: rule.key.namespace,
            callerLabels: [:], model: model
        ).subsets.contains { $0.subset.name == name }
    }

    private func others() -> [Diagnostic] {
        rule.rule.tlsRoutes > 0 ? [warn("spec.tls", "TLS routes are not supported yet; they have no effect")] : []
    }
}
