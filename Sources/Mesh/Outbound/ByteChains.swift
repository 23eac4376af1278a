import EnvoyAPI
import KubernetesAPI

/// The filter chains for connections to one service that are carried as bytes: TLS routes by server name, TCP routes,
/// then the service itself.
struct ByteChains {
    let outbound: Outbound
    let member: Outbound.Member
    /// Whether connections to any address of the port are the service's (S-4).
    let takesAnyAddress: Bool

    /// The chains in order; those with server names need the TLS inspector on their port.
    func chains() -> [FilterChain] {
        let addresses = outbound.addresses(of: member.service)
        let speaksTLS = member.port.portProtocol == .tls
        // Without an address only a server name tells the service from others (S-4).
        guard !addresses.isEmpty || takesAnyAddress || speaksTLS else { return [] }
        var chains = tls(addresses)
        if addresses.isEmpty && !takesAnyAddress {
            chains.append(
                chain(
                    "\(name)_tls", match([], serverNames: [member.service.host]), own,
                    member.service.place("spec.ports")))
            return chains
        }
        return chains + tcp(addresses)
    }

    private var port: Int { member.port.number }
    private var name: String { "\(member.service.host)_\(port)" }

    private var own: TcpProxy {
        let cluster = Destinations.clusterName(host: member.service.host, port: port)
        return outbound.tcpProxy(cluster, hashedBy: member)
    }

    private func chain(_ name: String, _ match: FilterChainMatch, _ proxy: TcpProxy, _ place: Provenance) -> FilterChain
    {
        FilterChains.tcp(name: name, match: match, proxy: proxy, place: place)
    }

    private func match(_ addresses: [String], serverNames: [String] = []) -> FilterChainMatch {
        var match = FilterChains.match(port: port, addresses: addresses)
        guard !serverNames.isEmpty else { return match }
        match.serverNames = serverNames
        match.transportProtocol = "tls"
        return match
    }

    private func tls(_ addresses: [String]) -> [FilterChain] {
        guard member.port.portProtocol != .http, member.port.portProtocol != .http2,
            let rule = outbound.rule(for: member.service.host, where: { !$0.tls.isEmpty })
        else { return [] }
        var chains: [FilterChain] = []
        for (index, route) in rule.tls.enumerated() {
            for (position, condition) in route.match.enumerated() where outbound.applies(condition, port) {
                let names = condition.sniHosts.filter { TLSRoutes.isServerName($0) }
                guard !names.isEmpty else { continue }
                let subnets = condition.destinationSubnets.isEmpty ? addresses : condition.destinationSubnets
                var proxy = own
                TCPRoutes.apply(
                    route.route, to: &proxy, ruleNamespace: rule.key.namespace, model: outbound.model, port: port)
                chains.append(
                    chain(
                        "\(name)_tls_\(index)_\(position)", match(subnets, serverNames: names), proxy,
                        Provenance(
                            kind: "VirtualService", object: rule.key, field: "spec.tls[\(index)].match[\(position)]")))
            }
        }
        return chains
    }

    /// Each TCP route that applies, up to the first without subnets; then the service itself.
    private func tcp(_ addresses: [String]) -> [FilterChain] {
        var chains: [FilterChain] = []
        if let rule = outbound.rule(for: member.service.host, where: { !$0.tcp.isEmpty }) {
            for (index, route) in rule.tcp.enumerated() {
                let conditions: [VirtualService.L4Match?] = route.match.isEmpty ? [nil] : route.match
                for (position, condition) in conditions.enumerated()
                where condition.map({ outbound.applies($0, port) }) ?? true {
                    let field = "spec.tcp[\(index)]" + (condition == nil ? "" : ".match[\(position)]")
                    var proxy = own
                    TCPRoutes.apply(
                        route.route, to: &proxy, ruleNamespace: rule.key.namespace, model: outbound.model, port: port)
                    let subnets = condition?.destinationSubnets ?? []
                    let place = Provenance(kind: "VirtualService", object: rule.key, field: field)
                    if subnets.isEmpty {
                        return chains + [chain("\(name)_tcp", match(addresses), proxy, place)]
                    }
                    chains.append(chain("\(name)_tcp_\(index)_\(position)", match(subnets), proxy, place))
                }
            }
        }
        let place = member.service.place("spec.ports")
        return chains + [chain("\(name)_tcp", match(addresses), own, place)]
    }
}

