/// One active health check of a cluster, compiled.
public struct HealthCheckConfig: Sendable {
    /// What is sent and expected.
    public enum Kind: Sendable {
        /// A request.
        case http(HTTPCheck)
        /// A connection, and bytes to send and receive when there are any.
        case tcp(send: [UInt8], receive: [[UInt8]])
        /// A call of `grpc.health.v1.Health`.
        case grpc(GRPCCheck)
    }

    /// A gRPC health check.
    public struct GRPCCheck: Sendable, Hashable {
        /// The service asked for; empty is the server as a whole.
        public var service = ""
        /// `:authority`; empty is the endpoint's hostname or the cluster's name.
        public var authority = ""

        /// The server as a whole.
        public init() {}
    }

    /// An HTTP health check.
    public struct HTTPCheck: Sendable {
        /// Host header; empty is the endpoint's hostname or the cluster's name.
        public var host = ""
        /// Path with query.
        public var path = "/"
        /// Method.
        public var method = "GET"
        /// The body of the request.
        public var send: [UInt8] = []
        /// Healthy statuses, half-open; empty is 200 ..< 201.
        public var expectedStatuses: [Range<UInt16>] = []
        /// Statuses that count as failure without making the host unhealthy at once.
        public var retriableStatuses: [Range<UInt16>] = []
        /// Texts that the body must hold, one after the other, within its first bytes.
        public var receive: [[UInt8]] = []
        /// How much of the body is looked at.
        public var bodyBytesMax = 1024
        /// `x-envoy-upstream-healthchecked-cluster` of the answer must pass.
        public var serviceName: StringMatcher?
        /// Changes to the request.
        public var requestMutations: [HeaderMutation] = []
        /// HTTP version.
        public var codec = ClusterConfig.Codec.http1

        /// A GET of `/`.
        public init() {}
    }

    /// What is sent and expected.
    public var kind: Kind
    /// Limit for one check.
    public var timeout: Duration
    /// Time between checks.
    public var interval: Duration
    /// Up to this is added to each wait, by chance.
    public var intervalJitter: Duration = .zero
    /// Up to this many percent of the wait are added, by chance.
    public var intervalJitterPercent: UInt32 = 0
    /// The first check waits up to this, by chance.
    public var initialJitter: Duration = .zero
    /// Failures in a row that make a host unhealthy.
    public var unhealthyThreshold: UInt32
    /// Passes in a row that make a host healthy again (the first pass of all suffices).
    public var healthyThreshold: UInt32
    /// Interval while no request has used the cluster; 60 s by default.
    public var noTrafficInterval: Duration = .seconds(60)
    /// As above for hosts that are healthy already; nil is `noTrafficInterval`.
    public var noTrafficHealthyInterval: Duration?
    /// Interval for unhealthy hosts; nil is `interval`.
    public var unhealthyInterval: Duration?
    /// Interval after the first failure of a healthy host; nil is `unhealthyInterval`.
    public var unhealthyEdgeInterval: Duration?
    /// Interval after the first pass of an unhealthy host; nil is `interval`.
    public var healthyEdgeInterval: Duration?
    /// Another port than the endpoint's.
    public var port: UInt16?

    /// A check.
    public init(
        kind: Kind, timeout: Duration, interval: Duration, unhealthyThreshold: UInt32, healthyThreshold: UInt32
    ) {
        self.kind = kind
        self.timeout = timeout
        self.interval = interval
        self.unhealthyThreshold = unhealthyThreshold
        self.healthyThreshold = healthyThreshold
    }
}
