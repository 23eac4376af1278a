internal import Glibc

/// Functions of the samples of a range.
enum QueryRange {
    /// The function's value; nil where the samples are too few.
    static func value(
        _ name: String, _ samples: [SeriesStore.Sample], from: Int64, to: Int64, _ parameter: Double
    ) -> Double? {
        guard let last = samples.last else { return nil }
        switch name {
        case "rate": return extrapolated(samples, from, to, isCounter: true, isRate: true)
        case "increase": return extrapolated(samples, from, to, isCounter: true, isRate: false)
        case "delta": return extrapolated(samples, from, to, isCounter: false, isRate: false)
        case "irate", "idelta":
            guard samples.count > 1 else { return nil }
            let before = samples[samples.count - 2]
            let isRate = name == "irate"
            let grown = isRate && last.value < before.value ? last.value : last.value - before.value
            let seconds = Double(last.time - before.time) / 1000
            return isRate ? (seconds > 0 ? grown / seconds : nil) : grown
        case "changes":
            return Double(
                zip(samples, samples.dropFirst()).count {
                    $0.value != $1.value && !($0.value.isNaN && $1.value.isNaN)
                })
        case "resets": return Double(zip(samples, samples.dropFirst()).count { $1.value < $0.value })
        case "avg_over_time": return mean(samples.map(\.value))
        case "sum_over_time": return sum(samples.map(\.value))
        case "count_over_time": return Double(samples.count)
        case "last_over_time": return last.value
        case "present_over_time": return 1
        case "min_over_time": return samples.reduce(Double.nan) { $1.value < $0 || $0.isNaN ? $1.value : $0 }
        case "max_over_time": return samples.reduce(Double.nan) { $1.value > $0 || $0.isNaN ? $1.value : $0 }
        case "stdvar_over_time": return variance(samples.map(\.value))
        case "stddev_over_time": return variance(samples.map(\.value)).squareRoot()
        case "quantile_over_time": return quantile(parameter, samples.map(\.value))
        default: return nil
        }
    }

    /// How much it has grown, as if the samples reached to the ends of the range where they nearly do.
    private static func extrapolated(
        _ samples: [SeriesStore.Sample], _ from: Int64, _ to: Int64, isCounter: Bool, isRate: Bool
    ) -> Double? {
        guard samples.count > 1, let first = samples.first, let last = samples.last, last.time > first.time else {
            return nil
        }
        var grown = last.value - first.value
        if isCounter {
            for (before, after) in zip(samples, samples.dropFirst()) where after.value < before.value {
                grown += before.value
            }
        }
        var toStart = Double(first.time - from) / 1000
        let toEnd = Double(to - last.time) / 1000
        let sampled = Double(last.time - first.time) / 1000
        let between = sampled / Double(samples.count - 1)
        if isCounter, grown > 0, first.value >= 0 {
            // A counter cannot have been below zero.
            toStart = min(toStart, sampled * (first.value / grown))
        }
        let near = between * 1.1
        let covered = sampled + (toStart < near ? toStart : between / 2) + (toEnd < near ? toEnd : between / 2)
        let all = grown * (covered / sampled)
        return isRate ? all / (Double(to - from) / 1000) : all
    }

    /// The sum, with what rounding loses (Neumaier).
    static func sum(_ values: [Double]) -> Double {
        var (sum, lost) = (0.0, 0.0)
        for value in values {
            let next = sum + value
            if next.isInfinite { return values.reduce(0, +) }
            lost += abs(sum) >= abs(value) ? (sum - next) + value : (value - next) + sum
            sum = next
        }
        return sum + lost
    }

    static func mean(_ values: [Double]) -> Double { sum(values) / Double(values.count) }

    static func variance(_ values: [Double]) -> Double {
        let mean = mean(values)
        return sum(values.map { ($0 - mean) * ($0 - mean) }) / Double(values.count)
    }

