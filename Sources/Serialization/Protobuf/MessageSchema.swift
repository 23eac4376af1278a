internal import Synchronization

/// The names of one message and its fields.
///
/// The tables are made when the first field is asked for: hundreds of messages stand in a registry, of which a process meets few.
public final class MessageSchema: Sendable {
    private final class Names: Sendable {
        let numbers: [String: Int]
        let proto: [Int: String]
        let json: [Int: String]

        init(_ table: StaticString) {
            var numbers: [String: Int] = [:]
            var proto: [Int: String] = [:]
            var json: [Int: String] = [:]
            for (field, number) in words(table) {
                let camel = MessageSchema.lowerCamel(field)
                numbers[field] = number
                numbers[camel] = number
                proto[number] = field
                json[number] = camel
            }
            self.numbers = numbers
            self.proto = proto
            self.json = json
        }
    }

    /// The full name, for example `envoy.config.core.v3.Locality`.
    public let name: String
    private let table: StaticString
    private let made = AtomicLazyReference<Names>()

    /// `type.googleapis.com/` and the name.
    public var typeURL: String { AnyMessage.prefix + name }

    /// Makes a schema from a table of names and numbers in one string (`region 1 zone 2`), which is by far the
    /// cheapest literal to compile.
    public init(_ name: String, _ table: StaticString) {
        self.name = name
        self.table = table
    }

    private var names: Names { made.load() ?? made.storeIfNil(Names(table)) }

    /// The number of the field of that name, `snake_case` or `lowerCamelCase`.
    public func number(of name: String) -> Int? { names.numbers[name] }

    /// The name of the field with that number.
    public func name(of number: Int, _ kind: FieldNames) -> String {
        (kind == .proto ? names.proto[number] : names.json[number]) ?? "\(number)"
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

    /// The number of that name, in letters of either case, as Envoy reads its configuration.
    public func number(of name: String) -> Int32? {
        numbers[name] ?? numbers.first { $0.key.lowercased() == name.lowercased() }?.value
    }

    /// The name of that number.
    public func name(of number: Int32) -> String? { names[number] }
}

private func words(_ table: StaticString) -> [(String, Int)] {
    let words = table.description.split(separator: " ")
    return stride(from: 0, to: words.count - 1, by: 2).map { (String(words[$0]), Int(words[$0 + 1]) ?? 0) }
}

/// The messages that may stand inside an `Any`, by type URL.
///
/// It knows their names, and asks for a message when that is looked for: each one that a process meets costs it some KiB of tables that the
/// runtime makes, and of hundreds a proxy meets few.
public final class MessageRegistry: Sendable {
    /// The full names, sorted by their bytes, a space between two.
    private let names: StaticString
    /// Where in `names` each begins, and where the last would be followed by another.
    private let starts: [Int32]
    private let message: @Sendable (Int) -> (any Message.Type)?

    /// A registry of messages with these names, sorted by their bytes, a space between two; `message` gives the one in that place.
    public init(_ names: StaticString, _ message: @escaping @Sendable (Int) -> (any Message.Type)?) {
        self.names = names
        self.message = message
        starts = names.withUTF8Buffer { bytes in
            guard !bytes.isEmpty else { return [] }
            let spaces = bytes.indices.filter { bytes[$0] == UInt8(ascii: " ") }
            return [0] + spaces.map { Int32(truncatingIfNeeded: $0 + 1) } + [Int32(truncatingIfNeeded: bytes.count + 1)]
        }
    }

    /// The message that this type URL names; only what follows the last slash counts.
    public func type(of typeURL: String) -> (any Message.Type)? {
        let name = typeURL.utf8.lastIndex(of: UInt8(ascii: "/")).map { typeURL.utf8[typeURL.utf8.index(after: $0)...] }
        return place(of: name ?? typeURL.utf8[...]).flatMap(message)
    }

    private func place(of name: Substring.UTF8View) -> Int? {
        names.withUTF8Buffer { bytes in
            var low = 0
            var high = starts.count - 1
            while low < high {
                let middle = (low + high) / 2
                let known = bytes[Int(starts[middle])..<Int(starts[middle + 1]) - 1]
                if known.elementsEqual(name) { return middle }
                if known.lexicographicallyPrecedes(name) { low = middle + 1 } else { high = middle }
            }
            return nil
        }
    }

    /// Every type URL in the registry, sorted.
    public var typeURLs: [String] {
        names.description.split(separator: " ").map { AnyMessage.prefix + $0 }
    }

    /// No messages.
    public static let none = MessageRegistry("") { _ in nil }
}
