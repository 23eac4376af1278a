internal import Serialization

/// From which object of a control plane configuration came, as the configuration itself says: `skein.provenance` in the metadata of what
/// stands around a field, or the name of an RBAC policy, which has no metadata.
struct ConfigurationOrigin: Hashable {
    var kind: String
    var namespace: String
    var name: String
    /// The field of the object.
    var field: String

    static let metadataKey = "skein.provenance"

    /// What the metadata of a message says; nil when it says nothing.
    init?(metadata: JSON?) {
        guard let origin = metadata?["filter_metadata"]?[Self.metadataKey], let kind = origin["kind"]?.string else {
            return nil
        }
        self.kind = kind
        namespace = origin["namespace"]?.string ?? ""
        name = origin["name"]?.string ?? ""
        field = origin["field"]?.string ?? ""
    }

    /// `ns[NAMESPACE]-policy[NAME]-rule[N]`, perhaps behind a prefix.
    init?(policy text: String) {
        let parts = text.split(separator: "[").map {
            $0.split(separator: "]", maxSplits: 1).first.map(String.init) ?? ""
        }
        guard text.contains("ns["), text.contains("]-policy["), text.contains("]-rule["), parts.count == 4,
            let rule = Int(parts[3])
        else { return nil }
        kind = "AuthorizationPolicy"
        namespace = parts[1]
        name = parts[2]
        field = "spec.rules[\(rule)]"
    }

    var json: JSON {
        [
            "kind": .string(kind), "namespace": .string(namespace), "name": .string(name), "field": .string(field),
        ]
    }

    /// `VirtualService shop/reviews spec.http[0]`.
    var text: String { "\(kind) \(namespace.isEmpty ? "" : namespace + "/")\(name)\(field.isEmpty ? "" : " " + field)" }
}

/// Messages by the paths at which they stand, to find out from where a field came.
///
/// A message is turned into JSON when it is first asked about.
final class ConfigurationOrigins {
    private var roots: [String: () -> JSON] = [:]
    private var known: [String: JSON] = [:]

    func set(_ path: String, _ json: @escaping () -> JSON) {
        roots[path] = json
        known[path] = nil
    }

    private func json(of root: String) -> JSON {
        let json = known[root] ?? roots[root]?() ?? .null
        known[root] = json
        return json
    }

    /// What is configured at a path; nil when nothing is.
    func value(at path: String) -> JSON? {
        guard let root = root(of: path) else { return nil }
        var node = json(of: root)
        for step in Self.steps(path.dropFirst(root.count)) {
            if let index = Int(step), case .array(let items) = node {
                guard items.indices.contains(index) else { return nil }
                node = items[index]
            } else {
                guard let next = node[step] else { return nil }
                node = next
            }
        }
        return node
    }

    /// The nearest origin that is written around a field; nil when none is.
    func origin(of path: String) -> ConfigurationOrigin? {
        guard let root = root(of: path) else { return nil }
        let json = json(of: root)
        var found = ConfigurationOrigin(metadata: json["metadata"])
        var node = json
        for step in Self.steps(path.dropFirst(root.count)) {
            if let policy = ConfigurationOrigin(policy: step) { found = policy }
            if let index = Int(step), case .array(let items) = node {
                guard items.indices.contains(index) else { break }
                node = items[index]
            } else {
                guard let next = node[step] else { break }
                node = next
            }
            if let origin = ConfigurationOrigin(metadata: node["metadata"]) { found = origin }
        }
        return found
    }

    private func root(of path: String) -> String? {
        var best: String?
        var end = path.endIndex
        // From the whole path upwards: the first that is a root is the longest.
        while best == nil {
            let candidate = String(path[..<end])
            if roots[candidate] != nil { best = candidate }
            guard let dot = path[..<end].lastIndex(where: { $0 == "." || $0 == "[" }) else { break }
            end = dot
        }
        return best
    }

    /// `.virtual_hosts[1].policies[ns[a]-rule[0]]` as names and what stands in brackets.
    static func steps(_ text: Substring) -> [String] {
        var steps: [String] = []
        var current = ""
        var depth = 0
        for character in text {
            switch character {
            case "." where depth == 0, "[" where depth == 0:
                if !current.isEmpty { steps.append(current) }
                current = ""
                if character == "[" { depth = 1 }
            case "[":
                depth += 1
                current.append(character)
            case "]":
                depth -= 1
                if depth > 0 { current.append(character) }
            default: current.append(character)
            }
        }
        if !current.isEmpty { steps.append(current) }
        return steps
    }
}
