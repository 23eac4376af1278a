/// Metrics as text: Prometheus' exposition format 0.0.4 and Envoy's `/stats` lines.
public enum MetricText {
    /// Prometheus text; samples of one name are grouped under one `# TYPE` line.
    public static func prometheus(_ samples: [MetricSample]) -> String {
        var order: [String] = []
        var groups: [String: [MetricSample]] = [:]
        for sample in samples {
            if groups[sample.name] == nil { order.append(sample.name) }
            groups[sample.name, default: []].append(sample)
        }
        var text = ""
        for name in order.sorted() {
            guard let group = groups[name], let first = group.first else { continue }
            text += "# TYPE \(name) \(kind(first.value))\n"
            for sample in group { append(sample, to: &text) }
        }
        return text
    }

    /// Envoy's `/stats` lines, `name: value`, sorted; histograms as count and sum.
    public static func dotted(_ samples: [MetricSample], filter: String? = nil, usedOnly: Bool = false) -> String {
        var lines: [String] = []
        for sample in samples {
            if let filter, !sample.dotted.contains(filter) { continue }
            switch sample.value {
            case .counter(let value):
                if usedOnly && value == 0 { continue }
                lines.append("\(sample.dotted): \(value)")
            case .gauge(let value):
                if usedOnly && value == 0 { continue }
                lines.append("\(sample.dotted): \(value)")
            case .histogram(let buckets, let sum):
                let count = buckets.reduce(0, &+)
                if usedOnly && count == 0 { continue }
                lines.append("\(sample.dotted): count \(count) sum \(sum)")
            }
        }
        return lines.sorted().map { $0 + "\n" }.joined()
    }

    private static func kind(_ value: MetricSample.Value) -> String {
        switch value {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        }
    }

    private static func append(_ sample: MetricSample, to text: inout String) {
        switch sample.value {
        case .counter(let value): text += "\(sample.name)\(labels(sample.labels)) \(value)\n"
        case .gauge(let value): text += "\(sample.name)\(labels(sample.labels)) \(value)\n"
        case .histogram(let buckets, let sum):
            var total: UInt64 = 0
            for (index, count) in buckets.enumerated() {
                total &+= count
                let bound = index < Histogram.bounds.count ? number(Histogram.bounds[index]) : "+Inf"
                text += "\(sample.name)_bucket\(labels(sample.labels + [("le", bound)])) \(total)\n"
            }
            text += "\(sample.name)_sum\(labels(sample.labels)) \(number(sum))\n"
            text += "\(sample.name)_count\(labels(sample.labels)) \(total)\n"
        }
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }

    private static func labels(_ labels: [(name: String, value: String)]) -> String {
        if labels.isEmpty { return "" }
        return "{" + labels.map { "\($0.name)=\"\(escape($0.value))\"" }.joined(separator: ",") + "}"
    }

    /// Escapes a label value: a peer's text must not end the label or the line (ATK-19).
    private static func escape(_ value: String) -> String {
        var escaped = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
