public import Serialization

/// Prometheus' HTTP API for queries, without HTTP: parameters in, a status and an object out.
///
/// `query`, `query_range`, `series`, `labels`, `label/NAME/values`, `metadata`, `status/…`. The parameters `timeout`, `stats` and `limit` are taken and have no effect:
/// queries are bounded by what they read.
public struct PrometheusAPI: Sendable {
    /// What is answered.
    public struct Answer: Sendable {
        /// The status of HTTP.
        public var status: UInt16
        /// The object.
        public var json: JSON
    }

    /// Below that everything is.
    public static let prefix = "/api/v1/"

    private let store: SeriesStore
    /// Milliseconds since 1970.
    private let now: Int64

    /// Answers from a store as it is now.
    public init(_ store: SeriesStore, now: Int64) {
        self.store = store
        self.now = now
    }

    /// Answers a path behind the prefix; nil when there is no such path.
    public func answer(_ path: String, _ parameters: [(name: String, value: String)]) -> Answer? {
        func first(_ name: String) -> String? { parameters.first { $0.name == name }?.value }
        do throws(QueryError) {
            switch path {
            case "query":
                let time = try time(first("time"), "time") ?? now
                let value = try QueryEngine(store).query(try needed(first("query"), "query"), at: time)
                return success(Self.json(value, at: time))
            case "query_range":
                let start = try time(try needed(first("start"), "start"), "start") ?? 0
                let end = try time(try needed(first("end"), "end"), "end") ?? 0
                let step = try Self.step(try needed(first("step"), "step"))
                let series = try QueryEngine(store).query(
                    try needed(first("query"), "query"), from: start, to: end, step: step)
                return success(["resultType": "matrix", "result": .array(series.map(Self.json))])
            case "series":
                let selectors = parameters.filter { $0.name == "match[]" }.map(\.value)
                guard !selectors.isEmpty else { throw QueryError("match[] is needed") }
                return success(.array(try labels(selectors).map { Self.json($0) }))
            case "labels":
                let names = Set(try chosen(parameters).flatMap { $0.pairs.map(\.name) })
                return success(.array(names.sorted().map { .string($0) }))
            case "metadata": return success(metadata(first("metric")))
            default:
                if let status = status(path) { return success(status) }
                let parts = path.split(separator: "/", omittingEmptySubsequences: false)
                guard parts.count == 3, parts[0] == "label", parts[2] == "values" else { return nil }
                let values = Set(try chosen(parameters).map { $0[String(parts[1])] }).subtracting([""])
                return success(.array(values.sorted().map { .string($0) }))
            }
        } catch {
            return Self.failure(error)
        }
    }

    /// What clients ask about the server before they ask for samples: Kiali its version, Grafana also its retention.
    private func status(_ path: String) -> JSON? {
        switch path {
        // Prometheus' version by whose rules queries are answered.
        case "status/buildinfo": return ["version": "3.0.0", "revision": "skein", "branch": "", "goVersion": ""]
        case "status/runtimeinfo":
            let days = Insight.coarseRetention / 86_400
            return ["storageRetention": .string("\(days)d"), "timeSeriesCount": .integer(Int64(store.count))]
        case "status/flags":
            return ["storage.tsdb.retention.time": .string("\(Insight.coarseRetention / 86_400)d")]
        case "status/config":
            return [
                "yaml": .string(
                    "global:\n  scrape_interval: \(Insight.step)s\n  evaluation_interval: \(Insight.step)s\n")
            ]
        default: return nil
        }
    }

    /// The types of metrics.
    private func metadata(_ name: String?) -> JSON {
        var found: [String: JSON] = [:]
        for series in store.stored where name == nil || series.labels.name == name {
            let type =
                switch series.kind {
                case .counter: "counter"
                case .gauge: "gauge"
                case .proxyDistribution, .exponentialDistribution: "histogram"
                }
            found[series.labels.name] = [["type": .string(type), "help": "", "unit": ""]]
        }
        return .object(found)
    }

    private func success(_ data: JSON) -> Answer { Answer(status: 200, json: ["status": "success", "data": data]) }

    /// Why there is no answer, in Prometheus' form.
    public static func failure(_ error: QueryError) -> Answer {
        Answer(
            status: error.kind == .badData ? 400 : 422,
            json: [
                "status": "error", "errorType": .string(error.kind.rawValue), "error": .string(error.description),
            ])
    }

    private func needed(_ value: String?, _ name: String) throws(QueryError) -> String {
        guard let value, !value.isEmpty else { throw QueryError("\(name) is needed") }
        return value
    }

    private func labels(_ selectors: [String]) throws(QueryError) -> [Labels] {
        var found: Set<Labels> = []
        for selector in selectors { found.formUnion(store.labels(try QueryEngine.matchers(selector))) }
        return found.sorted()
    }

