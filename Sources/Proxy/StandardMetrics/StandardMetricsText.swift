internal import Serialization
internal import Telemetry

/// Istio's standard metrics on the pages of statistics.
///
/// Whose an address is is looked up here: combinations that turn out to have the same labels become one.
enum StandardMetricsText {
    /// Prometheus' exposition format; `shows` says which metrics are wanted, by name.
    static func prometheus(_ metrics: StandardMetrics, shows: (String) -> Bool) -> String {
        var text = ""
        let all = metrics.all
        for metric in StandardMetric.allCases {
            let name = "istio_" + metric.rawValue
            guard shows(name) else { continue }
            let lines = summed(all, metric)
            guard !lines.isEmpty else { continue }
            text += "# HELP \(name) \(metric.help)\n# TYPE \(name) \(metric.isHistogram ? "histogram" : "counter")\n"
            let rows = lines.map { (labels: printed($0.key), value: $0.value) }
            for line in rows.sorted(by: { $0.labels < $1.labels }) {
                append(name, line.labels, line.value, to: &text)
            }
        }
        return text
    }

    /// The same for the control plane's own store: a comment for each set of labels, with all its metrics and no bucket that is empty.
    ///
    /// `# skein-standard {"labels": {…}, "counters": {"requests_total": 5}, "histograms": {"request_bytes": {"sum": 9, "counts": [[3, 5]]}}}`;
    /// the first number of a count is the place of its bucket, from 0. In Prometheus' format each takes some 60 KB, here less than two.
    static func compact(_ metrics: StandardMetrics, shows: (String) -> Bool) -> String {
        var lines: [[String: String]: (counters: [String: JSON], histograms: [String: JSON])] = [:]
        let all = metrics.all
        for metric in StandardMetric.allCases where shows("istio_" + metric.rawValue) {
            for (labels, value) in summed(all, metric) {
                var line = lines[labels] ?? ([:], [:])
                switch value {
                case .counter(let count): line.counters[metric.rawValue] = .integer(Int64(clamping: count))
                case .histogram(let snapshot):
                    let counts = snapshot.counts.enumerated().filter { $0.element > 0 }
                    line.histograms[metric.rawValue] = [
                        "sum": .number(snapshot.sum),
                        "counts": .array(
                            counts.map { [.integer(Int64($0.offset)), .integer(Int64(clamping: $0.element))] }),
                    ]
                default: break
                }
                lines[labels] = line
            }
        }
        var text = ""
        for (labels, line) in lines {
            let json: JSON = [
                "labels": .object(labels.mapValues { .string($0) }), "counters": .object(line.counters),
                "histograms": .object(line.histograms),
            ]
            text += "# skein-standard \(String(decoding: json.bytes, as: UTF8.self))\n"
        }
        return text + "# skein-standard {}\n"
    }

    /// All of them, for a sink.
    static func values(
        _ metrics: StandardMetrics, shows: (String) -> Bool
    ) -> [(name: String, labels: [String: String], value: MetricSample.Value)] {
        let all = metrics.all
        return StandardMetric.allCases.filter { shows("istio_" + $0.rawValue) }.flatMap { metric in
            summed(all, metric).map { ("istio_" + metric.rawValue, $0.key, $0.value) }
        }
    }

    /// Samples by their labels.
    private static func summed(_ all: [StandardSeries], _ metric: StandardMetric) -> [[String: String]: MetricSample
        .Value]
    {
        var lines: [[String: String]: MetricSample.Value] = [:]
        for series in all {
            guard let value = series.value(metric), let labels = StandardLabels.labels(series, metric) else { continue }
            switch (lines[labels], value) {
            case (.counter(let before)?, .counter(let now)): lines[labels] = .counter(before &+ now)
            case (.histogram(let before)?, .histogram(let now)): lines[labels] = .histogram(before + now)
            default: lines[labels] = value
            }
        }
        return lines
    }

    private static func printed(_ labels: [String: String]) -> String {
        labels.sorted { $0.key < $1.key }
            .map { "\($0.key)=\"\(PrometheusText.escape($0.value))\"" }.joined(separator: ",")
    }

    private static func append(_ name: String, _ labels: String, _ value: MetricSample.Value, to text: inout String) {
        switch value {
        case .counter(let count): text += "\(name){\(labels)} \(count)\n"
        case .histogram(let snapshot):
            var total: UInt64 = 0
            for (index, count) in snapshot.counts.enumerated() {
                total &+= count
                let bound = index < snapshot.bounds.count ? StatsText.number(snapshot.bounds[index]) : "+Inf"
                text += "\(name)_bucket{\(labels),le=\"\(bound)\"} \(total)\n"
            }
            text += "\(name)_sum{\(labels)} \(StatsText.number(snapshot.sum))\n"
            text += "\(name)_count{\(labels)} \(total)\n"
        default: break
        }
    }
}
