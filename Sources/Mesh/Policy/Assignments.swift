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
            return host(endpoint, port: number)
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

    /// An address, or a prefix in CIDR notation.
    static func range(_ written: String) -> CidrRange {
        let parts = written.split(separator: "/", maxSplits: 1)
        guard parts.count == 2, let address = parts.first, let length = parts.last.flatMap({ UInt32($0) }) else {
            return prefix(written)
        }
        var range = prefix(String(address))
        range.prefixLen = min(length, range.prefixLen ?? 128)
        return range
    }

    /// Whether the text is an IPv4 or IPv6 address, with or without the length of a prefix.
    static func isRange(_ written: String) -> Bool {
        let parts = written.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first else { return false }
        let isLong = address.contains(":")
        if parts.count == 2 {
            guard let length = UInt32(parts[1]), length <= (isLong ? 128 : 32) else { return false }
        }
        if isLong {
            return address.utf8.allSatisfy { Character(UnicodeScalar($0)).isHexDigit || ":.".utf8.contains($0) }
        }
        let octets = address.split(separator: ".", omittingEmptySubsequences: false)
        return octets.count == 4 && octets.allSatisfy { UInt8($0) != nil }
    }

    /// One address as a prefix.
    static func prefix(_ address: String) -> CidrRange {
        var range = CidrRange()
        range.addressPrefix = address
        range.prefixLen = address.contains(":") ? 128 : 32
        return range
    }
}
