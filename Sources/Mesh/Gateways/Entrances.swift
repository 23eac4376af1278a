import EnvoyAPI
import KubernetesAPI

/// The configuration of a gateway pod: what Gateways and Ingresses open there.
struct Entrances {
    let model: MeshModel
    let namespace: String
    let labels: [String: String]

    /// A server of a Gateway on a port that we can serve.
    struct Opening {
        var entrance: MeshModel.Entrance
        var server: IstioGateway.Server
        var index: Int

        var place: Provenance {
            Provenance(kind: "Gateway", object: entrance.key, field: "spec.servers[\(index)]")
        }
        var name: String { entrance.key.description }
    }

    /// The openings by port, oldest first; the first one decides whether a port speaks HTTP or carries bytes.
    let openings: [Int: [Opening]]
    /// Whether this pod serves Ingresses.
    let servesIngresses: Bool

    init(model: MeshModel, namespace: String, labels: [String: String]) {
        self.model = model
        self.namespace = namespace
        self.labels = labels
        servesIngresses =
            !model.ingresses.isEmpty && Mesh.ingressGatewayLabels.allSatisfy { labels[$0.key] == $0.value }
        var openings: [Int: [Opening]] = [:]
        for entrance in model.entrances
        where entrance.gateway.selector.allSatisfy({ labels[$0.key] == $0.value }) {
            for (index, server) in entrance.gateway.servers.enumerated() {
                guard let port = server.port, (1...65535).contains(port), Self.canServe(server) else { continue }
                let opening = Opening(entrance: entrance, server: server, index: index)
                if let first = openings[port]?.first, Self.isHTTP(first.server) != Self.isHTTP(server) { continue }
                openings[port, default: []].append(opening)
            }
        }
        self.openings = openings
    }

    /// TLS at gateways is not there yet; such servers are reported by the analysis and open nothing.
    static func canServe(_ server: IstioGateway.Server) -> Bool {
        isHTTP(server) || server.portProtocol.uppercased() == "TCP"
    }

    static func isHTTP(_ server: IstioGateway.Server) -> Bool {
        ["HTTP", "HTTP2", "GRPC", "GRPC-WEB"].contains(server.portProtocol.uppercased())
    }

    /// What the gateway logs and traces.
    private var telemetry: ProxyTelemetry { ProxyTelemetry(model: model, namespace: namespace, labels: labels) }

    private var httpPorts: [Int] {
        var ports = Set(openings.filter { $0.value.first.map { Self.isHTTP($0.server) } ?? false }.map(\.key))
        if servesIngresses { ports.insert(80) }
        return ports.sorted()
    }

    func listeners() -> [Listener] {
        let http = httpPorts.map { port -> Listener in
            var manager = FilterChains.manager(
                statPrefix: "outbound_0.0.0.0_\(port)", config: model.config, telemetry: telemetry, isEdge: true)
            manager.routeSpecifier = FilterChains.rds("http.\(port)")
            manager.useRemoteAddress = true  // P-5: the edge decides who the client is
            return listener(
                port,
                FilterChains.http(
                    name: "0.0.0.0_\(port)", match: nil, manager: manager, place: openings[port]?.first?.place))
        }
        let tcp = openings.filter { !httpPorts.contains($0.key) }.sorted { $0.key < $1.key }
            .compactMap { port, openings in
                tcpProxy(port, openings).map { proxy in
                    listener(
                        port,
                        FilterChains.tcp(
                            name: "0.0.0.0_\(port)", match: nil, proxy: proxy, place: openings.first?.place))
                }
            }
        return http + tcp
    }

    func routes() -> [RouteConfiguration] {
        httpPorts.map { GatewayRoutes(entrances: self, port: $0).configuration() }
    }

    private func listener(_ port: Int, _ chain: FilterChain) -> Listener {
        var listener = Listener()
        listener.name = "0.0.0.0_\(port)"
        listener.address = Addresses.any(port: UInt32(clamping: port))
        listener.trafficDirection = .outbound
        listener.filterChains = [chain]
        listener.metadata = chain.metadata
        return listener
    }

    /// The first TCP route that is bound to one of the gateways on that port.
    private func tcpProxy(_ port: Int, _ openings: [Opening]) -> TcpProxy? {
        let names = Set(openings.map(\.name))
        for rule in model.rules where !rule.gateways.isDisjoint(with: names) {
            for route in rule.tcp {
                let applies =
                    route.match.isEmpty
                    || route.match.contains { match in
                        (match.port ?? port) == port
                            && (match.gateways.isEmpty
                                || match.gateways.contains {
                                    names.contains(MeshModel.Rule.gateway($0, namespace: rule.key.namespace))
                                })
                    }
                guard applies else { continue }
                var proxy = FilterChains.tcpProxy(ClusterNames.blackHole, config: model.config)
                proxy.statPrefix = "gateway_\(port)"
                TCPRoutes.apply(route.route, to: &proxy, ruleNamespace: rule.key.namespace, model: model, port: port)
                return proxy
            }
        }
        return nil
    }
}
