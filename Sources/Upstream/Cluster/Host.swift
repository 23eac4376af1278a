public import Serialization
internal import Synchronization

/// One upstream host and what one loop knows of it.
///
/// It keeps its identity (counters, pool, ejection) while its cluster's endpoints are updated, as long as its address stays.
public final class Host {
    /// Reasons not to send requests to a host.
    public struct Conditions: OptionSet, Sendable, Hashable {
        /// One bit per reason.
        public let rawValue: UInt16

        /// Conditions from bits.
        public init(rawValue: UInt16) { self.rawValue = rawValue }

        /// The control plane says UNHEALTHY.
        public static let endpointUnhealthy = Conditions(rawValue: 1)
        /// The control plane says DRAINING.
        public static let draining = Conditions(rawValue: 2)
        /// The control plane says DEGRADED.
        public static let degraded = Conditions(rawValue: 4)
        /// Active health checks failed, or none has passed yet.
        public static let failedActiveCheck = Conditions(rawValue: 8)
        /// Outlier detection ejected it.
        public static let ejected = Conditions(rawValue: 16)
        /// It left its endpoints and only finishes what it has.
        public static let removed = Conditions(rawValue: 32)
        /// An active health check was answered with `x-envoy-degraded`.
        public static let degradedByCheck = Conditions(rawValue: 64)
        /// It said `x-envoy-immediate-health-check-fail`: it counts neither as healthy nor among the hosts there are.
        public static let excluded = Conditions(rawValue: 128)
        /// No active check of it has ended yet.
        public static let unchecked = Conditions(rawValue: 256)
        /// The latest active check ran out of time.
        public static let checkTimedOut = Conditions(rawValue: 512)

        static let unhealthy: Conditions = [.endpointUnhealthy, .draining, .failedActiveCheck, .ejected, .removed]
    }

    /// How a host counts for balancing.
    public enum Health: Sendable, Hashable {
        /// It gets requests.
        case healthy
        /// It gets requests when the healthy ones do not suffice.
        case degraded
        /// It gets requests in panic only.
        case unhealthy
    }

    /// Where it listens.
    public let address: HostAddress
    /// What the endpoints say of it now: weight, hostname, metadata.
    public internal(set) var endpoint: EndpointTable.Endpoint
    /// Whether its metadata calls it a canary.
    public internal(set) var isCanary = false
    /// Where it stands.
    public internal(set) var locality: Locality
    /// Its priority.
    public internal(set) var priority: Int
    /// Why it may not get requests.
    ///
    /// Change it through `HostSet.set`, which keeps the lists in step.
    public internal(set) var conditions: Conditions = []
    /// Requests under way; the proxy counts, least-request balancing reads.
    public var activeRequests: UInt32 = 0
    /// Connections open or opening; the proxy counts.
    public var activeConnections: UInt32 = 0
    /// Counters for the admin page; the proxy counts.
    public var statistics = Statistics()
    /// Bytes of requests and responses that are under way; the proxy counts, least-bytes balancing reads.
    public var bytesInFlight: UInt64 = 0
    /// Moving average of response times; the proxy records where `ClusterConfig.measuresLatency`.
    public var latency = LatencyEstimate()
    /// Moving average of connect times; the proxy records.
    public var connectTime = LatencyEstimate()
    /// The weight that the host's own load reports give it.
    public internal(set) var reportedWeight = ReportedWeight()
    /// When it was last found healthy, for slow start, in nanoseconds of the monotonic clock.
    public internal(set) var healthySince: UInt64?
    /// What outlier detection remembers.
    ///
    /// Shared by all loops; found at the first result.
    var outlier: OutlierRecord?
    /// The proxy's own: its connection pool.
    public var attachment: AnyObject?

    /// Counters of one host.
    public struct Statistics: Sendable, Hashable {
        /// Requests sent.
        public var requestsTotal: UInt64 = 0
        /// Responses below 500.
        public var successes: UInt64 = 0
        /// 5xx responses and failures.
        public var errors: UInt64 = 0
        /// Requests that ran out of time.
        public var timeouts: UInt64 = 0
        /// Connections opened.
        public var connectionsTotal: UInt64 = 0
        /// Connections that did not come about.
        public var connectFailures: UInt64 = 0

        /// All zero.
        public init() {}
    }

    /// A host from an endpoint.
    public init(_ endpoint: EndpointTable.Endpoint, locality: Locality = Locality(), priority: Int = 0) {
        address = endpoint.address
        self.endpoint = endpoint
        self.locality = locality
        self.priority = priority
        isCanary = endpoint.metadata?["envoy.lb"]?["canary"]?.bool ?? false
    }

    /// How it counts for balancing.
    public var health: Health {
        if !conditions.isDisjoint(with: .unhealthy) { return .unhealthy }
        return conditions.isDisjoint(with: [.degraded, .degradedByCheck]) ? .healthy : .degraded
    }

    /// Its metadata for balancing: the namespace `envoy.lb`.
    public var balancingMetadata: [String: JSON] { endpoint.metadata?["envoy.lb"]?.object ?? [:] }

    /// Its share, at least 1.
    public var weight: UInt32 { max(endpoint.weight, 1) }

    /// Share of its responses that were no error in the last interval, in percent, as outlier detection measured; below 0 is
    /// none.
    public var successRate: Double { outlier?.responses.rate ?? -1 }
    /// The same for connections and resets, where they are counted apart.
    public var localOriginSuccessRate: Double { outlier?.localResults.rate ?? -1 }

    /// When its ejection began, as its detector was told; nil when it is not ejected.
    public var ejectedSince: UInt64? {
        conditions.contains(.ejected) ? outlier?.ejectedAt.load(ordering: .relaxed) : nil
    }
}
