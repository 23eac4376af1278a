internal import Glibc

/// Where the buckets of a distribution end.
public enum BucketScheme: UInt8, Sendable, Hashable {
    /// Envoy's default bounds in milliseconds, which the proxies count in.
    case proxy = 0
    /// DDSketch: bounds grow by a constant factor, so that any quantile is right to 1 %.
    case exponential = 1

    /// Envoy's bounds in milliseconds; one more bucket takes the rest.
    public static let proxyBounds: [Double] = [
        0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300_000, 600_000, 1_800_000,
        3_600_000,
    ]
    /// The relative error of a quantile in exponential buckets.
    public static let relativeError = 0.01
    /// The factor between two bounds.
    static let growth = (1 + relativeError) / (1 - relativeError)
    private static let logGrowth = log(growth)
    /// The bucket of zero and of what is not to be told from it.
    static let zeroIndex = Int16.min
    /// What counts as zero.
    static let smallest = 1e-6

    /// The bucket that a value belongs to.
    public func index(of value: Double) -> Int16 {
        switch self {
        case .proxy:
            return Int16(Self.proxyBounds.firstIndex { value <= $0 } ?? Self.proxyBounds.count)
        case .exponential:
            guard value > Self.smallest else { return Self.zeroIndex }
            let place = (log(value) / Self.logGrowth).rounded(.up)
            return Int16(exactly: place) ?? Int16.max
        }
    }

    /// The largest value of a bucket.
    public func upperBound(_ index: Int16) -> Double {
        switch self {
        case .proxy:
            let place = Int(index)
            return Self.proxyBounds.indices.contains(place) ? Self.proxyBounds[place] : .infinity
        case .exponential: return index == Self.zeroIndex ? 0 : pow(Self.growth, Double(index))
        }
    }

    /// The value below which no value of a bucket is.
    public func lowerBound(_ index: Int16) -> Double {
        switch self {
        case .proxy:
            let place = Int(index) - 1
            return Self.proxyBounds.indices.contains(place) ? Self.proxyBounds[place] : 0
        case .exponential: return index == Self.zeroIndex ? 0 : pow(Self.growth, Double(index) - 1)
        }
    }
}

/// How often values fell into which bucket, and their sum.
public struct LatencySketch: Sendable, Hashable {
    /// Where the buckets end.
    public var scheme: BucketScheme
    /// The buckets that are not empty.
    public private(set) var counts: [Int16: UInt64] = [:]
    /// The sum of the values, in their own unit (milliseconds for latencies).
    public var sum: Double = 0
    /// Buckets at most; beyond that the lowest go together, whose quantiles interest least.
    static let bucketsMax = 1024

    /// An empty distribution.
    public init(_ scheme: BucketScheme = .exponential) { self.scheme = scheme }

    /// How many values there are.
    public var count: UInt64 { counts.values.reduce(0, &+) }
    /// The mean; nil without values.
    public var mean: Double? { count > 0 ? sum / Double(count) : nil }

    /// Counts one value.
    public mutating func record(_ value: Double) {
        guard value.isFinite else { return }
        add(1, at: scheme.index(of: value))
        sum += value
    }

    /// Counts so many values of a bucket; their sum is told apart.
    public mutating func add(_ count: UInt64, at index: Int16) {
        guard count > 0 else { return }
        counts[index, default: 0] &+= count
        if counts.count > Self.bucketsMax { collapse() }
    }

    private mutating func collapse() {
        let lowest = counts.keys.sorted().prefix(2)
        guard lowest.count == 2, let moved = counts.removeValue(forKey: lowest[0]) else { return }
        counts[lowest[1], default: 0] &+= moved
    }

    /// Adds the values of another distribution with the same buckets.
    public mutating func merge(_ other: LatencySketch) {
        guard other.scheme == scheme else { return }
        for (index, count) in other.counts { add(count, at: index) }
        sum += other.sum
    }

    /// The value that so many of the values (0…1) do not exceed; nil without values.
    ///
    /// In exponential buckets within 1 %; in the proxies' buckets interpolated between the bucket's bounds.
    public func quantile(_ share: Double) -> Double? {
        let total = count
        guard total > 0, share >= 0, share <= 1 else { return nil }
        let rank = share * Double(total)
        var below = 0.0
        let sorted = counts.sorted { $0.key < $1.key }
        for (index, count) in sorted {
            let next = below + Double(count)
            if next >= rank || index == sorted.last?.key {
                if scheme == .exponential {
                    return index == BucketScheme.zeroIndex
                        ? 0 : 2 * scheme.upperBound(index) / (BucketScheme.growth + 1)
                }
                let low = scheme.lowerBound(index)
                let high = scheme.upperBound(index)
                guard high.isFinite else { return low }
                return low + (high - low) * min(1, max(0, (rank - below) / Double(count)))
            }
            below = next
        }
        return nil
    }
}
