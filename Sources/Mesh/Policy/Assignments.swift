import EnvoyAPI
import KubernetesAPI

/// Who asks, as far as the choice of endpoints depends on it.
struct CallerPlace: Sendable, Hashable {
    var locality = MeshLocality()
    /// The node that it runs on; empty when it is not known.
    var node = ""
    /// The labels of its pod, of which `failoverPriority` may name some.
    var labels: [String: String] = [:]

    /// Somebody somewhere.
    init() {}

    /// A pod.
    init(_ workload: MeshModel.Workload?) {
        guard let workload else { return }
        locality = workload.locality
        node = workload.node
        labels = workload.labels
    }
}

/// Makes the endpoint lists of a service port.
struct Assignments {
    let model: MeshModel
    let service: MeshService
    let port: MeshService.Port
    let caller: CallerPlace
    /// How localities count.
    let preference: LocalityPreference

    init(
        model: MeshModel, service: MeshService, port: MeshService.Port, settings: ClusterSettings, caller: CallerPlace
    ) {
        self.model = model
        self.service = service
        self.port = port
        self.caller = caller
        preference = LocalityPreference(settings, service: service, mesh: nil, caller: caller)
    }

    /// Whether the weights of localities must be heeded.
    var usesWeights: Bool { preference.usesWeights }

    /// The endpoints; of a subset when labels are given.
    func assignment(name: String, labels: [String: String]?) -> ClusterLoadAssignment {
        var assignment = ClusterLoadAssignment()
        assignment.clusterName = name
        var endpoints = model.usableEndpoints(of: service)
        if service.isNodeLocal {
            // S-11, B-10: no fallback to other nodes.
            endpoints = endpoints.filter { !$0.node.isEmpty && $0.node == caller.node }
        }
        let usable = endpoints.filter { endpoint in
            labels.map { endpoint.has($0) } ?? true && endpoint.number(of: port) != nil
        }
        assignment.endpoints = preference.groups(usable).map { group in
            var message = LocalityLbEndpoints()
            var locality = Locality()
            locality.region = group.locality.region
            locality.zone = group.locality.zone
            locality.subZone = group.locality.subzone
            message.locality = locality
            message.priority = group.priority
            message.loadBalancingWeight = group.weight
            message.lbEndpoints = group.endpoints.compactMap { endpoint in
                endpoint.number(of: port).map { host(endpoint, port: $0) }
            }
            return message
        }
        return assignment
    }

    private func host(_ endpoint: MeshEndpoint, port: Int) -> LbEndpoint {
        var entry = EnvoyAPI.Endpoint()
        // For the names that the cluster's DNS answers with an address of the mesh, the proxy asks for the real one.
        let isResolved = service.resolution == .dns || service.resolution == .dnsRoundRobin
        let isHidden = isResolved && model.answersForHost(endpoint.address)
        entry.address = Addresses.of(isHidden ? Mesh.origin(of: endpoint.address) : endpoint.address, port: port)
        entry.hostname = endpoint.hostname ?? (isResolved ? endpoint.address : "")
        var host = LbEndpoint()
        host.hostIdentifier = .endpoint(entry)
        host.healthStatus = .healthy
        host.metadata = endpoint.place.metadata
        host.loadBalancingWeight = UInt32(clamping: endpoint.weight)
        return host
    }
}
