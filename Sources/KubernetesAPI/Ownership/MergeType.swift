public import Serialization

/// How a value is merged and owned: the view of the schema that server-side apply has.
public struct MergeType: Sendable {
    /// What the parts of a value are to somebody who owns them.
    public enum Shape: Sendable, Hashable {
        /// One thing: owned and replaced whole.
        case atomic
        /// An object whose members are owned one by one.
        case members
        /// A list whose elements are told apart by these fields.
        case keyed([String])
        /// A list of plain values without an order.
        case set
    }

    private indirect enum Source: Sendable {
        case root(String)
        case table(FieldType)
        case shaped(FieldType, Shape)
        case custom(StructuralSchema)
        case customRoot(StructuralSchema)
        case deduced
    }

    private let source: Source
    private let table: SchemaTable

    private init(_ source: Source, _ table: SchemaTable) {
        self.source = source
        self.table = table
    }

    /// The top of an object of `kind`.
    public init(_ kind: ResourceKind, _ table: SchemaTable = .standard) {
        self.init(table.types[kind.schema] == nil ? .deduced : .root(kind.schema), table)
    }

    /// The top of an object of a custom kind.
    public init(_ schema: StructuralSchema) { self.init(.customRoot(schema), .standard) }

    /// What the schema says of `value` at this place.
    public func shape(of value: JSON) -> Shape {
        switch source {
        case .root, .customRoot: return .members
        case .custom(let schema):
            switch value {
            case .object: return schema.isAtomicMap ? .atomic : .members
            case .array:
                return schema.listType == .map ? .keyed(schema.listKeys) : schema.listType == .set ? .set : .atomic
            default: return .atomic
            }
        case .deduced:
            guard case .object = value else { return .atomic }
            return .members
        case .shaped(_, let shape): return shape
        case .table(let type):
            switch type {
            case .reference(let name): return MergeRules.atomicTypes.contains(name) ? .atomic : .members
            case .map: return .members
            default: return .atomic
            }
        }
    }

    /// What a member of this object is, and whether the schema names it (a member of a free map it does not name).
    public func member(_ name: String) -> (type: MergeType, isNamed: Bool) {
        switch source {
        case .customRoot(let schema):
            if name == "metadata" { return (MergeType(.table(.reference("ObjectMeta")), table), true) }
            return custom(schema, name)
        case .custom(let schema): return custom(schema, name)
        case .root(let type):
            if name == "metadata" { return (MergeType(.table(.reference("ObjectMeta")), table), true) }
            if name == "apiVersion" || name == "kind" { return (MergeType(.table(.string), table), true) }
            return field(type, name)
        case .table(.reference(let type)), .shaped(.reference(let type), _): return field(type, name)
        case .table(.map(let element)), .shaped(.map(let element), _):
            return (MergeType(.table(element), table), false)
        default: return (MergeType(.deduced, table), false)
        }
    }

    private func custom(_ schema: StructuralSchema, _ name: String) -> (type: MergeType, isNamed: Bool) {
        if let inner = schema.properties[name] { return (MergeType(.custom(inner), table), true) }
        return (MergeType(schema.additional.map { .custom($0) } ?? .deduced, table), false)
    }

    private func field(_ type: String, _ name: String) -> (type: MergeType, isNamed: Bool) {
        guard let field = table.types[type]?[name] else { return (MergeType(.deduced, table), false) }
        return (MergeType(source(type, field), table), true)
    }

    private func source(_ type: String, _ field: SchemaField) -> Source {
        let path = type + "." + field.name
        if MergeRules.atomicFields.contains(path) { return .shaped(field.type, .atomic) }
        if let keys = MergeRules.listKeys[path] { return .shaped(field.type, .keyed(keys)) }
        if let key = field.mergeKey { return .shaped(field.type, .keyed([key])) }
        if field.isMerged { return .shaped(field.type, .set) }
        return .table(field.type)
    }

    /// What the elements of this list are.
    public var element: MergeType {
        switch source {
        case .table(.array(let element)), .shaped(.array(let element), _): MergeType(.table(element), table)
        case .custom(let schema): MergeType(schema.items.map { .custom($0) } ?? .deduced, table)
        default: MergeType(.deduced, table)
        }
    }

    /// The path element of a list's element; `nil` when a key field is missing and has no default.
    public func path(of element: JSON, _ shape: Shape) -> PathElement? {
        switch shape {
        case .set: return .value(element)
        case .keyed(let names):
            var key: [String: JSON] = [:]
            for name in names {
                if let value = element[name] {
                    key[name] = value
                } else if let value = self.element.defaultValue(of: name) {
                    key[name] = value
                }
            }
            return key.isEmpty ? nil : .key(key)
        case .atomic, .members: return nil
        }
    }

    private func defaultValue(of name: String) -> JSON? {
        if case .custom(let schema) = source { return schema.properties[name]?.defaultValue }
        guard case .table(.reference(let type)) = source else { return nil }
        return table.types[type]?[name]?.defaultValue
    }
}
