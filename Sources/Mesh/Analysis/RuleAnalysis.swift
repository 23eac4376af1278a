import KubernetesAPI
import Serialization

/// What a VirtualService says that cannot mean anything, or does not take effect.
struct RuleAnalysis {
    let tables: AnalysisTables
    /// The rule as it is written, without the routes of delegates.
    let rule: MeshModel.Rule

    var model: MeshModel { tables.model }

    func diagnostics() -> [Diagnostic] {
        var found = hosts() + gateways()
        if rule.http.isEmpty && rule.tcp.isEmpty && rule.tls.isEmpty {
            found.append(finding(.ruleWithoutRoutes, "spec", "one of http, tls and tcp is needed"))
        }
        found += rule.http.enumerated().flatMap { index, route in
            RouteAnalysis(rules: self, index: index, route: route).diagnostics()
        }
        found += rule.tls.enumerated().flatMap { tls($0.offset, $0.element) }
        found += rule.tcp.enumerated().flatMap { tcp($0.offset, $0.element) }
        return found + losses()
    }

    func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "VirtualService", object: rule.key, field: field, message: message)
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
                found.append(finding(.invalidRuleHost, field, "a host is a name, * or *. and a suffix"))
            }
            if let other = rule.hosts.prefix(index).first(where: {
                HostName.covers($0, host) || HostName.covers(host, $0)
            }) {
                found.append(finding(.repeatedHost, field, "\"\(host)\" and \"\(other)\" have names in common"))
            }
        }
        guard rule.gateways.contains(Mesh.meshGateway) else { return found }
        for (index, host) in rule.hosts.enumerated() { found += claims("spec.hosts[\(index)]", host) }
        return found
    }

    private func claims(_ field: String, _ host: String) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if host == "*" {
            found.append(
                finding(
                    .wildcardInSidecars, field,
                    "in sidecars * stands for no host: name the hosts, or gateways alone in spec.gateways"))
        }
        let rivals = tables.meshRules(host).filter {
            HostName.meet($0.rule.exportTo, $0.key.namespace, rule.rule.exportTo, rule.key.namespace)
                && $0.http.isEmpty == rule.http.isEmpty
                && ($0.key.namespace == rule.key.namespace || HostName.namespace(ofService: host) == nil)
        }
        if model.config.warnsOfConflicts {
            if let winner = rivals.first, winner.key != rule.key {
                found.append(
                    finding(
                        .hostClaimedTwice,
                        field,
                        "host \"\(host)\" belongs to the older VirtualService \(winner.key) in sidecars; "
                            + "this one has no effect there: merge the two"))
            } else if let loser = rivals.first(where: { $0.key != rule.key }) {
                found.append(
                    finding(
                        .hostClaimedTwice, field,
                        "VirtualService \(loser.key) claims host \"\(host)\", too; this one wins"))
            }
        }
        if model.config.guardsHosts, let owner = HostName.namespace(ofService: host),
            owner != rule.key.namespace, rule.key.namespace != Mesh.rootNamespace,
            !model.hostGrants.allows("VirtualService", from: rule.key.namespace, host: host, owner: owner)
        {
            found.append(
                finding(
                    .hostOfAnotherNamespace,
                    field,
                    "host \"\(host)\" belongs to namespace \(owner): the rule counts for callers in namespace "
                        + "\(rule.key.namespace) only, until a ReferenceGrant there says otherwise (X-5)"))
        }
        return found
    }

    /// H-18: a rule without hosts is there to be delegated to.
    private func delegate() -> [Diagnostic] {
        if !rule.rule.gateways.isEmpty {
            return [
                finding(
                    .invalidDelegation, "spec.gateways", "a delegate, which has no hosts, has no gateways either (H-18)"
                )
            ]
        }
        if !rule.tcp.isEmpty || !rule.tls.isEmpty {
            return [finding(.invalidDelegation, "spec.hosts", "required: only http routes can be delegated (H-18)")]
        }
        return tables.isDelegate(rule.key)
            ? [] : [finding(.lostDelegate, "spec.hosts", "without hosts, and no VirtualService delegates to it (H-18)")]
    }

    private func losses() -> [Diagnostic] {
        let isConcerned = rule.hosts.isEmpty || rule.http.contains { $0.delegate != nil }
        guard isConcerned else { return [] }
        return tables.losses(rule.key).map { finding(.lostDelegate, $0.field, $0.message) }
    }

    private func gateways() -> [Diagnostic] {
        rule.rule.gateways.enumerated().compactMap { index, written in
            let name = MeshModel.Rule.gateway(written, namespace: rule.key.namespace)
            guard name != Mesh.meshGateway, tables.entrances[name] == nil else { return nil }
            let parts = name.split(separator: "/").map(String.init)
            let key = NamespacedName(namespace: parts.first ?? "", name: parts.last ?? "")
            let isOther = tables.model.objects.object(.gatewayAPIGateway, key) != nil
            return finding(
                .unknownGateway, "spec.gateways[\(index)]",
                isOther
                    ? "\"\(name)\" is a Gateway of the Gateway API: routes of it are HTTPRoutes, this rule is not bound to it"
                    : "no Gateway \"\(name)\"")
        }
    }

    // MARK: Connections

    private func tls(_ index: Int, _ route: VirtualService.TLSRoute) -> [Diagnostic] {
        let field = "spec.tls[\(index)]"
        var found = connections(field, route.match, route.route)
        if route.match.isEmpty {
            found.append(
                finding(.invalidServerNames, "\(field).match", "required: a TLS route is chosen by server names"))
        }
        for (position, match) in route.match.enumerated() {
            let place = "\(field).match[\(position)].sniHosts"
            if match.sniHosts.isEmpty { found.append(finding(.invalidServerNames, place, "required")) }
            for (number, name) in match.sniHosts.enumerated() {
                if Addresses.isAddress(name) {
                    found.append(
                        finding(
                            .ruleFieldWithoutEffect, "\(place)[\(number)]",
                            "clients do not send an address as a server name (RFC 6066): \"\(name)\" is hardly ever met"
                        ))
                } else if !rule.hosts.contains(where: { HostName.covers($0, name) }) {
                    found.append(
                        finding(
                            .invalidServerNames, "\(place)[\(number)]", "\"\(name)\" belongs to none of spec.hosts"))
                }
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
        if destinations.isEmpty { found.append(finding(.routeAction, "\(field).route", "required")) }
        for (position, match) in matches.enumerated() {
            let place = "\(field).match[\(position)]"
            if let port = match.port, !(1...65535).contains(port) {
                found.append(finding(.invalidMatch, "\(place).port", "\(port) is no port"))
            }
            for (number, subnet) in match.destinationSubnets.enumerated() where !Addresses.isAddressOrRange(subnet) {
                found.append(
                    finding(
                        .invalidMatch, "\(place).destinationSubnets[\(number)]", "\"\(subnet)\" is no address or prefix"
                    ))
            }
            if match.json["sourceSubnet"] != nil {
                found.append(
                    finding(
                        .ruleFieldWithoutEffect, "\(place).sourceSubnet",
                        "has no effect: use sourceLabels or sourceNamespace"))
            }
        }
        return found
    }

    // MARK: Destinations

    func destinations(_ field: String, _ destinations: [VirtualService.Destination]) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (index, destination) in destinations.enumerated() where destination.weight < 0 {
            found.append(finding(.weights, "\(field)[\(index)].weight", "\(destination.weight) is negative"))
        }
        if destinations.count > 1 && destinations.allSatisfy({ $0.weight == 0 }) {
            found.append(finding(.weights, field, "all weights are 0: give at least one destination a weight (H-8)"))
        }
        if destinations.reduce(0, { $0 &+ $1.weight }) > Int(UInt32.max) {
            found.append(finding(.weights, field, "the weights are more than \(UInt32.max) together"))
        }
        for (index, destination) in destinations.enumerated() {
            found += self.destination("\(field)[\(index)].destination", destination)
        }
        return found
    }

    func destination(_ place: String, _ destination: VirtualService.Destination) -> [Diagnostic] {
        if destination.host.isEmpty { return [finding(.invalidValue, "\(place).host", "required")] }
        let host = HostName.expanded(destination.host, ruleNamespace: rule.key.namespace)
        guard let service = model.service(host: host) else {
            return [
                finding(
                    .unknownDestinationHost, "\(place).host", "no service \"\(host)\": such requests get 503 (H-10)")
            ]
        }
        var found: [Diagnostic] = []
        if let port = destination.port {
            if service.port(port) == nil {
                found.append(
                    finding(
                        .unknownDestinationPort, "\(place).port.number",
                        "service \"\(host)\" has no port \(port): such requests get 503"))
            }
        } else if service.ports.count > 1 {
            found.append(
                finding(
                    .destinationPortNeeded, "\(place).port",
                    "service \"\(host)\" has \(service.ports.count) ports: say which one (H-9)"))
        }
        if !destination.subset.isEmpty && !hasSubset(destination.subset, service) {
            found.append(
                finding(
                    .unknownSubset,
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
