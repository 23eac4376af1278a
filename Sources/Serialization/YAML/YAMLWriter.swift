/// Writes block style as `kubectl get -o yaml` does: sorted keys, lists not indented, quotes only where needed.
struct YAMLWriter {
    private(set) var text = ""

    mutating func document(_ json: JSON) {
        switch json {
        case .object(let members) where !members.isEmpty: mapping(members, indentation: 0, continuesLine: false)
        case .array(let elements) where !elements.isEmpty: sequence(elements, indentation: 0, continuesLine: false)
        default:
            scalar(json, indentation: 0)
            text += "\n"
        }
    }

    private mutating func mapping(_ members: [String: JSON], indentation: Int, continuesLine: Bool) {
        var continuesLine = continuesLine
        for (key, value) in members.sorted(by: { $0.key < $1.key }) {
            if !continuesLine { indent(indentation) }
            continuesLine = false
            self.key(key, indentation: indentation)
            switch value {
            case .object(let inner) where !inner.isEmpty:
                text += "\n"
                mapping(inner, indentation: indentation + 2, continuesLine: false)
            case .array(let elements) where !elements.isEmpty:
                text += "\n"
                sequence(elements, indentation: indentation, continuesLine: false)
            default:
                text += " "
                scalar(value, indentation: indentation + 2)
                text += "\n"
            }
        }
    }

    /// A key with its colon.
    ///
    /// Readers look for the colon of a key within 1,024 characters (YAML 1.2 §7.4.2); a longer one is announced by `?`.
    private mutating func key(_ key: String, indentation: Int) {
        let written = Self.isPlain(key) ? key : Self.quoted(key)
        if written.utf8.count > 1024 {
            text += "? " + written + "\n"
            indent(indentation)
        } else {
            text += written
        }
        text += ":"
    }

    private mutating func sequence(_ elements: [JSON], indentation: Int, continuesLine: Bool) {
        var continuesLine = continuesLine
        for element in elements {
            if !continuesLine { indent(indentation) }
            continuesLine = false
            text += "- "
            switch element {
            case .object(let members) where !members.isEmpty:
                mapping(members, indentation: indentation + 2, continuesLine: true)
            case .array(let inner) where !inner.isEmpty:
                sequence(inner, indentation: indentation + 2, continuesLine: true)
            default:
                scalar(element, indentation: indentation + 2)
                text += "\n"
            }
        }
    }

    private mutating func scalar(_ value: JSON, indentation: Int) {
        guard case .string(let string) = value else {
            text += value.text  // Numbers, booleans, null, [] and {} are written as in JSON.
            return
        }
        if Self.isPlain(string) {
            text += string
        } else if Self.fitsLiteral(string) {
            literal(string, indentation: indentation)
        } else {
            text += Self.quoted(string)
        }
    }

    private mutating func literal(_ string: String, indentation: Int) {
        var lines = string.split(separator: "\n", omittingEmptySubsequences: false)
        let ends = string.hasSuffix("\n")
        if ends { lines.removeLast() }
        text += ends ? (string == "\n" || string.hasSuffix("\n\n") ? "|+" : "|") : "|-"
        for line in lines {
            text += "\n"
            if !line.isEmpty {
                indent(max(indentation, 2))
                text += line
            }
        }
    }

    private mutating func indent(_ count: Int) { text += String(repeating: " ", count: count) }

    /// Whether it can be a literal block: several lines, nothing to escape, and nothing that depends on the spaces at
    /// the begin or end of a line.
    private static func fitsLiteral(_ string: String) -> Bool {
        guard string.utf8.contains(0x0A), let first = string.utf8.first, first != 0x20, first != 0x0A, first != 0x09
        else { return false }
        guard string.unicodeScalars.allSatisfy({ $0 == "\n" || $0 == "\t" || isPrintable($0) }) else { return false }
        return !string.split(separator: "\n").contains { $0.hasSuffix(" ") || $0.hasSuffix("\t") }
    }

    /// Whether it can stand without quotes and is still read as this string, by us and by readers of YAML 1.1.
    private static func isPlain(_ string: String) -> Bool {
        guard let first = string.unicodeScalars.first, let last = string.unicodeScalars.last else { return false }
        guard YAMLScalar.resolve(string) == .string(string), !["y", "Y", "n", "N", "<<", "="].contains(string) else {
            return false
        }
        guard !"-?:,[]{}#&*!|>'\"%@` ".unicodeScalars.contains(first) || startsPlain(string), last != " ", last != ":"
        else {
            return false
        }
        guard !string.hasPrefix("---"), !string.hasPrefix("...") else { return false }
        guard !string.contains(": "), !string.contains(" #") else { return false }
        guard string.unicodeScalars.allSatisfy(isPrintable) else { return false }
        return !looksLikeNumber(string)
    }

    /// `-x`, `?x` and `:x` are plain as long as no space follows the first character.
    private static func startsPlain(_ string: String) -> Bool {
        var scalars = string.unicodeScalars.makeIterator()
        guard let first = scalars.next(), first == "-" || first == "?" || first == ":" else { return false }
        guard let second = scalars.next() else { return false }
        return second != " "
    }

    /// Readers of YAML 1.1 take `1_000`, `12:30`, `2001-01-01` and `1.5e3` for something else than a string.
    private static func looksLikeNumber(_ string: String) -> Bool {
        guard let first = string.utf8.first, first < 0x3A, first >= 0x2B else { return false }
        return string.utf8.allSatisfy { byte in
            (0x30...0x3A).contains(byte) || byte == 0x5F || byte == 0x2B || byte == 0x2D || byte == 0x2E
        } && string.utf8.contains { (0x30...0x39).contains($0) } && string.split(separator: ".").count < 3
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20...0x7E, 0xA1...0x2027, 0x202A...0xD7FF, 0xE000...0xFEFE, 0xFF00...0xFFFD, 0x10000...0x10FFFF: true
        default: false
        }
    }

    /// With double quotes, or single ones where the text merely has a character that YAML would misread.
    private static func quoted(_ string: String) -> String {
        let needsEscapes = !string.unicodeScalars.allSatisfy(isPrintable)
        if !needsEscapes && YAMLScalar.resolve(string) == .string(string) && !looksLikeNumber(string)
            && !["y", "Y", "n", "N"].contains(string)
        {
            return "'" + string.replacing("'", with: "''") + "'"
        }
        var result = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            default:
                if isPrintable(scalar) {
                    result.unicodeScalars.append(scalar)
                } else {
                    let digits = String(scalar.value, radix: 16, uppercase: true)
                    let width = scalar.value < 0x100 ? 2 : scalar.value < 0x10000 ? 4 : 8
                    result += scalar.value < 0x100 ? "\\x" : scalar.value < 0x10000 ? "\\u" : "\\U"
                    result += String(repeating: "0", count: width - digits.count) + digits
                }
            }
        }
        return result + "\""
    }
}
