internal import CEL
public import Serialization

/// A rule in CEL on the value of a schema: an entry of `x-kubernetes-validations`.
///
/// Source: Kubernetes' documentation, "Validation rules" of CustomResourceDefinitions.
struct SchemaExpression: Sendable {
    /// As it was written.
    let rule: String
    private let program: CELProgram
    private let message: String
    private let messageProgram: CELProgram?
    private let reason: FieldProblem.Reason
    /// Where the problem is, seen from the value.
    private let place: String

    /// What rules may ask for.
    private static let variables = ["self", "oldSelf"]

    /// A rule that names what was there before: it counts where something was.
    var isTransition: Bool { program.variables.contains("oldSelf") && !isOldOptional }
    /// Whether what was there before may be nothing, and is an optional value.
    private let isOldOptional: Bool

    /// The rules of a schema; those that cannot be evaluated here are told with their places.
    ///
    /// - Parameter type: What the schema says of the values.
    static func read(
        _ json: JSON?, _ path: String, _ type: @autoclosure () -> CELType
    ) -> (rules: [SchemaExpression], unread: [Unread]) {
        guard let json, json.array?.isEmpty == false else { return ([], []) }
        let type = type()
        var rules: [SchemaExpression] = []
        var unread: [Unread] = []
        for (index, entry) in (json.array ?? []).enumerated() {
            do throws(CELSyntaxError) { rules.append(try SchemaExpression(entry, type)) } catch {
                let text = entry["rule"]?.string ?? ""
                unread.append(
                    Unread(
                        path: "\(path).x-kubernetes-validations[\(index)]", reason: error.description,
                        refusal: isForeign(error) ? nil : text))
            }
        }
        return (rules, unread)
    }

    /// A rule that is kept and not evaluated.
    struct Unread: Sendable, Hashable {
        var path: String
        var reason: String
        /// The rule, when nobody could evaluate it: then its definition is refused.
        var refusal: String?
    }

    /// What Kubernetes knows and this evaluator does not: functions of its libraries, and their namespaces.
    private static let foreignNames: Set<String> = [
        "math", "base64", "cel", "bind", "strings", "lists", "authorizer", "image", "isImage", "slice", "flatten",
        "range", "distinct", "sort", "sortBy", "first", "last", "jsonpatch", "unwrap", "unwrapOpt",
    ]

    /// Whether another evaluator may know what this one does not.
    private static func isForeign(_ error: CELSyntaxError) -> Bool {
        error.unknownName.map(foreignNames.contains) ?? false
    }

    private init(_ json: JSON, _ type: CELType) throws(CELSyntaxError) {
        rule = json["rule"]?.string ?? ""
        isOldOptional = json["optionalOldSelf"]?.bool == true
        let types = ["self": type, "oldSelf": isOldOptional ? .optional(type) : type]
        let parsed = try CELExpression(parsing: rule)
        program = try CELProgram(parsed, variables: Self.variables)
        guard [.bool, .dyn].contains(try parsed.type(types)) else {
            throw CELSyntaxError("cel expression must evaluate to a bool")
        }
        message = json["message"]?.string ?? ""
        messageProgram = try json["messageExpression"]?.string.map { text throws(CELSyntaxError) in
            let parsed = try CELExpression(parsing: text)
            let program = try CELProgram(parsed, variables: Self.variables)
            guard [.string, .dyn].contains(try parsed.type(types)) else {
                throw CELSyntaxError("messageExpression must evaluate to a string")
            }
            return program
        }
        let word = json["reason"]?.string ?? ""
        let reasons: [FieldProblem.Reason] = [.invalid, .forbidden, .required, .duplicate]
        guard let reason = word.isEmpty ? .invalid : reasons.first(where: { $0.rawValue == word }) else {
            throw CELSyntaxError("the reason \(word) is none of \(reasons.map(\.rawValue).joined(separator: ", "))")
        }
        self.reason = reason
        place = json["fieldPath"]?.string ?? ""
    }

    /// What is wrong with a value, if anything is.
    func problem(
        _ value: CELValue, old: CELValue?, _ path: String, type: String, _ run: inout ExpressionRun
    ) -> FieldProblem? {
        let values = [value, isOldOptional ? .optional(old) : old ?? .null]
        let here = path.isEmpty ? "<nil>" : path
        switch program.evaluate(values, patterns: run.patterns, steps: &run.steps) {
        case .success(.bool(true)): return nil
        case .success(.bool(false)): break
        case .success:
            return .invalid(here, text: type, "the rule has no truth for a value: \(shown)")
        case .failure(let error):
            if error == .tooExpensive { run.isOver = true }
            let end = run.isOver ? "no further rules are evaluated: the rules of an object cost too much" : "\(error)"
            return .invalid(here, text: type, "\(end), evaluating rule: \(shown)")
        }
        var text = message.isEmpty ? "failed rule: \(rule)" : message
        if let messageProgram,
            case .success(.string(let made)) = messageProgram.evaluate(
                values, patterns: run.patterns, steps: &run.steps),
            !made.isEmpty, !made.contains("\n")
        {
            text = made
        }
        var target = path + place.replacing("['", with: "[").replacing("']", with: "]")
        if path.isEmpty { target = target.hasPrefix(".") ? String(target.dropFirst()) : target }
        if target.isEmpty { target = "<nil>" }
        switch reason {
        case .forbidden: return .forbidden(target, text)
        case .required: return .required(target, text)
        case .duplicate: return .duplicate(target, "\"\(type)\"")
        default: return .invalid(target, text: type, text)
        }
    }

