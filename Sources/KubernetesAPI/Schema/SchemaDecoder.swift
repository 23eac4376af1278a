public import Serialization

/// A value of the wrong type, in the words of Go's JSON decoder, which kubectl's users know.
public struct TypeMismatch: Error, Sendable, Hashable, CustomStringConvertible {
    /// Where: `spec.replicas`.
    public var path: String
    /// What was found: `string`.
    public var found: String
    /// What is expected: `int32`.
    public var expected: String
    /// The type that has the field: `DeploymentSpec`.
    public var owner: String
    /// The whole message.
    public var description: String {
        "json: cannot unmarshal \(found) into Go struct field \(owner).\(path) of type \(expected)"
    }
}

/// Reads an object against the schema: checks types, drops what the schema does not know and remembers what it dropped.
public struct SchemaDecoder {
    private let table: SchemaTable
    /// The paths that the schema does not know, in the order of the sorted names.
    public private(set) var unknownFields: [String] = []

    /// A decoder for one object.
    public init(_ table: SchemaTable = .standard) { self.table = table }

    /// Reads a whole object of `kind`; nulls are dropped like absent members.
    public mutating func decode(_ json: JSON, as kind: ResourceKind) throws(TypeMismatch) -> JSON {
        guard case .object(let members) = json else {
            throw TypeMismatch(path: "", found: SchemaDecoder.name(json), expected: "object", owner: kind.kind)
        }
        let type = table.types[kind.schema]
        var result: [String: JSON] = [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let field: FieldType
            switch name {
            case "apiVersion", "kind": field = .string
            case "metadata": field = .reference("ObjectMeta")
            default:
                guard let known = type?[name] else {
                    unknownFields.append(name)
                    continue
                }
                field = known.type
            }
            if value.isNull { continue }
            result[name] = try read(value, as: field, path: name, owner: kind.kind)
        }
        return .object(result)
    }

    private mutating func read(
        _ value: JSON, as type: FieldType, path: String, owner: String
    ) throws(TypeMismatch) -> JSON {
        switch (type, value) {
        case (.any, _): return value
        case (.reference(let name), .object(let members)):
            guard let known = table.types[name] else { return value }
            var result: [String: JSON] = [:]
            for (member, inner) in members.sorted(by: { $0.key < $1.key }) {
                guard let field = known[member] else {
                    unknownFields.append(path + "." + member)
                    continue
                }
                if inner.isNull { continue }
                result[member] = try read(inner, as: field.type, path: path + "." + member, owner: known.name)
            }
            return .object(result)
        case (.array(let element), .array(let elements)):
            var result: [JSON] = []
            result.reserveCapacity(elements.count)
            for (index, inner) in elements.enumerated() {
                result.append(try read(inner, as: element, path: "\(path)[\(index)]", owner: owner))
            }
            return .array(result)
        case (.map(let element), .object(let members)):
            var result: [String: JSON] = [:]
            for (member, inner) in members {
                // A null value of a map of strings decodes to the empty string in Go.
                result[member] =
                    inner.isNull && (element == .string || element == .bytes)
                    ? .string("") : try read(inner, as: element, path: path + "." + member, owner: owner)
            }
            return .object(result)
        default:
            if SchemaDecoder.accepts(value, type) { return SchemaDecoder.normal(value, type) }
            throw TypeMismatch(
                path: path, found: SchemaDecoder.name(value), expected: SchemaDecoder.goName(type), owner: owner)
        }
    }

    private static func accepts(_ value: JSON, _ type: FieldType) -> Bool {
        switch (type, value) {
        case (.string, .string), (.bool, .bool), (.time, .string), (.bytes, .string), (.duration, .string): return true
        case (.integer(_, let range), _): return value.int.map { range.contains(Int64($0)) } ?? false
        case (.number, .integer), (.number, .number): return true
        case (.intOrString, .string): return true
        case (.intOrString, _): return value.int.map { Int32(exactly: $0) != nil } ?? false
        case (.quantity, .string), (.quantity, .integer), (.quantity, .number): return true
        default: return false
        }
    }

    /// Quantities become text, whole numbers written as `1.0` whole numbers.
    private static func normal(_ value: JSON, _ type: FieldType) -> JSON {
        switch (type, value) {
        case (.quantity, .integer(let number)): .string(String(number))
        case (.quantity, .number(let number)): .string("\(number)")
        case (.integer, .number), (.intOrString, .number): value.int.map { .integer(Int64($0)) } ?? value
        default: value
        }
    }

    private static func name(_ value: JSON) -> String {
        switch value {
        case .null: "null"
        case .bool: "bool"
        case .integer, .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    private static func goName(_ type: FieldType) -> String {
        switch type {
        case .string, .duration: "string"
        case .time: "v1.Time"
        case .bytes: "[]uint8"
        case .integer(let name, _): name
        case .number: "float64"
        case .bool: "bool"
        case .intOrString: "intstr.IntOrString"
        case .quantity: "resource.Quantity"
        case .any: "interface {}"
        case .reference(let name): name
        case .array(let element): "[]" + goName(element)
        case .map(let element): "map[string]" + goName(element)
        }
    }
}
