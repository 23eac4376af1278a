import EnvoyAPI
import KubernetesAPI
import Serialization

/// TCP and TLS routes of VirtualServices at gateways.
struct IstioStreams {
    let entrances: Entrances

    /// A TLS route with the server names that lead to it.
    struct Passthrough {
        var serverNames: [String]
        var proxy: TcpProxy
        var place: Provenance
    }

    private var model: MeshModel { entrances.model }

    private func visible(_ rule: MeshModel.Rule) -> Bool {
        HostName.isVisible(exportTo: rule.rule.exportTo, owner: rule.key.namespace, to: entrances.namespace)
    }

    /// The first TCP route that is bound to one of the openings on that port.
    func tcpProxy(_ port: Int, _ openings: [Entrances.Opening]) -> TcpProxy? {
        let names = Set(openings.map(\.name))
        for rule in model.rules where !rule.gateways.isDisjoint(with: names) && visible(rule) {
            for route in rule.tcp
            where route.match.isEmpty || route.match.contains(where: { applies($0, port, names, rule) }) {
                return proxy(route.route, port, rule)
            }
        }
        return nil
    }

    /// the port and the gateways of a condition; who calls is not known at the edge.
    private func applies(
        _ match: VirtualService.L4Match, _ port: Int, _ names: Set<String>, _ rule: MeshModel.Rule
    ) -> Bool {
        (match.port ?? port) == port
            && (match.gateways.isEmpty
                || match.gateways.contains {
                    names.contains(MeshModel.Rule.gateway($0, namespace: rule.key.namespace))
                })
    }

    private func proxy(_ route: [VirtualService.Destination], _ port: Int, _ rule: MeshModel.Rule) -> TcpProxy {
        var proxy = FilterChains.tcpProxy(
            ClusterNames.blackHole, config: model.config, telemetry: entrances.telemetry)
        proxy.statPrefix = "gateway_\(port)"
        TCPRoutes.apply(route, to: &proxy, ruleNamespace: rule.key.namespace, model: model, port: port)
        return proxy
    }

    /// The TLS routes that are bound to a server which passes TLS on; names that the server does not have are left out.
    func passthrough(_ port: Int, _ opening: Entrances.Opening) -> [Passthrough] {
        let names: Set<String> = [opening.name]
        var found: [Passthrough] = []
        for rule in model.rules where rule.gateways.contains(opening.name) && visible(rule) {
            let patterns = GatewayRoutes.patterns(opening, for: rule)
            for (index, route) in rule.tls.enumerated() {
                for (position, match) in route.match.enumerated() where applies(match, port, names, rule) {
                    let common = match.sniHosts.flatMap { name in
                        patterns.compactMap { HostName.intersection($0, name) }
                    }
                    guard !common.isEmpty else { continue }
                    found.append(
                        Passthrough(
                            serverNames: common, proxy: proxy(route.route, port, rule),
                            place: Provenance(
                                kind: "VirtualService", object: rule.key,
                                field: "spec.tls[\(index)].match[\(position)]")))
                }
            }
        }
        return found
    }
}

/// Connections between meshes: the server name spells the service, TLS is not ended.
enum AutoPassthrough {
    private static let outbound = "outbound|"

    /// The chain that takes such connections.
    static func chain(
        _ port: Int, _ match: FilterChainMatch, _ place: Provenance, _ config: MeshConfig
    ) -> FilterChain {
        var chain = FilterChains.tcp(
            name: "auto_passthrough_\(port)", match: match,
            proxy: FilterChains.tcpProxy(ClusterNames.blackHole, config: config), place: place)
        var filter = Filter()
        filter.name = "envoy.filters.network.sni_cluster"
        filter.configType = .typedConfig(AnyMessage(packing: SniCluster()))
        chain.filters.insert(filter, at: 0)
        // Only connections of the mesh: any other could reach every service by its name.
        chain.filterChainMatch?.applicationProtocols = [
            "istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2",
        ]
        return chain
    }

    /// The clusters of services once more, under the names that such connections carry, without TLS of our own.
    static func clusters(_ entrances: Entrances) -> [Cluster] {
        let model = entrances.model
        let place = CallerPlace()
        let resources = model.services(visibleTo: entrances.namespace).filter { $0.externalName == nil }.flatMap {
            let key = ServiceResources.key(
                $0, namespace: entrances.namespace, labels: entrances.labels, place: place,
                keepsHeadlessDestination: false, model: model)
            return ServiceResources(key, model: model).clusters
        }
        return resources.compactMap { resource in
            guard resource.name.hasPrefix(outbound),
                var cluster = try? resource.message.unpack(as: Cluster.self), cluster.edsClusterConfig != nil
            else { return nil }
            let words = resource.name.split(separator: "|", omittingEmptySubsequences: false)
            guard words.count == 4 else { return nil }
            cluster.name = "outbound_.\(words[1])_.\(words[2])_.\(words[3])"
            cluster.transportSocket = nil
            cluster.transportSocketMatches = []
            cluster.typedExtensionProtocolOptions = [:]
            return cluster
        }
    }
}
