extension SeriesStore {
    /// The names under which a distribution is found, beside its own.
    static let bucketSuffix = "_bucket"
    static let sumSuffix = "_sum"
    static let countSuffix = "_count"

    /// The samples of a counter or a gauge in a span of time (milliseconds, both ends included), oldest first.
    ///
    /// As far back as fine samples reach, they; before that those of every five minutes.
    func samples(_ series: Stored, from: Int64, to: Int64) -> [Sample] {
        var found: [Sample] = []
        let fineFirst = series.fine.first.map { Self.time($0) } ?? .max
        if from < fineFirst {
            series.coarse.visit(from: Self.window(from), to: Self.window(to) + 1) { first, block in
                for (offset, value) in block.values.enumerated() {
                    let time = Self.coarseTime(first + Int64(offset))
                    if time >= from, time <= to, time < fineFirst { found.append(Sample(time, value)) }
                }
            }
        }
        series.fine.visit(from: Self.tick(from), to: Self.tick(to)) { first, block in
            for (offset, value) in block.values.enumerated() {
                let time = Self.time(first + Int64(offset))
                if time >= from, time <= to { found.append(Sample(time, value)) }
            }
        }
        return found
    }

    private static func tick(_ time: Int64) -> Int64 { max(0, time / (Insight.step * 1000)) }
    private static func window(_ time: Int64) -> Int64 { tick(time) / ticksPerWindow }

    /// What a distribution has counted up to each of its times, oldest first.
    func accumulated(_ series: Stored, from: Int64, to: Int64) -> [(time: Int64, counts: [Int16: UInt64], sum: Int64)] {
        var steps: [(time: Int64, step: SketchBlock.Step)] = []
        // What came after the span is taken off the total, so that all of it must be seen.
        series.fineSteps.visit(from: Self.tick(from), to: .max) { first, block in
            for (offset, step) in block.steps.enumerated() { steps.append((Self.time(first + Int64(offset)), step)) }
        }
        let fineFirst = series.fineSteps.first.map { Self.time($0) } ?? .max
        if from < fineFirst {
            var old: [(Int64, SketchBlock.Step)] = []
            series.coarseSteps.visit(from: Self.window(from), to: .max) { first, block in
                for (offset, step) in block.steps.enumerated() {
                    let time = Self.coarseTime(first + Int64(offset))
                    if time < fineFirst { old.append((time, step)) }
                }
            }
            steps = old + steps
        }
        var counts = series.total
        var sum = series.totalSum
        var found: [(time: Int64, counts: [Int16: UInt64], sum: Int64)] = []
        for (time, step) in steps.reversed() {
            if time <= to, time >= from { found.append((time, counts, sum)) }
            if time < from { break }
            for (index, count) in step.counts { counts[index, default: 0] &-= min(count, counts[index] ?? 0) }
            sum &-= step.sum
        }
        return found.reversed()
    }

    /// What was counted by the distributions of a metric in a span of ticks (after `from`, up to `to`), by what `key` makes of their labels.
    public func distributions<Key: Hashable>(
        _ name: String, after from: Int64, upTo to: Int64, by key: (Labels) -> Key?
    ) -> [Key: LatencySketch] {
        var found: [Key: LatencySketch] = [:]
        for place in byName[name] ?? [] {
            let series = stored[place]
            guard let scheme = series.kind.scheme, let key = key(series.labels) else { continue }
            var sketch = found[key] ?? LatencySketch(scheme)
            series.fineSteps.visit(from: from + 1, to: to) { first, block in
                for (offset, step) in block.steps.enumerated()
                where first + Int64(offset) > from && first + Int64(offset) <= to {
                    for (index, count) in step.counts { sketch.add(count, at: index) }
                    sketch.sum += Double(step.sum) / 1000
                }
            }
            found[key] = sketch
        }
        return found
    }

    /// By how much the counters of a metric have grown in a span of ticks, with the labels of each.
    public func increases(_ name: String, after from: Int64, upTo to: Int64) -> [(labels: Labels, value: Double)] {
        (byName[name] ?? []).compactMap { place in
            let series = stored[place]
            guard series.kind == .counter else { return nil }
            // The sample at the beginning of the span is the one that it is counted from; a series that began within it, from nothing.
            let samples = samples(series, from: Self.time(from), to: Self.time(to))
            guard let first = samples.first else { return nil }
            var sum =
                first.time > Self.time(from) && series.fine.first == first.time / (Insight.step * 1000)
                ? first.value : 0
            for (before, after) in zip(samples, samples.dropFirst()) {
                sum += after.value >= before.value ? after.value - before.value : after.value
            }
            return (series.labels, sum)
        }
    }

    /// By how much the counters of a metric have grown at each tick of a span (after `from`, up to `to`), those together of which `key` makes the same.
    public func growth<Key: Hashable>(
        _ name: String, after from: Int64, upTo to: Int64, by key: (Labels) -> Key?
    ) -> [Key: [Int64: Double]] {
        var found: [Key: [Int64: Double]] = [:]
        for place in byName[name] ?? [] {
            let series = stored[place]
            guard series.kind == .counter, let key = key(series.labels) else { continue }
            let samples = samples(series, from: Self.time(from), to: Self.time(to))
            for (before, after) in zip(samples, samples.dropFirst()) {
                let grown = after.value >= before.value ? after.value - before.value : after.value
                if grown > 0 { found[key, default: [:]][after.time / (Insight.step * 1000), default: 0] += grown }
            }
        }
        return found
    }

    /// The newest numbers of a metric that are not older than a tick.
    public func newest(_ name: String, since tick: Int64) -> [(labels: Labels, value: Double)] {
        (byName[name] ?? []).compactMap { place in
            let series = stored[place]
            guard series.kind.scheme == nil, let last = series.fine.last, last >= tick else { return nil }
            var value: Double?
            series.fine.visit(from: last, to: last) { _, block in value = block.values.last }
            return value.map { (series.labels, $0) }
        }
    }
}