/// TLS routes of VirtualServices, chosen by the name in the ClientHello.
enum TLSRoutes {
    /// Whether a chain can be chosen by that name: `*` alone stands for every name, which Envoy writes as none.
    static func isServerName(_ name: String) -> Bool { !name.isEmpty && name != "*" }

    /// The chains of a gateway's port with TLS that it does not end: one for each match of the rules for its hosts.
    ///
    /// - Parameter serves: Whether the gateway's servers on that port take the server name.
    static func chains(
        _ rules: [MeshModel.Rule], port: Int, gateways: Set<String>, model: MeshModel, serves: (String) -> Bool
    ) -> [FilterChain] {
        var chains: [FilterChain] = []
        for rule in rules where !rule.gateways.isDisjoint(with: gateways) {
            for (index, route) in rule.tls.enumerated() {
                for (position, condition) in route.match.enumerated() {
                    if let wanted = condition.port, wanted != port { continue }
                    let applies =
                        condition.gateways.isEmpty
                        || condition.gateways.contains {
                            gateways.contains(MeshModel.Rule.gateway($0, namespace: rule.key.namespace))
                        }
                    let names = condition.sniHosts.filter(serves)
                    guard applies, !names.isEmpty else { continue }
                    var proxy = FilterChains.tcpProxy(ClusterNames.blackHole, config: model.config)
                    proxy.statPrefix = "gateway_\(port)"
                    TCPRoutes.apply(
                        route.route, to: &proxy, ruleNamespace: rule.key.namespace, model: model, port: port)
                    var match = FilterChainMatch()
                    match.serverNames = names.contains("*") ? [] : names
                    match.transportProtocol = "tls"
                    chains.append(
                        FilterChains.tcp(
                            name: "\(rule.key)_tls_\(index)_\(position)_\(port)", match: match, proxy: proxy,
                            place: Provenance(
                                kind: "VirtualService", object: rule.key,
                                field: "spec.tls[\(index)].match[\(position)]")))
                }
            }
        }
        var unique = UniqueChains()
        return chains.compactMap { unique.take($0) }
    }
}

/// Keeps the conditions of a listener's chains apart: two chains with one condition would be refused as a whole, so the
/// first one keeps it (S-4).
struct UniqueChains {
    private var claimed: Set<String> = []

    /// The chain without the conditions that earlier ones have; `nil` when nothing is left.
    mutating func take(_ chain: FilterChain) -> FilterChain? {
        guard var match = chain.filterChainMatch else { return claimed.insert("").inserted ? chain : nil }
        let port = match.destinationPort.map(String.init) ?? ""
        let protocols = match.transportProtocol + "|" + match.applicationProtocols.joined(separator: ",")
        let names = match.serverNames.isEmpty ? [""] : match.serverNames
        let prefixes: [CidrRange?] = match.prefixRanges.isEmpty ? [nil] : match.prefixRanges
        func key(_ prefix: CidrRange?, _ name: String) -> String {
            let range = prefix.map { "\($0.addressPrefix)/\($0.prefixLen ?? 0)" } ?? ""
            return "\(port)|\(range)|\(name)|\(protocols)"
        }
        // A name stays if it is free at some address, an address if it is free for all names that stay.
        let keptNames = names.filter { name in prefixes.contains { !claimed.contains(key($0, name)) } }
        let kept = prefixes.filter { prefix in !keptNames.contains { claimed.contains(key(prefix, $0)) } }
        guard !keptNames.isEmpty, !kept.isEmpty else { return nil }
        for prefix in kept { for name in keptNames { claimed.insert(key(prefix, name)) } }
        match.serverNames = match.serverNames.isEmpty ? [] : keptNames
        match.prefixRanges = kept.compactMap { $0 }
        var chain = chain
        chain.filterChainMatch = match
        return chain
    }
}
