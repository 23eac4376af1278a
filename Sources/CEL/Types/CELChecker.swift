extension CELExpression {
    /// The type of an expression about variables of known types.
    ///
    /// Only what certainly has no value is refused, in cel-go's words: a member that an object has not, an operator or function that does not take
    /// what it is given. Where something is not known (`dyn`, results of library functions, `null`) anything may be.
    public func type(_ variables: [String: CELType]) throws(CELSyntaxError) -> CELType {
        var checker = CELChecker(variables: variables)
        return try checker.type(self)
    }
}

/// Finds the types of expressions.
///
/// Their depth and nodes are bounded by the parser.
private struct CELChecker {
    var variables: [String: CELType]

    mutating func type(_ expression: CELExpression) throws(CELSyntaxError) -> CELType {
        switch expression {
        case .constant(let constant): return Self.type(constant)
        case .identifier(let name): return variables[name] ?? .dyn
        case .select(let operand, let field, let isTest):
            let member = try member(try type(operand), field)
            return isTest ? .bool : member
        case .list(let elements):
            var whole: CELType?
            for element in elements {
                let type = try part(element)
                whole = whole.map { $0.joined(type) } ?? type
            }
            return .list(whole ?? .dyn)
        case .map(let entries):
            var whole: CELType?
            for entry in entries {
                _ = try type(entry.key)
                let value = try part(entry.value)
                whole = whole.map { $0.joined(value) } ?? value
            }
            return .map(whole ?? .dyn)
        case .comprehension(let loop): return try type(loop)
        case .call(let target, let function, let arguments):
            return try call(target, function, arguments)
        }
    }

    private static func type(_ constant: CELConstant) -> CELType {
        switch constant {
        case .null: .null
        case .bool: .bool
        case .int: .int
        case .uint: .uint
        case .double: .double
        case .string: .string
        case .bytes: .bytes
        case .duration: .duration
        case .timestamp: .timestamp
        }
    }

    /// An element or value of a literal, which may be one that is left out.
    private mutating func part(_ expression: CELExpression) throws(CELSyntaxError) -> CELType {
        guard case .call(nil, CELLibrary.optionalPart.rawValue, let operands) = expression, let only = operands.first
        else { return try type(expression) }
        switch try type(only) {
        case .optional(let value): return value
        case .dyn: return .dyn
        case let other: throw CELSyntaxError("expected type 'optional_type(\(other.text))' but found '\(other.text)'")
        }
    }

    private func member(_ operand: CELType, _ field: String) throws(CELSyntaxError) -> CELType {
        switch operand {
        case .dyn: return .dyn
        case .map(let value): return value
        case .object(let members):
            guard let member = members[field] else { throw CELSyntaxError("undefined field '\(field)'") }
            return member
        case .optional(let value):
            let member = try member(value, field)
            if case .optional = member { return member }
            return .optional(member)
        default: throw CELSyntaxError("type '\(operand.text)' does not support field selection")
        }
    }

    // MARK: Loops

    private mutating func type(_ loop: CELComprehension) throws(CELSyntaxError) -> CELType {
        let range = try type(loop.range)
        let place: CELType
        let element: CELType
        switch range {
        case .list(let inner): (place, element) = (.int, inner)
        case .map(let inner): (place, element) = (inner == .dyn ? .dyn : .string, inner)
        case .dyn: (place, element) = (.dyn, .dyn)
        default:
            throw CELSyntaxError(
                "expression of type '\(range.text)' cannot be range of a comprehension (must be list, map, or dynamic)")
        }
        let start = try type(loop.start)
        let before = variables
        defer { variables = before }
        variables[loop.accumulator] = start
        if let second = loop.second {
            (variables[loop.variable], variables[second]) = (place, element)
        } else if case .map = range {
            variables[loop.variable] = place
        } else {
            variables[loop.variable] = element
        }
        _ = try type(loop.condition)
        let step = try type(loop.step)
        variables = before
        variables[loop.accumulator] = start.joined(step)
        return try type(loop.result)
    }

