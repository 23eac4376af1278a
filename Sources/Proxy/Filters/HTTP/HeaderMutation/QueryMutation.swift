internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// One change of the query: a parameter goes, comes, or changes its value.
struct QueryMutation: Sendable {
    enum Operation: Sendable { case remove, append, addIfAbsent, overwriteOrAdd, overwrite }

    let key: [UInt8]
    let operation: Operation
    let value: HeaderTemplate?

    init(compiling message: KeyValueMutation, at path: String) throws(ConfigurationError) {
        if !message.remove.isEmpty {
            guard message.append == nil else { throw ConfigurationError(at: path, "set append or remove, not both") }
            key = Array(message.remove.utf8)
            operation = .remove
            value = nil
            return
        }
        guard let append = message.append else { throw ConfigurationError(at: path, "set append or remove") }
        let text: String
        if let record = append.record {
            key = Array(record.key.utf8)
            guard let string = record.value?.string else {
                throw ConfigurationError(at: path + ".append.record.value", "must be a string")
            }
            text = string
        } else if let entry = append.entry {
            key = Array(entry.key.utf8)
            text = String(decoding: entry.value, as: UTF8.self)
        } else {
            throw ConfigurationError(at: path + ".append", "set record")
        }
        guard !key.isEmpty else { throw ConfigurationError(at: path + ".append.record.key", "is empty") }
        switch append.action {
        case .appendIfExistsOrAdd: operation = .append
        case .addIfAbsent: operation = .addIfAbsent
        case .overwriteIfExistsOrAdd: operation = .overwriteOrAdd
        case .overwriteIfExists: operation = .overwrite
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".append.action", "\(number) is no action")
        }
        do throws(HeaderTemplateError) {
            value = try HeaderTemplate(parsing: text)
        } catch {
            throw ConfigurationError(at: path + ".append.record.value", error.description)
        }
    }

    /// The path with its query changed.
    func apply(to path: [UInt8], _ stream: HTTPStream) -> [UInt8] {
        apply(to: path, value: value.map { HeaderRewriter(stream: stream).render($0) } ?? [])
    }

    /// The path with its query changed; the value is rendered already.
    func apply(to path: [UInt8], value: [UInt8]) -> [UInt8] {
        let mark = path.firstIndex(of: UInt8(ascii: "?"))
        let base = Array(path[..<(mark ?? path.endIndex)])
        var parameters = mark.map { path[($0 + 1)...].split(separator: UInt8(ascii: "&")).map(Array.init) } ?? []
        let isThere = parameters.contains { name($0) == key }
        let fresh = key + [UInt8(ascii: "=")] + value
        switch operation {
        case .remove: parameters.removeAll { name($0) == key }
        case .append: parameters.append(fresh)
        case .addIfAbsent: if !isThere { parameters.append(fresh) }
        case .overwriteOrAdd, .overwrite:
            guard isThere || operation == .overwriteOrAdd else { return path }
            parameters.removeAll { name($0) == key }
            parameters.append(fresh)
        }
        return parameters.isEmpty
            ? base : base + [UInt8(ascii: "?")] + parameters.joined(separator: [UInt8(ascii: "&")])
    }

    private func name(_ parameter: [UInt8]) -> [UInt8] { Array(parameter.prefix { $0 != UInt8(ascii: "=") }) }
}
