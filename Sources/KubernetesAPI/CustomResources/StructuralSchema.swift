internal import CEL
public import Serialization

/// The schema of one version of a custom kind: `openAPIV3Schema` of its CustomResourceDefinition, taken apart once.
///
/// Source: Kubernetes' documentation, "Extend the Kubernetes API with CustomResourceDefinitions" (structural schemas).
public final class StructuralSchema: Sendable {
    /// What a list is to server-side apply.
    enum ListType: Sendable { case atomic, set, map }

    let type: String
    let properties: [String: StructuralSchema]
    /// What free members hold; `nil` when there are none.
    let additional: StructuralSchema?
    let items: StructuralSchema?
    let required: [String]
    let defaultValue: JSON?
    let allowed: [JSON]
    let isNullable: Bool
    let preservesUnknown: Bool
    let isIntOrString: Bool
    let isEmbedded: Bool
    let listType: ListType
    let listKeys: [String]
    let isAtomicMap: Bool
    /// Conditions on the value besides its shape.
    let rules: SchemaRules
    /// Conditions in CEL.
    let expressions: [SchemaExpression]
    /// Those in CEL that are kept and not evaluated, here and below.
    let unread: [SchemaExpression.Unread]
    /// Whether there are conditions in CEL, here or below.
    let hasExpressions: Bool
    /// As it was written: `kubectl explain` reads it.
    public let json: JSON

    /// The most levels of a schema.
    public static let depthMax = 64

    /// Reads a schema; what cannot be done is told with its path.
    public convenience init(_ json: JSON, path: String) throws(FieldProblem) {
        try self.init(json, path, depth: 0)
    }

