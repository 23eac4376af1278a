/// An expression that can be evaluated.
///
/// Immutable; any thread may evaluate it. Pure: what it knows comes from the activation.
public struct CELProgram: Sendable {
    let root: CELNode
    /// Fields of requests that it names, in small letters, pseudo headers among them.
    public let headerNames: Set<String>
    let patterns: CELPatternCompiler
    /// The variables that it asks for, of those whose values come with the evaluation.
    public let variables: Set<String>

    /// Compiles an expression.
    ///
    /// - Parameter patterns: The engine for `matches`; patterns that are literals are compiled here, others when they are met.
    /// - Throws: A function that does not exist, a literal pattern that is none, or more than `CELLimits` allow.
    public init(_ expression: CELExpression, patterns: @escaping CELPatternCompiler) throws(CELSyntaxError) {
        var builder = CELProgramBuilder(patterns: patterns)
        root = try builder.node(expression, 0)
        headerNames = builder.headerNames
        self.patterns = patterns
        variables = []
    }

    /// Compiles an expression about variables whose values come with the evaluation; requests and their attributes are unknown to it.
    ///
    /// It knows the functions of lists, too, that Kubernetes has (`sum`, `min`, `max`, `isSorted`, `indexOf`, `lastIndexOf`), `find` and `findAll`, and
    /// loops with two variables. Patterns are compiled when they are met.
    ///
    /// - Throws: A name or function that does not exist, or more than `CELLimits` allow.
    public init(_ expression: CELExpression, variables names: [String]) throws(CELSyntaxError) {
        let none: CELPatternCompiler = { (pattern: String) throws(CELError) -> any CELPattern in
            throw .badText("there is no engine for patterns")
        }
        var builder = CELProgramBuilder(patterns: none, variables: names)
        root = try builder.node(expression, 0)
        headerNames = []
        patterns = none
        variables = Set(builder.used.map { names[$0] })
    }

    /// The value of an expression about variables, or why there is none.
    ///
    /// - Parameters:
    ///   - values: Those of the variables, in the order of their names.
    ///   - patterns: The engine for `matches`.
    ///   - steps: What it may cost; what it has cost is taken off.
    public func evaluate(
        _ values: [CELValue], patterns: @escaping CELPatternCompiler, steps: inout Int
    ) -> Result<CELValue, CELError> {
        var evaluator = CELEvaluator(activation: CELNothing(), steps: steps, patterns: patterns, variables: values)
        defer { steps = max(0, evaluator.budget.left) }
        do throws(CELError) { return .success(try evaluator.value(root)) } catch { return .failure(error) }
    }

    /// The value, or why there is none.
    ///
    /// - Parameter steps: What it may cost.
    public func evaluate(
        _ activation: some CELActivation, steps: Int = CELLimits.steps
    ) -> Result<CELValue, CELError> {
        var evaluator = CELEvaluator(activation: activation, steps: steps, patterns: patterns)
        do throws(CELError) {
            return .success(try evaluator.value(root))
        } catch {
            if error == .tooExpensive { activation.gaveUp() }
            return .failure(error)
        }
    }
}

/// Looks names up and functions.
struct CELProgramBuilder {
    let patterns: CELPatternCompiler
    /// The variables of loops, inner ones last.
    private var locals: [String] = []
    private var count = 0
    private(set) var headerNames: Set<String> = []
    /// How many of `locals` are variables whose values come with the evaluation; nil: attributes of requests come instead.
    private let given: Int?
    /// Which of them are asked for, by their places.
    private(set) var used: Set<Int> = []

    init(patterns: @escaping CELPatternCompiler, variables: [String]? = nil) {
        self.patterns = patterns
        locals = variables ?? []
        given = variables?.count
    }

    mutating func node(_ expression: CELExpression, _ depth: Int) throws(CELSyntaxError) -> CELNode {
        count += 1
        guard count <= CELLimits.nodes else { throw CELSyntaxError("has more than \(CELLimits.nodes) nodes") }
        guard depth <= CELLimits.nesting else {
            throw CELSyntaxError("is nested more than \(CELLimits.nesting) deep")
        }
        switch expression {
        case .constant(let constant): return .constant(CELValue(constant))
        case .identifier(let name): return try identifier(name, depth)
        case .select(let operand, let field, let isTest): return try select(operand, field, isTest, depth)
        case .list(let elements): return .list(try nodes(elements, depth))
        case .map(let entries):
            var pairs: [(key: CELNode, value: CELNode)] = []
            for entry in entries { pairs.append((try node(entry.key, depth + 1), try node(entry.value, depth + 1))) }
            return .map(pairs)
        case .comprehension(let loop): return try comprehension(loop, depth)
        case .call(let target, let function, let arguments):
            return try call(target, function, arguments, depth)
        }
    }

