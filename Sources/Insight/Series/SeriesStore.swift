/// What a series' numbers mean.
public enum SeriesKind: UInt8, Sendable, Hashable {
    /// A number that only grows; of long ago the last of each five minutes is kept.
    case counter = 0
    /// A number that comes and goes; of long ago the mean of each five minutes is kept.
    case gauge = 1
    /// A distribution in the proxies' buckets.
    case proxyDistribution = 2
    /// A distribution in exponential buckets.
    case exponentialDistribution = 3

    var scheme: BucketScheme? {
        switch self {
        case .counter, .gauge: nil
        case .proxyDistribution: .proxy
        case .exponentialDistribution: .exponential
        }
    }
}

/// How far back samples are kept, and how many series.
public struct SeriesLimits: Sendable {
    /// Series at most; what is more is refused and counted.
    public var seriesMax = 40_000
    /// Bytes in memory; beyond that the oldest fine samples go early.
    public var bytesMax = 96 << 20
    /// Bytes of a series' labels; longer ones are refused.
    public var labelBytesMax = 4096

    /// The usual limits.
    public init() {}

    /// The limits for so much memory: as many series as can have some samples each.
    public init(mebibytes: Int) {
        let mebibytes = min(max(mebibytes, Self.mebibytesRange.lowerBound), Self.mebibytesRange.upperBound)
        bytesMax = mebibytes << 20
        seriesMax = mebibytes * 40_000 / 96
    }

    /// What can be chosen.
    public static let mebibytesRange = 8...4096
}

/// The built-in time series: 24 hours in steps of 10 seconds, 30 days in steps of 5 minutes.
///
/// Time is counted in ticks of `Insight.step` seconds since 1970. Not a general database: one writer, one grid of time,
/// everything in memory; `takeSealed` hands out what is to be written down, `load` takes it back.
public struct SeriesStore: Sendable {
    /// A number of a series at a time.
    public struct Sample: Sendable, Hashable {
        /// Milliseconds since 1970.
        public var time: Int64
        /// The number.
        public var value: Double

        /// A sample.
        public init(_ time: Int64, _ value: Double) {
            self.time = time
            self.value = value
        }
    }

    /// Samples that are complete: to be written to a file.
    public struct Sealed: Sendable, Hashable {
        /// The series.
        public var labels: Labels
        /// What it is.
        public var kind: SeriesKind
        /// Whether these are the samples of every five minutes.
        public var isCoarse: Bool
        /// The samples.
        public var block: [UInt8]
    }

    /// One tick of a distribution.
    struct Increment {
        var counts: [Int16: UInt64]
        var sum: Double
    }

    struct Stored: Sendable {
        let labels: Labels
        let kind: SeriesKind
        var fine = SampleColumn<ScalarBlock>()
        var coarse = SampleColumn<ScalarBlock>()
        var fineSteps = SampleColumn<SketchBlock>()
        var coarseSteps = SampleColumn<SketchBlock>()
        /// The five minutes that have not ended, and what was seen in them.
        var window: Int64 = -1
        var windowSum = 0.0
        var windowCount = 0.0
        var windowCounts: [Int16: UInt64] = [:]
        /// All that a distribution has ever counted.
        var total: [Int16: UInt64] = [:]
        var totalSum: Int64 = 0
        var windowTotalSum: Int64 = 0
        /// The tick of the last sample.
        var last: Int64 = 0
        /// Whether it is kept for a shorter time: Istio's metrics, which have many labels, and repeat what the edges tell.
        let isBrief: Bool

        init(_ labels: Labels, _ kind: SeriesKind) {
            self.labels = labels
            self.kind = kind
            isBrief = labels.name.hasPrefix("istio_")
        }

        var bytes: Int { fine.bytes + coarse.bytes + fineSteps.bytes + coarseSteps.bytes }
    }

    private(set) var stored: [Stored] = []
    private var places: [Labels: Int] = [:]
    private(set) var byName: [String: [Int]] = [:]
    private var sealed: [Sealed] = []
    private let limits: SeriesLimits
    /// Series that were refused because there are too many, or their labels too long.
    public private(set) var refused: UInt64 = 0
    /// How often fine samples went before their time, for want of memory.
    public private(set) var evictions: UInt64 = 0

