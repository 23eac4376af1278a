internal import Serialization

/// Reads the members of an object, each once, with its path for refusals; what nobody asked for is refused by `finish`.
///
/// An empty string and null count as absent, as they do for programs written in Go.
final class FieldReader {
    let path: String
    private let members: [String: JSON]
    private var seen: Set<String> = []

    init(_ value: JSON, path: String) throws(Refusal) {
        guard case .object(let members) = value else {
            throw Refusal("\(path.isEmpty ? "the request" : path): an object is expected")
        }
        self.members = members
        self.path = path
    }

    func value(_ name: String) -> JSON? {
        seen.insert(name)
        guard let value = members[name], !value.isNull else { return nil }
        return value
    }

    func string(_ name: String) throws(Refusal) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw error(name, "a string is expected") }
        return text.isEmpty ? nil : text
    }

    /// A flag: JSON's own, or the words that options on a command line take.
    func bool(_ name: String) throws(Refusal) -> Bool? {
        guard let value = value(name) else { return nil }
        if let flag = value.bool { return flag }
        switch value.string?.lowercased() {
        case "true", "1", "t": return true
        case "false", "0", "f": return false
        case "": return nil
        default: throw error(name, "'\(Self.shown(value))' is neither true nor false")
        }
    }

    /// A number, also as text.
    func integer(_ name: String, _ range: ClosedRange<Int>) throws(Refusal) -> Int? {
        guard let value = value(name) else { return nil }
        if value.string == "" { return nil }
        guard let number = value.int ?? value.string.flatMap({ Int($0) }) else {
            throw error(name, "'\(Self.shown(value))' is no whole number")
        }
        guard range.contains(number) else {
            throw error(name, "\(number) is not from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func parsed<Value>(_ name: String, _ what: String, _ parse: (String) -> Value?) throws(Refusal) -> Value? {
        guard let text = try string(name) else { return nil }
        guard let result = parse(text) else { throw error(name, "'\(text.prefix(80))' is no \(what)") }
        return result
    }

    func object(_ name: String) throws(Refusal) -> FieldReader? {
        guard let value = value(name) else { return nil }
        return try FieldReader(value, path: at(name))
    }

    func objects(_ name: String, limit: Int) throws(Refusal) -> [FieldReader] {
        guard let value = value(name) else { return [] }
        guard let items = value.array else { throw error(name, "an array is expected") }
        guard items.count <= limit else { throw error(name, "\(items.count) entries are more than \(limit)") }
        var result: [FieldReader] = []
        for (index, item) in items.enumerated() {
            result.append(try FieldReader(item, path: "\(at(name))[\(index)]"))
        }
        return result
    }

    /// The id of something of the engine's; it becomes a part of names and of a file.
    func id(_ name: String) throws(Refusal) -> String {
        guard let text = try string(name) else { throw error(name, "it is missing") }
        let isSound = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2d
                || $0 == 0x5f
        }
        guard isSound, text.utf8.count <= Limits.idBytes else { throw error(name, "'\(text.prefix(80))' is no id") }
        return text
    }

    /// Takes a member as seen that has no effect, for a reason that stands in a table.
    func ignore(_ names: some Sequence<String>) { seen.formUnion(names) }

    /// Names that nobody has asked for.
    var unread: [String] { members.keys.filter { !seen.contains($0) }.sorted() }

    /// Refuses what nobody asked for.
    func finish(_ what: String = "this member is unknown") throws(Refusal) {
        guard let name = unread.first else { return }
        throw error(name, "\(what) (its value is '\(Self.shown(members[name] ?? .null))')")
    }

    func at(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    func error(_ name: String, _ problem: String) -> Refusal { Refusal("\(at(name)): \(problem)") }

    private static func shown(_ value: JSON) -> String { String((value.string ?? value.text).prefix(80)) }
}
