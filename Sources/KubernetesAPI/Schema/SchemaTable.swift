public import Serialization

/// What a field of an API object may hold.
public indirect enum FieldType: Sendable, Hashable {
    /// Text.
    case string
    /// RFC 3339 text.
    case time
    /// Text such as `1.5s` (Istio).
    case duration
    /// Base64 text.
    case bytes
    /// A whole number within bounds; the name is Go's, which appears in messages.
    case integer(name: String, ClosedRange<Int64>)
    /// Any number.
    case number
    /// True or false.
    case bool
    /// A whole number or text.
    case intOrString
    /// An amount: text or number.
    case quantity
    /// Anything; not looked into.
    case any
    /// An object of a type of the table.
    case reference(String)
    /// A list.
    case array(FieldType)
    /// An object with free names.
    case map(FieldType)
}

/// Bounds of a value; those of numbers and texts are of the elements where the field is a list or a map of them.
public struct FieldBounds: Sendable, Hashable {
    /// The smallest and the largest number.
    public var number: ClosedRange<Double>?
    /// How many characters a text has.
    public var length: ClosedRange<Int>?
    /// How many elements a list or a map has.
    public var count: ClosedRange<Int>?
}

/// One field of a type.
public struct SchemaField: Sendable {
    /// Its name.
    public var name: String
    /// What it holds.
    public var type: FieldType
    /// Whether it must be there.
    public var isRequired = false
    /// What is put there when it is absent.
    public var defaultValue: JSON?
    /// The only texts allowed, if any.
    public var allowed: [String] = []
    /// What its value must keep to.
    public var bounds = FieldBounds()
    /// The field that names an element of this list; lists with one are merged by strategic merge patches.
    public var mergeKey: String?
    /// Whether a list of primitives is merged as a set.
    public var isMerged = false
    /// Whether `$retainKeys` is used: the field is a union.
    public var retainsKeys = false
}

/// A type of the table.
public struct SchemaType: Sendable {
    /// Its name in the table.
    public var name: String
    /// Its name in OpenAPI documents.
    public var fullName: String
    /// Its fields in their order.
    public var fields: [SchemaField] = []
    private var index: [String: Int] = [:]

    init(name: String, fullName: String) {
        self.name = name
        self.fullName = fullName
    }

    mutating func add(_ field: SchemaField) {
        index[field.name] = fields.count
        fields.append(field)
    }

    /// The field of that name.
    public subscript(_ name: String) -> SchemaField? {
        guard let position = index[name], fields.indices.contains(position) else { return nil }
        return fields[position]
    }
}

/// All types of the API, read once from the tables beside this file.
///
/// A table line is `name[!] type [merge[=key]] [retain] [default=JSON] [enum=A|B] [value=1..9] [length=1..9]
/// [count=1..9]`; `!` means required, either end of a range may be missing, `@` sets the prefix of the names in OpenAPI
/// documents. Fields that Kubernetes knows and Skein does not act on are in the table
/// too: objects are portable, and whoever acts on an object says what it does not do.
public struct SchemaTable: Sendable {
    /// The types by their name.
    public private(set) var types: [String: SchemaType] = [:]

    /// The table of everything we serve.
    public static let standard = SchemaTable(tables: [
        meta, core, pod, container, volume, storage, apps, workloads, budgets, networking, policies, access,
        definitions,
        istioVirtualService,
        istioTraffic,
        istioServices, istioProxies, istioSecurity, gatewayAPI, gatewayAPIRoutes,
    ])

    /// Reads tables.
    ///
    /// A line that cannot be read is a mistake of ours and stops the program.
    init(tables: [String]) {
        var prefix = ""
        var current: SchemaType?
        for line in tables.joined(separator: "\n").split(separator: "\n") {
            if line.hasPrefix("@") {
                prefix = String(line.dropFirst())
            } else if line.hasPrefix(" ") {
                current?.add(SchemaTable.field(line))
            } else {
                if let current { types[current.name] = current }
                current = SchemaType(name: String(line), fullName: prefix + "." + line)
            }
        }
        if let current { types[current.name] = current }
        if let container = types["Container"] {
            // All that a container has, and whose processes it sees.
            var ephemeral = SchemaType(
                name: "EphemeralContainer",
                fullName: container.fullName.replacing(".Container", with: ".EphemeralContainer"))
            container.fields.forEach { ephemeral.add($0) }
            ephemeral.add(SchemaField(name: "targetContainerName", type: .string))
            types["EphemeralContainer"] = ephemeral
        }
    }

    private static func field(_ line: Substring) -> SchemaField {
        let words = line.split(separator: " ")
        guard words.count >= 2, let first = words.first, let type = words.dropFirst().first else {
            preconditionFailure("schema table: \(line)")
        }
        let isRequired = first.hasSuffix("!")
        var field = SchemaField(
            name: String(isRequired ? first.dropLast() : first), type: fieldType(type), isRequired: isRequired)
        for word in words.dropFirst(2) {
            let pair = word.split(separator: "=", maxSplits: 1)
            let value = pair.count == 2 ? String(pair[1]) : ""
            switch pair[0] {
            case "merge":
                field.mergeKey = value.isEmpty ? nil : value
                field.isMerged = true
            case "retain": field.retainsKeys = true
            case "enum": field.allowed = value.split(separator: "|").map(String.init)
            case "value":
                field.bounds.number = range(value, { Double($0) }, -Double.infinity, Double.infinity)
            case "length": field.bounds.length = range(value, { Int($0) }, 0, Int.max)
            case "count": field.bounds.count = range(value, { Int($0) }, 0, Int.max)
            case "default": field.defaultValue = constant(value)
            default: preconditionFailure("schema table: \(line)")
            }
        }
        return field
    }

    private static func range<Bound: Comparable>(
        _ text: String, _ read: (String) -> Bound?, _ least: Bound, _ most: Bound
    ) -> ClosedRange<Bound> {
        // Bounds are whole numbers: both points are between the ends.
        let ends = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard ends.count == 3, let first = ends.first, let last = ends.last,
            let low = first.isEmpty ? least : read(first), let high = last.isEmpty ? most : read(last), low <= high
        else { preconditionFailure("schema table: range \(text)") }
        return low...high
    }

    private static func constant(_ text: String) -> JSON {
        if text == "{}" { return .object([:]) }
        guard let value = try? JSON.parse(text) else { preconditionFailure("schema table: default \(text)") }
        return value
    }

    /// A type as a table writes it, such as `[]Container` or `map(string)`.
    public static func fieldType(_ text: Substring) -> FieldType {
        if text.hasPrefix("[]") { return .array(fieldType(text.dropFirst(2))) }
        if text.hasPrefix("map(") { return .map(fieldType(text.dropFirst(4).dropLast())) }
        switch text {
        case "string": return .string
        case "time": return .time
        case "duration": return .duration
        case "bytes": return .bytes
        case "int32": return .integer(name: "int32", Int64(Int32.min)...Int64(Int32.max))
        case "int64": return .integer(name: "int64", Int64.min...Int64.max)
        case "uint32": return .integer(name: "uint32", 0...Int64(UInt32.max))
        case "number": return .number
        case "bool": return .bool
        case "intstr": return .intOrString
        case "quantity": return .quantity
        case "any": return .any
        default: return .reference(String(text))
        }
    }
}