    static let ticksPerWindow = Insight.coarseStep / Insight.step

    /// Nothing kept yet.
    public init(_ limits: SeriesLimits = SeriesLimits()) { self.limits = limits }

    /// How many series there are.
    public var count: Int { stored.count }
    /// Bytes in memory, about: samples, heads and names.
    public var bytes: Int {
        stored.reduce(0) { sum, series in
            // Heads: at most a block of numbers, half full on average; labels are shared texts.
            sum + series.bytes + 1200 + series.labels.pairs.count * 40
        }
    }

    /// Seconds since 1970 to a tick.
    public static func tick(_ seconds: Double) -> Int64 { Int64((seconds / Double(Insight.step)).rounded(.down)) }
    /// Milliseconds since 1970 of a tick.
    static func time(_ tick: Int64) -> Int64 { tick * Insight.step * 1000 }
    /// Milliseconds since 1970 of five minutes: of the last tick in them.
    static func coarseTime(_ window: Int64) -> Int64 { time(window * ticksPerWindow + ticksPerWindow - 1) }

    private mutating func place(_ labels: Labels, _ kind: SeriesKind) -> Int? {
        if let place = places[labels] { return stored[place].kind == kind ? place : nil }
        let size = labels.pairs.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        guard stored.count < limits.seriesMax, size <= limits.labelBytesMax else {
            refused += 1
            return nil
        }
        stored.append(Stored(labels, kind))
        places[labels] = stored.count - 1
        byName[labels.name, default: []].append(stored.count - 1)
        return stored.count - 1
    }

    // MARK: Writing

    /// Adds a number; one at a tick that has its sample already is left out.
    public mutating func append(_ labels: Labels, _ kind: SeriesKind, tick: Int64, _ value: Double) {
        guard kind.scheme == nil, tick >= 0, let place = place(labels, kind) else { return }
        if let block = stored[place].fine.append(value, at: tick) { seal(place, false, block) }
        let window = tick / Self.ticksPerWindow
        if stored[place].window >= 0, window > stored[place].window { closeWindow(place) }
        stored[place].window = window
        stored[place].last = max(stored[place].last, tick)
        if kind == .counter {
            (stored[place].windowSum, stored[place].windowCount) = (value, 1)
        } else {
            stored[place].windowSum += value
            stored[place].windowCount += 1
        }
    }

    /// Adds what a distribution has counted since the last tick.
    public mutating func append(_ labels: Labels, tick: Int64, _ increment: LatencySketch) {
        let kind: SeriesKind = increment.scheme == .proxy ? .proxyDistribution : .exponentialDistribution
        guard tick >= 0, let place = place(labels, kind) else { return }
        if let last = stored[place].fineSteps.last, tick <= last { return }
        let window = tick / Self.ticksPerWindow
        if stored[place].window >= 0, window > stored[place].window { closeWindow(place) }
        stored[place].window = window
        stored[place].last = max(stored[place].last, tick)
        let sum = Int64(exactly: (increment.sum * 1000).rounded()) ?? 0
        var step = SketchBlock.Step(sum: sum)
        for (index, count) in increment.counts {
            step.counts.append((index, count))
            stored[place].total[index, default: 0] &+= count
            stored[place].windowCounts[index, default: 0] &+= count
        }
        stored[place].totalSum &+= sum
        stored[place].windowTotalSum &+= sum
        if let block = stored[place].fineSteps.append(step, at: tick) { seal(place, false, block) }
    }

    private mutating func closeWindow(_ place: Int) {
        let window = stored[place].window
        if stored[place].kind.scheme == nil {
            guard stored[place].windowCount > 0 else { return }
            let value = stored[place].windowSum / stored[place].windowCount
            if let block = stored[place].coarse.append(value, at: window) { seal(place, true, block) }
        } else {
            var step = SketchBlock.Step(sum: stored[place].windowTotalSum)
            step.counts = stored[place].windowCounts.map { ($0.key, $0.value) }
            if let block = stored[place].coarseSteps.append(step, at: window) { seal(place, true, block) }
        }
        (stored[place].windowSum, stored[place].windowCount) = (0, 0)
        (stored[place].windowCounts, stored[place].windowTotalSum) = ([:], 0)
    }

