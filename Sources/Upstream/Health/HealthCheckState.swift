/// What one active health check knows of one host.
///
/// Pure: the proxy makes the checks and waits as told.
public struct HealthCheckState: Sendable {
    /// How a check ended.
    public enum Result: Sendable, Hashable {
        /// As expected.
        case passed
        /// A failure that counts towards the threshold: no connection, a timeout, a retriable status.
        case failed
        /// A failure that needs no threshold: an answer with an unexpected status.
        case refused
    }

    /// What follows for the host.
    public enum Transition: Sendable, Hashable {
        /// Nothing.
        case none
        /// Clear `failedActiveCheck`.
        case becameHealthy
        /// Set `failedActiveCheck`.
        case becameUnhealthy
    }

    /// Whether the host is healthy as far as this check goes; before the first check it is not.
    public private(set) var isHealthy = false
    /// Whether any check has ended.
    public private(set) var isChecked = false
    private var passes: UInt32 = 0
    private var failures: UInt32 = 0
    private var isOnEdge = false

    /// Nothing is known yet.
    public init() {}

    /// The wait before the first check.
    public static func firstWait(_ config: HealthCheckConfig, random: UInt64) -> Duration {
        jitter(upTo: config.initialJitter, random)
    }

    /// Takes the end of a check into account.
    public mutating func record(_ result: Result, _ config: HealthCheckConfig) -> Transition {
        let isFirst = !isChecked
        isChecked = true
        isOnEdge = false
        switch result {
        case .passed:
            failures = 0
            if isHealthy { return .none }
            passes += 1
            // The first check of all needs to pass once only: a new host is not kept waiting (Envoy).
            guard isFirst || passes >= config.healthyThreshold else {
                isOnEdge = true
                return .none
            }
            isHealthy = true
            return .becameHealthy
        case .failed, .refused:
            passes = 0
            guard isHealthy else { return isFirst ? .becameUnhealthy : .none }
            failures += 1
            guard result == .refused || failures >= config.unhealthyThreshold else {
                isOnEdge = true
                return .none
            }
            isHealthy = false
            return .becameUnhealthy
        }
    }

    /// The wait before the next check.
    ///
    /// - Parameter hasTraffic: Whether requests went to the cluster since it was made.
    public func nextWait(_ config: HealthCheckConfig, hasTraffic: Bool, random: UInt64) -> Duration {
        let base: Duration
        if !hasTraffic {
            base = isHealthy ? config.noTrafficHealthyInterval ?? config.noTrafficInterval : config.noTrafficInterval
        } else if isHealthy {
            base =
                isOnEdge
                ? config.unhealthyEdgeInterval ?? config.unhealthyInterval ?? config.interval : config.interval
        } else {
            base =
                isOnEdge ? config.healthyEdgeInterval ?? config.interval : config.unhealthyInterval ?? config.interval
        }
        var draws = SplitMix64(seed: random)
        let share = base * Int(min(config.intervalJitterPercent, 1000)) / 100
        return base + Self.jitter(upTo: config.intervalJitter, draws.next()) + Self.jitter(upTo: share, draws.next())
    }

    private static func jitter(upTo limit: Duration, _ random: UInt64) -> Duration {
        guard limit > .zero else { return .zero }
        return limit * (Double(random >> 11) * 0x1p-53)
    }
}