    private init(_ json: JSON, _ path: String, depth: Int) throws(FieldProblem) {
        guard depth <= Self.depthMax else {
            throw .forbidden(path, "nested deeper than \(Self.depthMax) levels")
        }
        guard json.object != nil else { throw .invalid(path, json.text, "must be an object") }
        if json["$ref"] != nil { throw .forbidden(path + ".$ref", "$ref is not supported") }
        self.json = json
        type = json["type"]?.string ?? ""
        isIntOrString = json["x-kubernetes-int-or-string"]?.bool ?? false
        preservesUnknown = json["x-kubernetes-preserve-unknown-fields"]?.bool ?? false
        isEmbedded = json["x-kubernetes-embedded-resource"]?.bool ?? false
        let known = ["array", "boolean", "integer", "number", "object", "string"]
        if !known.contains(type), !(type.isEmpty && (isIntOrString || preservesUnknown)) {
            if type.isEmpty { throw .required(path + ".type", "must not be empty for specified object fields") }
            throw .notSupported(path + ".type", type, known)
        }
        var properties: [String: StructuralSchema] = [:]
        for (name, inner) in json["properties"]?.object ?? [:] {
            properties[name] = try StructuralSchema(inner, "\(path).properties[\(name)]", depth: depth + 1)
        }
        self.properties = properties
        switch json["additionalProperties"] {
        case .bool(true)?:
            additional = try StructuralSchema(["x-kubernetes-preserve-unknown-fields": true], path, depth: depth + 1)
        case .object?:
            additional = try StructuralSchema(
                json["additionalProperties"] ?? .null, path + ".additionalProperties", depth: depth + 1)
        default: additional = nil
        }
        items = try json["items"].map { inner throws(FieldProblem) in
            try StructuralSchema(inner, path + ".items", depth: depth + 1)
        }
        if type == "array", items == nil { throw .required(path + ".items", "must be specified") }
        required = (json["required"]?.array ?? []).compactMap(\.string)
        defaultValue = json["default"]
        allowed = json["enum"]?.array ?? []
        isNullable = json["nullable"]?.bool ?? false
        switch json["x-kubernetes-list-type"]?.string {
        case "map": listType = .map
        case "set": listType = .set
        case nil, "atomic": listType = .atomic
        case let other?: throw .notSupported(path + ".x-kubernetes-list-type", other, ["atomic", "map", "set"])
        }
        listKeys = (json["x-kubernetes-list-map-keys"]?.array ?? []).compactMap(\.string)
        if listType == .map, listKeys.isEmpty {
            throw .required(path + ".x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
        }
        isAtomicMap = json["x-kubernetes-map-type"]?.string == "atomic"
        rules = try SchemaRules(json, path, depth: depth)
        let below = properties.sorted { $0.key < $1.key }.map(\.value) + [additional, items].compactMap(\.self)
        let (expressions, unread) = SchemaExpression.read(
            json["x-kubernetes-validations"], path,
            SchemaShape(
                type: type, format: json["format"]?.string, properties: properties, additional: additional,
                items: items, isIntOrString: isIntOrString, isObject: depth == 0 || isEmbedded
            ).declared ?? .dyn)
        self.expressions = expressions
        self.unread = unread + below.flatMap(\.unread)
        hasExpressions = !expressions.isEmpty || below.contains(where: \.hasExpressions)
    }

    // MARK: Pruning

    /// The value without the members that no schema knows; their paths are added to `dropped`.
    public func pruned(_ value: JSON, _ path: String, _ dropped: inout [String]) -> JSON {
        switch value {
        case .object(let members):
            var result: [String: JSON] = [:]
            for (name, inner) in members.sorted(by: { $0.key < $1.key }) {
                let here = path.isEmpty ? name : path + "." + name
                if let known = properties[name] ?? additional {
                    result[name] = known.pruned(inner, here, &dropped)
                } else if preservesUnknown || (isEmbedded && ["apiVersion", "kind", "metadata"].contains(name)) {
                    result[name] = inner
                } else {
                    dropped.append(here)
                }
            }
            return .object(result)
        case .array(let elements):
            guard let items else { return value }
            return .array(elements.enumerated().map { items.pruned($1, "\(path)[\($0)]", &dropped) })
        default: return value
        }
    }

    // MARK: Defaults

    /// The value with what it leaves out and the schema knows.
    ///
    /// A null where no null may be is as good as nothing when there is a default.
    public func defaulted(_ value: JSON) -> JSON {
        switch value {
        case .object(var members):
            for (name, schema) in properties {
                if let constant = schema.defaultValue {
                    if members[name] == nil || (members[name] == .some(.null) && !schema.isNullable) {
                        members[name] = constant
                    }
                }
                if let inner = members[name] { members[name] = schema.defaulted(inner) }
            }
            if let additional {
                for (name, inner) in members where properties[name] == nil {
                    members[name] = additional.defaulted(inner)
                }
            }
            return .object(members)
        case .array(let elements):
            guard let items else { return value }
            return .array(elements.map(items.defaulted))
        default: return value
        }
    }

    // MARK: Validation

    /// What is wrong with a value.
    ///
    /// `matches` tells whether a pattern is found in a text; `nil` from it means that the pattern is none.
    func problems(
        _ value: JSON, _ path: String, matches: (_ pattern: String, _ text: String) -> Bool?
    ) -> [FieldProblem] {
        if value.isNull {
            return isNullable
                ? [] : [.invalid(path, "\"null\"", "\(shownPath(path)) in body must be of type \(shownType): \"null\"")]
        }
        guard isOfType(value) else {
            return [
                .invalid(
                    path, "\"\(Self.name(value))\"",
                    "\(shownPath(path)) in body must be of type \(shownType): \"\(Self.name(value))\"")
            ]
        }
        var result: [FieldProblem] = []
        if !allowed.isEmpty, !allowed.contains(value) {
            let names = allowed.map { $0.string ?? $0.text }
            result.append(.notSupported(path, value.string ?? value.text, names))
        }
        switch value {
        case .object(let members):
            for name in required where members[name] == nil { result.append(.required(join(path, name))) }
            for (name, inner) in members.sorted(by: { $0.key < $1.key }) {
                guard let schema = properties[name] ?? additional else { continue }
                result += schema.problems(inner, join(path, name), matches: matches)
            }
        case .array(let elements):
            for (index, inner) in elements.enumerated() {
                result += items?.problems(inner, "\(path)[\(index)]", matches: matches) ?? []
            }
            result += twice(elements, path)
        default: break
        }
        return result + rules.problems(value, path, matches: matches)
    }

    private func twice(_ elements: [JSON], _ path: String) -> [FieldProblem] {
        var seen: Set<JSON> = []
        var result: [FieldProblem] = []
        guard listType != .atomic else { return [] }
        for (index, element) in elements.enumerated() {
            var identity = element
            if listType == .map {
                identity = .object([:])
                for key in listKeys { identity[key] = element[key] ?? items?.properties[key]?.defaultValue ?? .null }
            }
            if !seen.insert(identity).inserted { result.append(.duplicate("\(path)[\(index)]", identity.text)) }
        }
        return result
    }

    private func join(_ path: String, _ name: String) -> String { path.isEmpty ? name : path + "." + name }
    private func shownPath(_ path: String) -> String { path }
    private var shownType: String { isIntOrString ? "integer,string" : type }

    private func isOfType(_ value: JSON) -> Bool {
        if isIntOrString {
            if case .string = value { return true }
            return value.int != nil
        }
        switch (type, value) {
        case ("", _), ("string", .string), ("boolean", .bool), ("object", .object), ("array", .array),
            ("number", .integer), ("number", .number), ("integer", .integer):
            return true
        case ("integer", .number): return value.int != nil
        default: return false
        }
    }

    private static func name(_ value: JSON) -> String {
        switch value {
        case .null: "null"
        case .bool: "boolean"
        case .integer: "integer"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}
