internal import Serialization
internal import Telemetry

/// `/stats` as text and as JSON, in Envoy's shapes.
enum StatsText {
    /// A sample with its printed name.
    typealias Entry = (dotted: String, sample: MetricSample)

    static let quantiles: [Double] = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]

    /// Text readouts, then counters and gauges, then histograms, each by name.
    static func text(_ entries: [Entry], _ query: StatsQuery) -> String {
        var (texts, numbers, histograms) = ("", "", "")
        for (dotted, sample) in entries {
            switch sample.value {
            case .text(let text): texts += "\(dotted): \(JSON.quoted(text))\n"
            case .counter(let value): numbers += "\(dotted): \(value)\n"
            case .gauge(let value): numbers += "\(dotted): \(value)\n"
            case .histogram(let snapshot): histograms += "\(dotted): \(histogram(snapshot, query.buckets))\n"
            }
        }
        return texts + numbers + histograms
    }

    private static func histogram(_ snapshot: HistogramSnapshot, _ buckets: StatsQuery.Buckets?) -> String {
        switch buckets {
        case nil, .summary?: return summary(snapshot)
        case .cumulative?, .disjoint?:
            var sum: UInt64 = 0
            return zip(snapshot.bounds, snapshot.counts).map { bound, count in
                sum &+= count
                return "B\(short(bound))(0,\(buckets == .cumulative ? sum : count))"
            }.joined(separator: " ")
        case .detailed?:
            let totals = ranges(snapshot).map { "\(number($0.low)),\(number($0.width)):\($0.count)" }
            return "\n  totals=\(totals.joined(separator: ", "))\n  intervals=\n  summary=\(summary(snapshot))"
        }
    }

    private static func summary(_ snapshot: HistogramSnapshot) -> String {
        guard snapshot.count > 0 else { return "No recorded values" }
        return quantiles.map { quantile in
            "P\(number(quantile))(nan,\(snapshot.quantile(quantile / 100).map(number) ?? "nan"))"
        }.joined(separator: " ")
    }

    private static func ranges(_ snapshot: HistogramSnapshot) -> [(low: Double, width: Double, count: UInt64)] {
        snapshot.counts.enumerated().compactMap { index, count in
            guard count > 0 else { return nil }
            let low = index == 0 ? 0 : snapshot.bounds[index - 1]
            return (low, index < snapshot.bounds.count ? snapshot.bounds[index] - low : 0, count)
        }
    }

    /// `/stats?format=json`.
    static func json(_ entries: [Entry], _ query: StatsQuery) -> JSON {
        var (texts, numbers, histograms): ([JSON], [JSON], [Entry]) = ([], [], [])
        for entry in entries {
            switch entry.sample.value {
            case .text(let text): texts.append(.object(["name": .string(entry.dotted), "value": .string(text)]))
            case .counter(let value):
                numbers.append(.object(["name": .string(entry.dotted), "value": .integer(Int64(clamping: value))]))
            case .gauge(let value):
                numbers.append(.object(["name": .string(entry.dotted), "value": .integer(value)]))
            case .histogram: histograms.append(entry)
            }
        }
        var stats = texts + numbers
        if !histograms.isEmpty { stats.append(.object(["histograms": json(histograms, query.buckets)])) }
        return .object(["stats": .array(stats)])
    }

    private static func json(_ entries: [Entry], _ buckets: StatsQuery.Buckets?) -> JSON {
        let supported = JSON.array(quantiles.map(value))
        func each(_ body: (HistogramSnapshot) -> [String: JSON]) -> JSON {
            .array(
                entries.compactMap { entry in
                    guard case .histogram(let snapshot) = entry.sample.value else { return nil }
                    var members = body(snapshot)
                    members["name"] = .string(entry.dotted)
                    return .object(members)
                })
        }
        func percentiles(_ snapshot: HistogramSnapshot) -> JSON {
            .array(
                quantiles.map {
                    .object(["interval": .null, "cumulative": snapshot.quantile($0 / 100).map(value) ?? .null])
                })
        }
        switch buckets {
        case nil, .summary?:
            return .object([
                "supported_quantiles": supported, "computed_quantiles": each { ["values": percentiles($0)] },
            ])
        case .cumulative?, .disjoint?:
            return each { snapshot in
                var sum: UInt64 = 0
                return [
                    "buckets": .array(
                        zip(snapshot.bounds, snapshot.counts).map { bound, count in
                            sum &+= count
                            return .object([
                                "upper_bound": value(bound), "interval": 0,
                                "cumulative": .integer(Int64(clamping: buckets == .cumulative ? sum : count)),
                            ])
                        })
                ]
            }
        case .detailed?:
            return .object([
                "supported_percentiles": supported,
                "details": each { snapshot in
                    [
                        "totals": .array(
                            ranges(snapshot).map {
                                .object([
                                    "lower_bound": value($0.low), "width": value($0.width),
                                    "count": .integer(Int64(clamping: $0.count)),
                                ])
                            }), "intervals": [], "percentiles": percentiles(snapshot),
                    ]
                },
            ])
        }
    }

    /// Whole numbers without a fraction.
    private static func value(_ number: Double) -> JSON {
        Int64(exactly: number).map { .integer($0) } ?? .number(number)
    }

    static func number(_ value: Double) -> String {
        Int64(exactly: value).map { String($0) } ?? String(value)
    }

    /// Six digits as C's `%g` prints them: `1800000` is `1.8e+06`.
    private static func short(_ value: Double) -> String {
        guard value >= 1_000_000, let whole = Int64(exactly: value) else { return number(value) }
        var exponent = 0
        var scale: Int64 = 1
        while whole / scale >= 10 {
            scale *= 10
            exponent += 1
        }
        return "\(number(Double(whole) / Double(scale)))e+\(exponent < 10 ? "0" : "")\(exponent)"
    }
}