    private var shown: String { message.isEmpty ? rule : message }
}

/// One object's rules: what they may cost together, and who knows patterns.
struct ExpressionRun {
    /// Steps of all rules of one object: some 50 ms.
    static let stepsMax = 500_000

    var steps = ExpressionRun.stepsMax
    /// The rules cost too much: no more are evaluated.
    var isOver = false
    let patterns: CELPatternCompiler

    init(
        matches: @escaping (String, String) -> Bool?, finds: @escaping (String, [UInt8], Int) -> Range<Int>?
    ) {
        let engine = Engine(matches, finds)
        patterns = { (pattern: String) throws(CELError) -> any CELPattern in
            guard engine.matches(pattern, "") != nil else { throw .badText("\(pattern) is no pattern") }
            return Pattern(engine: engine, text: pattern)
        }
    }

    /// `@unchecked Sendable`: used on the thread that validates, while it does.
    private final class Engine: @unchecked Sendable {
        let matches: (String, String) -> Bool?
        let finds: (String, [UInt8], Int) -> Range<Int>?
        init(
            _ matches: @escaping (String, String) -> Bool?, _ finds: @escaping (String, [UInt8], Int) -> Range<Int>?
        ) {
            self.matches = matches
            self.finds = finds
        }
    }

    private struct Pattern: CELPattern {
        let engine: Engine
        let text: String
        func isFound(in subject: String) -> Bool { engine.matches(text, subject) ?? false }
        func range(in bytes: [UInt8], from start: Int) -> Range<Int>? { engine.finds(text, bytes, start) }
    }
}

extension StructuralSchema {
    /// What the rules in CEL find wrong with a value that has its shape.
    ///
    /// - Parameters:
    ///   - old: What was there before; nil where nothing was, or nobody can tell what of it became this.
    ///   - matches: As of `problems`.
    ///   - finds: Where a pattern is found first in a text, at or behind a place.
    public func expressionProblems(
        _ value: JSON, old: JSON?, matches: @escaping (_ pattern: String, _ text: String) -> Bool?,
        finds: @escaping (_ pattern: String, _ text: [UInt8], _ start: Int) -> Range<Int>? = { _, _, _ in nil }
    ) -> [FieldProblem] {
        guard hasExpressions else { return [] }
        var run = ExpressionRun(matches: matches, finds: finds)
        var result: [FieldProblem] = []
        check(value, old, "", isRoot: true, &run, &result)
        return result
    }

    private func check(
        _ value: JSON, _ old: JSON?, _ path: String, isRoot: Bool, _ run: inout ExpressionRun,
        _ result: inout [FieldProblem]
    ) {
        // What is not changed may stay as it is: rules come after objects, too.
        guard hasExpressions, !run.isOver, !value.isNull, old != value || !isUnchangedEnough else { return }
        if !expressions.isEmpty {
            let now = expressed(value, isRoot: isRoot, &run)
            let before = old.flatMap { $0.isNull ? nil : expressed($0, isRoot: isRoot, &run) }
            for rule in expressions where !run.isOver {
                if rule.isTransition ? before == nil : old == value { continue }
                if let problem = rule.problem(now, old: before, path, type: expressedType, &run) {
                    result.append(problem)
                }
            }
        }
        switch value {
        case .object(let members):
            for (name, inner) in members.sorted(by: { $0.key < $1.key }) {
                guard let schema = properties[name] ?? additional, schema.hasExpressions else { continue }
                let here = properties[name] == nil ? "\(path)[\(name)]" : path.isEmpty ? name : path + "." + name
                schema.check(inner, old?[name], here, isRoot: false, &run, &result)
            }
        case .array(let elements):
            guard let items, items.hasExpressions else { return }
            for (index, inner) in elements.enumerated() {
                let before = listType == .map ? old?.array?.first { isSame($0, inner) } : nil
                items.check(inner, before, "\(path)[\(index)]", isRoot: false, &run, &result)
            }
        default: break
        }
    }

