public import Serialization

/// A parsed expression: what a text or a message says, with its macros written out.
///
/// The cases are those of CEL's own syntax messages, so that a text and a parsed expression of a control plane are evaluated alike.
public indirect enum CELExpression: Hashable, Sendable {
    /// A literal.
    case constant(CELConstant)
    /// A name; with its dots where several belong together.
    case identifier(String)
    /// `operand.field`, or with `isTest` `has(operand.field)`.
    case select(CELExpression, field: String, isTest: Bool)
    /// `function(arguments)` or `target.function(arguments)`; operators are functions such as `_&&_`.
    case call(target: CELExpression?, function: String, arguments: [CELExpression])
    /// `[a, b]`.
    case list([CELExpression])
    /// `{a: b}`.
    case map([CELEntry])
    /// A loop: what macros such as `all` stand for.
    case comprehension(CELComprehension)
}

/// An entry of a map literal.
public struct CELEntry: Hashable, Sendable {
    /// The key.
    public var key: CELExpression
    /// The value.
    public var value: CELExpression

    /// Both.
    public init(key: CELExpression, value: CELExpression) {
        self.key = key
        self.value = value
    }
}

/// A loop over a list or over the keys of a map.
public struct CELComprehension: Hashable, Sendable {
    /// The name of the element, or of its place where the element has a name of its own.
    public var variable: String
    /// The name of the element where `variable` is the place: of a list the index, of a map the key.
    public var second: String?
    /// What is walked.
    public var range: CELExpression
    /// The name of what is gathered.
    public var accumulator: String
    /// Its first value.
    public var start: CELExpression
    /// The loop ends when this is false.
    public var condition: CELExpression
    /// The next value of what is gathered.
    public var step: CELExpression
    /// What the whole is.
    public var result: CELExpression

    /// All parts.
    public init(
        variable: String, second: String? = nil, range: CELExpression, accumulator: String, start: CELExpression,
        condition: CELExpression,
        step: CELExpression, result: CELExpression
    ) {
        self.variable = variable
        self.second = second
        self.range = range
        self.accumulator = accumulator
        self.start = start
        self.condition = condition
        self.step = step
        self.result = result
    }
}

/// A literal.
public enum CELConstant: Hashable, Sendable {
    /// `null`.
    case null
    /// `true`, `false`.
    case bool(Bool)
    /// `42`.
    case int(Int64)
    /// `42u`.
    case uint(UInt64)
    /// `4.2`.
    case double(Double)
    /// `"text"`.
    case string(String)
    /// `b"bytes"`.
    case bytes([UInt8])
    /// Only messages have such a literal.
    case duration(Duration)
    /// Only messages have such a literal.
    case timestamp(Timestamp)
}

/// Why a text or a message is no expression that can be evaluated.
public struct CELSyntaxError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, and for a text where: `1:14: …`.
    public let description: String
    /// The variable or function that is not known here, where that is what is wrong; functions without a target and their namespaces included.
    public var unknownName: String?

    /// An error in these words.
    public init(_ description: String, unknownName: String? = nil) {
        self.description = description
        self.unknownName = unknownName
    }
}
