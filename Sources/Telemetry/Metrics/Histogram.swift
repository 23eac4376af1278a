/// A distribution in Envoy's default buckets, with one row per event loop; durations are counted in milliseconds.
public struct Histogram: Sendable {
    /// Upper bounds of the default buckets in milliseconds (Envoy's); one more bucket takes the rest.
    public static let bounds: [Double] = [
        0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300_000, 600_000, 1_800_000,
        3_600_000,
    ]

    private let block: MetricBlock
    /// The first of the histogram's cells in its block.
    private let first: Int
    private let bounds: [Double]

    /// Makes an empty histogram for `rows` loops.
    public init(rows: Int, bounds: [Double] = Histogram.bounds) {
        self.init(MetricBlock(count: Self.cells(bounds), rows: rows), first: 0, bounds: bounds)
    }

    /// A histogram whose cells lie in a block with others, from `first` on.
    public init(_ block: MetricBlock, first: Int, bounds: [Double] = Histogram.bounds) {
        self.block = block
        self.first = first
        self.bounds = bounds
    }

    /// How many cells a histogram takes: its buckets, one for the rest, the sum.
    public static func cells(_ bounds: [Double]) -> Int { bounds.count + 2 }

    /// Records one duration on a loop's row; only that loop may call it.
    public func record(_ duration: Duration, row: Int) {
        let (seconds, attoseconds) = duration.components
        // Microseconds keep the sum exact enough for a rate and far from overflow.
        let microseconds = max(seconds, 0) &* 1_000_000 &+ max(attoseconds, 0) / 1_000_000_000_000
        record(thousandths: UInt64(max(microseconds, 0)), row: row)
    }

    /// Records one duration on a loop's row, without the 128 bits of a `Duration`; only that loop may call it.
    public func record(nanoseconds: UInt64, row: Int) { record(thousandths: nanoseconds / 1000, row: row) }

    /// Records one plain number (requests per connection, bytes, …) on a loop's row; only that loop may call it.
    public func record(value: UInt64, row: Int) { record(thousandths: value &* 1000, row: row) }

    private func record(thousandths: UInt64, row: Int) {
        let value = Double(thousandths) / 1000
        let bounds = bounds.span
        // The first bound that is not below the value; bounds rise. Durations end among the first eight, sizes of messages behind them.
        var bucket = bounds.count > 8 && value > bounds[7] ? 8 : 0
        while bucket < bounds.count && value > bounds[bucket] { bucket &+= 1 }
        block.add(first &+ bucket, row: row)
        block.add(first &+ bounds.count &+ 1, thousandths, row: row)
    }

    /// What has been recorded.
    public var snapshot: HistogramSnapshot {
        HistogramSnapshot(
            bounds: bounds, counts: (0...bounds.count).map { block.value(first + $0) },
            sum: Double(block.value(first + bounds.count + 1)) / 1000)
    }

    /// Forgets everything that was recorded, in this histogram and those that share its block.
    public func reset() { block.reset { _ in true } }
}

/// A distribution as it was at one moment.
public struct HistogramSnapshot: Sendable, Hashable {
    /// Upper bounds of the buckets.
    public var bounds: [Double]
    /// How many values each bucket holds, not cumulated; one more than there are bounds.
    public var counts: [UInt64]
    /// The sum of all values.
    public var sum: Double

    /// A snapshot of these figures.
    public init(bounds: [Double], counts: [UInt64], sum: Double) {
        self.bounds = bounds
        self.counts = counts
        self.sum = sum
    }

    /// How many values were recorded.
    public var count: UInt64 { counts.reduce(0, &+) }

    /// Both distributions as one; they have the same bounds.
    public static func + (left: HistogramSnapshot, right: HistogramSnapshot) -> HistogramSnapshot {
        HistogramSnapshot(
            bounds: left.bounds, counts: zip(left.counts, right.counts).map { $0 &+ $1 }, sum: left.sum + right.sum)
    }

    /// The value below which a fraction (0 to 1) of all values lies, interpolated inside its bucket; nil when there is none.
    public func quantile(_ fraction: Double) -> Double? {
        let total = count
        guard total > 0 else { return nil }
        let rank = max(0, min(fraction, 1)) * Double(total)
        var below: Double = 0
        for (index, inBucket) in counts.enumerated() where inBucket > 0 {
            let high = below + Double(inBucket)
            if rank <= high {
                let low = index == 0 ? 0 : bounds[index - 1]
                // The last bucket has no end: its beginning is what is known.
                guard index < bounds.count else { return low }
                let value = low + (bounds[index] - low) * (rank - below) / Double(inBucket)
                // More digits than that would pretend to know.
                return (value * 1000).rounded() / 1000
            }
            below = high
        }
        return bounds.last
    }
}
