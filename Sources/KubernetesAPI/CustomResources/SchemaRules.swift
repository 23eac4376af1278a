import Serialization

/// The conditions of a schema that are not about the shape: bounds, patterns, formats, and combinations of schemas.
struct SchemaRules: Sendable {
    private var minimum: Double?
    private var maximum: Double?
    private var isMinimumExclusive = false
    private var isMaximumExclusive = false
    private var multipleOf: Double?
    private var lengths: ClosedRange<Int>?
    private var counts: ClosedRange<Int>?
    private var members: ClosedRange<Int>?
    private var isUnique = false
    private var pattern: String?
    private var format: String?
    private var allOf: [Conditions] = []
    private var anyOf: [Conditions] = []
    private var oneOf: [Conditions] = []
    private var not: Conditions?

    /// A schema within `allOf`, `anyOf`, `oneOf` or `not`: only conditions, nothing that adds members.
    final class Conditions: Sendable {
        let rules: SchemaRules
        let required: [String]
        let allowed: [JSON]
        let type: String
        let properties: [String: Conditions]
        let items: Conditions?

        init(_ json: JSON, _ path: String, depth: Int) throws(FieldProblem) {
            guard depth <= StructuralSchema.depthMax else {
                throw .forbidden(path, "nested deeper than \(StructuralSchema.depthMax) levels")
            }
            rules = try SchemaRules(json, path, depth: depth)
            required = (json["required"]?.array ?? []).compactMap(\.string)
            allowed = json["enum"]?.array ?? []
            type = json["type"]?.string ?? ""
            var properties: [String: Conditions] = [:]
            for (name, inner) in json["properties"]?.object ?? [:] {
                properties[name] = try Conditions(inner, "\(path).properties[\(name)]", depth: depth + 1)
            }
            self.properties = properties
            items = try json["items"].map { inner throws(FieldProblem) in
                try Conditions(inner, path + ".items", depth: depth + 1)
            }
        }

        func problems(_ value: JSON, _ path: String, matches: (String, String) -> Bool?) -> [FieldProblem] {
            var result: [FieldProblem] = []
            switch (type, value) {
            case ("string", .string), ("boolean", .bool), ("object", .object), ("array", .array), ("", _): break
            case ("integer", _) where value.int != nil: break
            case ("number", _) where value.double != nil: break
            default: return [.invalid(path, value.text, "must be of type \(type)")]
            }
            if !allowed.isEmpty, !allowed.contains(value) {
                result.append(.notSupported(path, value.string ?? value.text, allowed.map { $0.string ?? $0.text }))
            }
            if case .object(let members) = value {
                for name in required where members[name] == nil {
                    result.append(.required(path.isEmpty ? name : path + "." + name))
                }
                for (name, inner) in members {
                    result +=
                        properties[name]?.problems(inner, path.isEmpty ? name : path + "." + name, matches: matches)
                        ?? []
                }
            }
            if case .array(let elements) = value, let items {
                for (index, inner) in elements.enumerated() {
                    result += items.problems(inner, "\(path)[\(index)]", matches: matches)
                }
            }
            return result + rules.problems(value, path, matches: matches)
        }
    }

    init(_ json: JSON, _ path: String, depth: Int) throws(FieldProblem) {
        func range(_ low: String, _ high: String) throws(FieldProblem) -> ClosedRange<Int>? {
            let (first, last) = (json[low]?.int, json[high]?.int)
            guard first != nil || last != nil else { return nil }
            let (from, to) = (first ?? 0, last ?? Int.max)
            guard from >= 0, from <= to else {
                throw .invalid("\(path).\(low)", "\(from)", "must not be above \(high)")
            }
            return from...to
        }
        minimum = json["minimum"]?.double
        maximum = json["maximum"]?.double
        isMinimumExclusive = json["exclusiveMinimum"]?.bool ?? false
        isMaximumExclusive = json["exclusiveMaximum"]?.bool ?? false
        multipleOf = json["multipleOf"]?.double
        lengths = try range("minLength", "maxLength")
        counts = try range("minItems", "maxItems")
        members = try range("minProperties", "maxProperties")
        isUnique = json["uniqueItems"]?.bool ?? false
        pattern = json["pattern"]?.string
        format = json["format"]?.string
        func all(_ name: String) throws(FieldProblem) -> [Conditions] {
            var result: [Conditions] = []
            for (index, inner) in (json[name]?.array ?? []).enumerated() {
                result.append(try Conditions(inner, "\(path).\(name)[\(index)]", depth: depth + 1))
            }
            return result
        }
        allOf = try all("allOf")
        anyOf = try all("anyOf")
        oneOf = try all("oneOf")
        not = try json["not"].map { inner throws(FieldProblem) in try Conditions(inner, path + ".not", depth: depth + 1)
        }
    }

