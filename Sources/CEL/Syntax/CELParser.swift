extension CELExpression {
    /// Reads an expression.
    ///
    /// - Throws: What is wrong with the text, and where. `CELLimits` bound its length, nodes and nesting.
    public init(parsing text: String) throws(CELSyntaxError) {
        guard text.utf8.count <= CELLimits.textBytes else {
            throw CELSyntaxError("\(text.utf8.count) bytes long, more than \(CELLimits.textBytes) are not taken")
        }
        var parser = CELParser(text)
        self = try parser.whole()
    }
}

/// CEL's grammar by recursive descent; binary operators by their precedence.
struct CELParser {
    /// An expression with how deep it is nested, so that no chain of operators becomes a tree too deep to walk.
    struct Tree {
        var node: CELExpression
        var height: Int
    }

    private var lexer: CELLexer
    private var token = CELLexer.Token.end
    private var depth = 0
    private var nodes = 0

    init(_ text: String) { lexer = CELLexer(text) }

    mutating func whole() throws(CELSyntaxError) -> CELExpression {
        try advance()
        guard token != .end else { throw lexer.error("the expression is empty") }
        let tree = try expression()
        guard token == .end else { throw unexpected("an operator") }
        return tree.node
    }

    // MARK: Words

    private mutating func advance() throws(CELSyntaxError) { token = try lexer.next() }

    private mutating func take(_ sign: String) throws(CELSyntaxError) -> Bool {
        guard token == .sign(sign) else { return false }
        try advance()
        return true
    }

    private mutating func expect(_ sign: String) throws(CELSyntaxError) {
        guard try take(sign) else { throw unexpected("\"\(sign)\"") }
    }

    private func unexpected(_ wanted: String) -> CELSyntaxError {
        let found =
            switch token {
            case .identifier(let name): "\"\(name)\""
            case .int, .uint, .double: "a number"
            case .string: "a text"
            case .bytes: "bytes"
            case .sign(let sign): "\"\(sign)\""
            case .end: "the end"
            }
        return lexer.error("\(wanted) was expected instead of \(found)")
    }

    /// A node over others.
    mutating func make(_ node: CELExpression, _ children: [Tree]) throws(CELSyntaxError) -> Tree {
        nodes += 1
        guard nodes <= CELLimits.nodes else { throw lexer.error("has more than \(CELLimits.nodes) nodes") }
        let height = 1 + (children.map(\.height).max() ?? 0)
        guard height <= CELLimits.nesting else { throw tooDeep }
        return Tree(node: node, height: height)
    }

    private var tooDeep: CELSyntaxError { lexer.error("is nested more than \(CELLimits.nesting) deep") }

    /// An error at the word that was read last.
    func error(_ problem: String) -> CELSyntaxError { lexer.error(problem) }

    // MARK: Operators

    private mutating func expression() throws(CELSyntaxError) -> Tree {
        depth += 1
        defer { depth -= 1 }
        guard depth <= CELLimits.nesting else { throw tooDeep }
        let condition = try binary(1)
        guard try take("?") else { return condition }
        let yes = try binary(1)
        try expect(":")
        let no = try expression()
        return try call("_?_:_", [condition, yes, no])
    }

    private mutating func call(_ function: String, _ operands: [Tree]) throws(CELSyntaxError) -> Tree {
        try make(.call(target: nil, function: function, arguments: operands.map(\.node)), operands)
    }

    /// The operator that stands here, with its precedence.
    private var operation: (function: String, precedence: Int)? {
        switch token {
        case .identifier("in"): return ("@in", 3)
        case .sign(let sign):
            switch sign {
            case "||": return ("_||_", 1)
            case "&&": return ("_&&_", 2)
            case "==", "!=", "<", "<=", ">", ">=": return ("_\(sign)_", 3)
            case "+", "-": return ("_\(sign)_", 4)
            case "*", "/", "%": return ("_\(sign)_", 5)
            default: return nil
            }
        default: return nil
        }
    }

    private mutating func binary(_ lowest: Int) throws(CELSyntaxError) -> Tree {
        var left = try unary()
        while let found = operation, found.precedence >= lowest {
            if found.precedence <= 2 {
                // Chains of && and || are balanced: they are long in practice, and their order of evaluation is not told.
                var parts = [left]
                while operation?.function == found.function {
                    try advance()
                    parts.append(try binary(found.precedence + 1))
                }
                left = try balanced(found.function, parts[...])
            } else {
                try advance()
                let right = try binary(found.precedence + 1)
                left = try call(found.function, [left, right])
            }
        }
        return left
    }

    private mutating func balanced(
        _ function: String, _ parts: ArraySlice<Tree>
    ) throws(CELSyntaxError) -> Tree {
        if let only = parts.first, parts.count == 1 { return only }
        let middle = parts.startIndex + parts.count / 2
        return try call(function, [try balanced(function, parts[..<middle]), try balanced(function, parts[middle...])])
    }

    private mutating func unary() throws(CELSyntaxError) -> Tree {
        guard case .sign(let sign) = token, sign == "!" || sign == "-" else { return try member() }
        depth += 1
        defer { depth -= 1 }
        guard depth <= CELLimits.nesting else { throw tooDeep }
        try advance()
        if sign == "-" {
            // The smallest number has no positive one.
            switch token {
            case .int(let value) where value <= UInt64(Int64.max) + 1:
                try advance()
                return try members(of: make(.constant(.int(Int64(truncatingIfNeeded: 0 &- value))), []))
            case .double(let value):
                try advance()
                return try members(of: make(.constant(.double(-value)), []))
            default: break
            }
        }
        let operand = try unary()
        return try call(sign == "!" ? "!_" : "-_", [operand])
    }