    static func quantile(_ share: Double, _ values: [Double]) -> Double {
        if values.isEmpty || share.isNaN { return .nan }
        if share < 0 { return -.infinity }
        if share > 1 { return .infinity }
        let sorted = values.sorted { $0.isNaN && !$1.isNaN || $0 < $1 }
        let rank = share * Double(sorted.count - 1)
        let low = Int(rank.rounded(.down))
        let high = min(low + 1, sorted.count - 1)
        let weight = rank - rank.rounded(.down)
        return sorted[low] * (1 - weight) + sorted[high] * weight
    }
}

/// Functions of a number.
enum QueryMath {
    static func apply(_ name: String, _ value: Double, _ parameters: [Double]) -> Double {
        switch name {
        case "abs": abs(value)
        case "ceil": value.rounded(.up)
        case "floor": value.rounded(.down)
        case "exp": exp(value)
        case "ln": log(value)
        case "log2": log2(value)
        case "log10": log10(value)
        case "sqrt": value.squareRoot()
        case "sgn": value > 0 ? 1 : value < 0 ? -1 : value
        case "clamp_min": clamp(value, parameters.first ?? -.infinity, .infinity)
        case "clamp_max": clamp(value, -.infinity, parameters.first ?? .infinity)
        case "clamp": parameters.count == 2 ? clamp(value, parameters[0], parameters[1]) : value
        case "round": round(value, parameters.first ?? 1)
        default: .nan
        }
    }

    private static func clamp(_ value: Double, _ low: Double, _ high: Double) -> Double {
        value.isNaN || low.isNaN || high.isNaN ? .nan : max(low, min(high, value))
    }

    private static func round(_ value: Double, _ unit: Double) -> Double {
        // Prometheus divides by the inverse: other rounding errors would come of a plain division.
        let inverse = 1 / unit
        return (value * inverse + 0.5).rounded(.down) / inverse
    }

    static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
    static func remainder(_ left: Double, _ right: Double) -> Double { fmod(left, right) }
}

/// `histogram_quantile` over buckets with the label `le`.
enum QueryHistogram {
    static func quantile(_ share: Double, _ elements: [VectorElement]) -> [VectorElement] {
        var groups: [Labels: [(bound: Double, count: Double)]] = [:]
        for element in elements {
            guard let bound = NumberText.parse(element.labels["le"]) else { continue }
            groups[element.labels.dropping(["le", Labels.metricName]), default: []].append((bound, element.value))
        }
        return groups.sorted { $0.key < $1.key }.map {
            VectorElement(labels: $0.key, value: quantile(share, $0.value))
        }
    }

    private static func quantile(_ share: Double, _ given: [(bound: Double, count: Double)]) -> Double {
        if share.isNaN { return .nan }
        if share < 0 { return -.infinity }
        if share > 1 { return .infinity }
        var buckets: [(bound: Double, count: Double)] = []
        for bucket in given.sorted(by: { $0.bound < $1.bound }) {
            if let last = buckets.last, last.bound == bucket.bound {
                buckets[buckets.count - 1].count += bucket.count
            } else {
                buckets.append(bucket)
            }
        }
        guard let last = buckets.last, last.bound == .infinity, buckets.count > 1 else { return .nan }
        // Buckets are cumulative; rates of them may come out a little otherwise.
        for index in buckets.indices.dropFirst() where buckets[index].count < buckets[index - 1].count {
            buckets[index].count = buckets[index - 1].count
        }
        let total = buckets[buckets.count - 1].count
        guard total != 0 else { return .nan }
        var rank = share * total
        let place = buckets.dropLast().firstIndex { $0.count >= rank } ?? buckets.count - 1
        if place == buckets.count - 1 { return buckets[buckets.count - 2].bound }
        if place == 0, buckets[0].bound <= 0 { return buckets[0].bound }
        var (low, count) = (0.0, buckets[place].count)
        if place > 0 {
            low = buckets[place - 1].bound
            count -= buckets[place - 1].count
            rank -= buckets[place - 1].count
        }
        return low + (buckets[place].bound - low) * (rank / count)
    }
}
