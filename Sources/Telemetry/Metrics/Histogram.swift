/// A distribution of durations in milliseconds, in Envoy's default buckets, with one row per event loop.
public final class Histogram: Sendable {
    /// Upper bounds of the buckets in milliseconds (Envoy's defaults); one more bucket takes the rest.
    public static let bounds: [Double] = [
        0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300_000, 600_000, 1_800_000,
        3_600_000,
    ]
    private static let sumCell = bounds.count + 1

    private let block: MetricBlock

    /// Makes an empty histogram for `rows` loops.
    public init(rows: Int) { block = MetricBlock(count: Self.bounds.count + 2, rows: rows) }

    /// Records one duration on a loop's row; only that loop may call it.
    public func record(_ duration: Duration, row: Int) {
        let (seconds, attoseconds) = duration.components
        // Microseconds keep the sum exact enough for a rate and far from overflow.
        let microseconds = max(seconds, 0) &* 1_000_000 &+ max(attoseconds, 0) / 1_000_000_000_000
        let milliseconds = Double(microseconds) / 1000
        var bucket = 0
        while bucket < Self.bounds.count && milliseconds > Self.bounds[bucket] { bucket += 1 }
        block.add(bucket, row: row)
        block.add(Self.sumCell, UInt64(max(microseconds, 0)), row: row)
    }

    /// How many durations each bucket holds, not cumulated; the last one has no upper bound.
    public var buckets: [UInt64] { (0...Self.bounds.count).map { block.value($0) } }

    /// How many durations were recorded.
    public var count: UInt64 { buckets.reduce(0, &+) }

    /// The sum of all durations in milliseconds.
    public var sumMilliseconds: Double { Double(block.value(Self.sumCell)) / 1000 }
}
