import EnvoyAPI
import KubernetesAPI
import Serialization

/// The configuration of a gateway pod: what Gateways of both APIs and Ingresses open there.
///
/// A port speaks one thing: HTTP, TLS (told apart by server name) or bytes. The first who opens it decides: Istio's
/// Gateways, oldest first, then those of the Gateway API, then Ingresses. What arrives at the own address of a Gateway of
/// the Gateway API is for that one alone: it ends at ports of its own (`GatewayDoors`).
struct Entrances {
    let model: MeshModel
    let namespace: String
    let labels: [String: String]

    /// A server of an Istio Gateway on a port that we can serve.
    struct Opening {
        var entrance: MeshModel.Entrance
        var server: IstioGateway.Server
        var index: Int

        var place: Provenance {
            Provenance(kind: "Gateway", object: entrance.key, field: "spec.servers[\(index)]")
        }
        var name: String { entrance.key.description }
    }

    /// What a port speaks.
    enum Family: Sendable, Hashable { case http, tls, bytes }

    /// Istio's openings by port, oldest first; all of a port are of one family.
    let openings: [Int: [Opening]]
    /// Whether this pod serves Ingresses and Gateways of the Gateway API.
    let servesSharedKinds: Bool
    /// What each port speaks.
    let families: [Int: Family]
    /// Who may enter.
    let policies: EntrancePolicies
    /// The Gateway at whose own address this is; nil: what arrives at the pod's own ports.
    let gateway: NamespacedName?

    /// What arrives at the own address of a Gateway.
    private init(_ shared: Entrances, of gateway: NamespacedName) {
        (model, namespace, labels, policies) = (shared.model, shared.namespace, shared.labels, shared.policies)
        self.gateway = gateway
        servesSharedKinds = true
        openings = [:]
        var families: [Int: Family] = [:]
        for listener in shared.model.gatewayAPI.listeners where listener.gateway == gateway && listener.isServed {
            guard let family = listener.wire?.family, families[listener.listener.port] == nil else { continue }
            families[listener.listener.port] = family
        }
        self.families = families
    }

    /// What arrives at the pod's own ports.
    init(model: MeshModel, namespace: String, labels: [String: String]) {
        gateway = nil
        self.model = model
        self.namespace = namespace
        self.labels = labels
        policies = EntrancePolicies(model: model, namespace: namespace, labels: labels)
        servesSharedKinds = Mesh.ingressGatewayLabels.allSatisfy { labels[$0.key] == $0.value }
        var openings: [Int: [Opening]] = [:]
        var families: [Int: Family] = [:]
        for entrance in model.entrances
        where entrance.gateway.selector.allSatisfy({ labels[$0.key] == $0.value }) {
            for (index, server) in entrance.gateway.servers.enumerated() {
                guard let port = server.port, (1...65535).contains(port), let family = ServerTLSCheck.family(server)
                else { continue }
                if let known = families[port], known != family { continue }
                families[port] = family
                openings[port, default: []].append(Opening(entrance: entrance, server: server, index: index))
            }
        }
        if servesSharedKinds {
            for listener in model.gatewayAPI.listeners where listener.isShared {
                guard let family = listener.wire?.family, families[listener.listener.port] == nil else { continue }
                families[listener.listener.port] = family
            }
            if !model.servedIngresses.isEmpty, families[80] == nil { families[80] = .http }
            if !IngressCertificates.entries(model).isEmpty, families[443] == nil { families[443] = .tls }
        }
        self.openings = openings
        self.families = families
    }

    /// Whether Ingresses have a share in a port.
    func hasIngresses(port: Int) -> Bool {
        gateway == nil && servesSharedKinds && !model.servedIngresses.isEmpty
            && ((port == 80 && families[80] == .http)
                || (port == 443 && families[443] == .tls && !IngressCertificates.entries(model).isEmpty))
    }

    /// The Gateway API's listeners on a port, when it speaks what they speak.
    func gatewayListeners(port: Int) -> [(position: Int, listener: GatewayAPIModel.Listener)] {
        guard servesSharedKinds else { return [] }
        return model.gatewayAPI.served(port: port).filter {
            $0.listener.wire?.family == families[port] && $0.listener.wire != .udp
                && gateway.map { [listener = $0.listener] in listener.gateway == $0 } ?? $0.listener.isShared
        }
    }

