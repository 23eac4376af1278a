internal import EnvoyAPI
internal import Serialization

/// A place in dynamic metadata: a namespace and the names that lead on from there.
struct MetadataPath: Sendable {
    let namespace: String
    let names: [String]

    init(namespace: String, names: [String]) {
        self.namespace = namespace
        self.names = names
    }

    init?(_ key: MetadataKey?) {
        guard let key else { return nil }
        namespace = key.key
        names = key.path.map { segment in
            if case .key(let name) = segment.segment { name } else { "" }
        }
    }

    func value(in metadata: [String: JSON]) -> JSON? {
        var value = metadata[namespace]
        for name in names { value = value?[name] }
        return value
    }
}
