internal import EnvoyAPI
internal import Serialization
internal import Telemetry

/// From the values of metrics to the metrics service's messages: one family for each metric, counters before gauges before distributions, as Envoy's.
///
/// Pure. Distributions tell what has come since the last message, counters where that is asked for; what was lost on the way is not told again (Envoy).
struct MetricFamilies: Sendable {
    /// About so many bytes at most of one message: receivers take 4 MiB by default.
    private static let messageBytes = 1 << 20

    private let config: MetricsServiceSinkConfig
    private var toldCounters: [MetricExport.Key: UInt64] = [:]
    private var toldHistograms: [MetricExport.Key: HistogramSnapshot] = [:]

    init(_ config: MetricsServiceSinkConfig) { self.config = config }

    /// The messages of a flush.
    ///
    /// - Parameters:
    ///   - points: The values now.
    ///   - now: Milliseconds since 1970.
    /// - Returns: The messages, each with how many families it has, and how many values there was no room for (ATK-19).
    mutating func messages(
        _ points: [MetricExport.Point], now: Int64
    ) -> (messages: [(bytes: [UInt8], families: Int)], leftOut: Int) {
        var counters: [PrometheusFamily] = []
        var gauges: [PrometheusFamily] = []
        var distributions: [PrometheusFamily] = []
        var seenCounters: [MetricExport.Key: UInt64] = [:]
        var seenHistograms: [MetricExport.Key: HistogramSnapshot] = [:]
        for point in points.prefix(MetricExport.pointsMax) {
            let key = MetricExport.Key(
                name: point.name, attributes: point.attributes.map { "\($0.name)=\($0.value)" })
            var metric = PrometheusMetric()
            metric.timestampMs = now
            for attribute in point.attributes {
                var label = PrometheusLabel()
                (label.name, label.value) = attribute
                metric.label.append(label)
            }
            switch point.value {
            case .text: continue
            case .counter(let value):
                var counter = PrometheusCounter()
                counter.value = Double(value)
                if config.sendsCounterDeltas {
                    seenCounters[key] = value
                    let before = toldCounters[key] ?? 0
                    // Counted anew after a reset: then all of it is new.
                    counter.value = Double(value >= before ? value - before : value)
                }
                metric.counter = counter
                counters.append(Self.family(point.name, .counter, metric))
            case .gauge(let value):
                var gauge = PrometheusGauge()
                gauge.value = Double(value)
                metric.gauge = gauge
                gauges.append(Self.family(point.name, .gauge, metric))
            case .histogram(let snapshot):
                seenHistograms[key] = snapshot
                let grown = toldHistograms[key].map { snapshot.grown(since: $0) } ?? snapshot
                if config.sendsSummaries {
                    var copy = metric
                    copy.summary = Self.summary(grown)
                    distributions.append(Self.family(point.name, .summary, copy))
                }
                if config.sendsHistograms {
                    metric.histogram = Self.histogram(grown)
                    distributions.append(Self.family(point.name, .histogram, metric))
                }
            }
        }
        toldCounters = seenCounters
        toldHistograms = seenHistograms
        return (cut(counters + gauges + distributions), max(0, points.count - MetricExport.pointsMax))
    }

    private func cut(_ families: [PrometheusFamily]) -> [(bytes: [UInt8], families: Int)] {
        var messages: [(bytes: [UInt8], families: Int)] = []
        var (bytes, count): ([UInt8], Int) = ([], 0)
        for family in families {
            ProtobufParts.field(2, family.serialized(), to: &bytes)
            count += 1
            guard bytes.count >= Self.messageBytes || count == config.batch else { continue }
            messages.append((bytes, count))
            (bytes, count) = ([], 0)
        }
        if count > 0 { messages.append((bytes, count)) }
        return messages
    }

    private static func family(
        _ name: String, _ type: PrometheusMetricType, _ metric: PrometheusMetric
    ) -> PrometheusFamily {
        var family = PrometheusFamily()
        family.name = name
        family.type = type
        family.metric = [metric]
        return family
    }

    private static func summary(_ snapshot: HistogramSnapshot) -> PrometheusSummary {
        var summary = PrometheusSummary()
        summary.sampleCount = snapshot.count
        summary.sampleSum = snapshot.sum
        summary.quantile = StatsText.quantiles.map { percent in
            var quantile = PrometheusQuantile()
            quantile.quantile = percent / 100
            quantile.value = snapshot.quantile(percent / 100) ?? .nan
            return quantile
        }
        return summary
    }

    private static func histogram(_ snapshot: HistogramSnapshot) -> PrometheusHistogram {
        var histogram = PrometheusHistogram()
        histogram.sampleCount = snapshot.count
        histogram.sampleSum = snapshot.sum
        var below: UInt64 = 0
        histogram.bucket = zip(snapshot.bounds, snapshot.counts).map { bound, count in
            below &+= count
            var bucket = PrometheusBucket()
            (bucket.upperBound, bucket.cumulativeCount) = (bound, below)
            return bucket
        }
        return histogram
    }
}
