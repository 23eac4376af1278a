internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// The ignored fields that a configuration uses, for `--mode validate`.
enum IgnoredFieldReport {
    static func inUse(_ bootstrap: Bootstrap) -> [String] {
        // Names are unique enough for a report: the field's name with its message, wherever its name stands in the JSON.
        var names: Set<String> = []
        collect(bootstrap.json(names: .proto), into: &names)
        var lines: [String] = []
        for (key, reason) in IgnoredProxyFields.table {
            let field = String(key.split(separator: ".").last ?? "")
            let message = key.dropLast(field.utf8.count + 1).split(separator: ".").last ?? ""
            if names.contains(field) { lines.append("\(message).\(field): ignored: \(reason)") }
        }
        for (message, fields) in IgnoredFields.reasons {
            for (field, reason) in fields where names.contains(field) {
                lines.append("\(message.split(separator: ".").last ?? "").\(field): ignored: \(reason)")
            }
        }
        for (name, reason) in IgnoredProxyFields.filters where names.contains(name) {
            lines.append("\(name): does nothing: \(reason)")
        }
        return lines.sorted()
    }

    private static func collect(_ json: JSON, into names: inout Set<String>) {
        switch json {
        case .object(let members):
            for (key, value) in members {
                names.insert(key)
                if key == "@type", case .string(let url) = value {
                    names.insert(String(url.split(separator: "/").last ?? ""))
                }
                collect(value, into: &names)
            }
        case .array(let elements): for element in elements { collect(element, into: &names) }
        default: break
        }
    }
}
