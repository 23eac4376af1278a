public import Serialization

/// One condition on labels.
public struct LabelRequirement: Sendable, Hashable {
    /// What a condition asks of the label.
    public enum Operator: String, Sendable, Hashable {
        /// Present, with one of the values.
        case `in` = "In"
        /// Absent, or with another value.
        case notIn = "NotIn"
        /// Present.
        case exists = "Exists"
        /// Absent.
        case doesNotExist = "DoesNotExist"
        /// A whole number above the value (query syntax only).
        case greaterThan = "Gt"
        /// A whole number below the value (query syntax only).
        case lessThan = "Lt"
    }

    /// The label's name.
    public var key: String
    /// What is asked of it.
    public var `operator`: Operator
    /// The values to compare with.
    public var values: [String]

    /// A condition.
    public init(key: String, operator: Operator, values: [String] = []) {
        self.key = key
        self.operator = `operator`
        self.values = values
    }

    /// Whether `labels` meet the condition.
    public func matches(_ labels: [String: String]) -> Bool {
        let value = labels[key]
        switch `operator` {
        case .in: return value.map(values.contains) ?? false
        case .notIn: return !(value.map(values.contains) ?? false)
        case .exists: return value != nil
        case .doesNotExist: return value == nil
        case .greaterThan, .lessThan:
            guard let number = value.flatMap(Int.init), let bound = values.first.flatMap(Int.init) else { return false }
            return `operator` == .greaterThan ? number > bound : number < bound
        }
    }
}

/// A conjunction of conditions on labels, ready to be asked.
public struct LabelMatcher: Sendable, Hashable {
    /// All of these must hold; without any, everything matches.
    public var requirements: [LabelRequirement]

    /// All of `requirements` must hold.
    public init(_ requirements: [LabelRequirement] = []) { self.requirements = requirements }

    /// Every label of the map must be there with its value.
    public init(matchLabels: [String: String]) {
        requirements = matchLabels.sorted { $0.key < $1.key }
            .map { LabelRequirement(key: $0.key, operator: .in, values: [$0.value]) }
    }

    /// Whether `labels` meet all conditions.
    public func matches(_ labels: [String: String]) -> Bool { requirements.allSatisfy { $0.matches(labels) } }

    /// The syntax of the query parameter `labelSelector`: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    public init(parsing text: String) throws(SelectorError) {
        requirements = []
        for part in try LabelMatcher.split(text) { requirements.append(try LabelMatcher.requirement(part)) }
    }

    /// Splits at commas outside parentheses.
    private static func split(_ text: String) throws(SelectorError) -> [Substring] {
        var parts: [Substring] = []
        var depth = 0
        var start = text.startIndex
        for index in text.indices {
            switch text[index] {
            case "(": depth += 1
            case ")": depth -= 1
            case "," where depth == 0:
                parts.append(text[start..<index])
                start = text.index(after: index)
            default: break
            }
            guard (0...1).contains(depth) else { throw SelectorError(text: text, reason: "unbalanced parentheses") }
        }
        guard depth == 0 else { throw SelectorError(text: text, reason: "unbalanced parentheses") }
        parts.append(text[start...])
        return parts.map { $0.trimmed }.filter { !$0.isEmpty }
    }

    private static func requirement(_ part: Substring) throws(SelectorError) -> LabelRequirement {
        if part.first == "!" { return try checked(part.dropFirst().trimmed, .doesNotExist, []) }
        if part.hasSuffix(")"), let open = part.firstIndex(of: "(") {
            let words = part[..<open].split(whereSeparator: \.isWhitespace)
            guard let key = words.first, let word = words.last, words.count == 2, word == "in" || word == "notin" else {
                throw SelectorError(text: String(part), reason: "expected 'key in (…)' or 'key notin (…)'")
            }
            let inside = part[part.index(after: open)...].dropLast()
            let values = inside.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmed) }
            return try checked(key, word == "in" ? .in : .notIn, values)
        }
        let operators: [(String, LabelRequirement.Operator)] = [
            ("!=", .notIn), ("==", .in), ("=", .in), (">", .greaterThan), ("<", .lessThan),
        ]
        for (sign, meaning) in operators {
            guard let range = part.firstRange(of: sign) else { continue }
            return try checked(
                part[..<range.lowerBound].trimmed, meaning, [String(part[range.upperBound...].trimmed)])
        }
        return try checked(part, .exists, [])
    }

    private static func checked(
        _ key: Substring, _ meaning: LabelRequirement.Operator, _ values: [String]
    ) throws(SelectorError) -> LabelRequirement {
        guard Names.qualifiedNameProblem(String(key)) == nil else {
            throw SelectorError(text: String(key), reason: "is not a label name")
        }
        for value in values where Names.labelValueProblem(value) != nil {
            throw SelectorError(text: value, reason: "is not a label value")
        }
        return LabelRequirement(key: String(key), operator: meaning, values: values)
    }
}

/// Why a selector in a query could not be read.
public struct SelectorError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The part that is wrong.
    public var text: String
    /// What is wrong with it.
    public var reason: String
    /// Both in one line.
    public var description: String { "unable to parse requirement: \"\(text)\": \(reason)" }
}

/// `metav1.LabelSelector`: how Deployments, ReplicaSets and policies choose pods.
public struct LabelSelector: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json` as a label selector.
    public init(json: JSON) { self.json = json }

    /// Labels that must be there with these values.
    public var matchLabels: [String: String] { map("matchLabels") }
    /// Further conditions, all of which must hold.
    public var matchExpressions: [LabelRequirement] {
        (json["matchExpressions"]?.array ?? []).map { entry in
            LabelRequirement(
                key: entry["key"]?.string ?? "",
                operator: entry["operator"]?.string.flatMap(LabelRequirement.Operator.init(rawValue:)) ?? .in,
                values: (entry["values"]?.array ?? []).compactMap(\.string))
        }
    }
    /// The selector ready to be asked; an empty one matches everything.
    public var matcher: LabelMatcher {
        LabelMatcher(LabelMatcher(matchLabels: matchLabels).requirements + matchExpressions)
    }
}

extension StringProtocol {
    /// Without spaces and tabs at both ends.
    var trimmed: SubSequence {
        let start = firstIndex { !$0.isWhitespace } ?? endIndex
        guard start < endIndex, let last = lastIndex(where: { !$0.isWhitespace }) else { return self[endIndex...] }
        return self[start...last]
    }
}
