public import Serialization

/// The endpoints of a cluster: a compiled `ClusterLoadAssignment`.
public struct EndpointTable: Sendable, Hashable {
    /// What the control plane says about an endpoint's health.
    public enum Health: Sendable, Hashable {
        /// UNKNOWN or HEALTHY.
        case healthy
        /// UNHEALTHY or TIMEOUT.
        case unhealthy
        /// DRAINING: no new requests.
        case draining
        /// DEGRADED: only when the healthy ones do not suffice.
        case degraded
    }

    /// One endpoint.
    public struct Endpoint: Sendable, Hashable {
        /// Where it listens.
        public var address: HostAddress
        /// Its own name, for `auto_host_rewrite` and health checks; empty is none.
        public var hostname = ""
        /// Its share inside its locality.
        public var weight: UInt32 = 1
        /// The control plane's word on its health.
        public var health = Health.healthy
        /// Port of health checks; nil is the endpoint's own.
        public var healthCheckPort: UInt16?
        /// Name for health checks; empty is `hostname`.
        public var healthCheckHostname = ""
        /// Active health checks leave it alone.
        public var skipsActiveChecks = false
        /// `metadata.filter_metadata`: provenance, workload labels.
        public var metadata: JSON?

        /// An endpoint.
        public init(address: HostAddress) { self.address = address }
    }

    /// Endpoints of one place with one priority.
    public struct Group: Sendable, Hashable {
        /// Where.
        public var locality = Locality()
        /// 0 is the first choice.
        public var priority: UInt32 = 0
        /// Share of the locality when balancing is locality-weighted; nil is none: such a locality gets no load then.
        public var weight: UInt32?
        /// The endpoints.
        public var endpoints: [Endpoint]

        /// A group.
        public init(endpoints: [Endpoint]) { self.endpoints = endpoints }
    }

    /// `cluster_name`.
    public var clusterName = ""
    /// The groups in their order.
    public var groups: [Group] = []
    /// B-9, in percent.
    public var overprovisioningFactor: UInt32 = 140
    /// A priority's health goes by weights (`policy.weighted_priority_health`).
    public var countsWeights = false
    /// Shares of requests to drop, by category (`policy.drop_overloads`).
    public var drops: [Drop] = []

    /// A share of requests to drop.
    public struct Drop: Sendable, Hashable {
        /// Why, for the counter.
        public var category: String
        /// How many.
        public var share: Fraction
    }

    /// No endpoints.
    public init() {}

    /// Whether an endpoint came or went since another table; weights, places and health may differ all the same.
    public func hasOtherHosts(than other: EndpointTable?) -> Bool {
        func addresses(_ table: EndpointTable) -> Set<HostAddress> {
            var addresses: Set<HostAddress> = []
            for group in table.groups {
                for endpoint in group.endpoints {
                    if case .name = endpoint.address { continue }
                    addresses.insert(endpoint.address)
                }
            }
            return addresses
        }
        guard let other else { return !addresses(self).isEmpty }
        return groups != other.groups && addresses(self) != addresses(other)
    }

    /// The names that must be resolved before the endpoints can be used, each once, in order.
    public var names: [HostAddress] {
        var seen: Set<HostAddress> = []
        return groups.flatMap(\.endpoints).map(\.address).filter {
            if case .name = $0 { seen.insert($0).inserted } else { false }
        }
    }

    /// The table with each name in place of which stand the addresses it resolved to.
    ///
    /// A name without an answer vanishes. The endpoint's hostname becomes the name unless it has one.
    ///
    /// - Parameters:
    ///   - answers: IP addresses in text, by name.
    ///   - onlyFirst: LOGICAL_DNS: one current address of a name.
    public func resolved(_ answers: [String: [String]], onlyFirst: Bool = false) -> EndpointTable {
        var table = self
        for group in table.groups.indices {
            table.groups[group].endpoints = table.groups[group].endpoints.flatMap { endpoint -> [Endpoint] in
                guard case .name(let name, let port) = endpoint.address else { return [endpoint] }
                return (answers[name] ?? []).prefix(onlyFirst ? 1 : Int.max).map { address in
                    var host = endpoint
                    host.address = .ip(address, port: port)
                    if host.hostname.isEmpty { host.hostname = name }
                    return host
                }
            }
        }
        return table
    }
}
