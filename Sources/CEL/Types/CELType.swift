/// What is known of a value before there is one.
public indirect enum CELType: Hashable, Sendable {
    /// Nothing.
    case dyn
    /// `null`.
    case null
    /// True or false.
    case bool
    /// A number with sign.
    case int
    /// A number without sign.
    case uint
    /// A floating point number.
    case double
    /// A text.
    case string
    /// Bytes.
    case bytes
    /// A time.
    case timestamp
    /// A length of time.
    case duration
    /// A list.
    case list(CELType)
    /// A map with texts as keys, or with any when its values are of no known type.
    case map(CELType)
    /// An object: nothing has other members than these.
    case object([String: CELType])
    /// A value or none.
    case optional(CELType)

    /// As CEL's messages name it.
    public var text: String {
        switch self {
        case .dyn: "dyn"
        case .null: "null"
        case .bool: "bool"
        case .int: "int"
        case .uint: "uint"
        case .double: "double"
        case .string: "string"
        case .bytes: "bytes"
        case .timestamp: "timestamp"
        case .duration: "duration"
        case .list(let element): "list(\(element.text))"
        case .map(let value): "map(string, \(value.text))"
        case .object: "object"
        case .optional(let value): "optional_type(\(value.text))"
        }
    }

    /// Whether a value may be of both types.
    ///
    /// Where it is not certain (null, objects of different schemas) it may.
    func meets(_ other: CELType) -> Bool {
        switch (self, other) {
        case (.dyn, _), (_, .dyn), (.null, _), (_, .null): true
        case (.list(let one), .list(let two)), (.map(let one), .map(let two)), (.optional(let one), .optional(let two)):
            one.meets(two)
        case (.object, .object), (.object, .map), (.map, .object): true
        default: self == other
        }
    }

    /// The type of what is one or the other.
    func joined(_ other: CELType) -> CELType {
        switch (self, other) {
        case (.list(let one), .list(let two)): .list(one == .dyn ? two : two == .dyn ? one : one.joined(two))
        case (.map(let one), .map(let two)): .map(one == .dyn ? two : two == .dyn ? one : one.joined(two))
        default: self == other ? self : .dyn
        }
    }

    var isNumber: Bool { [.int, .uint, .double].contains(self) }
}
