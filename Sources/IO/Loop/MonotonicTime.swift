internal import Glibc

/// A point on the monotonic clock: nanoseconds since boot, never set back.
public struct MonotonicTime: Sendable, Hashable, Comparable {
    /// Nanoseconds since boot.
    public var nanoseconds: UInt64

    /// The point that many nanoseconds after boot.
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// Reads the clock (23 ns).
    ///
    /// Code on a loop takes `EventLoop.now` instead: one reading per pass.
    public static var now: MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    /// Earlier first.
    public static func < (left: MonotonicTime, right: MonotonicTime) -> Bool { left.nanoseconds < right.nanoseconds }

    /// That much later (saturating; a negative duration counts as zero).
    public static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        let (sum, overflow) = time.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return MonotonicTime(nanoseconds: overflow ? .max : sum)
    }

    /// Nanoseconds from `earlier` to here; zero when they are the wrong way round.
    public func nanoseconds(since earlier: MonotonicTime) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds &- earlier.nanoseconds : 0
    }

    /// That many nanoseconds later (saturating).
    public func advanced(byNanoseconds count: UInt64) -> MonotonicTime {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(count)
        return MonotonicTime(nanoseconds: overflow ? .max : sum)
    }

    /// The time from `earlier` to `later`; zero when they are the wrong way round.
    public static func - (later: MonotonicTime, earlier: MonotonicTime) -> Duration {
        guard later > earlier else { return .zero }
        return .nanoseconds(Int64(clamping: later.nanoseconds - earlier.nanoseconds))
    }
}

extension Duration {
    /// Nanoseconds, saturating at both ends (negative durations are zero).
    public var wholeNanoseconds: UInt64 {
        let total = attoseconds
        // Up to 2.6 hours one division of 64 bits does: 10⁹ is 2⁹ times 5⁹. `components` divides 128 bits twice.
        if total >= 0, total < 1 << 73 { return UInt64(truncatingIfNeeded: total >> 9) / 1_953_125 }
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : whole &+ UInt64(attoseconds / 1_000_000_000)
    }

    /// Milliseconds, rounded up, saturating (negative durations are zero).
    public var wholeMilliseconds: UInt64 {
        let nanoseconds = wholeNanoseconds
        return nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1)
    }
}

/// The wall clock, for timestamps that people read; never for measuring.
public enum WallClock {
    /// Seconds and nanoseconds since 1970 in UTC.
    public static var now: (seconds: Int64, nanoseconds: Int32) {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return (Int64(time.tv_sec), Int32(truncatingIfNeeded: time.tv_nsec))
    }

    /// The time so many nanoseconds ago.
    public static func ago(_ nanoseconds: UInt64) -> (seconds: Int64, nanoseconds: Int32) {
        let now = now
        let total = UInt64(clamping: now.seconds) &* 1_000_000_000 &+ UInt64(clamping: now.nanoseconds) &- nanoseconds
        return (Int64(total / 1_000_000_000), Int32(total % 1_000_000_000))
    }
}
