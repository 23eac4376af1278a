/// Settings of a cache of names that requests bring (`dynamic_forward_proxy`).
public struct DNSCacheSettings: Sendable, Hashable {
    /// The cache's name: filters and clusters that name the same share it.
    public var name: String
    /// Which DNS families are asked.
    public var family = ClusterConfig.DNSFamily.auto
    /// Between look-ups of a name that has no answer with a time of its own.
    public var refreshRate: Duration = .seconds(60)
    /// However short an answer's time is, it is not asked for more often.
    public var shortestRefresh: Duration = .seconds(5)
    /// Names that nobody asked for during this are forgotten.
    public var hostTTL: Duration = .seconds(300)
    /// Names at most.
    public var hostsMax = 1024
    /// Requests that wait for answers at most.
    public var pendingMax = 1024
    /// A look-up that takes longer has failed; nil is never.
    public var queryTimeout: Duration? = .seconds(5)
    /// Waits after failures; nil is `refreshRate`.
    public var failureBackOff: BackOff?
    /// How requests are spread over the addresses of a name; nil is the first address for all of them.
    public var spreading: Spreading?
    /// How names are looked up; nil is as the bootstrap says.
    public var resolver: ResolverSettings?
    /// `host:port` of names that are looked up at once.
    public var preresolved: [String] = []

    /// How requests are spread over the addresses of a name.
    public enum Spreading: Sendable, Hashable {
        /// One after the other.
        case roundRobin
        /// The one with fewer requests of two.
        case leastRequest
        /// Any.
        case random
    }

    /// Envoy's defaults.
    public init(name: String) { self.name = name }
}
