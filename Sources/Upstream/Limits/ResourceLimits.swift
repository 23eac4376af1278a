internal import Synchronization

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

/// What of a cluster's limits is in use: one object per cluster and priority, shared by all loops.
///
/// Each `acquire` that answers true is answered by one `release`. A false is a circuit breaker that bit: 503, flag UO,
/// `x-envoy-overloaded` (T-9); the overflow is counted here. Counts are atomic; two loops that ask at the same moment for the
/// last one both look before one of them gets it, so the limit holds exactly.
public final class ResourceUse: Sendable {
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

    private let connections = Atomic<UInt32>(0)
    private let pendingRequests = Atomic<UInt32>(0)
    private let requests = Atomic<UInt32>(0)
    private let retries = Atomic<UInt32>(0)
    private let pools = Atomic<UInt32>(0)
    private let refusals = Mutex<[UInt64]>([UInt64](repeating: 0, count: 5))
    private let connectionsMax: Atomic<UInt32>
    private let pendingRequestsMax: Atomic<UInt32>
    private let requestsMax: Atomic<UInt32>
    private let retriesMax: Atomic<UInt32>
    private let poolsMax: Atomic<UInt32>
    /// The retry budget: its percentage as bits, its minimum; NaN is none.
    private let budgetPercent: Atomic<UInt64>
    private let budgetMinimum: Atomic<UInt32>
    private let isTracked: Atomic<Bool>

    /// Nothing in use.
    public init(_ thresholds: ResourceLimits.Thresholds) {
        connectionsMax = Atomic(thresholds.connectionsMax)
        pendingRequestsMax = Atomic(thresholds.pendingRequestsMax)
        requestsMax = Atomic(thresholds.requestsMax)
        retriesMax = Atomic(thresholds.retriesMax)
        poolsMax = Atomic(thresholds.poolsMax ?? .max)
        budgetPercent = Atomic((thresholds.retryBudget?.percent ?? .nan).bitPattern)
        budgetMinimum = Atomic(thresholds.retryBudget?.concurrencyMin ?? 0)
        isTracked = Atomic(thresholds.tracksRemaining)
    }

    /// The limits in force; a new configuration replaces them and leaves the counts.
    public var thresholds: ResourceLimits.Thresholds {
        get {
            var result = ResourceLimits.Thresholds()
            result.connectionsMax = connectionsMax.load(ordering: .relaxed)
            result.pendingRequestsMax = pendingRequestsMax.load(ordering: .relaxed)
            result.requestsMax = requestsMax.load(ordering: .relaxed)
            result.retriesMax = retriesMax.load(ordering: .relaxed)
            let pools = poolsMax.load(ordering: .relaxed)
            result.poolsMax = pools == .max ? nil : pools
            result.retryBudget = budget
            result.tracksRemaining = isTracked.load(ordering: .relaxed)
            return result
        }
        set {
            connectionsMax.store(newValue.connectionsMax, ordering: .relaxed)
            pendingRequestsMax.store(newValue.pendingRequestsMax, ordering: .relaxed)
            requestsMax.store(newValue.requestsMax, ordering: .relaxed)
            retriesMax.store(newValue.retriesMax, ordering: .relaxed)
            poolsMax.store(newValue.poolsMax ?? .max, ordering: .relaxed)
            budgetPercent.store((newValue.retryBudget?.percent ?? .nan).bitPattern, ordering: .relaxed)
            budgetMinimum.store(newValue.retryBudget?.concurrencyMin ?? 0, ordering: .relaxed)
            isTracked.store(newValue.tracksRemaining, ordering: .relaxed)
        }
    }

    private var budget: RetryBudget? {
        let percent = Double(bitPattern: budgetPercent.load(ordering: .relaxed))
        guard !percent.isNaN else { return nil }
        var budget = RetryBudget()
        budget.percent = percent
        budget.concurrencyMin = budgetMinimum.load(ordering: .relaxed)
        return budget
    }

    /// How much is in use.
    public func count(of resource: Resource) -> UInt32 {
        switch resource {
        case .connection: connections.load(ordering: .relaxed)
        case .pendingRequest: pendingRequests.load(ordering: .relaxed)
        case .request: requests.load(ordering: .relaxed)
        case .retry: retries.load(ordering: .relaxed)
        case .pool: pools.load(ordering: .relaxed)
        }
    }

    /// How often the limit was met.
    public func overflows(of resource: Resource) -> UInt64 { refusals.withLock { $0[resource.rawValue] } }

    /// The limit now; that of retries moves with a budget.
    public func limit(of resource: Resource) -> UInt32 {
        switch resource {
        case .connection: connectionsMax.load(ordering: .relaxed)
        case .pendingRequest: pendingRequestsMax.load(ordering: .relaxed)
        case .request: requestsMax.load(ordering: .relaxed)
        case .retry:
            budget?.retriesMax(
                activeRequests: requests.load(ordering: .relaxed) &+ pendingRequests.load(ordering: .relaxed))
                ?? retriesMax.load(ordering: .relaxed)
        case .pool: poolsMax.load(ordering: .relaxed)
        }
    }

    /// Begins with as much in use as another has: for asking what it would do.
    public func takeCounts(of other: ResourceUse) {
        connections.store(other.count(of: .connection), ordering: .relaxed)
        pendingRequests.store(other.count(of: .pendingRequest), ordering: .relaxed)
        requests.store(other.count(of: .request), ordering: .relaxed)
        retries.store(other.count(of: .retry), ordering: .relaxed)
        pools.store(other.count(of: .pool), ordering: .relaxed)
    }

    /// Whether one more would fit, counting nothing.
    public func canAcquire(_ resource: Resource) -> Bool { count(of: resource) < limit(of: resource) }

    /// Takes one when it fits; counts an overflow otherwise.
    public func acquire(_ resource: Resource) -> Bool {
        let limit = limit(of: resource)
        let before = add(resource, 1)
        if before < limit { return true }
        _ = add(resource, UInt32.max)
        refusals.withLock { $0[resource.rawValue] += 1 }
        return false
    }

    /// Takes one although it does not fit; counts an overflow.
    public func exceed(_ resource: Resource) {
        _ = add(resource, 1)
        refusals.withLock { $0[resource.rawValue] += 1 }
    }

    /// Gives one back.
    public func release(_ resource: Resource) {
        let before = add(resource, UInt32.max)
        precondition(before > 0, "\(resource) released more often than acquired")
    }

    /// Adds, all ones being minus one; the answer is the count before.
    private func add(_ resource: Resource, _ amount: UInt32) -> UInt32 {
        switch resource {
        case .connection: connections.wrappingAdd(amount, ordering: .relaxed).oldValue
        case .pendingRequest: pendingRequests.wrappingAdd(amount, ordering: .relaxed).oldValue
        case .request: requests.wrappingAdd(amount, ordering: .relaxed).oldValue
        case .retry: retries.wrappingAdd(amount, ordering: .relaxed).oldValue
        case .pool: pools.wrappingAdd(amount, ordering: .relaxed).oldValue
        }
    }
}
