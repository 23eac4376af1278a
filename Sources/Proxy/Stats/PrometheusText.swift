internal import Telemetry

/// Prometheus' exposition format 0.0.4, as Envoy writes it: counters, gauges, then histograms; one `# TYPE` line a name.
enum PrometheusText {
    private struct Line {
        var labels: String
        var value: MetricSample.Value
    }

    static func text(_ entries: [StatsText.Entry], _ query: StatsQuery, _ tags: TagExtraction) -> String {
        var groups: [(kind: String, lines: [String: [Line]])] = [
            ("counter", [:]), ("gauge", [:]), ("gauge", [:]),
            (query.buckets == .summary ? "summary" : "histogram", [:]),
        ]
        for (_, sample) in entries {
            let (left, found) = tags.extract(sample.name)
            let name = "envoy_" + identifier(left)
            let labels = found.map { "\(identifier($0.name))=\"\(escape($0.value))\"" }.joined(separator: ",")
            let group: Int
            switch sample.value {
            case .counter: group = 0
            case .gauge: group = 1
            case .text:
                guard query.showsTexts else { continue }
                group = 2
            case .histogram: group = 3
            }
            groups[group].lines[name, default: []].append(Line(labels: labels, value: sample.value))
        }
        var text = ""
        for (kind, lines) in groups {
            for (name, lines) in lines.sorted(by: { $0.key < $1.key }) {
                text += "# TYPE \(name) \(kind)\n"
                for line in lines { append(name, line, query, to: &text) }
            }
        }
        return text
    }

    private static func append(_ name: String, _ line: Line, _ query: StatsQuery, to text: inout String) {
        switch line.value {
        case .counter(let value): text += "\(name){\(line.labels)} \(value)\n"
        case .gauge(let value): text += "\(name){\(line.labels)} \(value)\n"
        case .text(let value):
            let comma = line.labels.isEmpty ? "" : ","
            text += "\(name){\(line.labels)\(comma)text_value=\"\(escape(value))\"} 0\n"
        case .histogram(let snapshot):
            let comma = line.labels.isEmpty ? "" : ","
            if query.buckets == .summary {
                for quantile in StatsText.quantiles {
                    let value = snapshot.quantile(quantile / 100).map { StatsText.number($0) } ?? "nan"
                    text += "\(name){\(line.labels)\(comma)quantile=\"\(StatsText.number(quantile / 100))\"} \(value)\n"
                }
            } else {
                var total: UInt64 = 0
                for (index, count) in snapshot.counts.enumerated() {
                    total &+= count
                    let bound = index < snapshot.bounds.count ? StatsText.number(snapshot.bounds[index]) : "+Inf"
                    text += "\(name)_bucket{\(line.labels)\(comma)le=\"\(bound)\"} \(total)\n"
                }
            }
            text += "\(name)_sum{\(line.labels)} \(StatsText.number(snapshot.sum))\n"
            text += "\(name)_count{\(line.labels)} \(snapshot.count)\n"
        }
    }

    /// Whatever is no letter or digit becomes an underscore.
    private static func identifier(_ name: String) -> String {
        String(
            decoding: name.utf8.map { byte in
                byte &- 48 < 10 || (byte | 0x20) &- 97 < 26 || byte == 0x5F ? byte : 0x5F
            }, as: UTF8.self)
    }

    /// Escapes a label value: a peer's text must not end the label or the line (ATK-19).
    static func escape(_ value: String) -> String {
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
