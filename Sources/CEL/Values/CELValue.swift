public import Serialization

/// A value of an expression.
public indirect enum CELValue: Sendable {
    /// `null`.
    case null
    /// True or false.
    case bool(Bool)
    /// A number with sign.
    case int(Int64)
    /// A number without sign.
    case uint(UInt64)
    /// A floating point number.
    case double(Double)
    /// A text.
    case string(String)
    /// Bytes.
    case bytes([UInt8])
    /// A list.
    case list([CELValue])
    /// A map.
    case map(CELMap)
    /// A time.
    case timestamp(Timestamp)
    /// A length of time, at most `CELTime.secondsMax` in either direction.
    case duration(Duration)
    /// The name of a type.
    case type(String)
    /// Something of the request whose members are asked for one by one.
    case reference(CELReference)
    /// A value or none.
    case optional(CELValue?)
    /// A value of Kubernetes' libraries.
    case library(CELLibraryValue)

    /// The name of the value's type.
    public var typeName: String {
        switch self {
        case .null: "null_type"
        case .bool: "bool"
        case .int: "int"
        case .uint: "uint"
        case .double: "double"
        case .string: "string"
        case .bytes: "bytes"
        case .list: "list"
        case .map, .reference: "map"
        case .timestamp: "google.protobuf.Timestamp"
        case .duration: "google.protobuf.Duration"
        case .type: "type"
        case .optional: "optional_type"
        case .library(let value): value.typeName
        }
    }
}

extension CELValue {
    /// Whether it is a list.
    var isList: Bool { if case .list = self { true } else { false } }

    /// A length of time in CEL's own text (`1h30m`); nil when it is none.
    public static func duration(text: String) -> CELValue? { CELTime.duration(text).map { .duration($0) } }
}

/// A key of a map: numbers that are equal are one key.
enum CELKey: Hashable, Sendable {
    case bool(Bool)
    case int(Int64)
    /// Above the largest `int`.
    case uint(UInt64)
    case string(String)

    /// Nil where a value can be no key.
    init?(_ value: CELValue) {
        switch value {
        case .bool(let value): self = .bool(value)
        case .int(let value): self = .int(value)
        case .uint(let value): self = Int64(exactly: value).map { .int($0) } ?? .uint(value)
        case .string(let value): self = .string(value)
        case .double(let value):
            if let int = Int64(exactly: value) {
                self = .int(int)
            } else if let uint = UInt64(exactly: value) {
                self = .uint(uint)
            } else {
                return nil
            }
        default: return nil
        }
    }
}

/// A map in the order in which it was made.
public struct CELMap: Sendable {
    /// The keys, in order.
    public private(set) var keys: [CELValue] = []
    private var values: [CELKey: CELValue] = [:]

    /// An empty map.
    public init() {}

    /// A map with texts for keys, by the order of these.
    public init(_ members: [String: CELValue]) {
        for (key, value) in members.sorted(by: { $0.key < $1.key }) {
            keys.append(.string(key))
            values[.string(key)] = value
        }
    }

    /// How many entries it has.
    public var count: Int { keys.count }

    /// The value of a key; nil where it is none, or can be none.
    public subscript(key: CELValue) -> CELValue? { CELKey(key).flatMap { values[$0] } }

    /// The value of a text.
    public subscript(key: String) -> CELValue? { values[.string(key)] }

    /// Adds an entry; false where the key is there already or can be none.
    mutating func insert(_ key: CELValue, _ value: CELValue) -> Bool {
        // A literal's key is no floating point number.
        if case .double = key { return false }
        guard let hashed = CELKey(key), values[hashed] == nil else { return false }
        keys.append(key)
        values[hashed] = value
        return true
    }
}

/// Why an evaluation has no value.
public enum CELError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A field, key or attribute that is not there.
    case noSuchKey(String)
    /// A name that means nothing.
    case noSuchName(String)
    /// A function that does not take such values.
    case noSuchOverload(String)
    /// A number or time out of its range.
    case outOfRange(String)
    /// A division by zero.
    case divisionByZero
    /// An index that a list does not have.
    case badIndex
    /// A text that is no number, time, pattern or UTF-8.
    case badText(String)
    /// A key of a literal map that is there twice or can be none.
    case badKey
    /// More steps than `CELLimits.steps`.
    case tooExpensive

    /// In words.
    public var description: String {
        switch self {
        case .noSuchKey(let key): "there is no \(key)"
        case .noSuchName(let name): "\(name) is unknown"
        case .noSuchOverload(let function): "\(function) does not take these values"
        case .outOfRange(let what): "\(what) is out of range"
        case .divisionByZero: "division by zero"
        case .badIndex: "the list has no such element"
        case .badText(let what): what
        case .badKey: "a map has a key twice, or one that can be none"
        case .tooExpensive: "takes more than \(CELLimits.steps) steps"
        }
    }
}
