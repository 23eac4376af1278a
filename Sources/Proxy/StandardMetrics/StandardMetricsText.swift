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
            for (labels, value) in lines.sorted(by: { $0.key < $1.key }) { append(name, labels, value, to: &text) }
        }
        return text
    }

    /// Samples by their labels as they are printed.
    private static func summed(_ all: [StandardSeries], _ metric: StandardMetric) -> [String: MetricSample.Value] {
        var lines: [String: MetricSample.Value] = [:]
        for series in all {
            guard let value = series.value(metric), let labels = StandardLabels.labels(series, metric) else { continue }
            let text = labels.sorted { $0.key < $1.key }
                .map { "\($0.key)=\"\(PrometheusText.escape($0.value))\"" }.joined(separator: ",")
            switch (lines[text], value) {
            case (.counter(let before)?, .counter(let now)): lines[text] = .counter(before &+ now)
            case (.histogram(let before)?, .histogram(let now)): lines[text] = .histogram(before + now)
            default: lines[text] = value
            }
        }
        return lines
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
