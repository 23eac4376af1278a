import EnvoyAPI
import KubernetesAPI

/// What a sidecar needs to know about going out: the services it sees, and the rules that count for it.
struct Outbound {
    /// A service on one of its ports.
    struct Member {
        var service: MeshService
        var port: MeshService.Port
    }

    let model: MeshModel
    let namespace: String
    let labels: [String: String]
    /// The visible services by port number, in the order of the model.
    let ports: [Int: [Member]]
    /// The ports on which every connection is HTTP.
    let httpPorts: Set<Int>
    /// The rules for sidecars that this caller sees, in order.
    let rules: [MeshModel.Rule]

    init(model: MeshModel, namespace: String, labels: [String: String]) {
        self.model = model
        self.namespace = namespace
        self.labels = labels
        var ports: [Int: [Member]] = [:]
        for service in model.services(visibleTo: namespace) where service.externalName == nil {
            for port in service.ports { ports[port.number, default: []].append(Member(service: service, port: port)) }
        }
        rules = model.rules.filter { rule in
            rule.gateways.contains(Mesh.meshGateway)
                && HostName.isVisible(exportTo: rule.rule.exportTo, owner: rule.key.namespace, to: namespace)
        }
        var httpPorts = Set(
            ports.filter { $0.value.contains { $0.port.portProtocol == .http } }.map(\.key))
        // Rules for hosts that are no services work on port 80, as in Istio.
        let hasForeignHosts = rules.contains { rule in
            rule.hosts.contains { host in
                !model.hasService(host: host) && (!HostName.isWildcard(host) || host != "*")
            } && !rule.http.isEmpty
        }
        if hasForeignHosts {
            httpPorts.insert(80)
            if ports[80] == nil { ports[80] = [] }
        }
        self.ports = ports
        self.httpPorts = httpPorts
    }

    /// The cluster for what no service matches.
    var unmatchedCluster: String {
        model.config.outboundPolicy == .allowAny ? ClusterNames.passthrough : ClusterNames.blackHole
    }

    /// The addresses by which a service is reached: its own, or those of its pods when it is headless (S-8).
    func addresses(of service: MeshService) -> [String] {
        service.isHeadless ? model.endpoints(of: service).map(\.address) : service.addresses
    }

    /// S-4: the TCP service that takes connections to any address of a port: the oldest that stands for any address,
    /// unless an older HTTP service needs the port.
    func anyAddressWinner(_ port: Int) -> Member? {
        let members = ports[port] ?? []
        let first = members.first { $0.port.portProtocol.isHTTP || $0.service.takesAnyAddress }
        guard let first, !first.port.portProtocol.isHTTP else { return nil }
        return first
    }

    /// The addresses to which the HTTP chain of a port is limited; empty means any.
    func httpAddresses(_ port: Int) -> [String] {
        guard anyAddressWinner(port) != nil else { return [] }
        return (ports[port] ?? []).filter { $0.port.portProtocol.isHTTP }.flatMap { addresses(of: $0.service) }
    }

    /// The rule for a host: an exact one, else the most specific wildcard; among equals the oldest (H-6).
    ///
    /// A rule of another namespace than the host's counts for callers in its own namespace only, unless it is in the
    /// root namespace.
    func rule(for host: String, where condition: (MeshModel.Rule) -> Bool) -> MeshModel.Rule? {
        var best: (rule: MeshModel.Rule, pattern: String)?
        for rule in rules where condition(rule) && mayClaim(rule, host) {
            for pattern in rule.hosts where HostName.covers(pattern, host) {
                if pattern == host && best?.pattern != host {
                    best = (rule, pattern)
                } else if HostName.isWildcard(pattern),
                    best.map({ HostName.isWildcard($0.pattern) && $0.pattern.count < pattern.count }) ?? true
                {
                    best = (rule, pattern)
                }
            }
        }
        return best?.rule
    }

    ///
    func mayClaim(_ rule: MeshModel.Rule, _ host: String) -> Bool {
        guard model.config.guardsHosts, let owner = HostName.namespace(ofService: host) else { return true }
        return rule.key.namespace == owner || rule.key.namespace == namespace
            || rule.key.namespace == Mesh.rootNamespace
    }

    /// Where connections to a TCP service go: the first TCP route that applies, else the service itself.
    func tcpProxy(_ member: Member) -> TcpProxy {
        let own = Destinations.clusterName(host: member.service.host, port: member.port.number)
        var proxy = FilterChains.tcpProxy(own, config: model.config)
        DestinationPolicy.find(
            host: member.service.host, serviceNamespace: member.service.key.namespace, callerNamespace: namespace,
            callerLabels: labels, model: model
        ).settings(port: member.port.number).apply(to: &proxy)
        guard let rule = rule(for: member.service.host, where: { !$0.tcp.isEmpty }) else { return proxy }
        for route in rule.tcp
        where route.match.isEmpty || route.match.contains(where: { applies($0, member.port.number, rule) }) {
            TCPRoutes.apply(
                route, to: &proxy, ruleNamespace: rule.key.namespace, model: model, port: member.port.number)
            break
        }
        return proxy
    }

    private func applies(_ match: VirtualService.L4Match, _ port: Int, _ rule: MeshModel.Rule) -> Bool {
        if let wanted = match.port, wanted != port { return false }
        if !match.gateways.isEmpty { return match.gateways.contains(Mesh.meshGateway) }
        if !match.sourceNamespace.isEmpty && match.sourceNamespace != namespace { return false }
        return match.sourceLabels.allSatisfy { labels[$0.key] == $0.value }
    }
}

/// TCP routes of VirtualServices.
enum TCPRoutes {
    /// Sends connections to the destinations of a route.
    static func apply(
        _ route: VirtualService.TCPRoute, to proxy: inout TcpProxy, ruleNamespace: String, model: MeshModel, port: Int
    ) {
        func name(_ destination: VirtualService.Destination) -> String {
            Destinations.clusterName(destination, ruleNamespace: ruleNamespace, model: model, listenerPort: port)
        }
        if let only = route.route.first, route.route.count == 1 {
            proxy.clusterSpecifier = .cluster(name(only))
            return
        }
        var clusters = TcpProxy.WeightedCluster()
        clusters.clusters = route.route.filter { $0.weight > 0 }.map { destination in
            var entry = TcpProxy.WeightedCluster.ClusterWeight()
            entry.name = name(destination)
            entry.weight = UInt32(clamping: destination.weight)
            return entry
        }
        if !clusters.clusters.isEmpty { proxy.clusterSpecifier = .weightedClusters(clusters) }
    }
}
