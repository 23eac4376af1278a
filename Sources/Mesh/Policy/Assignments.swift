import EnvoyAPI
import KubernetesAPI

/// Makes the endpoint lists of EDS clusters.
enum Assignments {
    /// The endpoints of a service port; of a subset when labels are given.
    static func assignment(
        name: String, service: MeshService, port: MeshService.Port, labels: [String: String]?, model: MeshModel
    ) -> ClusterLoadAssignment {
        var assignment = ClusterLoadAssignment()
        assignment.clusterName = name
        let hosts = model.usableEndpoints(of: service).compactMap { endpoint -> LbEndpoint? in
            if let labels, !labels.allSatisfy({ endpoint.labels[$0.key] == $0.value }) { return nil }
            // A slice made by hand may leave its only port unnamed (S-13).
            guard let number = endpoint.ports[port.name] ?? (endpoint.ports.count == 1 ? endpoint.ports[""] : nil)
            else { return nil }
            var entry = host(endpoint, port: number)
            if model.speaksMutualTLS(endpoint, port: number) { MutualTLS.mark(&entry) }
            return entry
        }
        guard !hosts.isEmpty else { return assignment }
        var locality = LocalityLbEndpoints()
        locality.locality = Locality()
        locality.lbEndpoints = hosts
        locality.loadBalancingWeight = UInt32(clamping: hosts.count)
        assignment.endpoints = [locality]
        return assignment
    }

    private static func host(_ endpoint: MeshEndpoint, port: Int) -> LbEndpoint {
        var address = SocketAddress()
        address.address = endpoint.address
        address.portSpecifier = .portValue(UInt32(clamping: port))
        var entry = EnvoyAPI.Endpoint()
        entry.address = Addresses.socket(address)
        entry.hostname = endpoint.hostname ?? ""
        var host = LbEndpoint()
        host.hostIdentifier = .endpoint(entry)
        host.healthStatus = .healthy
        let place = endpoint.pod.map { Provenance(kind: "Pod", object: $0, field: "status.podIP") }
        host.metadata =
            (place ?? Provenance(kind: "EndpointSlice", object: endpoint.slice, field: "endpoints")).metadata
        host.loadBalancingWeight = 1
        return host
    }
}

/// Makes addresses.
enum Addresses {
    static func socket(_ socket: SocketAddress) -> Address {
        var address = Address()
        address.address = .socketAddress(socket)
        return address
    }

    static func any(port: UInt32) -> Address {
        var socket = SocketAddress()
        socket.address = "0.0.0.0"
        socket.portSpecifier = .portValue(port)
        return Addresses.socket(socket)
    }

    /// One address as a prefix.
    static func prefix(_ address: String) -> CidrRange {
        var range = CidrRange()
        range.addressPrefix = address
        range.prefixLen = address.contains(":") ? 128 : 32
        return range
    }
}