    private mutating func nodes(_ expressions: [CELExpression], _ depth: Int) throws(CELSyntaxError) -> [CELNode] {
        var nodes: [CELNode] = []
        for expression in expressions { nodes.append(try node(expression, depth + 1)) }
        return nodes
    }

    // MARK: Names

    private static let typeNames: Set<String> = [
        "bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type",
        "google.protobuf.Timestamp", "google.protobuf.Duration",
    ]

    private mutating func identifier(_ name: String, _ depth: Int) throws(CELSyntaxError) -> CELNode {
        if let place = locals.lastIndex(of: name) {
            if place < given ?? 0 { used.insert(place) }
            return .local(place)
        }
        if given == nil, let root = CELRoot(rawValue: name) { return .reference(.root(root)) }
        if Self.typeNames.contains(name) { return .constant(.type(name)) }
        // A checker writes a name with its dots as one.
        if let dot = name.lastIndex(of: "."), dot != name.startIndex {
            return try node(
                .select(
                    .identifier(String(name[..<dot])), field: String(name[name.index(after: dot)...]), isTest: false),
                depth + 1)
        }
        let shown = name.first == "." ? String(name.dropFirst()) : name
        guard given == nil else { throw CELSyntaxError("\(shown) is unknown", unknownName: shown) }
        return .unknownName(shown)
    }

    private mutating func select(
        _ operand: CELExpression, _ field: String, _ isTest: Bool, _ depth: Int
    ) throws(CELSyntaxError) -> CELNode {
        if !isTest, case .select(.identifier("google"), "protobuf", false) = operand, !locals.contains("google"),
            Self.typeNames.contains("google.protobuf.\(field)")
        {
            return .constant(.type("google.protobuf.\(field)"))
        }
        let inner = try node(operand, depth + 1)
        if isTest { return .has(inner, field) }
        return member(of: inner, field)
    }

    /// A member whose name is known.
    private mutating func member(of inner: CELNode, _ field: String) -> CELNode {
        guard case .reference(let reference) = inner else { return .select(inner, field) }
        switch reference {
        case .root(let root):
            switch root.member(field) {
            case .attribute(let attribute)?:
                if let name = attribute.headerName { headerNames.insert(name) }
                return .attribute(attribute)
            case .reference(let reference)?: return .reference(reference)
            case .filterState(let key, let isUpstream)?: return .filterState(key, isUpstream: isUpstream)
            case nil: return .unknownMember("\(root.rawValue).\(field)")
            }
        case .headers(let part):
            let name = field.lowercased()
            if part == .request { headerNames.insert(name) }
            return .header(name, part)
        case .metadata(let source) where field == "filter_metadata": return .reference(.filterMetadata(source))
        case .metadata, .filterMetadata: return .select(inner, field)
        }
    }

    // MARK: Loops

    private mutating func comprehension(_ loop: CELComprehension, _ depth: Int) throws(CELSyntaxError) -> CELNode {
        guard given != nil || loop.second == nil else {
            throw CELSyntaxError("loops with two variables are not supported")
        }
        let range = try node(loop.range, depth + 1)
        let start = try node(loop.start, depth + 1)
        locals.append(loop.accumulator)
        locals.append(loop.variable)
        if let second = loop.second { locals.append(second) }
        let condition = try node(loop.condition, depth + 1)
        let step = try node(loop.step, depth + 1)
        locals.removeLast(loop.second == nil ? 1 : 2)
        let result = try node(loop.result, depth + 1)
        locals.removeLast()
        return .loop(
            CELLoop(
                hasPlaces: loop.second != nil, range: range, start: start, condition: condition, step: step,
                result: result))
    }

    // MARK: Calls

