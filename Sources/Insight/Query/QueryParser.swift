/// From the text of a query to an expression whose types fit; what is not of our subset of PromQL is refused by its name.
struct QueryParser {
    private let tokens: [QueryToken]
    private var position = 0
    private var depth = 0
    private(set) var selectors: [SeriesSelector] = []

    /// Parentheses within each other at most.
    private static let depthMax = 100

    static func parse(_ text: String) throws(QueryError) -> (expression: Expression, selectors: [SeriesSelector]) {
        var parser = QueryParser(tokens: try QueryLexer.tokens(text))
        let expression = try parser.expression(0)
        guard parser.peek == .end else { throw parser.unexpected("the end") }
        return (expression, parser.selectors)
    }

    private init(tokens: [QueryToken]) { self.tokens = tokens }

    private var peek: QueryToken.Kind { tokens[min(position, tokens.count - 1)].kind }
    private var place: Int { tokens[min(position, tokens.count - 1)].place + 1 }

    private mutating func take() -> QueryToken.Kind {
        defer { position += 1 }
        return peek
    }

    private mutating func takes(_ symbol: String) -> Bool {
        guard peek == .symbol(symbol) else { return false }
        position += 1
        return true
    }

    private mutating func takes(word: String) -> Bool {
        guard case .word(let found) = peek, found.lowercased() == word else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ symbol: String) throws(QueryError) {
        guard takes(symbol) else { throw unexpected(symbol) }
    }

    private func unexpected(_ wanted: String) -> QueryError {
        let found: String
        switch peek {
        case .word(let word): found = word
        case .number(let number): found = NumberText.text(number)
        case .duration: found = "a time"
        case .string(let text): found = "\"\(text)\""
        case .symbol(let symbol): found = symbol
        case .end: found = "the end"
        }
        return QueryError("at \(place): \(wanted) expected, \(found) found")
    }

    // MARK: Operators

    private static let precedence: [String: Int] = [
        "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, "<": 3, ">": 3, "<=": 3, ">=": 3, "+": 4, "-": 4, "*": 5,
        "/": 5, "%": 5, "^": 7,
    ]
    static let comparisons: Set<String> = ["==", "!=", "<", ">", "<=", ">="]
    static let sets: Set<String> = ["and", "or", "unless"]

    private var `operator`: String? {
        switch peek {
        case .symbol(let symbol): Self.precedence[symbol] == nil ? nil : symbol
        case .word(let word): Self.sets.contains(word.lowercased()) ? word.lowercased() : nil
        default: nil
        }
    }

    private mutating func expression(_ least: Int) throws(QueryError) -> Expression {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthMax else { throw QueryError("at \(place): too deep") }
        var left = try unary()
        while let name = self.operator, let strength = Self.precedence[name], strength > least {
            let place = place
            position += 1
            let isBool = takes(word: "bool")
            guard !isBool || Self.comparisons.contains(name) else {
                throw QueryError("at \(place): bool is for comparisons")
            }
            let matching = try matching(name)
            let right = try expression(name == "^" ? strength - 1 : strength)
            left = try joined(name, left, right, matching, isBool, place)
        }
        if case .word(let word) = peek, QueryFunctions.refused.contains(word) {
            throw QueryError("at \(place): \(word) is not of this subset of PromQL")
        }
        return left
    }

    private func joined(
        _ name: String, _ left: Expression, _ right: Expression, _ matching: VectorMatching?, _ isBool: Bool,
        _ place: Int
    ) throws(QueryError) -> Expression {
        for side in [left, right] where side.kind == .matrix || side.kind == .string {
            throw QueryError("at \(place): \(name) is not defined for a \(side.kind.rawValue)")
        }
        let isScalar = left.kind == .scalar || right.kind == .scalar
        if Self.sets.contains(name), isScalar { throw QueryError("at \(place): \(name) is for vectors") }
        if matching != nil, isScalar { throw QueryError("at \(place): on and ignoring are for vectors") }
        if Self.comparisons.contains(name), left.kind == .scalar, right.kind == .scalar, !isBool {
            throw QueryError("at \(place): a comparison of two scalars needs bool")
        }
        return .binary(name, left, right, matching ?? VectorMatching(), isBool: isBool)
    }

