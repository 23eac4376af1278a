// The built-in time series as queries see them: a distribution as Prometheus' histogram.
extension SeriesStore: SampleSource {
    /// The series that fit, distributions as `_bucket`, `_sum` and `_count`.
    public func series(_ matchers: [LabelMatcher], from: Int64, to: Int64) -> [QuerySeries] {
        var found: [QuerySeries] = []
        visit(matchers) { series, labels in
            let samples = samples(series, from: from, to: to)
            if !samples.isEmpty { found.append(QuerySeries(labels, samples)) }
        } distribution: { series, wanted in
            let steps = accumulated(series, from: from, to: to)
            guard !steps.isEmpty else { return }
            for (labels, bound) in wanted {
                let samples = steps.map { step in
                    Sample(step.time, Self.value(step.counts, step.sum, bound, series.kind.scheme ?? .proxy))
                }
                found.append(QuerySeries(labels, samples))
            }
        }
        return found
    }

    /// What is told of a distribution.
    enum Part { case bucket(Double), sum, count }

    private static func value(_ counts: [Int16: UInt64], _ sum: Int64, _ part: Part, _ scheme: BucketScheme) -> Double {
        switch part {
        case .sum: Double(sum) / 1000
        case .count: Double(counts.values.reduce(0, &+))
        case .bucket(let bound):
            Double(counts.reduce(UInt64(0)) { scheme.upperBound($1.key) <= bound ? $0 &+ $1.value : $0 })
        }
    }

    private func visit(
        _ matchers: [LabelMatcher], plain: (Stored, Labels) -> Void,
        distribution: (Stored, [(Labels, Part)]) -> Void
    ) {
        let names = matchers.filter { $0.name == Labels.metricName }
        let others = matchers.filter { $0.name != Labels.metricName && $0.name != "le" }
        let bounds = matchers.filter { $0.name == "le" }
        func fits(_ name: String) -> Bool { names.allSatisfy { $0.fits(name) } }
        let suffixes = [Self.bucketSuffix, Self.sumSuffix, Self.countSuffix]
        for (name, places) in byName.sorted(by: { $0.key < $1.key }) {
            guard fits(name) || suffixes.contains(where: { fits(name + $0) }) else { continue }
            for place in places {
                let series = stored[place]
                guard others.allSatisfy({ $0.fits(series.labels[$0.name]) }) else { continue }
                guard let scheme = series.kind.scheme else {
                    if fits(name), bounds.allSatisfy({ $0.fits(series.labels["le"]) }) { plain(series, series.labels) }
                    continue
                }
                var wanted: [(Labels, Part)] = []
                for suffix in suffixes where fits(name + suffix) {
                    var labels = series.labels
                    labels[Labels.metricName] = name + suffix
                    guard suffix == Self.bucketSuffix else {
                        if bounds.allSatisfy({ $0.fits("") }) {
                            wanted.append((labels, suffix == Self.sumSuffix ? .sum : .count))
                        }
                        continue
                    }
                    for bound in Self.bounds(series, scheme) {
                        labels["le"] = NumberText.text(bound)
                        if bounds.allSatisfy({ $0.fits(labels["le"]) }) { wanted.append((labels, .bucket(bound))) }
                    }
                }
                if !wanted.isEmpty { distribution(series, wanted) }
            }
        }
    }

    private static func bounds(_ series: Stored, _ scheme: BucketScheme) -> [Double] {
        if scheme == .proxy { return BucketScheme.proxyBounds + [.infinity] }
        return series.total.keys.sorted().map { scheme.upperBound($0) } + [.infinity]
    }

    /// The labels of the series that fit, for `/api/v1/series`.
    public func labels(_ matchers: [LabelMatcher]) -> [Labels] {
        var found: [Labels] = []
        visit(matchers) { _, labels in
            found.append(labels)
        } distribution: { _, wanted in
            found += wanted.map(\.0)
        }
        return found.sorted()
    }
}