    /// The port of the pod at which connections to a port arrive.
    func local(_ port: Int) -> Int {
        gateway.flatMap { model.gatewayAPI.doors.target($0, OpenedPort(number: port)) } ?? port
    }

    /// Whose policies count for the requests of a port without TLS.
    func scopes(port: Int) -> Set<EntrancePolicies.Scope> {
        var scopes = Set(gatewayListeners(port: port).map { policies.scope($0.listener.gateway) })
        if openings[port] != nil || hasIngresses(port: port) || scopes.isEmpty { scopes.insert(.pod) }
        return scopes
    }

    /// Whose policies count for the requests of the HTTPS listeners with one host.
    func scopes(port: Int, host: String) -> Set<EntrancePolicies.Scope> {
        let scopes = gatewayListeners(port: port).filter { $0.listener.wire == .https && $0.listener.host == host }
            .map { policies.scope($0.listener.gateway) }
        return scopes.isEmpty ? [.pod] : Set(scopes)
    }

    /// Everything that the pod is to know about its ports.
    func add(to snapshot: inout MeshResources) {
        policies.clusters().forEach { snapshot.add($0) }
        var made: [Int: [FilterChain]] = [:]
        for (port, family) in families.sorted(by: { $0.key < $1.key }) {
            let chains = chains(port, family, &snapshot)
            made[port] = chains
            if !chains.isEmpty { snapshot.add(listener(port, family, chains)) }
        }
        if servesSharedKinds {
            addOwn(made, to: &snapshot)
            DatagramListeners(model: model).add(to: &snapshot)
        }
        for policy in model.gatewayAPI.backendTLS.policies where !policy.targets.isEmpty {
            if let secret = policy.resource(model.objects) { snapshot.add(secret) }
        }
        if let key = model.gatewayAPI.backendCertificate,
            let secret = GatewaySecrets.resource(GatewaySecrets.certificateName(key), model.objects)
        {
            snapshot.add(secret)
        }
    }

    /// What the Gateways' own addresses lead to.
    ///
    /// - Parameter made: What the pod's own ports serve. Where that is the Gateway's own and nobody else's, as with the
    ///   only Gateway there is, its address leads to the same routes, which the proxy keeps once.
    private func addOwn(_ made: [Int: [FilterChain]], to snapshot: inout MeshResources) {
        for entry in model.gatewayAPI.gateways where !entry.usesSharedAddress {
            let own = Entrances(self, of: entry.key)
            for (port, family) in own.families.sorted(by: { $0.key < $1.key }) where own.local(port) != port {
                let isAlone =
                    families[port] == family && openings[port] == nil && !hasIngresses(port: port)
                    && gatewayListeners(port: port).map(\.position) == own.gatewayListeners(port: port).map(\.position)
                let chains = isAlone ? made[port] ?? [] : own.chains(port, family, &snapshot)
                if !chains.isEmpty { snapshot.add(own.listener(port, family, chains)) }
            }
        }
    }

    /// The filter chains of a port, their routes and secrets go into the snapshot; none: nothing can be served there.
    private func chains(_ port: Int, _ family: Family, _ snapshot: inout MeshResources) -> [FilterChain] {
        switch family {
        case .http:
            snapshot.add(GatewayRoutes(entrances: self, port: port).configuration())
            return [httpChain(port)]
        case .tls: return TLSDoors(entrances: self, port: port).chains(&snapshot)
        case .bytes: return bytesChain(port).map { [$0] } ?? []
        }
    }

    private func httpChain(_ port: Int) -> FilterChain {
        FilterChains.http(
            name: "0.0.0.0_\(port)", match: nil,
            manager: manager(
                statPrefix: "outbound_0.0.0.0_\(port)", routes: "http.\(local(port))", scopes: scopes(port: port)),
            place: openings[port]?.first?.place ?? gatewayListeners(port: port).first?.listener.place)
    }

    /// What the gateway logs and traces.
    var telemetry: ProxyTelemetry { ProxyTelemetry(model: model, namespace: namespace, labels: labels) }

