import Synchronization

/// A number that only grows: one cell for each loop.
public struct MetricCounter: Sendable {
    /// Held so that the metric exists as long as somebody may count.
    private let scope: MetricScope
    private let block: MetricBlock
    private let cell: Int

    init(scope: MetricScope, block: MetricBlock, cell: Int) {
        self.scope = scope
        self.block = block
        self.cell = cell
    }

    /// Adds on a loop's row; only that loop may call it.
    public func add(_ amount: UInt64 = 1, row: Int) { block.add(cell, amount, row: row) }

    /// The sum over all loops.
    public var value: UInt64 { block.value(cell) }
}

/// A number that goes up and down: one cell for each loop, and the sum is shown.
public struct MetricGauge: Sendable {
    private let scope: MetricScope
    private let block: MetricBlock
    private let cell: Int

    init(scope: MetricScope, block: MetricBlock, cell: Int) {
        self.scope = scope
        self.block = block
        self.cell = cell
    }

    /// Adds on a loop's row; only that loop may call it.
    public func add(_ amount: UInt64 = 1, row: Int) { block.add(cell, amount, row: row) }

    /// Subtracts on a loop's row; only that loop may call it.
    public func subtract(_ amount: UInt64 = 1, row: Int) { block.subtract(cell, amount, row: row) }

    /// Sets a loop's share; only that loop may call it.
    public func set(_ value: UInt64, row: Int) { block.set(cell, value, row: row) }

    /// The sum over all loops.
    public var value: Int64 { Int64(bitPattern: block.value(cell)) }
}

/// A distribution: buckets for each loop.
public struct MetricHistogram: Sendable {
    private let scope: MetricScope
    private let histogram: Histogram

    init(scope: MetricScope, histogram: Histogram) {
        self.scope = scope
        self.histogram = histogram
    }

    /// Records a duration on a loop's row; only that loop may call it.
    public func record(_ duration: Duration, row: Int) { histogram.record(duration, row: row) }

    /// Records a plain number on a loop's row; only that loop may call it.
    public func record(value: UInt64, row: Int) { histogram.record(value: value, row: row) }

    /// What has been recorded.
    public var snapshot: HistogramSnapshot { histogram.snapshot }
}

/// Counters whose names come from outside (gRPC methods, descriptors, peers): what does not fit counts as `other`.
///
/// ATK-19: whoever chooses the names cannot make the proxy keep more than `limit` of them. Looking a name up takes a
/// lock; a loop that counts often keeps what it got.
public final class MetricFamily: Sendable {
    private let scope: MetricScope
    private let limit: Int
    private let known = Mutex<[String: MetricCounter]>([:])

    init(scope: MetricScope, limit: Int) {
        self.scope = scope
        self.limit = limit
    }

    /// Longer names are cut: a label must not cost more than what it counts.
    private static let nameBytesMax = 256

    /// The counter `name` with `suffix` behind it; `other` with the same suffix when there are too many names.
    public func counter(_ name: String, _ suffix: String = "") -> MetricCounter {
        let full = MetricName.element(String(decoding: name.utf8.prefix(Self.nameBytesMax), as: UTF8.self)) + suffix
        return known.withLock { known in
            if let counter = known[full] { return counter }
            let counter = scope.counter(known.count < limit ? full : "other" + suffix)
            if known.count < limit { known[full] = counter }
            return counter
        }
    }
}
