internal import Serialization

/// Istio's standard metrics under one set of labels, without the prefix `istio_` of their names: what was counted so far, or since the last look.
public struct StandardFigures: Sendable, Hashable {
    /// Numbers that only grow, such as `requests_total`.
    public var counters: [String: Double] = [:]
    /// Distributions in the proxies' buckets, such as `request_duration_milliseconds`.
    public var distributions: [String: LatencySketch] = [:]

    /// Nothing counted.
    public init() {}

    /// Adds what others have counted.
    public mutating func merge(_ other: StandardFigures) {
        for (name, value) in other.counters { counters[name, default: 0] += value }
        for (name, sketch) in other.distributions {
            distributions[name, default: LatencySketch(.proxy)].merge(sketch)
        }
    }

    /// What has come since an earlier look; all of it when something is less than it was: then the process was started anew.
    func grown(since before: StandardFigures) -> StandardFigures {
        let isReset =
            counters.contains { $0.value < before.counters[$0.key] ?? 0 }
            || distributions.contains { name, sketch in
                let old = before.distributions[name]?.counts ?? [:]
                return old.contains { $0.value > sketch.counts[$0.key] ?? 0 }
            }
        guard !isReset else { return self }
        var grown = StandardFigures()
        for (name, value) in counters { grown.counters[name] = value - (before.counters[name] ?? 0) }
        for (name, sketch) in distributions {
            let old = before.distributions[name]
            var more = LatencySketch(.proxy)
            for (index, count) in sketch.counts { more.add(count - min(count, old?.counts[index] ?? 0), at: index) }
            more.sum = max(0, sketch.sum - (old?.sum ?? 0))
            grown.distributions[name] = more
        }
        return grown
    }
}

extension StandardFigures {
    /// How the lines begin that a proxy's page has for us (`standard=compact`).
    static let linePrefix = Array("# skein-standard ".utf8)
    /// Sets of labels at most of one page (ATK-19); a proxy tells 10,000.
    static let lineCountMax = 10_000
    /// Labels at most of a set, and bytes of a value.
    private static let labelsMax = 64
    private static let valueBytesMax = 512
    /// Metrics at most of one set.
    private static let metricsMax = 16

    /// Reads the lines of a page; nil when it has none, as that of a proxy that does not tell standard metrics.
    static func read(_ page: [UInt8], refused: inout Int) -> [Labels: StandardFigures]? {
        var found: [Labels: StandardFigures]?
        for line in page.split(separator: 0x0A) where line.starts(with: linePrefix) {
            var all = found ?? [:]
            defer { found = all }
            guard let json = try? JSON.parse(Array(line.dropFirst(linePrefix.count))), all.count < lineCountMax else {
                refused += 1
                continue
            }
            guard let members = json["labels"]?.object else { continue }  // The end.
            let labels = members.compactMapValues(\.string)
            guard labels.count <= labelsMax, labels.values.allSatisfy({ $0.utf8.count <= valueBytesMax }) else {
                refused += 1
                continue
            }
            all[Labels(labels), default: StandardFigures()].merge(figures(json))
        }
        return found
    }

    private static func figures(_ json: JSON) -> StandardFigures {
        var figures = StandardFigures()
        for (name, value) in (json["counters"]?.object ?? [:]).sorted(by: { $0.key < $1.key }).prefix(metricsMax) {
            guard let value = value.double, value.isFinite, value >= 0 else { continue }
            figures.counters[name] = value
        }
        for (name, value) in (json["histograms"]?.object ?? [:]).sorted(by: { $0.key < $1.key }).prefix(metricsMax) {
            var sketch = LatencySketch(.proxy)
            for pair in value["counts"]?.array ?? [] {
                guard let place = pair[0]?.int, let count = pair[1]?.double, count >= 1, count < 1e15,
                    (0...BucketScheme.proxyBounds.count).contains(place)
                else { continue }
                sketch.add(UInt64(count), at: Int16(place))
            }
            if let sum = value["sum"]?.double, sum.isFinite, sum >= 0 { sketch.sum = sum }
            figures.distributions[name] = sketch
        }
        return figures
    }
}
