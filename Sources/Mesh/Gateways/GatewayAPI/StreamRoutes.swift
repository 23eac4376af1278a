import EnvoyAPI
import KubernetesAPI
import Serialization

/// TLSRoutes, TCPRoutes and UDPRoutes: connections and datagrams to weighted backends.
///
/// The API lets such a route have one rule; of several the first one counts.
struct StreamRoutes {
    let model: MeshModel
    /// Whether connections come by a gateway, and not from inside of the mesh.
    var isEdge = true

    private func route(_ position: Int) -> GatewayAPIModel.Route? {
        model.gatewayAPI.routes.indices.contains(position) ? model.gatewayAPI.routes[position] : nil
    }

    func place(_ position: Int) -> Provenance? {
        route(position).map { Provenance(kind: $0.kind.rawValue, object: $0.key, field: "spec.rules[0]") }
    }

    /// The backends with a share, an invalid one as `nil`: its connections are closed.
    private func backends(_ position: Int) -> [(cluster: String?, weight: Int)] {
        guard let route = route(position), let rule = route.route.rules.first else { return [] }
        let resolver = BackendResolver(
            objects: model.objects, grants: model.gatewayAPI.grants, services: model.serviceLookup, kind: route.kind,
            namespace: route.key.namespace, needsGrants: isEdge)
        return rule.backends.filter { $0.weight > 0 }.map { reference in
            if case .cluster(let name) = resolver.resolve(reference) { return (name, reference.weight) }
            return (nil, reference.weight)
        }
    }

    /// Where connections of a route go.
    func proxy(_ position: Int, statPrefix: String) -> TcpProxy {
        var proxy = FilterChains.tcpProxy(ClusterNames.blackHole, config: model.config)
        proxy.statPrefix = statPrefix
        route(position, into: &proxy)
        return proxy
    }

    /// Sends the connections of a proxy where a route says.
    func route(_ position: Int, into proxy: inout TcpProxy) {
        proxy.clusterSpecifier = .cluster(ClusterNames.blackHole)
        let backends = backends(position)
        if let only = backends.first, backends.count == 1 {
            proxy.clusterSpecifier = .cluster(only.cluster ?? ClusterNames.blackHole)
        } else if !backends.isEmpty {
            var clusters = TcpProxy.WeightedCluster()
            clusters.clusters = backends.map { backend in
                var entry = TcpProxy.WeightedCluster.ClusterWeight()
                entry.name = backend.cluster ?? ClusterNames.blackHole
                entry.weight = UInt32(clamping: backend.weight)
                return entry
            }
            proxy.clusterSpecifier = .weightedClusters(clusters)
        }
    }

    /// The clusters of a UDPRoute with their shares.
    func datagramClusters(_ position: Int) -> [(cluster: String, weight: Int)] {
        backends(position).map { ($0.cluster ?? ClusterNames.blackHole, $0.weight) }
    }
}

/// Listeners for datagrams, with the clusters that only they use.
struct DatagramListeners {
    let model: MeshModel

    func add(to snapshot: inout MeshResources) {
        let api = model.gatewayAPI
        let streams = StreamRoutes(model: model)
        for (position, listener) in api.listeners.enumerated() where listener.isServed && listener.wire == .udp {
            guard let attachment = api.attachments[position]?.first else { continue }
            let clusters = streams.datagramClusters(attachment.route)
            guard let first = clusters.first else { continue }
            var proxy = UdpProxyConfig()
            let written = listener.listener.port
            let door = api.doors.target(listener.gateway, OpenedPort(number: written, isDatagram: true))
            let ports = (listener.isShared ? [written] : []) + (door.map { [$0] } ?? [])
            guard let port = ports.first else { continue }
            proxy.statPrefix = "gateway_\(written)_udp"
            proxy.routeSpecifier = .cluster(first.cluster)
            // Several backends share one cluster, whose endpoints carry the weights.
            if clusters.count > 1 {
                proxy.routeSpecifier = .cluster(DatagramClusters.shared(port))
                guard let made = DatagramClusters.split(clusters, port: port, model: model) else { continue }
                snapshot.add(made.cluster)
                snapshot.add(made.assignment)
            } else if let made = DatagramClusters.make(first.cluster, model: model) {
                snapshot.add(made.cluster)
                snapshot.add(made.assignment)
            }
            var filter = ListenerFilter()
            filter.name = "envoy.filters.udp_listener.udp_proxy"
            filter.configType = .typedConfig(AnyMessage(packing: proxy))
            for port in ports {
                snapshot.add(self.listener(port, filter, streams.place(attachment.route)))
            }
        }
    }