    /// Whether nothing below asks what was there before: then an unchanged value needs no look.
    private var isUnchangedEnough: Bool {
        !expressions.contains(where: \.isTransition) && properties.values.allSatisfy(\.isUnchangedEnough)
            && (additional?.isUnchangedEnough ?? true) && (items?.isUnchangedEnough ?? true)
    }

    private func isSame(_ one: JSON, _ other: JSON) -> Bool {
        listKeys.allSatisfy { key in
            let constant = items?.properties[key]?.defaultValue
            return (one[key] ?? constant) == (other[key] ?? constant)
        }
    }

    private var expressedType: String { isIntOrString ? "" : type }

    // MARK: Values

    /// The value as rules see it: what the schema knows of it, with the types that the schema says.
    private func expressed(_ value: JSON, isRoot: Bool, _ run: inout ExpressionRun) -> CELValue {
        run.steps = max(0, run.steps - 1)
        switch value {
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .integer(let value): return type == "number" ? .double(Double(value)) : .int(value)
        case .number(let number):
            return type == "integer" ? Int64(exactly: number).map { .int($0) } ?? .double(number) : .double(number)
        case .string(let text): return expressed(text)
        case .array(let elements):
            guard let items else { return .list([]) }
            return .list(elements.map { items.expressed($0, isRoot: false, &run) })
        case .object(let members):
            var known: [String: CELValue] = [:]
            for (name, inner) in members {
                if let schema = properties[name] {
                    guard let name = Self.escaped(name) else { continue }
                    known[name] = schema.expressed(inner, isRoot: false, &run)
                } else if let additional {
                    known[name] = additional.expressed(inner, isRoot: false, &run)
                }
            }
            guard isRoot || isEmbedded else { return .map(CELMap(known)) }
            for name in ["apiVersion", "kind"] { known[name] = members[name]?.string.map { .string($0) } }
            var metadata: [String: CELValue] = [:]
            for name in ["name", "generateName"] {
                metadata[name] = members["metadata"]?[name]?.string.map { .string($0) }
            }
            known["metadata"] = .map(CELMap(metadata))
            return .map(CELMap(known))
        }
    }

    private func expressed(_ text: String) -> CELValue {
        switch json["format"]?.string {
        case "date-time": Timestamp(text).map { .timestamp($0) } ?? .string(text)
        case "date": Timestamp(text + "T00:00:00Z").map { .timestamp($0) } ?? .string(text)
        case "duration": CELValue.duration(text: text) ?? .string(text)
        case "byte": Base64.decode(text).map { .bytes($0) } ?? .string(text)
        default: .string(text)
        }
    }

    /// What the schema says of its values to rules; nil where rules cannot see them.
    private var declared: CELType? {
        SchemaShape(
            type: type, format: json["format"]?.string, properties: properties, additional: additional, items: items,
            isIntOrString: isIntOrString, isObject: isEmbedded
        ).declared
    }

    /// What decides of which type values are to rules.
    ///
    /// Source: Kubernetes' `SchemaDeclType`.
    struct SchemaShape {
        let type: String
        let format: String?
        let properties: [String: StructuralSchema]
        let additional: StructuralSchema?
        let items: StructuralSchema?
        let isIntOrString: Bool
        /// A whole object, whose name and kind rules see.
        let isObject: Bool

        /// As of `StructuralSchema`.
        var declared: CELType? {
            if isIntOrString { return .dyn }
            switch type {
            case "boolean": return .bool
            case "integer": return .int
            case "number": return .double
            case "string":
                switch format {
                case "byte": return .bytes
                case "duration": return .duration
                case "date", "date-time": return .timestamp
                default: return .string
                }
            case "array": return items?.declared.map { .list($0) }
            case "object":
                if let additional {
                    // Free members of any kind: what they are nobody says.
                    return additional.type.isEmpty ? .dyn : additional.declared.map { .map($0) }
                }
                var members: [String: CELType] = [:]
                for (name, inner) in properties {
                    guard let name = StructuralSchema.escaped(name), let type = inner.declared else { continue }
                    members[name] = type
                }
                if isObject {
                    (members["apiVersion"], members["kind"]) = (.string, .string)
                    members["metadata"] = .object(["name": .string, "generateName": .string])
                }
                return .object(members)
            default: return nil
            }
        }
    }

    /// The words of CEL that a member's name must not be.
    private static let reserved: Set<String> = [
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    ]

    /// A member's name as rules write it; nil for one that they cannot name.
    static func escaped(_ name: String) -> String? {
        if reserved.contains(name) { return "__\(name)__" }
        let text = name.replacing("__", with: "__underscores__").replacing(".", with: "__dot__")
            .replacing("-", with: "__dash__").replacing("/", with: "__slash__")
        let isName =
            text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x5F
            } && text.utf8.first.map { !(0x30...0x39).contains($0) } ?? false
        return isName ? text : nil
    }
}
