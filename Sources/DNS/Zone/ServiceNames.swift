public import IO

/// What the zone must know of one Kubernetes Service.
public struct ServiceNames: Hashable, Sendable {
    /// A port of the service.
    public struct Port: Hashable, Sendable {
        /// Its name; ports without one have no SRV record.
        public var name: String
        /// `tcp`, `udp` or `sctp`.
        public var transport: String
        /// The number.
        public var number: UInt16

        /// A port.
        public init(name: String, transport: String = "tcp", number: UInt16) {
            self.name = name
            self.transport = transport
            self.number = number
        }
    }

    /// A ready endpoint of the service.
    public struct Endpoint: Hashable, Sendable {
        /// The address of the pod.
        public var address: IPAddress
        /// The host name from the EndpointSlice, if it has one.
        public var hostname: String?
        /// The numbers of the named ports at this endpoint, where they differ from the service's.
        public var ports: [String: UInt16]

        /// An endpoint.
        public init(address: IPAddress, hostname: String? = nil, ports: [String: UInt16] = [:]) {
            self.address = address
            self.hostname = hostname
            self.ports = ports
        }
    }

    /// The name of the service.
    public var name: String
    /// Its namespace.
    public var namespace: String
    /// Its cluster addresses; none when it is headless or an alias.
    public var clusterIPs: [IPAddress] = []
    /// Its ports.
    public var ports: [Port] = []
    /// Whether its name stands for the endpoints (`clusterIP: None`).
    public var isHeadless = false
    /// The name it is an alias of (`type: ExternalName`).
    public var externalName: String?
    /// The ready endpoints (all of them, when the service publishes those that are not ready).
    public var endpoints: [Endpoint] = []

    /// A service with neither addresses nor ports yet.
    public init(name: String, namespace: String) {
        self.name = name
        self.namespace = namespace
    }
}
