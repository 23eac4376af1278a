internal import CEL
public import EnvoyAPI
internal import Serialization

extension CELCondition {
    /// Compiles a text that stands at a field path.
    public init(text: String, at path: String) throws(ConfigurationError) {
        self = try Self.compiling(path) { () throws(CELSyntaxError) in try CELExpression(parsing: text) }
    }

    /// Compiles a parsed expression.
    public init(compiling message: CelExpr, at path: String) throws(ConfigurationError) {
        self = try Self.compiling(path) { () throws(CELSyntaxError) in
            var reader = CELMessageReader()
            return try reader.expression(message, 0)
        }
    }

    /// Compiles a checked expression: constants that the checker found stand for their names.
    public init(compiling message: CelCheckedExpr, at path: String) throws(ConfigurationError) {
        guard let expression = message.expr else { throw ConfigurationError(at: path + ".expr", "is missing") }
        self = try Self.compiling(path + ".expr") { () throws(CELSyntaxError) in
            var reader = CELMessageReader(constants: message.referenceMap.compactMapValues(\.value))
            return try reader.expression(expression, 0)
        }
    }

    /// Compiles what `CelMatcher` and its like have: a parsed, a checked or a written expression.
    public init(compiling message: EnvoyAPI.CelExpression, at path: String) throws(ConfigurationError) {
        func parsed(_ message: CelParsedExpr, _ field: String) throws(ConfigurationError) -> CELCondition {
            guard let expression = message.expr else {
                throw ConfigurationError(at: "\(path).\(field).expr", "is missing")
            }
            return try CELCondition(compiling: expression, at: "\(path).\(field).expr")
        }
        // The newer fields go before the older ones, as Envoy takes them.
        if let message = message.celExprChecked {
            self = try CELCondition(compiling: message, at: path + ".cel_expr_checked")
        } else if let message = message.celExprParsed {
            self = try parsed(message, "cel_expr_parsed")
        } else if !message.celExprString.isEmpty {
            self = try CELCondition(text: message.celExprString, at: path + ".cel_expr_string")
        } else {
            switch message.exprSpecifier {
            case .checkedExpr(let message)?: self = try CELCondition(compiling: message, at: path + ".checked_expr")
            case .parsedExpr(let message)?: self = try parsed(message, "parsed_expr")
            case nil: throw ConfigurationError(at: path, "an expression is needed")
            }
        }
    }

    /// The matcher `xds.type.matcher.v3.CelMatcher` of matcher trees; nil where another matcher is named.
    ///
    /// - Parameters:
    ///   - matcher: `custom_match` and its field path.
    ///   - input: The input, which must be the request's attributes.
    public init?(
        matcher: XdsTypedExtensionConfig, at path: String, input: XdsTypedExtensionConfig?, at inputPath: String
    ) throws(ConfigurationError) {
        guard let any = matcher.typedConfig, any.holds(CelMatcher.self) else { return nil }
        guard let input = input?.typedConfig, input.holds(HttpAttributesCelMatchInput.self) else {
            throw ConfigurationError(
                at: inputPath, "a CEL matcher needs the input \(HttpAttributesCelMatchInput.schema.name)")
        }
        let message = try Unpacked.message(any, as: CelMatcher.self, FieldPath(path + ".typed_config"))
        guard let expression = message.exprMatch else {
            throw ConfigurationError(at: path + ".typed_config.expr_match", "is missing")
        }
        try self.init(compiling: expression, at: path + ".typed_config.expr_match")
    }

    private static func compiling(
        _ path: String, _ expression: () throws(CELSyntaxError) -> CELExpression
    ) throws(ConfigurationError) -> CELCondition {
        do throws(CELSyntaxError) {
            let expression = try expression()
            return CELCondition(
                text: expression.text, program: try CELProgram(expression, patterns: CELRegularExpression.compiler))
        } catch {
            throw ConfigurationError(at: path, error.description)
        }
    }
}

/// Reads the messages of parsed expressions.
struct CELMessageReader {
    /// What a checker found names to be, by the numbers of their nodes.
    var constants: [Int64: CelConstant] = [:]
    private var count = 0

    init(constants: [Int64: CelConstant] = [:]) { self.constants = constants }

    mutating func expression(_ message: CelExpr?, _ depth: Int) throws(CELSyntaxError) -> CELExpression {
        guard let message else { throw CELSyntaxError("a part of the expression is missing") }
        count += 1
        guard count <= CELLimits.nodes else { throw CELSyntaxError("has more than \(CELLimits.nodes) nodes") }
        guard depth <= CELLimits.nesting else {
            throw CELSyntaxError("is nested more than \(CELLimits.nesting) deep")
        }
        if let constant = constants[message.id] { return .constant(try Self.constant(constant)) }
        switch message.exprKind {
        case nil: throw CELSyntaxError("a part of the expression is empty")
        case .constExpr(let constant): return .constant(try Self.constant(constant))
        case .identExpr(let identifier):
            guard !identifier.name.isEmpty else { throw CELSyntaxError("a name is empty") }
            return .identifier(identifier.name)
        case .selectExpr(let select):
            return .select(
                try expression(select.operand, depth + 1), field: select.field, isTest: select.testOnly)
        case .callExpr(let call):
            var target: CELExpression?
            if let message = call.target { target = try expression(message, depth + 1) }
            return .call(target: target, function: call.function, arguments: try list(call.args, depth))
        case .listExpr(let list):
            guard list.optionalIndices.isEmpty else { throw CELSyntaxError("optional elements are not supported") }
            return .list(try self.list(list.elements, depth))
        case .structExpr(let map):
            guard map.messageName.isEmpty else { throw CELSyntaxError("messages cannot be made") }
            var entries: [CELEntry] = []
            for entry in map.entries {
                guard case .mapKey(let key) = entry.keyKind, !entry.optionalEntry else {
                    throw CELSyntaxError("an entry of a map has no key, or is optional")
                }
                entries.append(
                    CELEntry(key: try expression(key, depth + 1), value: try expression(entry.value, depth + 1)))
            }
            return .map(entries)
        case .comprehensionExpr(let loop):
            guard loop.iterVar2.isEmpty else { throw CELSyntaxError("loops with two variables are not supported") }
            return .comprehension(
                CELComprehension(
                    variable: loop.iterVar, range: try expression(loop.iterRange, depth + 1),
                    accumulator: loop.accuVar, start: try expression(loop.accuInit, depth + 1),
                    condition: try expression(loop.loopCondition, depth + 1),
                    step: try expression(loop.loopStep, depth + 1), result: try expression(loop.result, depth + 1)))
        }
    }

    private mutating func list(_ messages: [CelExpr], _ depth: Int) throws(CELSyntaxError) -> [CELExpression] {
        var result: [CELExpression] = []
        for message in messages { result.append(try expression(message, depth + 1)) }
        return result
    }

    private static func constant(_ message: CelConstant) throws(CELSyntaxError) -> CELConstant {
        switch message.constantKind {
        case nil: throw CELSyntaxError("a literal is empty")
        case .nullValue: return .null
        case .boolValue(let value): return .bool(value)
        case .int64Value(let value): return .int(value)
        case .uint64Value(let value): return .uint(value)
        case .doubleValue(let value): return .double(value)
        case .stringValue(let value): return .string(value)
        case .bytesValue(let value): return .bytes(value)
        case .durationValue(let value):
            guard let value = CELTime.checked(value) else { throw CELSyntaxError("a duration is out of range") }
            return .duration(value)
        case .timestampValue(let value): return .timestamp(value)
        }
    }
}
