internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// Filters that a configuration uses and that do nothing, for `--mode validate`.
enum IgnoredFieldReport {
    static func inUse(_ bootstrap: Bootstrap) -> [String] {
        var names: Set<String> = []
        collect(bootstrap.json(names: .proto), into: &names)
        return IgnoredProxyFields.filters.filter { names.contains($0.key) }
            .map { "\($0.key): does nothing: \($0.value)" }.sorted()
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