    private mutating func matching(_ name: String) throws(QueryError) -> VectorMatching? {
        var matching = VectorMatching()
        if takes(word: "on") {
            matching.isOn = true
        } else if !takes(word: "ignoring") {
            return nil
        }
        matching.labels = try labelList()
        for (word, group) in [("group_left", VectorMatching.Group.left), ("group_right", .right)]
        where takes(word: word) {
            guard !Self.sets.contains(name) else { throw QueryError("at \(place): \(word) is not for \(name)") }
            matching.group = group
            if peek == .symbol("(") { matching.included = try labelList() }
        }
        return matching
    }

    private mutating func labelList() throws(QueryError) -> [String] {
        try expect("(")
        var labels: [String] = []
        while !takes(")") {
            guard case .word(let label) = take(), !label.contains(":") else {
                position -= 1
                throw unexpected("a label")
            }
            labels.append(label)
            if !takes(",") {
                try expect(")")
                break
            }
        }
        return labels
    }

    private mutating func unary() throws(QueryError) -> Expression {
        if takes("+") { return try expression(5) }
        if takes("-") {
            let inner = try expression(5)
            guard inner.kind == .scalar || inner.kind == .vector else {
                throw QueryError("at \(place): a \(inner.kind.rawValue) has no sign")
            }
            if case .number(let value) = inner { return .number(-value) }
            return .negate(inner)
        }
        return try postfix(try primary())
    }

    // MARK: Operands

    private mutating func primary() throws(QueryError) -> Expression {
        switch peek {
        case .number(let value):
            position += 1
            return .number(value)
        case .string(let text):
            position += 1
            return .string(text)
        case .duration: throw QueryError("at \(place): a time stands in [] or behind offset")
        case .symbol("("):
            position += 1
            let inner = try expression(0)
            try expect(")")
            return inner
        case .symbol("{"): return try selector(nil)
        case .word(let word):
            position += 1
            return try named(word)
        default: throw unexpected("an expression")
        }
    }

    private mutating func named(_ word: String) throws(QueryError) -> Expression {
        switch word.lowercased() {
        case "inf": return .number(.infinity)
        case "nan": return .number(.nan)
        default: break
        }
        let isCall = peek == .symbol("(")
        if QueryFunctions.aggregations.contains(word.lowercased()) {
            if isCall { return try aggregation(word.lowercased()) }
            if case .word(let next) = peek, ["by", "without"].contains(next.lowercased()) {
                return try aggregation(word.lowercased())
            }
        }
        guard isCall else { return try selector(word) }
        return try call(word)
    }

    private mutating func call(_ name: String) throws(QueryError) -> Expression {
        guard let signature = QueryFunctions.known[name] else {
            let isKnown = QueryFunctions.refused.contains(name)
            throw QueryError("at \(place): \(name) is \(isKnown ? "not of this subset of PromQL" : "no function")")
        }
        let arguments = try arguments()
        let least = signature.arguments.count - signature.optional
        guard arguments.count >= least, arguments.count <= signature.arguments.count else {
            throw QueryError("\(name) takes \(least) arguments, \(arguments.count) were given")
        }
        for (argument, kind) in zip(arguments, signature.arguments) where argument.kind != kind {
            throw QueryError("\(name) takes a \(kind.rawValue), a \(argument.kind.rawValue) was given")
        }
        return .call(name, arguments)
    }

    private mutating func arguments() throws(QueryError) -> [Expression] {
        try expect("(")
        var arguments: [Expression] = []
        while !takes(")") {
            arguments.append(try expression(0))
            if !takes(",") {
                try expect(")")
                break
            }
        }
        return arguments
    }

