// The macros that loop, written out as CEL's specification writes them.
extension CELParser {
    /// The name of what a macro gathers: nobody can write it.
    private static let accumulator = "@result"

    /// `target.name(arguments)` where it is a macro; nil where it is a call.
    mutating func macro(_ name: String, on target: Tree, _ arguments: [Tree]) throws(CELSyntaxError) -> Tree? {
        if name == "optMap" || name == "optFlatMap" { return try optional(name, target, arguments) }
        if let loop = try placed(name, target, arguments) { return loop }
        let counts: ClosedRange<Int>
        switch name {
        case "all", "exists", "exists_one", "existsOne", "filter": counts = 2...2
        case "map": counts = 2...3
        default: return nil
        }
        guard counts.contains(arguments.count) else { return nil }
        guard case .identifier(let variable) = arguments[0].node else {
            throw error("\(name)() takes the name of a variable first")
        }
        let gathered = CELExpression.identifier(Self.accumulator)
        let body = arguments[1].node
        let loop: CELComprehension
        func call(_ function: String, _ operands: CELExpression...) -> CELExpression {
            .call(target: nil, function: function, arguments: operands)
        }
        func comprehension(
            _ start: CELExpression, _ condition: CELExpression, _ step: CELExpression, _ result: CELExpression
        ) -> CELComprehension {
            CELComprehension(
                variable: variable, range: target.node, accumulator: Self.accumulator, start: start,
                condition: condition, step: step, result: result)
        }
        let always = CELExpression.constant(.bool(true))
        switch name {
        case "all":
            loop = comprehension(
                always, call("@not_strictly_false", gathered), call("_&&_", gathered, body), gathered)
        case "exists":
            loop = comprehension(
                .constant(.bool(false)), call("@not_strictly_false", call("!_", gathered)),
                call("_||_", gathered, body), gathered)
        case "exists_one", "existsOne":
            loop = comprehension(
                .constant(.int(0)), always,
                call("_?_:_", body, call("_+_", gathered, .constant(.int(1))), gathered),
                call("_==_", gathered, .constant(.int(1))))
        case "filter":
            loop = comprehension(
                .list([]), always,
                call("_?_:_", body, call("_+_", gathered, .list([.identifier(variable)])), gathered), gathered)
        default:
            let value = arguments.count == 3 ? arguments[2].node : body
            let more = call("_+_", gathered, .list([value]))
            loop = comprehension(
                .list([]), always, arguments.count == 3 ? call("_?_:_", body, more, gathered) : more, gathered)
        }
        // What is written out is four deep over what it is made of.
        let inner = Tree(
            node: .comprehension(loop), height: ([target] + arguments).map(\.height).max().map { $0 + 3 } ?? 3)
        return try make(inner.node, [inner])
    }

    /// A loop that names place and element: `all(i, v, …)`, `transformMap(k, v, …)` and their like; nil where it is none.
    private mutating func placed(
        _ name: String, _ target: Tree, _ arguments: [Tree]
    ) throws(CELSyntaxError) -> Tree? {
        let counts: ClosedRange<Int>
        switch name {
        case "all", "exists", "exists_one", "existsOne": counts = 3...3
        case "transformList", "transformMap", "transformMapEntry": counts = 3...4
        default: return nil
        }
        guard counts.contains(arguments.count) else { return nil }
        guard case .identifier(let first) = arguments[0].node, case .identifier(let second) = arguments[1].node,
            first != second
        else { throw error("\(name)() takes the names of two variables first") }
        let gathered = CELExpression.identifier(Self.accumulator)
        let body = arguments[arguments.count - 1].node
        func call(_ function: String, _ operands: CELExpression...) -> CELExpression {
            .call(target: nil, function: function, arguments: operands)
        }
        let always = CELExpression.constant(.bool(true))
        var (start, condition, step, result) = (CELExpression.map([]), always, gathered, gathered)
        switch name {
        case "all":
            (start, condition) = (always, call("@not_strictly_false", gathered))
            step = call("_&&_", gathered, body)
        case "exists":
            (start, condition) = (.constant(.bool(false)), call("@not_strictly_false", call("!_", gathered)))
            step = call("_||_", gathered, body)
        case "exists_one", "existsOne":
            start = .constant(.int(0))
            step = call("_?_:_", body, call("_+_", gathered, .constant(.int(1))), gathered)
            result = call("_==_", gathered, .constant(.int(1)))
        case "transformList":
            start = .list([])
            step = call("_+_", gathered, .list([body]))
        case "transformMap": step = call(CELLibrary.mapInsert.rawValue, gathered, .identifier(first), body)
        default: step = call(CELLibrary.mapMerge.rawValue, gathered, body)
        }
        if arguments.count == 4 { step = call("_?_:_", arguments[2].node, step, gathered) }
        let loop = CELComprehension(
            variable: first, second: second, range: target.node, accumulator: Self.accumulator, start: start,
            condition: condition, step: step, result: result)
        let inner = Tree(
            node: .comprehension(loop), height: ([target] + arguments).map(\.height).max().map { $0 + 3 } ?? 3)
        return try make(inner.node, [inner])
    }

    /// `optMap` and `optFlatMap`: what is made of the value of an optional, where it has one.
    private mutating func optional(
        _ name: String, _ target: Tree, _ arguments: [Tree]
    ) throws(CELSyntaxError) -> Tree? {
        guard arguments.count == 2 else { return nil }
        guard case .identifier(let variable) = arguments[0].node else {
            throw error("\(name)() takes the name of a variable first")
        }
        func member(_ function: String) -> CELExpression {
            .call(target: target.node, function: function, arguments: [])
        }
        // A loop without turns: what it begins with has a name while its result is made.
        let bound = CELExpression.comprehension(
            CELComprehension(
                variable: "@unused", range: .list([]), accumulator: variable, start: member("value"),
                condition: .constant(.bool(false)), step: .identifier(variable), result: arguments[1].node))
        let space = CELExpression.identifier("optional")
        let made = name == "optMap" ? CELExpression.call(target: space, function: "of", arguments: [bound]) : bound
        let none = CELExpression.call(target: space, function: "none", arguments: [])
        let node = CELExpression.call(target: nil, function: "_?_:_", arguments: [member("hasValue"), made, none])
        let height = ([target] + arguments).map(\.height).max().map { $0 + 3 } ?? 3
        return try make(node, [Tree(node: node, height: height)])
    }
}
