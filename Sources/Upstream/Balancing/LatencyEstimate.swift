/// A moving average that jumps up to a peak at once and comes down slowly, so that a host that gets slow is seen with
/// its first slow answer.
public struct LatencyEstimate: Sendable, Hashable {
    /// Nanoseconds; 0 before the first observation.
    public private(set) var nanoseconds: Double = 0
    private var updated: UInt64 = 0

    /// Nothing known.
    public init() {}

    /// Whether there was an observation.
    public var isKnown: Bool { updated > 0 }

    /// Takes an observation into account.
    ///
    /// - Parameters:
    ///   - now: Nanoseconds of a monotonic clock.
    ///   - decay: Time constant.
    public mutating func record(_ observed: Duration, now: UInt64, decay: Duration) {
        let value = max(Double(observed.nanosecondsClamped), 1)
        if updated == 0 || value >= nanoseconds {
            nanoseconds = value
        } else {
            let keep = Self.decayed(elapsed: now &- updated, decay)
            nanoseconds = nanoseconds * keep + value * (1 - keep)
        }
        updated = max(now, 1)
    }

    /// The estimate now: without observations it sinks, so that a host once found slow is tried again.
    public func estimate(now: UInt64, decay: Duration) -> Double {
        guard updated > 0, now > updated else { return nanoseconds }
        return nanoseconds * Self.decayed(elapsed: now - updated, decay)
    }

    /// e^(-t/τ), by a rational approximation that is exact enough for balancing (error below 2 %).
    private static func decayed(elapsed: UInt64, _ decay: Duration) -> Double {
        let x = Double(elapsed) / max(Double(decay.nanosecondsClamped), 1)
        guard x < 20 else { return 0 }
        let base = 1 + x / 16
        let squared = base * base
        let fourth = squared * squared
        let eighth = fourth * fourth
        return 1 / (eighth * eighth)
    }
}

extension Duration {
    /// Whole nanoseconds; 0 for negative ones, never above 292 years.
    var nanosecondsClamped: UInt64 {
        let parts = components
        guard parts.seconds >= 0, parts.attoseconds >= 0 else { return 0 }
        guard parts.seconds < 9_000_000_000 else { return 9_000_000_000_000_000_000 }
        return UInt64(parts.seconds) * 1_000_000_000 + UInt64(parts.attoseconds / 1_000_000_000)
    }
}