    // MARK: Members

    private mutating func member() throws(CELSyntaxError) -> Tree { try members(of: primary()) }

    private mutating func members(of first: Tree) throws(CELSyntaxError) -> Tree {
        var tree = first
        while true {
            if try take(".") {
                let isOptional = try take("?")
                guard case .identifier(let name) = token else { throw unexpected("a name") }
                guard !["in", "true", "false", "null"].contains(name) else { throw unexpected("a name") }
                try advance()
                if isOptional {
                    let field = try make(
                        .constant(.string(name.hasPrefix("`") ? String(name.dropFirst()) : name)), [])
                    tree = try call(CELLibrary.optionalMember.rawValue, [tree, field])
                } else if name.hasPrefix("`") {
                    tree = try make(.select(tree.node, field: String(name.dropFirst()), isTest: false), [tree])
                } else if try take("(") {
                    let arguments = try list(until: ")")
                    tree =
                        try macro(name, on: tree, arguments)
                        ?? make(
                            .call(target: tree.node, function: name, arguments: arguments.map(\.node)),
                            [tree] + arguments)
                } else {
                    tree = try make(.select(tree.node, field: name, isTest: false), [tree])
                }
            } else if try take("[") {
                let isOptional = try take("?")
                let key = try expression()
                try expect("]")
                tree = try call(isOptional ? CELLibrary.optionalElement.rawValue : "_[_]", [tree, key])
            } else if token == .sign("{"), Self.isName(tree.node) {
                throw lexer.error("messages cannot be made")
            } else {
                return tree
            }
        }
    }

    private static func isName(_ node: CELExpression) -> Bool {
        switch node {
        case .identifier: true
        case .select(let operand, _, false): isName(operand)
        default: false
        }
    }

    /// An element or value of a literal that is left out when it has no value.
    private mutating func optional(_ value: Tree) throws(CELSyntaxError) -> Tree {
        try call(CELLibrary.optionalPart.rawValue, [value])
    }

    /// Expressions with commas; a comma may stand behind the last of a list, and a question mark before each of its elements.
    private mutating func list(until close: String) throws(CELSyntaxError) -> [Tree] {
        var elements: [Tree] = []
        while try !take(close) {
            if !elements.isEmpty {
                try expect(",")
                if close == "]", try take(close) { break }
            }
            let isOptional = close == "]" ? try take("?") : false
            let element = try expression()
            elements.append(isOptional ? try optional(element) : element)
        }
        return elements
    }

    private static let reserved: Set<String> = [
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
        "namespace", "return", "var", "void", "while", "in",
    ]

    private mutating func primary() throws(CELSyntaxError) -> Tree {
        let first = token
        switch first {
        case .int(let value):
            guard let value = Int64(exactly: value) else { throw lexer.error("\(value) is more than 64 bits") }
            return try literal(.int(value))
        case .uint(let value): return try literal(.uint(value))
        case .double(let value): return try literal(.double(value))
        case .string(let value): return try literal(.string(value))
        case .bytes(let value): return try literal(.bytes(value))
        case .identifier("true"): return try literal(.bool(true))
        case .identifier("false"): return try literal(.bool(false))
        case .identifier("null"): return try literal(.null)
        case .identifier: return try name()
        case .sign("."):
            // A leading dot asks for the outermost name, and there is no other.
            try advance()
            guard case .identifier = token else { throw unexpected("a name") }
            return try name()
        case .sign("("):
            try advance()
            let inner = try expression()
            try expect(")")
            return inner
        case .sign("["):
            try advance()
            let elements = try list(until: "]")
            return try make(.list(elements.map(\.node)), elements)
        case .sign("{"):
            try advance()
            return try map()
        default: throw unexpected("a value")
        }
    }

    private mutating func literal(_ constant: CELConstant) throws(CELSyntaxError) -> Tree {
        try advance()
        return try make(.constant(constant), [])
    }

    private mutating func name() throws(CELSyntaxError) -> Tree {
        guard case .identifier(let name) = token else { throw unexpected("a name") }
        guard !Self.reserved.contains(name), !name.hasPrefix("`") else {
            throw lexer.error("\"\(name)\" is a reserved word")
        }
        try advance()
        guard try take("(") else { return try make(.identifier(name), []) }
        // The names that operators have in messages cannot be written.
        guard !name.hasPrefix("_") else { throw lexer.error("\(name)() is no function") }
        let arguments = try list(until: ")")
        if name == "has" {
            guard arguments.count == 1, case .select(let operand, let field, false) = arguments[0].node else {
                throw lexer.error("has() takes one field: has(a.b)")
            }
            return try make(.select(operand, field: field, isTest: true), arguments)
        }
        return try make(.call(target: nil, function: name, arguments: arguments.map(\.node)), arguments)
    }

    private mutating func map() throws(CELSyntaxError) -> Tree {
        var entries: [CELEntry] = []
        var parts: [Tree] = []
        while try !take("}") {
            if !entries.isEmpty {
                try expect(",")
                if try take("}") { break }
            }
            let isOptional = try take("?")
            let key = try expression()
            try expect(":")
            var value = try expression()
            if isOptional { value = try optional(value) }
            entries.append(CELEntry(key: key.node, value: value.node))
            parts += [key, value]
        }
        return try make(.map(entries), parts)
    }
}
