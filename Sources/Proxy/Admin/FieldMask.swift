internal import Serialization

/// A `google.protobuf.FieldMask`: the parts of a message that are kept.
struct FieldMask {
    private struct Node {
        var children: [String: Node] = [:]
        var isWhole = false
    }

    private var root = Node()

    /// Reads `name,listener.address,…`.
    init(_ text: String) {
        for path in text.split(separator: ",") { Self.add(path.split(separator: ".")[...], to: &root) }
    }

    private static func add(_ path: ArraySlice<Substring>, to node: inout Node) {
        guard let first = path.first else {
            node.isWhole = true
            return
        }
        add(path.dropFirst(), to: &node.children[String(first), default: Node()])
    }

    /// What the mask keeps; `@type` always stays.
    func kept(_ json: JSON) -> JSON { Self.kept(json, root) }

    private static func kept(_ json: JSON, _ node: Node) -> JSON {
        if node.isWhole { return json }
        switch json {
        case .object(let members):
            var result: [String: JSON] = [:]
            for (name, value) in members {
                if name == "@type" { result[name] = value }
                if let child = node.children[name] { result[name] = kept(value, child) }
            }
            return .object(result)
        case .array(let elements): return .array(elements.map { kept($0, node) })
        default: return json
        }
    }
}