    private mutating func aggregation(_ name: String) throws(QueryError) -> Expression {
        var grouping = try grouping()
        let arguments = try arguments()
        if grouping == nil { grouping = try self.grouping() }
        let hasParameter = QueryFunctions.withParameter.contains(name)
        guard arguments.count == (hasParameter ? 2 : 1), let inner = arguments.last else {
            throw QueryError("\(name) takes \(hasParameter ? 2 : 1) arguments, \(arguments.count) were given")
        }
        guard inner.kind == .vector else {
            throw QueryError("\(name) takes an instant vector, a \(inner.kind.rawValue) was given")
        }
        if hasParameter, arguments[0].kind != .scalar {
            throw QueryError("\(name) takes a scalar first, a \(arguments[0].kind.rawValue) was given")
        }
        return .aggregate(
            name, parameter: hasParameter ? arguments[0] : nil, inner, labels: grouping?.labels ?? [],
            isWithout: grouping?.isWithout ?? false)
    }

    private mutating func grouping() throws(QueryError) -> (labels: [String], isWithout: Bool)? {
        if takes(word: "by") { return (try labelList(), false) }
        if takes(word: "without") { return (try labelList(), true) }
        return nil
    }

    private mutating func selector(_ name: String?) throws(QueryError) -> Expression {
        var matchers: [LabelMatcher] = []
        if let name { matchers.append(try LabelMatcher(Labels.metricName, .equal, name)) }
        if takes("{") {
            while !takes("}") {
                guard case .word(let label) = take() else {
                    position -= 1
                    throw unexpected("a label")
                }
                guard case .symbol(let symbol) = take(), let operation = LabelMatcher.Operation(rawValue: symbol) else {
                    position -= 1
                    throw unexpected("=, !=, =~ or !~")
                }
                guard case .string(let value) = take() else {
                    position -= 1
                    throw unexpected("a text")
                }
                matchers.append(try LabelMatcher(label, operation, value))
                if !takes(",") {
                    try expect("}")
                    break
                }
            }
        }
        guard matchers.contains(where: { !$0.fits("") }) else {
            throw QueryError("at \(place): a selector needs a condition that not everything fulfils")
        }
        selectors.append(SeriesSelector(number: selectors.count, matchers: matchers))
        return .selector(selectors[selectors.count - 1])
    }

    private var isSubquery: Bool {
        switch peek {
        case .symbol(let symbol): symbol == ":"
        case .word(let word): word.hasPrefix(":")
        default: false
        }
    }

    private mutating func postfix(_ operand: Expression) throws(QueryError) -> Expression {
        var operand = operand
        while true {
            if takes("[") {
                guard case .duration(let range) = take(), range > 0 else {
                    position -= 1
                    throw unexpected("a time like 5m")
                }
                if isSubquery { throw QueryError("at \(place): subqueries are not of this subset of PromQL") }
                try expect("]")
                guard case .selector(var selector) = operand, selector.range == nil, selector.offset == 0 else {
                    throw QueryError(
                        "at \(place): a range is for a selector; subqueries are not of this subset of PromQL")
                }
                selector.range = range
                selectors[selector.number] = selector
                operand = .selector(selector)
            } else if takes(word: "offset") {
                let isNegative = takes("-")
                guard case .duration(let offset) = take() else {
                    position -= 1
                    throw unexpected("a time like 5m")
                }
                guard case .selector(var selector) = operand, selector.offset == 0 else {
                    throw QueryError("at \(place): offset is for a selector")
                }
                selector.offset = isNegative ? -offset : offset
                selectors[selector.number] = selector
                operand = .selector(selector)
            } else if peek == .symbol("@") {
                throw QueryError("at \(place): @ is not of this subset of PromQL")
            } else {
                return operand
            }
        }
    }
}
