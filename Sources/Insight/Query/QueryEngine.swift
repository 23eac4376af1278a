/// Where queries find their samples.
public protocol SampleSource {
    /// The series that fit, with their samples from `from` to `to` (milliseconds, both included), oldest first.
    func series(_ matchers: [LabelMatcher], from: Int64, to: Int64) -> [QuerySeries]
}

/// A series as a query sees it.
public struct QuerySeries: Sendable {
    /// Its labels, the metric's name among them.
    public var labels: Labels
    /// Its samples, oldest first.
    public var samples: [SeriesStore.Sample]

    /// A series.
    public init(_ labels: Labels, _ samples: [SeriesStore.Sample]) {
        self.labels = labels
        self.samples = samples
    }
}

/// One number of a vector.
public struct VectorElement: Sendable, Hashable {
    /// Whose number.
    public var labels: Labels
    /// The number.
    public var value: Double
}

/// What a query says at one time.
public enum QueryValue: Sendable {
    /// A number without labels.
    case scalar(Double)
    /// A text.
    case string(String)
    /// A number for each series.
    case vector([VectorElement])
    /// The samples of each series.
    case matrix([QuerySeries])
}

/// Evaluates queries of our subset of PromQL.
///
/// Semantics are those of Prometheus: a sample counts for five minutes, a range leaves out its own beginning (as since version 3), rates are
/// extrapolated to the ends of their range.
public struct QueryEngine {
    /// For how long a sample counts when no newer one is there; milliseconds.
    public static let lookback: Int64 = 300_000
    /// Points of an answer's series at most, as in Prometheus.
    public static let pointsMax: Int64 = 11_000
    /// Series that a selector may find.
    static let seriesMax = 50_000
    /// Samples that a query may read.
    static let samplesMax = 20_000_000

    private let source: any SampleSource

    /// Queries over a source.
    public init(_ source: any SampleSource) { self.source = source }

    /// What a query says at a time (milliseconds since 1970).
    public func query(_ text: String, at time: Int64) throws(QueryError) -> QueryValue {
        let (expression, selectors) = try QueryParser.parse(text)
        let evaluator = QueryEvaluator(try load(selectors, from: time, to: time))
        return try evaluator.evaluate(expression, at: time)
    }

    /// What a query says from a time to another, in steps: series with the times at which they had a number.
    public func query(
        _ text: String, from: Int64, to: Int64, step: Int64
    ) throws(QueryError) -> [QuerySeries] {
        guard step > 0, from <= to else { throw QueryError("start must not be after end, and step must be positive") }
        guard (to - from) / step < Self.pointsMax else {
            throw QueryError("more than \(Self.pointsMax) points in a series: take a longer step")
        }
        let (expression, selectors) = try QueryParser.parse(text)
        guard expression.kind == .vector || expression.kind == .scalar else {
            throw QueryError("a range query needs a scalar or an instant vector, not a \(expression.kind.rawValue)")
        }
        let evaluator = QueryEvaluator(try load(selectors, from: from, to: to))
        var found: [Labels: [SeriesStore.Sample]] = [:]
        for time in stride(from: from, through: to, by: Int(step)) {
            switch try evaluator.evaluate(expression, at: time) {
            case .scalar(let value): found[Labels(), default: []].append(.init(time, value))
            case .vector(let elements):
                for element in elements { found[element.labels, default: []].append(.init(time, element.value)) }
            case .string, .matrix: break
            }
        }
        return found.map { QuerySeries($0.key, $0.value) }.sorted { $0.labels < $1.labels }
    }

    /// Whether a text is a query; the error says why not.
    public static func check(_ text: String) throws(QueryError) { _ = try QueryParser.parse(text) }

    /// The conditions of a selector, for `match[]`.
    public static func matchers(_ text: String) throws(QueryError) -> [LabelMatcher] {
        guard case .selector(let selector) = try QueryParser.parse(text).expression, selector.range == nil else {
            throw QueryError("\(text): not a series selector")
        }
        return selector.matchers
    }

