public import Serialization

/// A path into an object, in the part of JSONPath that definitions use: `.spec.ports[0].port`, `.metadata.labels.a\.b`,
/// `.status.conditions[?(@.type=="Ready")].status`, `.items[*].name`.
public struct FieldPath: Sendable, Hashable {
    private enum Step: Sendable, Hashable {
        case member(String)
        case index(Int)
        case all
        case matching(String, JSON)
    }

    private var steps: [Step] = []

    /// Reads a path; `nil` when it is none.
    public init?(_ text: String) {
        var rest = text[...]
        if rest.hasPrefix("{"), rest.hasSuffix("}") { rest = rest.dropFirst().dropLast() }
        guard rest.first == "." || rest.first == "[" else { return nil }
        while let first = rest.first {
            if first == "." {
                rest = rest.dropFirst()
                if rest.first == "[" || rest.isEmpty { continue }
                var name = ""
                while let letter = rest.first, letter != ".", letter != "[" {
                    rest = rest.dropFirst()
                    if letter == "\\", let escaped = rest.popFirst() {
                        name.append(escaped)
                    } else {
                        name.append(letter)
                    }
                }
                guard !name.isEmpty else { return nil }
                steps.append(name == "*" ? .all : .member(name))
            } else if first == "[", let end = FieldPath.end(of: rest),
                let step = FieldPath.step(rest.dropFirst().prefix(upTo: end))
            {
                steps.append(step)
                rest = rest.suffix(from: rest.index(after: end))
            } else {
                return nil
            }
        }
    }

    /// The bracket that closes the first one, not one within quotes.
    private static func end(of text: Substring) -> String.Index? {
        var quote: Character?
        var index = text.startIndex
        while index < text.endIndex {
            let letter = text[index]
            if let open = quote {
                if letter == open { quote = nil }
            } else if letter == "'" || letter == "\"" {
                quote = letter
            } else if letter == "]" {
                return index
            }
            index = text.index(after: index)
        }
        return nil
    }

    private static func step(_ text: Substring) -> Step? {
        if text == "*" { return .all }
        if let index = Int(text) { return .index(index) }
        if let name = unquoted(text) { return .member(name) }
        guard text.hasPrefix("?(@."), text.hasSuffix(")"), let sign = text.firstRange(of: "==") else { return nil }
        let name = text[text.index(text.startIndex, offsetBy: 4)..<sign.lowerBound].filter { $0 != " " }
        var value = text[sign.upperBound...].dropLast()
        while value.first == " " { value = value.dropFirst() }
        while value.last == " " { value = value.dropLast() }
        if let text = unquoted(value) { return .matching(name, .string(text)) }
        return (try? JSON.parse(String(value))).map { .matching(name, $0) }
    }

    private static func unquoted(_ text: Substring) -> String? {
        guard text.count >= 2, let first = text.first, first == "'" || first == "\"", text.last == first else {
            return nil
        }
        return String(text.dropFirst().dropLast())
    }

    /// The values at the path, none when nothing is there.
    public func values(in object: JSON) -> [JSON] {
        steps.reduce([object]) { values, step in
            values.flatMap { value -> [JSON] in
                switch step {
                case .member(let name): return value[name].map { [$0] } ?? []
                case .index(let index):
                    let place = index < 0 ? (value.array?.count ?? 0) + index : index
                    return value[place].map { [$0] } ?? []
                case .all: return value.array ?? value.object.map { Array($0.values) } ?? []
                case .matching(let name, let wanted): return (value.array ?? []).filter { $0[name] == wanted }
                }
            }
        }
    }

    /// The object with a value at a path of members only; unchanged when the path is of another kind.
    public func setting(_ value: JSON, in object: JSON) -> JSON {
        func set(_ steps: ArraySlice<Step>, _ object: JSON?) -> JSON? {
            guard let step = steps.first else { return value }
            guard case .member(let name) = step, let inner = set(steps.dropFirst(), object?[name]) else { return nil }
            var result = object ?? .object([:])
            result[name] = inner
            return result
        }
        return set(steps[...], object) ?? object
    }
}
