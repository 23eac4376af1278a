import KubernetesAPI
import Serialization

/// What a VirtualService says that cannot mean anything, or does not take effect.
struct RuleAnalysis {
    let model: MeshModel
    /// The rule as it is written, without the routes of delegates.
    let rule: MeshModel.Rule

    func diagnostics() -> [Diagnostic] {
        var found = hosts() + gateways()
        if rule.http.isEmpty && rule.tcp.isEmpty && rule.tls.isEmpty {
            found.append(refuse("spec", "one of http, tls and tcp is needed"))
        }
        found += rule.http.enumerated().flatMap { index, route in
            RouteAnalysis(rules: self, index: index, route: route).diagnostics()
        }
        found += rule.tls.enumerated().flatMap { tls($0.offset, $0.element) }
        found += rule.tcp.enumerated().flatMap { tcp($0.offset, $0.element) }
        return found + losses()
    }

    func warn(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .warning, kind: "VirtualService", object: rule.key, field: field, message: message)
    }

    func refuse(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .error, kind: "VirtualService", object: rule.key, field: field, message: message)
    }

    // MARK: Hosts and gateways

    /// H-6, X-4, X-5: who else claims the host, and who wins.
    private func hosts() -> [Diagnostic] {
        if rule.hosts.isEmpty { return delegate() }
        var found: [Diagnostic] = []
        for (index, host) in rule.hosts.enumerated() {
            let field = "spec.hosts[\(index)]"
            if host.isEmpty || host.dropFirst().contains("*")
                || host.hasPrefix("*") && host != "*" && !host.hasPrefix("*.")
            {
                found.append(refuse(field, "a host is a name, * or *. and a suffix"))
            }
            if rule.hosts.prefix(index).contains(host) { found.append(warn(field, "\"\(host)\" is there before")) }
        }
        guard rule.gateways.contains(Mesh.meshGateway) else { return found }
        for (index, host) in rule.hosts.enumerated() { found += claims("spec.hosts[\(index)]", host) }
        return found
    }

    private func claims(_ field: String, _ host: String) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if host == "*" && rule.rule.gateways.isEmpty {
            found.append(
                warn(field, "in sidecars * stands for no host: name the hosts, or gateways in spec.gateways"))
        }
        let rivals = model.rules.filter {
            $0.gateways.contains(Mesh.meshGateway) && $0.hosts.contains(host)
                && $0.http.isEmpty == rule.http.isEmpty
                && ($0.key.namespace == rule.key.namespace || HostName.namespace(ofService: host) == nil)
        }
        if model.config.warnsOfConflicts {
            if let winner = rivals.first, winner.key != rule.key {
                found.append(
                    warn(
                        field,
                        "host \"\(host)\" belongs to the older VirtualService \(winner.key) in sidecars; "
                            + "this one has no effect there: merge the two"))
            } else if let loser = rivals.first(where: { $0.key != rule.key }) {
                found.append(warn(field, "VirtualService \(loser.key) claims host \"\(host)\", too; this one wins"))
            }
        }
        if model.config.guardsHosts, let owner = HostName.namespace(ofService: host),
            owner != rule.key.namespace, rule.key.namespace != Mesh.rootNamespace,
            !model.hostGrants.allows("VirtualService", from: rule.key.namespace, host: host, owner: owner)
        {
            found.append(
                warn(
                    field,
                    "host \"\(host)\" belongs to namespace \(owner): the rule counts for callers in namespace "
                        + "\(rule.key.namespace) only, until a ReferenceGrant there says otherwise (X-5)"))
        }
        return found
    }

    /// H-18: a rule without hosts is there to be delegated to.
    private func delegate() -> [Diagnostic] {
        if !rule.rule.gateways.isEmpty {
            return [refuse("spec.gateways", "a delegate, which has no hosts, has no gateways either (H-18)")]
        }
        if !rule.tcp.isEmpty || !rule.tls.isEmpty {
            return [refuse("spec.hosts", "required: only http routes can be delegated (H-18)")]
        }
        let isNamed = model.objects.inOrder(.virtualService).contains { object in
            VirtualService(json: object.json).http.contains { route in
                route.delegate.map {
                    $0.name == rule.key.name
                        && ($0.namespace.isEmpty ? object.namespace : $0.namespace) == rule.key.namespace
                } ?? false
            }
        }
        return isNamed ? [] : [warn("spec.hosts", "without hosts, and no VirtualService delegates to it (H-18)")]
    }

    private func losses() -> [Diagnostic] {
        let isConcerned = rule.hosts.isEmpty || rule.http.contains { $0.delegate != nil }
        guard isConcerned else { return [] }
        return Delegates.losses(rule.key, model.objects.inOrder(.virtualService).map(MeshModel.Rule.init))
            .map { warn($0.field, $0.message) }
    }

    private func gateways() -> [Diagnostic] {
        rule.rule.gateways.enumerated().compactMap { index, written in
            let name = MeshModel.Rule.gateway(written, namespace: rule.key.namespace)
            guard name != Mesh.meshGateway, !model.entrances.contains(where: { $0.key.description == name })
            else { return nil }
            return warn("spec.gateways[\(index)]", "no Gateway \"\(name)\"")
        }
    }

    // MARK: Connections

    private func tls(_ index: Int, _ route: VirtualService.TLSRoute) -> [Diagnostic] {
        let field = "spec.tls[\(index)]"
        var found = connections(field, route.match, route.route)
        if route.match.isEmpty {
            found.append(refuse("\(field).match", "required: a TLS route is chosen by server names"))
        }
        for (position, match) in route.match.enumerated() {
            let place = "\(field).match[\(position)].sniHosts"
            if match.sniHosts.isEmpty { found.append(refuse(place, "required")) }
            for (number, name) in match.sniHosts.enumerated()
            where !rule.hosts.contains(where: { HostName.covers($0, name) }) {
                found.append(refuse("\(place)[\(number)]", "\"\(name)\" belongs to none of spec.hosts"))
            }
        }
        return found
    }

    private func tcp(_ index: Int, _ route: VirtualService.TCPRoute) -> [Diagnostic] {
        connections("spec.tcp[\(index)]", route.match, route.route)
    }

    private func connections(
        _ field: String, _ matches: [VirtualService.L4Match], _ destinations: [VirtualService.Destination]
    ) -> [Diagnostic] {
        var found = self.destinations("\(field).route", destinations)
        if destinations.isEmpty { found.append(refuse("\(field).route", "required")) }
        for (position, match) in matches.enumerated() {
            let place = "\(field).match[\(position)]"
            if let port = match.port, !(1...65535).contains(port) {
                found.append(refuse("\(place).port", "\(port) is no port"))
            }
            for (number, subnet) in match.destinationSubnets.enumerated() where !Addresses.isAddressOrRange(subnet) {
                found.append(
                    refuse("\(place).destinationSubnets[\(number)]", "\"\(subnet)\" is no address or prefix"))
            }
            if match.json["sourceSubnet"] != nil {
                found.append(warn("\(place).sourceSubnet", "has no effect: use sourceLabels or sourceNamespace"))
            }
        }
        return found
    }

    // MARK: Destinations

    func destinations(_ field: String, _ destinations: [VirtualService.Destination]) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (index, destination) in destinations.enumerated() where destination.weight < 0 {
            found.append(refuse("\(field)[\(index)].weight", "\(destination.weight) is negative"))
        }
        if destinations.count > 1 && destinations.allSatisfy({ $0.weight == 0 }) {
            found.append(refuse(field, "all weights are 0: give at least one destination a weight (H-8)"))
        }
        if destinations.reduce(0, { $0 &+ $1.weight }) > Int(UInt32.max) {
            found.append(refuse(field, "the weights are more than \(UInt32.max) together"))
        }
        for (index, destination) in destinations.enumerated() {
            found += self.destination("\(field)[\(index)].destination", destination)
        }
        return found
    }

    func destination(_ place: String, _ destination: VirtualService.Destination) -> [Diagnostic] {
        if destination.host.isEmpty { return [refuse("\(place).host", "required")] }
        let host = HostName.expanded(destination.host, ruleNamespace: rule.key.namespace)
        guard let service = model.service(host: host) else {
            return [warn("\(place).host", "no service \"\(host)\": such requests get 503 (H-10)")]
        }
        var found: [Diagnostic] = []
        if let port = destination.port {
            if service.port(port) == nil {
                found.append(
                    warn("\(place).port.number", "service \"\(host)\" has no port \(port): such requests get 503"))
            }
        } else if service.ports.count > 1 {
            found.append(
                warn("\(place).port", "service \"\(host)\" has \(service.ports.count) ports: say which one (H-9)"))
        }
        if !destination.subset.isEmpty && !hasSubset(destination.subset, service) {
            found.append(
                warn(
                    "\(place).subset",
                    "no DestinationRule for \"\(host)\" defines subset \"\(destination.subset)\": such requests "
                        + "get 503 (H-11)"))
        }
        return found
    }

    private func hasSubset(_ name: String, _ service: MeshService) -> Bool {
        DestinationPolicy.find(
            host: service.host, serviceNamespace: service.key.namespace, callerNamespace: rule.key.namespace,
            callerLabels: [:], model: model
        ).subsets.contains { $0.subset.name == name }
    }
}
