/// The syntax of RE2, as far as a look at the text tells: whether a proxy will take an expression.
///
/// A proxy refuses a whole table for one expression that it cannot read, so that one object would hold up all others.
/// What passes here and is refused nevertheless is told as a refusal, with the last good table in force.
enum RegexSyntax {
    /// The longest expression that is passed on, in bytes.
    static let lengthMax = 1024
    /// The largest count of a repetition that RE2 takes.
    static let repetitionMax = 1000

    /// What is wrong with an expression; `nil` when nothing is seen.
    static func problem(_ text: String) -> String? {
        if text.utf8.count > lengthMax { return "longer than \(lengthMax) bytes" }
        var reader = Reader(text: Array(text.unicodeScalars))
        return reader.problem()
    }

    private struct Reader {
        let text: [Unicode.Scalar]
        var position = 0
        var depth = 0
        /// Whether what came last can be repeated.
        var canRepeat = false

        var next: Unicode.Scalar? { position < text.count ? text[position] : nil }

        mutating func take() -> Unicode.Scalar? {
            guard let scalar = next else { return nil }
            position += 1
            return scalar
        }

        mutating func problem() -> String? {
            while let scalar = take() {
                switch scalar {
                case "\\":
                    if let problem = escape() { return problem }
                    canRepeat = true
                case "[":
                    if let problem = characterClass() { return problem }
                    canRepeat = true
                case "(":
                    if let problem = group() { return problem }
                case ")":
                    depth -= 1
                    if depth < 0 { return "unexpected )" }
                    canRepeat = true
                case "|": canRepeat = false
                case "*", "+", "?":
                    if !canRepeat { return "nothing to repeat before \(scalar)" }
                    if next == "?" { position += 1 }
                    canRepeat = false
                case "{":
                    if let problem = repetition() { return problem }
                default: canRepeat = true
                }
            }
            return depth == 0 ? nil : "missing )"
        }

        private mutating func escape() -> String? {
            guard let scalar = take() else { return "ends with \\" }
            if "dDsSwWbBAzaftnrvCQExpP0".unicodeScalars.contains(scalar) { return nil }
            if scalar.properties.isAlphabetic || ("1"..."9").contains(scalar) {
                return "\\\(scalar) is not known to RE2"
            }
            return nil
        }

        private mutating func characterClass() -> String? {
            if next == "^" { position += 1 }
            var isFirst = true
            var last: Unicode.Scalar?
            while let scalar = take() {
                if scalar == "]" && !isFirst { return nil }
                isFirst = false
                if scalar == "\\" {
                    if let problem = escape() { return problem }
                    last = nil
                } else if scalar == "[", next == ":" {
                    while let inner = take(), inner != "]" {}
                    last = nil
                } else if scalar == "-", let from = last, let to = next, to != "]", to != "\\" {
                    if to.value < from.value { return "bad range \(from)-\(to)" }
                    position += 1
                    last = nil
                } else {
                    last = scalar
                }
            }
            return "missing ]"
        }

        private mutating func group() -> String? {
            depth += 1
            canRepeat = false
            guard next == "?" else { return nil }
            position += 1
            if next == "P" { position += 1 }
            if next == "<" {
                position += 1
                // A look behind is a `<` with `=` or `!`, which RE2 has not.
                guard let first = next, first != "=", first != "!" else { return "look behind is not known to RE2" }
                while let scalar = take() { if scalar == ">" { return nil } }
                return "missing >"
            }
            while let scalar = take() {
                switch scalar {
                case "i", "m", "s", "U", "-": continue
                case ":": return nil
                case ")":
                    depth -= 1
                    return nil
                default: return "(?\(scalar) is not known to RE2"
                }
            }
            return "missing )"
        }

        /// `{n}`, `{n,}`, `{n,m}`; anything else is text.
        private mutating func repetition() -> String? {
            guard let end = text[position...].firstIndex(of: "}") else {
                canRepeat = true
                return nil
            }
            let inner = String(String.UnicodeScalarView(text[position..<end]))
            let parts = inner.split(separator: ",", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), let least = parts.first.flatMap({ Int($0) }),
                parts.count == 1 || parts[1].isEmpty || Int(parts[1]) != nil
            else {
                canRepeat = true
                return nil
            }
            if !canRepeat { return "nothing to repeat before {\(inner)}" }
            let most = parts.count == 2 ? Int(parts[1]) ?? least : least
            if least > repetitionMax || most > repetitionMax || most < least { return "bad repetition {\(inner)}" }
            position = end + 1
            if next == "?" { position += 1 }
            canRepeat = false
            return nil
        }
    }
}
