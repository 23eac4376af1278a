extension CELExpression {
    /// The expression as text: for messages and explanations.
    ///
    /// A loop is told by what it walks.
    public var text: String { text(0) }

    private static let binary: [String: (sign: String, precedence: Int)] = [
        "_||_": ("||", 1), "_&&_": ("&&", 2), "_==_": ("==", 3), "_!=_": ("!=", 3), "_<_": ("<", 3), "_<=_": ("<=", 3),
        "_>_": (">", 3), "_>=_": (">=", 3), "@in": ("in", 3), "_in_": ("in", 3), "in": ("in", 3), "_+_": ("+", 4),
        "_-_": ("-", 4), "_*_": ("*", 5), "_/_": ("/", 5), "_%_": ("%", 5),
    ]

    /// - Parameter outer: The precedence around it; a lower one of its own needs parentheses.
    private func text(_ outer: Int) -> String {
        func list(_ parts: [CELExpression]) -> String { parts.map { $0.text(0) }.joined(separator: ", ") }
        switch self {
        case .constant(let constant): return Self.text(constant)
        case .identifier(let name): return name
        case .select(let operand, let field, false): return "\(operand.text(7)).\(Self.field(field))"
        case .select(let operand, let field, true): return "has(\(operand.text(7)).\(Self.field(field)))"
        case .list(let elements): return "[\(list(elements))]"
        case .map(let entries):
            let shown = entries.map { entry in
                guard case .call(nil, CELLibrary.optionalPart.rawValue, let inner) = entry.value,
                    let value = inner.first
                else { return "\(entry.key.text(0)): \(entry.value.text(0))" }
                return "?\(entry.key.text(0)): \(value.text(0))"
            }
            return "{\(shown.joined(separator: ", "))}"
        case .comprehension(let loop): return "\(loop.range.text(7)).(loop over \(loop.variable))"
        case .call(let target?, let function, let arguments):
            return "\(target.text(7)).\(function)(\(list(arguments)))"
        case .call(nil, let function, let arguments):
            if arguments.count == 2, let (sign, precedence) = Self.binary[function] {
                // How a chain of && or || is balanced is not told.
                let right = precedence <= 2 ? precedence : precedence + 1
                let text = "\(arguments[0].text(precedence)) \(sign) \(arguments[1].text(right))"
                return precedence < outer ? "(\(text))" : text
            }
            switch (function, arguments.count) {
            case ("!_", 1):
                let text = "!\(arguments[0].text(6))"
                return outer > 6 ? "(\(text))" : text
            // Two signs side by side, or one before a number, would be read as something else.
            case (CELLibrary.optionalPart.rawValue, 1): return "?\(arguments[0].text(0))"
            case ("-_", 1):
                let text = "-(\(arguments[0].text(0)))"
                return outer > 6 ? "(\(text))" : text
            case ("_[_]", 2): return "\(arguments[0].text(7))[\(arguments[1].text(0))]"
            case ("_?_:_", 3):
                let text = "\(arguments[0].text(1)) ? \(arguments[1].text(1)) : \(arguments[2].text(0))"
                return outer > 0 ? "(\(text))" : text
            default: return "\(function)(\(list(arguments)))"
            }
        }
    }

    private static func field(_ name: String) -> String {
        let isPlain = name.utf8.allSatisfy { ($0 | 0x20) &- 97 < 26 || $0 == UInt8(ascii: "_") || $0 &- 48 < 10 }
        let isWord = ["in", "true", "false", "null"].contains(name) || name.first?.isNumber != false
        return isPlain && !isWord ? name : "`\(name)`"
    }

    private static func text(_ constant: CELConstant) -> String {
        switch constant {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .int(let value): "\(value)"
        case .uint(let value): "\(value)u"
        case .double(let value): "\(value)"
        case .string(let value): quoted(value)
        case .bytes(let value): "b\"" + value.map { "\\x" + hex($0) }.joined() + "\""
        case .duration(let value): "duration(\"\(CELTime.text(value))\")"
        case .timestamp(let value): "timestamp(\"\(value)\")"
        }
    }

    private static func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

    /// A text in quotes.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    result += "\\x" + hex(UInt8(scalar.value))
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}