    // MARK: Calls

    private func mismatch(_ name: String, _ operands: [CELType], isMember: Bool = false) -> CELSyntaxError {
        let shown = operands.map(\.text)
        let list =
            isMember
            ? "\(shown.first ?? "").(\(shown.dropFirst().joined(separator: ", ")))"
            : "(\(shown.joined(separator: ", ")))"
        return CELSyntaxError("found no matching overload for '\(name)' applied to '\(list)'")
    }

    private mutating func call(
        _ target: CELExpression?, _ name: String, _ arguments: [CELExpression]
    ) throws(CELSyntaxError) -> CELType {
        if case .identifier(let space)? = target, variables[space] == nil, CELLibrary.namespaces.contains(space) {
            return try library(space, name, arguments)
        }
        var operands: [CELType] = []
        if let target { operands.append(try type(target)) }
        for argument in arguments { operands.append(try type(argument)) }
        if target == nil, let type = try operation(name, operands, arguments) { return type }
        return try function(name, operands, isMember: target != nil)
    }

    private mutating func library(
        _ space: String, _ name: String, _ arguments: [CELExpression]
    ) throws(CELSyntaxError) -> CELType {
        var operands: [CELType] = []
        for argument in arguments { operands.append(try type(argument)) }
        switch (space, name) {
        case ("optional", "none"): return .optional(.dyn)
        case ("optional", _): return .optional(operands.first ?? .dyn)
        case ("sets", _), ("ip", "isCanonical"): return .bool
        case ("strings", "quote"): return .string
        default: return .dyn
        }
    }

    private func operation(
        _ name: String, _ operands: [CELType], _ arguments: [CELExpression]
    ) throws(CELSyntaxError) -> CELType? {
        func isEither(_ type: CELType, _ wanted: [CELType]) -> Bool { type == .dyn || wanted.contains(type) }
        guard let first = operands.first else { return nil }
        let second = operands.count > 1 ? operands[1] : .dyn
        switch (name, operands.count) {
        case ("_&&_", 2), ("_||_", 2), ("!_", 1):
            guard operands.allSatisfy({ isEither($0, [.bool]) }) else { throw mismatch(name, operands) }
            return .bool
        case ("@not_strictly_false", 1): return .bool
        case ("-_", 1):
            guard isEither(first, [.int, .double]) else { throw mismatch(name, operands) }
            return first
        case ("_?_:_", 3):
            guard isEither(first, [.bool]) else { throw mismatch(name, operands) }
            return second.joined(operands[2])
        case ("_==_", 2), ("_!=_", 2):
            guard first.meets(second) else { throw mismatch(name, operands) }
            return .bool
        case ("_<_", 2), ("_<=_", 2), ("_>_", 2), ("_>=_", 2):
            let ordered: [CELType] = [.bool, .int, .uint, .double, .string, .bytes, .timestamp, .duration]
            guard isEither(first, ordered), isEither(second, ordered),
                first == .dyn || second == .dyn || first == second || (first.isNumber && second.isNumber)
            else { throw mismatch(name, operands) }
            return .bool
        case ("@in", 2):
            switch second {
            case .dyn: return .bool
            case .list(let element):
                guard first.meets(element) else { throw mismatch(name, operands) }
                return .bool
            case .map(let value):
                guard value == .dyn || isEither(first, [.string]) else { throw mismatch(name, operands) }
                return .bool
            default: throw mismatch(name, operands)
            }
        case ("_+_", 2), ("_-_", 2), ("_*_", 2), ("_/_", 2), ("_%_", 2): return try sum(name, first, second)
        case ("_[_]", 2):
            return try element(first, second, arguments)
        case (CELLibrary.optionalMember.rawValue, 2), (CELLibrary.optionalElement.rawValue, 2):
            let found = try element(first, second, arguments)
            if case .optional = found { return found }
            return .optional(found)
        default: return name.hasPrefix("@") ? .dyn : nil
        }
    }

