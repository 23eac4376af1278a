public import IO

/// One port of a service, as the rules need it.
public struct ServicePort: Sendable, Hashable {
    /// Where a connection to the service ends.
    public struct Endpoint: Sendable, Hashable, Comparable {
        /// The pod's (or anybody's) address.
        public var address: IPAddress
        /// Its port.
        public var port: UInt16

        /// Where a connection ends.
        public init(_ address: IPAddress, _ port: UInt16) {
            self.address = address
            self.port = port
        }

        /// By address, then by port.
        public static func < (left: Endpoint, right: Endpoint) -> Bool {
            left.address == right.address ? left.port < right.port : left.address < right.address
        }
    }

    /// `namespace/name` of the service.
    public var service: String
    /// The port's name, or its number as text.
    public var name: String
    /// Cluster IPs, of both families.
    public var addresses: [IPAddress]
    /// Addresses from outside: external IPs.
    public var external: [IPAddress] = []
    /// Addresses from outside: those of the load balancer.
    public var balancer: [IPAddress] = []
    /// The port of every address of the host but loopback; nil: none.
    public var nodePort: UInt16?
    /// Who may use the balancer's addresses (`loadBalancerSourceRanges`); empty: everybody.
    public var sourceRanges: [Prefix] = []
    /// Those of the endpoints that are on this node.
    public var local: Set<Endpoint> = []
    /// Whether connections to cluster IPs stay on the node (`internalTrafficPolicy: Local`).
    public var internalIsLocal = false
    /// Whether connections from outside stay on the node (`externalTrafficPolicy: Local`).
    public var externalIsLocal = false
    /// The port at these addresses.
    public var port: UInt16
    /// TCP, UDP or SCTP.
    public var transport: Transport
    /// The ready endpoints.
    public var endpoints: [Endpoint]
    /// How long a client keeps its endpoint (`sessionAffinity: ClientIP`); nil: it keeps none.
    public var affinitySeconds: Int?

    /// One port of a service.
    public init(
        service: String, name: String, addresses: [IPAddress], port: UInt16, transport: Transport = .tcp,
        endpoints: [Endpoint], affinitySeconds: Int? = nil
    ) {
        self.service = service
        self.name = name
        self.addresses = addresses
        self.port = port
        self.transport = transport
        self.endpoints = endpoints
        self.affinitySeconds = affinitySeconds
    }

    /// Where its rules come from, for comments: `Service shop/web spec.ports[http]`.
    var provenance: String { "Service \(service) spec.ports[\(name)]" }
}