    private func listener(_ port: Int, _ filter: ListenerFilter, _ place: Provenance?) -> Listener {
        var made = Listener()
        made.name = "0.0.0.0_\(port)_udp"
        made.address = Addresses.any(port: UInt32(clamping: port), model.config, isUDP: true)
        made.trafficDirection = .outbound
        made.listenerFilters = [filter]
        made.metadata = place?.metadata
        return made
    }
}

/// Clusters for UDP ports, which the mesh's own registry leaves out.
enum DatagramClusters {
    private static let prefix = "datagrams|"

    static func name(_ service: NamespacedName, _ port: Int) -> String {
        "\(prefix)\(port)||\(HostName.ofService(service))"
    }

    static func shared(_ port: Int) -> String { "\(prefix)gateway|\(port)" }

    /// Service and port behind a name.
    private static func parts(_ name: String) -> (key: NamespacedName, port: Int)? {
        guard name.hasPrefix(prefix) else { return nil }
        let words = name.dropFirst(prefix.count).split(separator: "|", omittingEmptySubsequences: false)
        guard words.count == 3, let port = Int(words[0]), let host = words.last,
            let namespace = HostName.namespace(ofService: String(host)), let name = host.split(separator: ".").first
        else { return nil }
        return (NamespacedName(namespace: namespace, name: String(name)), port)
    }

    /// The service and its UDP port behind a name.
    private static func target(_ name: String, _ model: MeshModel) -> (service: MeshService, port: MeshService.Port)? {
        guard let (key, number) = parts(name), let service = model.service(host: HostName.ofService(key)),
            let object = model.objects(.service).first(where: {
                $0.name == key.name && $0.namespace == key.namespace
            }),
            let port = Service(json: object.json).spec.ports.first(where: {
                $0.port == number && $0.protocol == "UDP"
            })
        else { return nil }
        return (
            service,
            MeshService.Port(
                number: number, name: port.name, portProtocol: .udp, target: port.targetPort ?? .int(number))
        )
    }

    static func make(_ name: String, model: MeshModel) -> (cluster: Cluster, assignment: ClusterLoadAssignment)? {
        guard let (service, port) = target(name, model) else { return nil }
        let settings = ClusterSettings(nil, port: port.number)
        let cluster = Clusters.outbound(
            name: name, service: service, port: port, settings: settings, model: model, subset: nil,
            caller: CallerPlace(), usesOriginalDestination: false, isForGateway: true)
        let assignments = Assignments(
            model: model, service: service, port: port, settings: settings, caller: CallerPlace())
        return (cluster, assignments.assignment(name: name, labels: nil))
    }

    /// One cluster with the endpoints of several backends as weighted localities (I-7); `nil` when none is there.
    static func split(
        _ shares: [(cluster: String, weight: Int)], port: Int, model: MeshModel
    ) -> (cluster: Cluster, assignment: ClusterLoadAssignment)? {
        let made = shares.map { make($0.cluster, model: model) }
        let name = shared(port)
        guard var cluster = made.lazy.compactMap({ $0?.cluster }).first else { return nil }
        cluster.name = name
        cluster.edsClusterConfig?.serviceName = name
        var common = cluster.commonLbConfig ?? Cluster.CommonLbConfig()
        common.localityConfigSpecifier = .localityWeightedLbConfig(
            Cluster.CommonLbConfig.LocalityWeightedLbConfig())
        cluster.commonLbConfig = common
        var assignment = ClusterLoadAssignment()
        assignment.clusterName = name
        assignment.endpoints = zip(shares, made).enumerated().compactMap { index, entry in
            let hosts = entry.1?.assignment.endpoints.flatMap(\.lbEndpoints) ?? []
            guard !hosts.isEmpty else { return nil }
            var locality = LocalityLbEndpoints()
            var place = Locality()
            place.subZone = "backend-\(index)"
            locality.locality = place
            locality.lbEndpoints = hosts
            locality.loadBalancingWeight = UInt32(clamping: entry.0.weight)
            return locality
        }
        return (cluster, assignment)
    }
}
