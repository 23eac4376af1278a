/// Circuit-breaker thresholds of a cluster, by priority.
public struct ResourceLimits: Sendable, Hashable {
    /// Thresholds of one priority; Envoy's defaults (T-9).
    public struct Thresholds: Sendable, Hashable {
        /// Connections.
        public var connectionsMax: UInt32 = 1024
        /// Requests waiting for a connection.
        public var pendingRequestsMax: UInt32 = 1024
        /// Requests under way.
        public var requestsMax: UInt32 = 1024
        /// Retries under way; not used where there is a retry budget.
        public var retriesMax: UInt32 = 3
        /// Connection pools; nil is unlimited.
        public var poolsMax: UInt32?
        /// The retry budget; nil is none.
        public var retryBudget: RetryBudget?
        /// Gauges of what remains are published.
        public var tracksRemaining = false

        /// Envoy's defaults.
        public init() {}
    }

    /// For usual requests.
    public var normal = Thresholds()
    /// For requests of high priority.
    public var high = Thresholds()
    /// Connections to one host; nil is unlimited.
    public var connectionsPerHostMax: UInt32?

    /// Envoy's defaults.
    public init() {}

    /// The thresholds of a priority.
    public subscript(priority: ResourcePriority) -> Thresholds {
        switch priority {
        case .normal: normal
        case .high: high
        }
    }
}

/// A share of the requests under way that may be retries (T-11).
public struct RetryBudget: Sendable, Hashable {
    /// Percent of the requests under way.
    public var percent: Double = 20
    /// So many are always allowed.
    public var concurrencyMin: UInt32 = 3

    /// Envoy's defaults: 20 %, at least 3.
    public init() {}

    /// Most retries under way while so many requests are.
    public func retriesMax(activeRequests: UInt32) -> UInt32 {
        max(concurrencyMin, UInt32(min(Double(activeRequests) * percent / 100, Double(UInt32.max))))
    }
}

/// What of a cluster's limits is in use: one value per cluster and priority.
///
/// Each `acquire` that answers true is answered by one `release`. A false is a circuit breaker that bit: 503, flag UO,
/// `x-envoy-overloaded` (T-9); the overflow is counted here.
public struct ResourceUse: Sendable {
    /// A countable resource.
    public enum Resource: Int, Sendable, Hashable, CaseIterable {
        /// A connection.
        case connection
        /// A request waiting for a connection.
        case pendingRequest
        /// A request under way.
        case request
        /// A retry under way.
        case retry
        /// A connection pool.
        case pool
    }

    /// The limits in force; a new configuration replaces them and leaves the counts.
    public var thresholds: ResourceLimits.Thresholds
    private var counts: [UInt32] = [UInt32](repeating: 0, count: Resource.allCases.count)
    private var refusals: [UInt64] = [UInt64](repeating: 0, count: Resource.allCases.count)

    /// Nothing in use.
    public init(_ thresholds: ResourceLimits.Thresholds) { self.thresholds = thresholds }

    /// How much is in use.
    public func count(of resource: Resource) -> UInt32 { counts[resource.rawValue] }

    /// How often the limit was met.
    public func overflows(of resource: Resource) -> UInt64 { refusals[resource.rawValue] }

    /// The limit now; that of retries moves with a budget.
    public func limit(of resource: Resource) -> UInt32 {
        switch resource {
        case .connection: thresholds.connectionsMax
        case .pendingRequest: thresholds.pendingRequestsMax
        case .request: thresholds.requestsMax
        case .retry:
            thresholds.retryBudget?.retriesMax(
                activeRequests: counts[Resource.request.rawValue]
                    &+ counts[Resource.pendingRequest.rawValue]) ?? thresholds.retriesMax
        case .pool: thresholds.poolsMax ?? .max
        }
    }

    /// Whether one more would fit, counting nothing.
    public func canAcquire(_ resource: Resource) -> Bool { counts[resource.rawValue] < limit(of: resource) }

    /// Takes one when it fits; counts an overflow otherwise.
    public mutating func acquire(_ resource: Resource) -> Bool {
        guard canAcquire(resource) else {
            refusals[resource.rawValue] += 1
            return false
        }
        counts[resource.rawValue] += 1
        return true
    }

    /// Gives one back.
    public mutating func release(_ resource: Resource) {
        precondition(counts[resource.rawValue] > 0, "\(resource) released more often than acquired")
        counts[resource.rawValue] -= 1
    }
}