    private func chosen(_ parameters: [(name: String, value: String)]) throws(QueryError) -> [Labels] {
        let selectors = parameters.filter { $0.name == "match[]" }.map(\.value)
        return selectors.isEmpty ? store.labels([]) : try labels(selectors)
    }

    /// Milliseconds of seconds since 1970, or of RFC 3339; nil without a value.
    private func time(_ text: String?, _ name: String) throws(QueryError) -> Int64? {
        guard let text else { return nil }
        guard let time = Self.time(text) else { throw QueryError("\(name): \"\(text)\" is no time") }
        return time
    }

    /// Milliseconds of seconds since 1970, or of RFC 3339.
    public static func time(_ text: String) -> Int64? {
        if let seconds = Double(text) { return abs(seconds) < 1e12 ? Int64((seconds * 1000).rounded()) : nil }
        guard let stamp = Timestamp(text) else { return nil }
        return stamp.seconds * 1000 + Int64(stamp.nanoseconds / 1_000_000)
    }

    /// Milliseconds of a step: seconds, or a time like `1m`.
    public static func step(_ text: String) throws(QueryError) -> Int64 {
        if let seconds = Double(text), seconds > 0, seconds < 1e9 { return max(1, Int64(seconds * 1000)) }
        guard let step = QueryLexer.duration(text), step > 0 else {
            throw QueryError("step: \"\(text)\" is no time above zero")
        }
        return step
    }

    // MARK: Shapes

    private static func json(_ sample: SeriesStore.Sample) -> JSON {
        let time: JSON = sample.time % 1000 == 0 ? .integer(sample.time / 1000) : .number(Double(sample.time) / 1000)
        return [time, .string(NumberText.text(sample.value))]
    }

    /// The labels as an object.
    static func json(_ labels: Labels) -> JSON {
        .object(Dictionary(labels.pairs.map { ($0.name, .string($0.value)) }, uniquingKeysWith: { first, _ in first }))
    }

    /// A series of an answer.
    public static func json(_ series: QuerySeries) -> JSON {
        ["metric": json(series.labels), "values": .array(series.samples.map(json))]
    }

    /// `resultType` and `result`.
    public static func json(_ value: QueryValue, at time: Int64) -> JSON {
        switch value {
        case .scalar(let number): return ["resultType": "scalar", "result": json(.init(time, number))]
        case .string(let text):
            return ["resultType": "string", "result": [.number(Double(time) / 1000), .string(text)]]
        case .vector(let elements):
            return [
                "resultType": "vector",
                "result": .array(
                    elements.map { ["metric": json($0.labels), "value": json(.init(time, $0.value))] }),
            ]
        case .matrix(let series): return ["resultType": "matrix", "result": .array(series.map(json))]
        }
    }
}

/// Samples of a text in OpenMetrics' or Prometheus' format, with time stamps: to try queries and rules on.
public struct SampleFile: SampleSource, Sendable {
    private var all: [QuerySeries] = []

    /// The time of the newest sample, in milliseconds; nil without any.
    public var newest: Int64? { all.compactMap { $0.samples.last?.time }.max() }

    /// The time of the oldest sample, in milliseconds; nil without any.
    public var oldest: Int64? { all.compactMap { $0.samples.first?.time }.min() }

    /// Reads a text; samples without a time stamp are left out.
    public init(_ text: [UInt8]) {
        // OpenMetrics ends with a line of its own, and counts in seconds.
        let isOpenMetrics = text.suffix(8).contains(0x23)
        var series: [Labels: [SeriesStore.Sample]] = [:]
        var limits = ExpositionParser.Limits()
        limits.samplesMax = 20_000_000
        var parser = ExpositionParser(limits)
        parser.parse(text) { sample in
            guard let stamp = sample.timestamp, abs(stamp) < 1e15 else { return }
            let time = isOpenMetrics ? Int64((stamp * 1000).rounded()) : Int64(stamp)
            let labels = Labels(
                sample.name,
                Dictionary(sample.labels.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first }))
            series[labels, default: []].append(.init(time, sample.value))
        }
        all = series.map { QuerySeries($0.key, $0.value.sorted { $0.time < $1.time }) }
    }

    /// The series that fit.
    public func series(_ matchers: [LabelMatcher], from: Int64, to: Int64) -> [QuerySeries] {
        all.filter { series in matchers.allSatisfy { $0.fits(series.labels[$0.name]) } }.compactMap { series in
            let samples = series.samples.filter { $0.time >= from && $0.time <= to }
            return samples.isEmpty ? nil : QuerySeries(series.labels, samples)
        }
    }
}
