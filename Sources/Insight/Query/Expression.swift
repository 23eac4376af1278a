internal import Upstream

/// Why a query has no answer.
public struct QueryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Whose fault it is, in the words of Prometheus' API.
    public enum Kind: String, Sendable {
        /// The query itself.
        case badData = "bad_data"
        /// What it met among the samples.
        case execution
    }

    /// Whose fault it is.
    public var kind: Kind
    /// What is wrong; with the place in the query where there is one.
    public var description: String

    /// An error in the query.
    init(_ description: String, kind: Kind = .badData) {
        self.kind = kind
        self.description = description
    }
}

/// A condition on a label.
public struct LabelMatcher: Sendable {
    /// How the label is compared.
    public enum Operation: String, Sendable {
        /// Is the value.
        case equal = "="
        /// Is not the value.
        case notEqual = "!="
        /// Matches the whole expression.
        case matches = "=~"
        /// Does not match the expression.
        case matchesNot = "!~"
    }

    /// The label.
    public var name: String
    /// How it is compared.
    public var operation: Operation
    /// With what.
    public var value: String
    private let expression: RegularExpression?

    /// A condition; an expression that is none is refused.
    public init(_ name: String, _ operation: Operation, _ value: String) throws(QueryError) {
        self.name = name
        self.operation = operation
        self.value = value
        guard operation == .matches || operation == .matchesNot else {
            expression = nil
            return
        }
        do throws(RegularExpressionError) { expression = try RegularExpression("(?s:\(value))") } catch {
            throw QueryError("\(name)\(operation.rawValue)\"\(value)\": \(error)")
        }
    }

    /// Whether a value of the label fits; a missing label is an empty one.
    public func fits(_ value: String) -> Bool {
        switch operation {
        case .equal: value == self.value
        case .notEqual: value != self.value
        case .matches: expression?.matches(Array(value.utf8).span) ?? false
        case .matchesNot: !(expression?.matches(Array(value.utf8).span) ?? false)
        }
    }
}

/// Which series, and how much of their past.
public struct SeriesSelector: Sendable {
    /// Its place among the selectors of the query.
    var number: Int
    /// The conditions, the metric's name among them.
    public var matchers: [LabelMatcher]
    /// Milliseconds that the samples lie back.
    var offset: Int64 = 0
    /// Milliseconds of samples; nil for the newest only.
    var range: Int64?

    /// The metric's name where it is given as it is.
    var name: String? {
        matchers.first { $0.name == Labels.metricName && $0.operation == .equal }?.value
    }
}

/// How two vectors are joined.
struct VectorMatching: Sendable {
    enum Group: Sendable { case none, left, right }
    /// With `on` only these labels count, with `ignoring` all but these.
    var isOn = false
    var labels: [String] = []
    var group = Group.none
    /// Labels that the many get from the one.
    var included: [String] = []
}

/// A query, taken apart.
indirect enum Expression: Sendable {
    case number(Double)
    case string(String)
    case selector(SeriesSelector)
    case call(String, [Expression])
    case aggregate(String, parameter: Expression?, Expression, labels: [String], isWithout: Bool)
    case binary(String, Expression, Expression, VectorMatching, isBool: Bool)
    case negate(Expression)

    /// What comes of it.
    enum Kind: String { case scalar, string, vector = "instant vector", matrix = "range vector" }

    var kind: Kind {
        switch self {
        case .number: .scalar
        case .string: .string
        case .selector(let selector): selector.range == nil ? .vector : .matrix
        case .call(let name, _): QueryFunctions.known[name]?.result ?? .vector
        case .aggregate: .vector
        case .binary(_, let left, let right, _, _): left.kind == .scalar && right.kind == .scalar ? .scalar : .vector
        case .negate(let inner): inner.kind
        }
    }
}

/// The functions that are known: what they take and what comes of them.
enum QueryFunctions {
    typealias Signature = (arguments: [Expression.Kind], optional: Int, result: Expression.Kind)

    static let known: [String: Signature] = {
        var known: [String: Signature] = [:]
        let ofRange = [
            "rate", "increase", "irate", "delta", "idelta", "changes", "resets", "avg_over_time", "min_over_time",
            "max_over_time", "sum_over_time", "count_over_time", "last_over_time", "stddev_over_time",
            "stdvar_over_time", "present_over_time", "absent_over_time",
        ]
        for name in ofRange { known[name] = ([.matrix], 0, .vector) }
        for name in [
            "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sort", "sort_desc",
            "absent", "timestamp",
        ] { known[name] = ([.vector], 0, .vector) }
        known["round"] = ([.vector, .scalar], 1, .vector)
        known["clamp_min"] = ([.vector, .scalar], 0, .vector)
        known["clamp_max"] = ([.vector, .scalar], 0, .vector)
        known["clamp"] = ([.vector, .scalar, .scalar], 0, .vector)
        known["quantile_over_time"] = ([.scalar, .matrix], 0, .vector)
        known["histogram_quantile"] = ([.scalar, .vector], 0, .vector)
        known["label_replace"] = ([.vector, .string, .string, .string, .string], 0, .vector)
        known["label_join"] = (
            [.vector, .string, .string] + Array(repeating: .string, count: QueryLabels.joinedMax),
            QueryLabels.joinedMax, .vector
        )
        known["time"] = ([], 0, .scalar)
        known["scalar"] = ([.vector], 0, .scalar)
        known["vector"] = ([.scalar], 0, .vector)
        return known
    }()

    /// What Prometheus has beside them.
    static let refused: Set<String> = [
        "atan2", "count_values", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "deriv",
        "double_exponential_smoothing", "histogram_avg", "histogram_count", "histogram_fraction", "histogram_stddev",
        "histogram_stdvar", "histogram_sum", "holt_winters", "hour", "info", "limitk", "limit_ratio",
        "mad_over_time", "minute", "month", "pi", "predict_linear", "sort_by_label", "sort_by_label_desc", "year",
        "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "deg", "rad", "sin", "sinh", "tan", "tanh",
    ]

    static let aggregations: Set<String> = [
        "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile",
    ]
    static let withParameter: Set<String> = ["topk", "bottomk", "quantile"]
}