    private func load(_ selectors: [SeriesSelector], from: Int64, to: Int64) throws(QueryError) -> [[QuerySeries]] {
        var loaded: [[QuerySeries]] = []
        var samples = 0
        for selector in selectors {
            let past = selector.range ?? Self.lookback
            let series = source.series(
                selector.matchers, from: from - selector.offset - past, to: to - selector.offset)
            samples += series.reduce(0) { $0 + $1.samples.count }
            guard series.count <= Self.seriesMax, samples <= Self.samplesMax else {
                throw QueryError(
                    "more than \(Self.seriesMax) series or \(Self.samplesMax) samples are read: ask for less",
                    kind: .execution)
            }
            loaded.append(series.sorted { $0.labels < $1.labels })
        }
        return loaded
    }
}

/// Evaluates an expression whose series are loaded.
struct QueryEvaluator {
    private let loaded: [[QuerySeries]]

    init(_ loaded: [[QuerySeries]]) { self.loaded = loaded }

    func evaluate(_ expression: Expression, at time: Int64) throws(QueryError) -> QueryValue {
        switch expression {
        case .number(let value): return .scalar(value)
        case .string(let text): return .string(text)
        case .selector(let selector): return select(selector, at: time)
        case .negate(let inner):
            switch try evaluate(inner, at: time) {
            case .scalar(let value): return .scalar(-value)
            case .vector(let elements):
                return .vector(elements.map { VectorElement(labels: $0.labels.unnamed, value: -$0.value) })
            case let other: return other
            }
        case .call(let name, let arguments): return try call(name, arguments, at: time)
        case .aggregate(let name, let parameter, let inner, let labels, let isWithout):
            let number: Double
            if let parameter { number = try scalar(parameter, at: time) } else { number = 0 }
            return .vector(
                QueryAggregation.aggregate(name, number, try vector(inner, at: time), Set(labels), isWithout))
        case .binary(let name, let left, let right, let matching, let isBool):
            return try QueryOperators.join(
                name, try evaluate(left, at: time), try evaluate(right, at: time), matching, isBool)
        }
    }

    private func vector(_ expression: Expression, at time: Int64) throws(QueryError) -> [VectorElement] {
        guard case .vector(let elements) = try evaluate(expression, at: time) else {
            throw QueryError("an instant vector is needed")
        }
        return elements
    }

    private func scalar(_ expression: Expression, at time: Int64) throws(QueryError) -> Double {
        guard case .scalar(let value) = try evaluate(expression, at: time) else {
            throw QueryError("a scalar is needed")
        }
        return value
    }

    private func text(_ expression: Expression) -> String {
        if case .string(let text) = expression { return text }
        return ""
    }

    // MARK: Samples

    private func select(_ selector: SeriesSelector, at time: Int64) -> QueryValue {
        let end = time - selector.offset
        let series = loaded.indices.contains(selector.number) ? loaded[selector.number] : []
        guard let range = selector.range else {
            return .vector(
                series.compactMap { series in
                    newest(series, at: end).map { VectorElement(labels: series.labels, value: $0.value) }
                })
        }
        return .matrix(
            series.compactMap { series in
                let chosen = Self.span(series.samples, after: end - range, upTo: end)
                return chosen.isEmpty ? nil : QuerySeries(series.labels, Array(series.samples[chosen]))
            })
    }

    private func newest(_ series: QuerySeries, at time: Int64) -> SeriesStore.Sample? {
        let span = Self.span(series.samples, after: time - QueryEngine.lookback, upTo: time)
        return span.isEmpty ? nil : series.samples[span.upperBound - 1]
    }

    /// Where the samples lie that are later than `after` and not later than `upTo`.
    private static func span(_ samples: [SeriesStore.Sample], after: Int64, upTo: Int64) -> Range<Int> {
        func first(_ isBeyond: (Int64) -> Bool) -> Int {
            var (low, high) = (0, samples.count)
            while low < high {
                let middle = (low + high) / 2
                if isBeyond(samples[middle].time) { high = middle } else { low = middle + 1 }
            }
            return low
        }
        let begin = first { $0 > after }
        return begin..<max(begin, first { $0 > upTo })
    }

    // MARK: Functions