    private mutating func seal(_ place: Int, _ isCoarse: Bool, _ block: [UInt8]) {
        sealed.append(
            Sealed(labels: stored[place].labels, kind: stored[place].kind, isCoarse: isCoarse, block: block))
    }

    /// What was sealed since the last call.
    public mutating func takeSealed() -> [Sealed] {
        defer { sealed = [] }
        return sealed
    }

    /// What is not sealed yet, for a file that is written anew each time.
    public var unsealed: [Sealed] {
        stored.flatMap { series in
            [
                (false, series.fine.unsealed), (true, series.coarse.unsealed), (false, series.fineSteps.unsealed),
                (true, series.coarseSteps.unsealed),
            ].compactMap { isCoarse, block in
                block.map { Sealed(labels: series.labels, kind: series.kind, isCoarse: isCoarse, block: $0) }
            }
        }
    }

    /// Takes a block that was written down; whether it was new and readable.
    public mutating func load(_ block: Sealed) -> Bool {
        guard let place = place(block.labels, block.kind) else { return false }
        switch (block.kind.scheme == nil, block.isCoarse) {
        case (true, false):
            guard stored[place].fine.load(block.block) else { return false }
            stored[place].last = max(stored[place].last, stored[place].fine.last ?? 0)
        case (true, true): return stored[place].coarse.load(block.block)
        case (false, true): return stored[place].coarseSteps.load(block.block)
        case (false, false):
            let before = stored[place].fineSteps.last ?? -1
            guard stored[place].fineSteps.load(block.block) else { return false }
            stored[place].last = max(stored[place].last, stored[place].fineSteps.last ?? 0)
            var added: [SketchBlock.Step] = []
            stored[place].fineSteps.visit(from: before + 1, to: .max) { _, block in added += block.steps }
            for step in added {
                stored[place].totalSum &+= step.sum
                for (index, count) in step.counts { stored[place].total[index, default: 0] &+= count }
            }
        }
        return true
    }

    /// Forgets what is too old, and series that are empty then; to be called now and then.
    public mutating func sweep(now tick: Int64) {
        var cut = tick - Insight.fineRetention / Insight.step
        let coarseCut = (tick - Insight.coarseRetention / Insight.step) / Self.ticksPerWindow
        forget(before: cut, coarse: coarseCut)
        forget(
            before: tick - Insight.briefFineRetention / Insight.step,
            coarse: (tick - Insight.briefCoarseRetention / Insight.step) / Self.ticksPerWindow, isBrief: true)
        while bytes > limits.bytesMax, cut < tick {
            cut += 3600 / Insight.step
            evictions += 1
            forget(before: cut, coarse: coarseCut)
        }
        let dead = stored.indices.filter {
            stored[$0].last < tick - Insight.fineRetention / Insight.step && stored[$0].bytes == 0
        }
        guard !dead.isEmpty else { return }
        let gone = Set(dead)
        stored = stored.enumerated().filter { !gone.contains($0.offset) }.map(\.element)
        places = [:]
        byName = [:]
        for (place, series) in stored.enumerated() {
            places[series.labels] = place
            byName[series.labels.name, default: []].append(place)
        }
    }

    private mutating func forget(before cut: Int64, coarse: Int64, isBrief: Bool = false) {
        for place in stored.indices where !isBrief || stored[place].isBrief {
            stored[place].fine.forget(before: cut)
            stored[place].fineSteps.forget(before: cut)
            stored[place].coarse.forget(before: coarse)
            stored[place].coarseSteps.forget(before: coarse)
        }
    }

    /// The last number of a series; nil without one.
    public func latest(_ labels: Labels) -> (tick: Int64, value: Double)? {
        guard let place = places[labels], stored[place].kind.scheme == nil, let last = stored[place].fine.last else {
            return nil
        }
        var found: Double?
        stored[place].fine.visit(from: last, to: last) { _, block in found = block.values.last }
        return found.map { (last, $0) }
    }
}
