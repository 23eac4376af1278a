internal import Serialization

/// The members of one object of a configuration, each read once, with its path for errors.
///
/// What nobody asked for is found by `finish`: no member is passed over in silence.
final class JSONReader {
    let path: String
    private var members: [String: JSON]
    private var seen: Set<String> = []

    init(_ value: JSON, path: String) throws(CNIError) {
        guard case .object(let members) = value else {
            throw CNIError(.decode, "\(path.isEmpty ? "the configuration" : path) is no JSON object")
        }
        self.members = members
        self.path = path
    }

    func has(_ name: String) -> Bool { members[spelling(name)].map { !$0.isNull } ?? false }

    /// The member as it is; null counts as absent.
    func value(_ name: String) -> JSON? {
        let name = spelling(name)
        seen.insert(name)
        guard let value = members[name], !value.isNull else { return nil }
        return value
    }

    /// How a member is written here: plugins in Go take any case, and containerd writes `HostPort` for `hostPort`.
    private func spelling(_ name: String) -> String {
        if members[name] != nil { return name }
        let small = name.lowercased()
        return members.keys.first { $0.lowercased() == small } ?? name
    }

    func string(_ name: String) throws(CNIError) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw error(name, "a string is expected", .decode) }
        return text
    }

    func bool(_ name: String) throws(CNIError) -> Bool? {
        guard let value = value(name) else { return nil }
        guard let flag = value.bool else { throw error(name, "true or false is expected", .decode) }
        return flag
    }

    func integer(_ name: String, _ range: ClosedRange<Int>) throws(CNIError) -> Int? {
        guard let value = value(name) else { return nil }
        guard let number = value.int else { throw error(name, "a whole number is expected", .decode) }
        guard range.contains(number) else {
            throw error(name, "\(number) is not from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func strings(_ name: String) throws(CNIError) -> [String]? {
        guard let value = value(name) else { return nil }
        guard let items = value.array else { throw error(name, "an array of strings is expected", .decode) }
        var result: [String] = []
        for item in items {
            guard let text = item.string else { throw error(name, "an array of strings is expected", .decode) }
            result.append(text)
        }
        return result
    }

    func object(_ name: String) throws(CNIError) -> JSONReader? {
        guard let value = value(name) else { return nil }
        return try JSONReader(value, path: at(name))
    }

    func objects(_ name: String) throws(CNIError) -> [JSONReader]? {
        guard let value = value(name) else { return nil }
        guard let items = value.array else { throw error(name, "an array of objects is expected", .decode) }
        var result: [JSONReader] = []
        for (index, item) in items.enumerated() { result.append(try JSONReader(item, path: "\(at(name))[\(index)]")) }
        return result
    }

    /// A string that must be a `Value`; an empty one counts as absent, as it does for plugins written in Go.
    func parsed<Value>(_ name: String, _ parse: (String) -> Value?) throws(CNIError) -> Value? {
        guard let text = try string(name), !text.isEmpty else { return nil }
        guard let result = parse(text) else { throw error(name, "'\(text.prefix(80))' cannot be read") }
        return result
    }

    func needed<Value>(_ name: String, _ parse: (String) -> Value?) throws(CNIError) -> Value {
        guard let result = try parsed(name, parse) else { throw error(name, "it is missing") }
        return result
    }

    /// Takes members as seen that are ignored for a reason (`IgnoredFields`).
    func ignore(_ names: some Sequence<String>) { seen.formUnion(names) }

    /// Refuses members that nobody asked for.
    ///
    /// Names with a dot or a slash belong to somebody else by the specification's custom, `_` and `$` begin notes.
    func finish() throws(CNIError) {
        let unknown = members.keys.filter { name in
            !seen.contains(name) && !name.contains(".") && !name.contains("/") && !name.hasPrefix("_")
                && !name.hasPrefix("$")
        }
        guard let name = unknown.min() else { return }
        let value = members[name]?.text ?? ""
        throw CNIError(.unsupportedField, "\(at(name)): this member is unknown (its value is \(value.prefix(120)))")
    }

    func at(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    func error(_ name: String, _ problem: String, _ code: CNIError.Code = .invalidConfiguration) -> CNIError {
        CNIError(code, "\(at(name)): \(problem)")
    }
}