    private func call(_ name: String, _ arguments: [Expression], at time: Int64) throws(QueryError) -> QueryValue {
        switch name {
        case "time": return .scalar(Double(time) / 1000)
        case "vector": return .vector([VectorElement(labels: Labels(), value: try scalar(arguments[0], at: time))])
        case "scalar":
            let elements = try vector(arguments[0], at: time)
            return .scalar(elements.count == 1 ? elements[0].value : .nan)
        case "absent": return .vector(try absent(arguments[0], try vector(arguments[0], at: time).isEmpty))
        case "timestamp": return try timestamps(arguments[0], at: time)
        case "sort":
            return .vector(try vector(arguments[0], at: time).sorted { Self.isLess($0.value, $1.value) })
        case "sort_desc":
            return .vector(
                try vector(arguments[0], at: time).sorted { Self.isLess($1.value, $0.value, nanLast: false) })
        case "histogram_quantile":
            return .vector(
                QueryHistogram.quantile(try scalar(arguments[0], at: time), try vector(arguments[1], at: time)))
        case "label_replace":
            return .vector(
                try QueryLabels.replace(
                    try vector(arguments[0], at: time), destination: text(arguments[1]),
                    replacement: text(arguments[2]), source: text(arguments[3]), pattern: text(arguments[4])))
        case "label_join":
            var sources: [String] = []
            for argument in arguments.dropFirst(3) { sources.append(text(argument)) }
            return .vector(
                try QueryLabels.join(
                    try vector(arguments[0], at: time), destination: text(arguments[1]),
                    separator: text(arguments[2]), sources: sources))
        default: break
        }
        if let place = QueryFunctions.known[name]?.arguments.firstIndex(of: .matrix) {
            return .vector(try overTime(name, arguments, place, at: time))
        }
        var numbers: [Double] = []
        for argument in arguments.dropFirst() { numbers.append(try scalar(argument, at: time)) }
        let elements = try vector(arguments[0], at: time)
        if name == "clamp", numbers.count == 2, numbers[0] > numbers[1] { return .vector([]) }
        return .vector(
            elements.map {
                VectorElement(labels: $0.labels.unnamed, value: QueryMath.apply(name, $0.value, numbers))
            })
    }

    private static func isLess(_ left: Double, _ right: Double, nanLast: Bool = true) -> Bool {
        if left.isNaN { return false }
        if right.isNaN { return true }
        return left < right
    }

    private func timestamps(_ argument: Expression, at time: Int64) throws(QueryError) -> QueryValue {
        guard case .selector(let selector) = argument, loaded.indices.contains(selector.number) else {
            let elements = try vector(argument, at: time)
            return .vector(elements.map { VectorElement(labels: $0.labels.unnamed, value: Double(time) / 1000) })
        }
        return .vector(
            loaded[selector.number].compactMap { series in
                newest(series, at: time - selector.offset).map {
                    VectorElement(labels: series.labels.unnamed, value: Double($0.time) / 1000)
                }
            })
    }

    /// One element when nothing is there, with the labels that the selector fixes.
    private func absent(_ argument: Expression, _ isEmpty: Bool) throws(QueryError) -> [VectorElement] {
        guard isEmpty else { return [] }
        var labels: [String: String] = [:]
        if case .selector(let selector) = argument {
            let fixed = selector.matchers.filter { $0.operation == .equal && $0.name != Labels.metricName }
            for matcher in fixed where fixed.count(where: { $0.name == matcher.name }) == 1 {
                labels[matcher.name] = matcher.value
            }
        }
        return [VectorElement(labels: Labels(labels), value: 1)]
    }

    private func overTime(
        _ name: String, _ arguments: [Expression], _ place: Int, at time: Int64
    ) throws(QueryError) -> [VectorElement] {
        guard case .selector(let selector) = arguments[place], let range = selector.range,
            case .matrix(let series) = select(selector, at: time)
        else { throw QueryError("\(name) takes a range vector") }
        if name == "absent_over_time" { return try absent(arguments[place], series.isEmpty) }
        let parameter = place > 0 ? try scalar(arguments[0], at: time) : 0
        let end = time - selector.offset
        return series.compactMap { series in
            QueryRange.value(name, series.samples, from: end - range, to: end, parameter).map {
                VectorElement(labels: name == "last_over_time" ? series.labels : series.labels.unnamed, value: $0)
            }
        }
    }
}
