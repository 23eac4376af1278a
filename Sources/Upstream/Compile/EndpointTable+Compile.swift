public import EnvoyAPI
internal import Serialization

extension EndpointTable {
    /// Compiles the endpoints of a cluster as EDS sends them: addresses must be IP addresses or unix sockets.
    public init(compiling message: ClusterLoadAssignment, path: String = "") throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path), allowsNames: false)
    }

    init(
        compiling message: ClusterLoadAssignment, _ path: FieldPath, allowsNames: Bool
    ) throws(ConfigurationError) {
        try FieldCheck.check(message, path, handles: "cluster_name endpoints policy")
        self.init()
        clusterName = message.clusterName
        if let policy = message.policy {
            let place = path / "policy"
            try FieldCheck.check(
                policy, place, handles: "drop_overloads overprovisioning_factor weighted_priority_health")
            countsWeights = policy.weightedPriorityHealth
            if let factor = policy.overprovisioningFactor {
                guard factor > 0 else { throw (place / "overprovisioning_factor").error("must be above 0") }
                overprovisioningFactor = factor
            }
            for (index, drop) in policy.dropOverloads.enumerated() {
                let spot = (place / "drop_overloads")[index]
                guard let share = drop.dropPercentage else { throw (spot / "drop_percentage").error("is missing") }
                drops.append(
                    Drop(category: drop.category, share: try Fraction(compiling: share, spot / "drop_percentage")))
            }
        }
        for (index, locality) in message.endpoints.enumerated() {
            groups.append(
                try Group(compiling: locality, (path / "endpoints")[index], allowsNames: allowsNames))
        }
    }
}

extension EndpointTable.Group {
    init(
        compiling message: LocalityLbEndpoints, _ path: FieldPath, allowsNames: Bool
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path, handles: "locality lb_endpoints load_balancing_weight priority")
        self.init(endpoints: [])
        if let place = message.locality {
            locality = Locality(region: place.region, zone: place.zone, subZone: place.subZone)
        }
        guard message.priority <= 128 else { throw (path / "priority").error("\(message.priority) is above 128") }
        priority = message.priority
        if let share = message.loadBalancingWeight {
            guard share > 0 else { throw (path / "load_balancing_weight").error("must be above 0") }
            weight = share
        }
        for (index, endpoint) in message.lbEndpoints.enumerated() {
            endpoints.append(
                try EndpointTable.Endpoint(
                    compiling: endpoint, (path / "lb_endpoints")[index], allowsNames: allowsNames))
        }
    }
}

extension EndpointTable.Endpoint {
    init(compiling message: LbEndpoint, _ path: FieldPath, allowsNames: Bool) throws(ConfigurationError) {
        guard case .endpoint(let endpoint) = message.hostIdentifier else {
            if case .endpointName = message.hostIdentifier { throw (path / "endpoint_name").unsupported() }
            throw (path / "endpoint").error("is missing")
        }
        let place = path / "endpoint"
        try FieldCheck.check(endpoint, place, handles: "address health_check_config hostname")
        guard let target = endpoint.address else { throw (place / "address").error("is missing") }
        self.init(address: try HostAddress(compiling: target, place / "address", allowsNames: allowsNames))
        hostname = endpoint.hostname
        if let check = endpoint.healthCheckConfig {
            let spot = place / "health_check_config"
            try FieldCheck.check(check, spot, handles: "port_value hostname disable_active_health_check")
            if check.portValue > 0 {
                guard let port = UInt16(exactly: check.portValue) else {
                    throw (spot / "port_value").error("\(check.portValue) is above 65535")
                }
                healthCheckPort = port
            }
            healthCheckHostname = check.hostname
            skipsActiveChecks = check.disableActiveHealthCheck
        }
        if let share = message.loadBalancingWeight {
            guard share > 0 else { throw (path / "load_balancing_weight").error("must be above 0") }
            weight = share
        }
        switch message.healthStatus {
        case .unknown, .healthy: health = .healthy
        case .unhealthy, .timeout: health = .unhealthy
        case .draining: health = .draining
        case .degraded: health = .degraded
        case .unrecognized(let number): throw (path / "health_status").error("\(number) is no health status")
        }
        if let filterMetadata = message.metadata?.filterMetadata, !filterMetadata.isEmpty {
            metadata = .object(filterMetadata)
        }
    }
}

extension HostAddress {
    init(compiling message: Address, _ path: FieldPath, allowsNames: Bool) throws(ConfigurationError) {
        switch message.address {
        case .pipe(let pipe):
            guard !pipe.path.isEmpty else { throw (path / "pipe.path").error("is empty") }
            self = .pipe(pipe.path)
        case .envoyInternalAddress(let address):
            guard case .serverListenerName(let name)? = address.addressNameSpecifier, !name.isEmpty else {
                throw (path / "envoy_internal_address.server_listener_name").error("is empty")
            }
            self = .listener(name, endpoint: address.endpointId)
        case .socketAddress(let socket):
            let place = path / "socket_address"
            try FieldCheck.check(socket, place, handles: "protocol address port_value")
            guard socket.`protocol` == .tcp else { throw (place / "protocol").unsupported("UDP") }
            guard case .portValue(let value) = socket.portSpecifier, let port = UInt16(exactly: value) else {
                throw (place / "port_value").error("is missing or above 65535")
            }
            if HostAddress.isIPAddress(socket.address) {
                self = .ip(socket.address, port: port)
            } else if allowsNames, !socket.address.isEmpty {
                self = .name(socket.address, port: port)
            } else {
                throw (place / "address").error(
                    "\(socket.address): is no IP address; names need a STRICT_DNS or LOGICAL_DNS cluster")
            }
        case nil: throw path.error("is empty: set socket_address or pipe")
        }
    }
}