    /// The connection manager of an edge.
    ///
    /// - Parameter scopes: Whose policies its requests must pass.
    func manager(
        statPrefix: String, routes: String, scopes: Set<EntrancePolicies.Scope> = [.pod]
    ) -> HttpConnectionManager {
        var manager = FilterChains.manager(
            statPrefix: statPrefix, config: model.config, telemetry: telemetry, isEdge: true)
        manager.routeSpecifier = FilterChains.rds(routes)
        manager.useRemoteAddress = true  // P-5: the edge decides who the client is
        func insert(_ name: String, _ config: AnyMessage) {
            guard !manager.httpFilters.contains(where: { $0.name == name }) else { return }
            var filter = HttpFilter()
            filter.name = name
            filter.configType = .typedConfig(config)
            manager.httpFilters.insert(filter, at: max(manager.httpFilters.count - 1, 0))
        }
        // Both do nothing unless a route says so.
        insert(RouteFilters.corsName, AnyMessage(packing: Cors()))
        if model.gatewayAPI.hasSessions {
            insert(RouteFilters.sessionName, AnyMessage(packing: StatefulSession()))
        }
        manager.httpFilters = policies.httpFilters(scopes) + manager.httpFilters
        return manager
    }

    private func listener(_ port: Int, _ family: Family, _ chains: [FilterChain]) -> Listener {
        var listener = Listener()
        listener.name = "0.0.0.0_\(local(port))"
        listener.address = Addresses.any(port: UInt32(clamping: local(port)), model.config)
        listener.trafficDirection = .outbound
        if family == .tls { listener.listenerFilters = [FilterChains.tlsInspector] }
        listener.filterChains = chains
        listener.metadata = chains.first?.metadata
        return listener
    }

    // MARK: Bytes

    /// A chain that carries bytes, behind the policies that count for it.
    func bytes(
        name: String, match: FilterChainMatch?, proxy: TcpProxy, place: Provenance?,
        scope: EntrancePolicies.Scope = .pod
    ) -> FilterChain {
        var chain = FilterChains.tcp(name: name, match: match, proxy: proxy, place: place)
        chain.filters = policies.networkFilters(scope) + chain.filters
        return chain
    }

    private func bytesChain(_ port: Int) -> FilterChain? {
        if let openings = openings[port], let proxy = IstioStreams(entrances: self).tcpProxy(port, openings) {
            return bytes(name: "0.0.0.0_\(port)", match: nil, proxy: proxy, place: openings.first?.place)
        }
        for (position, listener) in gatewayListeners(port: port) where listener.wire == .tcp {
            guard let attachment = model.gatewayAPI.attachments[position]?.first else { continue }
            return bytes(
                name: "0.0.0.0_\(port)", match: nil,
                proxy: StreamRoutes(model: model).proxy(attachment.route, statPrefix: "gateway_\(port)"),
                place: StreamRoutes(model: model).place(attachment.route), scope: policies.scope(listener.gateway))
        }
        return nil
    }
}

/// A port that is opened at the gateway.
public struct OpenedPort: Sendable, Hashable {
    /// Its number, from 1 to 65535.
    public var number: Int
    /// Whether it takes datagrams (UDP) and not connections (TCP).
    public var isDatagram: Bool

    /// A port.
    public init(number: Int, isDatagram: Bool = false) {
        self.number = number
        self.isDatagram = isDatagram
    }
}

extension MeshModel {
    /// The ports that Gateways of both APIs and Ingresses open at gateway pods with those labels.
    public func openedPorts(labels: [String: String]) -> Set<OpenedPort> {
        let entrances = Entrances(model: self, namespace: Mesh.gatewayNamespace, labels: labels)
        let datagrams =
            !entrances.servesSharedKinds
            ? []
            : gatewayAPI.listeners.filter { $0.isShared && $0.wire == .udp }
                .map { OpenedPort(number: $0.listener.port, isDatagram: true) }
        return Set(entrances.families.keys.map { OpenedPort(number: $0) } + datagrams)
    }
}

extension GatewayAPIModel.Wire {
    /// What a port with such a listener speaks; `nil` for datagrams, which have ports of their own.
    var family: Entrances.Family? {
        switch self {
        case .http: .http
        case .https, .tlsTerminate, .tlsPassthrough: .tls
        case .tcp: .bytes
        case .udp: nil
        }
    }
}

extension GatewayAPIModel {
    /// Whether a route keeps clients with their endpoints.
    var hasSessions: Bool {
        routes.contains { $0.route.rules.contains { $0.sessionPersistence != nil } }
    }
}

extension ClusterNames {
    /// A cluster that is nowhere: its share of requests gets 500 (I-6).
    static let invalidBackend = "InvalidBackend"
}