    private mutating func call(
        _ target: CELExpression?, _ name: String, _ arguments: [CELExpression], _ depth: Int
    ) throws(CELSyntaxError) -> CELNode {
        if target == nil, let node = try operation(name, arguments, depth) { return node }
        if given != nil, let node = try library(target, name, arguments, depth) { return node }
        if name == CELLibrary.optionalPart.rawValue {
            throw CELSyntaxError("optional elements of literals are not supported")
        }
        let operands = try nodes((target.map { [$0] } ?? []) + arguments, depth)
        if name == "matches", operands.count == 2 {
            if given == nil, case .constant(.string(let pattern)) = operands[1] {
                do throws(CELError) {
                    return .matches(operands[0], try patterns(pattern))
                } catch {
                    throw CELSyntaxError("matches(): \(error.description)")
                }
            }
            return .call(.matches, operands)
        }
        guard let function = CELFunction(name, isMember: target != nil, count: operands.count),
            given != nil || !function.isKubernetes
        else {
            let shown = target == nil ? "\(name)()" : ".\(name)()"
            throw CELSyntaxError("\(shown) with \(arguments.count) arguments is no function", unknownName: name)
        }
        return .call(function, operands)
    }

    /// A function of Kubernetes' libraries; nil where it is none.
    private mutating func library(
        _ target: CELExpression?, _ name: String, _ arguments: [CELExpression], _ depth: Int
    ) throws(CELSyntaxError) -> CELNode? {
        if case .identifier(let space)? = target, CELLibrary.namespaces.contains(space), !locals.contains(space) {
            guard let (function, before) = CELLibrary.member(of: space, name, arguments.count) else {
                throw CELSyntaxError(
                    "\(space).\(name)() with \(arguments.count) arguments is no function", unknownName: space)
            }
            return .library(function, before + (try nodes(arguments, depth)))
        }
        if target == nil,
            let function = [CELLibrary.optionalMember, .optionalElement, .optionalPart].first(where: {
                $0.rawValue == name
            })
        {
            return .library(function, try nodes(arguments, depth))
        }
        let count = arguments.count + (target == nil ? 0 : 1)
        guard let function = CELLibrary(name, isMember: target != nil, count: count) else { return nil }
        return .library(function, try nodes((target.map { [$0] } ?? []) + arguments, depth))
    }

    /// The operators, by the names that they have in messages.
    private mutating func operation(
        _ name: String, _ arguments: [CELExpression], _ depth: Int
    ) throws(CELSyntaxError) -> CELNode? {
        switch (name, arguments.count) {
        case ("_&&_", 2): return .all(try parts(name, arguments, depth))
        case ("_||_", 2): return .any(try parts(name, arguments, depth))
        case ("!_", 1): return .not(try node(arguments[0], depth + 1))
        case ("-_", 1): return .negative(try node(arguments[0], depth + 1))
        case ("@not_strictly_false", 1), ("__not_strictly_false__", 1):
            return .notStrictlyFalse(try node(arguments[0], depth + 1))
        case ("_?_:_", 3):
            let parts = try nodes(arguments, depth)
            return .choice(parts[0], parts[1], parts[2])
        case (CELLibrary.mapInsert.rawValue, 3): return .library(.mapInsert, try nodes(arguments, depth))
        case (CELLibrary.mapMerge.rawValue, 2): return .library(.mapMerge, try nodes(arguments, depth))
        case (_, 2): break
        default: return nil
        }
        if name == "_[_]" {
            let operands = try nodes(arguments, depth)
            if case .constant(.string(let key)) = operands[1] { return member(of: operands[0], key) }
            return .index(operands[0], operands[1])
        }
        switch name {
        case "_==_", "_!=_", "@in", "_in_", "in", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_": break
        default: return nil
        }
        let operands = try nodes(arguments, depth)
        let (left, right) = (operands[0], operands[1])
        if let comparison = CELComparison(rawValue: name) { return .compare(comparison, left, right) }
        if let arithmetic = CELArithmetic(rawValue: name) { return .arithmetic(arithmetic, left, right) }
        switch name {
        case "_==_": return .equal(left, right)
        case "_!=_": return .different(left, right)
        default: return .isIn(left, right)
        }
    }

    /// The parts of a chain of one operator, in order.
    private mutating func parts(
        _ name: String, _ arguments: [CELExpression], _ depth: Int
    ) throws(CELSyntaxError) -> [CELNode] {
        var result: [CELNode] = []
        for part in try nodes(arguments, depth) {
            switch (part, name) {
            case (.all(let inner), "_&&_"), (.any(let inner), "_||_"): result += inner
            default: result.append(part)
            }
        }
        return result
    }
}

extension CELValue {
    init(_ constant: CELConstant) {
        switch constant {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .int(let value): self = .int(value)
        case .uint(let value): self = .uint(value)
        case .double(let value): self = .double(value)
        case .string(let value): self = .string(value)
        case .bytes(let value): self = .bytes(value)
        case .duration(let value): self = .duration(value)
        case .timestamp(let value): self = .timestamp(value)
        }
    }
}
