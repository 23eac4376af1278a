/// The names of one message and its fields.
public final class MessageSchema: Sendable {
    /// The full name, for example `envoy.config.core.v3.Locality`.
    public let name: String
    /// `type.googleapis.com/` and the name.
    public let typeURL: String
    private let numbers: [String: Int]
    private let protoNames: [Int: String]
    private let jsonNames: [Int: String]

    /// Makes a schema from a table of names and numbers in one string (`region 1 zone 2`), which is by far the
    /// cheapest literal to compile.
    public init(_ name: String, _ table: StaticString) {
        self.name = name
        typeURL = AnyMessage.prefix + name
        var numbers: [String: Int] = [:]
        var protoNames: [Int: String] = [:]
        var jsonNames: [Int: String] = [:]
        for (field, number) in words(table) {
            let camel = Self.lowerCamel(field)
            numbers[field] = number
            numbers[camel] = number
            protoNames[number] = field
            jsonNames[number] = camel
        }
        self.numbers = numbers
        self.protoNames = protoNames
        self.jsonNames = jsonNames
    }

    /// The number of the field of that name, `snake_case` or `lowerCamelCase`.
    public func number(of name: String) -> Int? { numbers[name] }

    /// The name of the field with that number.
    public func name(of number: Int, _ names: FieldNames) -> String {
        (names == .proto ? protoNames[number] : jsonNames[number]) ?? "\(number)"
    }

    /// The JSON name that protobuf derives from a field name.
    static func lowerCamel(_ name: String) -> String {
        var result = ""
        var raise = false
        for character in name {
            if character == "_" {
                raise = true
            } else {
                result += raise ? character.uppercased() : String(character)
                raise = false
            }
        }
        return result
    }
}

/// Which names of fields JSON is written with; both are read.
public enum FieldNames: Sendable {
    /// `lowerCamelCase`, what proto3 JSON prescribes.
    case camel
    /// The names as in the .proto file; Envoy's admin pages have these.
    case proto
}

/// The names of the values of one enumeration.
public final class EnumSchema: Sendable {
    private let numbers: [String: Int32]
    private let names: [Int32: String]

    /// Makes a schema from a table in one string (`STATIC 0 EDS 3`); of two names for one number the first is written.
    public init(_ table: StaticString) {
        var numbers: [String: Int32] = [:]
        var names: [Int32: String] = [:]
        for (name, number) in words(table) {
            let number = Int32(truncatingIfNeeded: number)
            numbers[name] = number
            if names[number] == nil { names[number] = name }
        }
        self.numbers = numbers
        self.names = names
    }

    /// The number of that name.
    public func number(of name: String) -> Int32? { numbers[name] }

    /// The name of that number.
    public func name(of number: Int32) -> String? { names[number] }
}

private func words(_ table: StaticString) -> [(String, Int)] {
    let words = table.description.split(separator: " ")
    return stride(from: 0, to: words.count - 1, by: 2).map { (String(words[$0]), Int(words[$0 + 1]) ?? 0) }
}

/// The messages that may stand inside an `Any`, by type URL.
public final class MessageRegistry: Sendable {
    private let types: [String: any Message.Type]

    /// A registry of these messages.
    public init(_ types: [any Message.Type]) {
        self.types = Dictionary(types.map { ($0.schema.typeURL, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The message that this type URL names; only what follows the last slash counts.
    public func type(of typeURL: String) -> (any Message.Type)? {
        if let type = types[typeURL] { return type }
        return typeURL.split(separator: "/").last.flatMap { types[AnyMessage.prefix + $0] }
    }

    /// Every type URL in the registry, sorted.
    public var typeURLs: [String] { types.keys.sorted() }

    /// No messages.
    public static let none = MessageRegistry([])
}