    func problems(_ value: JSON, _ path: String, matches: (String, String) -> Bool?) -> [FieldProblem] {
        var result: [FieldProblem] = []
        func add(_ shown: String, _ rule: String) {
            result.append(.invalid(path, shown, "\(path) in body should \(rule)"))
        }
        switch value {
        case .integer, .number: if let number = value.double { numbers(number, value.text, add) }
        case .string(let text): texts(text, add, matches)
        case .array(let elements):
            if let counts, elements.count < counts.lowerBound {
                add("\(elements.count)", "have at least \(counts.lowerBound) items")
            }
            if let counts, elements.count > counts.upperBound {
                result.append(
                    .invalid(path, "\(elements.count)", "must have at most \(counts.upperBound) items"))
            }
            if isUnique, Set(elements).count < elements.count { add("\(elements.count)", "not have duplicate items") }
        case .object(let inner):
            if let members, !members.contains(inner.count) {
                add("\(inner.count)", "have between \(members.lowerBound) and \(members.upperBound) properties")
            }
        default: break
        }
        for one in allOf { result += one.problems(value, path, matches: matches) }
        if !anyOf.isEmpty, !anyOf.contains(where: { $0.problems(value, path, matches: matches).isEmpty }) {
            result.append(.invalid(path, value.text, "\(path) in body must validate at least one schema (anyOf)"))
        }
        if !oneOf.isEmpty, oneOf.count(where: { $0.problems(value, path, matches: matches).isEmpty }) != 1 {
            result.append(.invalid(path, value.text, "\(path) in body must validate one and only one schema (oneOf)"))
        }
        if let not, not.problems(value, path, matches: matches).isEmpty {
            result.append(.invalid(path, value.text, "\(path) in body must not validate the schema (not)"))
        }
        return result
    }

    private func numbers(_ number: Double, _ shown: String, _ add: (String, String) -> Void) {
        if let minimum, isMinimumExclusive ? number <= minimum : number < minimum {
            add(shown, "be greater than \(isMinimumExclusive ? "" : "or equal to ")\(Self.text(minimum))")
        }
        if let maximum, isMaximumExclusive ? number >= maximum : number > maximum {
            add(shown, "be less than \(isMaximumExclusive ? "" : "or equal to ")\(Self.text(maximum))")
        }
        if let multipleOf, multipleOf > 0, (number / multipleOf).rounded() * multipleOf != number {
            add(shown, "be a multiple of \(Self.text(multipleOf))")
        }
    }

    private static func text(_ number: Double) -> String { Int(exactly: number).map(String.init) ?? "\(number)" }

    private func texts(_ text: String, _ add: (String, String) -> Void, _ matches: (String, String) -> Bool?) {
        let shown = JSON.string(text).text
        if let lengths {
            let count = text.unicodeScalars.count
            if count < lengths.lowerBound { add(shown, "be at least \(lengths.lowerBound) chars long") }
            if count > lengths.upperBound { add(shown, "be at most \(lengths.upperBound) chars long") }
        }
        if let pattern, matches(pattern, text) != true { add(shown, "match '\(pattern)'") }
        if let format, let check = Self.formats[format], !check(text) { add(shown, "be of format \(format)") }
    }

    /// The formats that are looked at; as with Kubernetes, one that is not known is no condition.
    private static let formats: [String: @Sendable (String) -> Bool] = [
        "date-time": { Timestamp($0) != nil }, "duration": { Validator.duration($0) != nil },
        "byte": { Base64Text.isValid($0) },
        "ipv4": {
            $0.split(separator: ".", omittingEmptySubsequences: false).count == 4
                && $0.allSatisfy { $0.isNumber || $0 == "." }
        },
        "uuid": { $0.utf8.count == 36 && $0.allSatisfy { $0.isHexDigit || $0 == "-" } },
    ]
}