    private func sum(_ name: String, _ first: CELType, _ second: CELType) throws(CELSyntaxError) -> CELType {
        switch (first, second) {
        case (.dyn, .dyn): return .dyn
        // A time and a length of time make something else, each with the other.
        case (.dyn, let known), (let known, .dyn): return [.timestamp, .duration].contains(known) ? .dyn : known
        case (.list, .list) where name == "_+_": return first.joined(second)
        case (.string, .string) where name == "_+_", (.bytes, .bytes) where name == "_+_": return first
        case (.timestamp, .duration) where name != "_*_" && name != "_/_" && name != "_%_": return .timestamp
        case (.duration, .timestamp) where name == "_+_": return .timestamp
        case (.timestamp, .timestamp) where name == "_-_": return .duration
        case (.duration, .duration) where name == "_+_" || name == "_-_": return .duration
        case (.double, .double) where name != "_%_": return .double
        case (.int, .int), (.uint, .uint): return first
        default: throw mismatch(name, [first, second])
        }
    }

    /// `a[b]` and `a.?b`.
    private func element(
        _ operand: CELType, _ key: CELType, _ arguments: [CELExpression]
    ) throws(CELSyntaxError) -> CELType {
        switch operand {
        case .dyn: return .dyn
        case .list(let element): return element
        case .map(let value): return value
        case .object:
            guard arguments.count == 2, case .constant(.string(let field)) = arguments[1] else {
                throw mismatch("_[_]", [operand, key])
            }
            return try member(operand, field)
        case .optional(let value):
            let found = try element(value, key, arguments)
            if case .optional = found { return found }
            return .optional(found)
        default: throw mismatch("_[_]", [operand, key])
        }
    }

    /// What functions of texts make of them, their other operands being texts, too.
    private static let textFunctions: [String: CELType] = [
        "startsWith": .bool, "endsWith": .bool, "contains": .bool, "matches": .bool, "split": .list(.string),
        "lowerAscii": .string, "upperAscii": .string, "trim": .string, "reverse": .string, "charAt": .string,
        "substring": .string, "replace": .string, "find": .string, "findAll": .list(.string),
    ]
    private static let results: [String: CELType] = [
        "int": .int, "uint": .uint, "double": .double, "string": .string, "bytes": .bytes, "bool": .bool,
        "duration": .duration, "timestamp": .timestamp, "isQuantity": .bool, "isIP": .bool, "isCIDR": .bool,
        "isURL": .bool, "isSemver": .bool, "hasValue": .bool, "isSorted": .bool, "join": .string,
        "isLessThan": .bool, "isGreaterThan": .bool,
    ]

    private func function(_ name: String, _ operands: [CELType], isMember: Bool) throws(CELSyntaxError) -> CELType {
        guard let first = operands.first else { return .dyn }
        switch name {
        case "size":
            switch first {
            case .bool, .int, .uint, .double, .timestamp, .duration: throw mismatch(name, operands, isMember: isMember)
            default: return .int
            }
        case "matches",
            _ where isMember && Self.textFunctions[name] != nil:
            let arguments =
                ["startsWith", "endsWith", "contains", "matches"].contains(name) ? operands[...] : operands.prefix(1)
            guard arguments.allSatisfy({ $0 == .dyn || $0 == .string }) else {
                throw mismatch(name, operands, isMember: isMember)
            }
            return Self.textFunctions[name] ?? .dyn
        case "indexOf", "lastIndexOf":
            switch first {
            case .dyn, .string, .list: return .int
            default: throw mismatch(name, operands, isMember: isMember)
            }
        case "value", "orValue":
            guard case .optional(let value) = first else { return .dyn }
            return value
        case "or": return first
        default: return Self.results[name] ?? .dyn
        }
    }
}
