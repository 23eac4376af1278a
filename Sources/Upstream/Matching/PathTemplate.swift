/// A path pattern like `/a/{name}/*/{rest=**}` (Envoy's `uri_template`), compiled to an expression.
public struct PathTemplate: Sendable {
    /// The pattern as it was written.
    public let text: String
    let expression: RegularExpression
    /// The variables in the order of their groups.
    let variables: [String]

    /// What may stand in one path element, and in several.
    private static let element = "[a-zA-Z0-9\\-._~%!$&'()+,;:@]+"
    private static let elements = "[a-zA-Z0-9\\-._~%!$&'()+,;:@/]*"
    private static let variablesMax = 5
    private static let nameBytes = 1...16

    /// Compiles a pattern; the error says what is wrong, without a path.
    init(_ text: String) throws(RegularExpressionError) {
        func refuse(_ reason: String) -> RegularExpressionError { RegularExpressionError("\(text): \(reason)") }
        guard text.hasPrefix("/") else { throw refuse("must begin with a slash") }
        var pattern = ""
        var variables: [String] = []
        var isLast = false
        for segment in Self.segments(text) {
            guard !isLast else { throw refuse("** must stand at the end") }
            pattern += "/"
            if segment.first == "{" {
                guard segment.last == "}" else { throw refuse("\(segment): a variable must be a whole path element") }
                let body = segment.dropFirst().dropLast()
                let name = body.prefix { $0 != "=" }
                guard Self.isName(name) else { throw refuse("\(name): is no name of a variable") }
                guard !variables.contains(String(name)) else { throw refuse("\(name): stands twice") }
                guard variables.count < Self.variablesMax else { throw refuse("has more than 5 variables") }
                variables.append(String(name))
                if name.count == body.count {
                    pattern += "(\(Self.element))"
                } else {
                    let inner = body.dropFirst(name.count + 1)
                    guard !inner.isEmpty else { throw refuse("\(segment): has an empty pattern") }
                    var parts: [String] = []
                    for part in inner.split(separator: "/", omittingEmptySubsequences: false) {
                        guard !isLast else { throw refuse("** must stand at the end") }
                        parts.append(try Self.part(part, refuse))
                        if part == "**" { isLast = true }
                    }
                    pattern += "(\(parts.joined(separator: "/")))"
                }
            } else {
                pattern += try Self.part(segment, refuse)
                if segment == "**" { isLast = true }
            }
        }
        self.text = text
        self.variables = variables
        // Anchored: a rewrite replaces the whole path, once.
        expression = try RegularExpression("^\(pattern)$")
    }

    /// The elements between slashes; a slash inside braces separates nothing.
    private static func segments(_ text: String) -> [Substring] {
        var result: [Substring] = []
        var start = text.index(after: text.startIndex)
        var depth = 0
        var index = start
        while index < text.endIndex {
            switch text[index] {
            case "{": depth += 1
            case "}": depth -= 1
            case "/" where depth == 0:
                result.append(text[start..<index])
                start = text.index(after: index)
            default: break
            }
            index = text.index(after: index)
        }
        result.append(text[start...])
        return result
    }

    private static func part(
        _ part: Substring, _ refuse: (String) -> RegularExpressionError
    ) throws(RegularExpressionError) -> String {
        switch part {
        case "*": return element
        case "**": return elements
        default:
            guard !part.contains(where: { "*{}=".contains($0) }) else {
                throw refuse("\(part): is neither plain text nor * nor ** nor a variable")
            }
            return quoted(part)
        }
    }

    private static func isName(_ name: Substring) -> Bool {
        guard nameBytes.contains(name.utf8.count), let first = name.utf8.first, isLetter(first) else { return false }
        return name.utf8.allSatisfy { isLetter($0) || $0 &- 0x30 < 10 || $0 == 0x5F }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }

    private static func quoted(_ text: Substring) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.isASCII, !scalar.properties.isAlphabetic, !("0"..."9").contains(scalar) { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result
    }

    /// A rewrite pattern `/x/{name}` as a substitution for the expression; the error says what is wrong.
    func substitution(_ rewrite: String) throws(RegularExpressionError) -> [UInt8] {
        guard rewrite.hasPrefix("/") else { throw RegularExpressionError("\(rewrite): must begin with a slash") }
        var result: [UInt8] = []
        var rest = rewrite[...]
        while let character = rest.popFirst() {
            switch character {
            case "{":
                let name = rest.prefix { $0 != "}" }
                rest = rest.dropFirst(name.count)
                guard rest.popFirst() == "}" else { throw RegularExpressionError("\(rewrite): a { has no }") }
                guard let index = variables.firstIndex(of: String(name)) else {
                    throw RegularExpressionError("\(name): is no variable of \(text)")
                }
                result += Array("\\\(index + 1)".utf8)
            case "}": throw RegularExpressionError("\(rewrite): a } has no {")
            case "\\": result += Array("\\\\".utf8)
            default: result += Array(String(character).utf8)
            }
        }
        return result
    }
}
