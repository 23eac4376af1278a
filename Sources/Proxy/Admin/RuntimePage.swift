internal import Serialization
internal import Upstream

/// `/runtime`: every key that a layer sets, with the value of each layer.
enum RuntimePage {
    static func of(_ runtime: Upstream.Runtime) -> JSON {
        let layers = runtime.layers
        var entries: [String: JSON] = [:]
        for key in Set(layers.flatMap(\.values.keys)) {
            let texts = layers.map { $0.values[key]?.text ?? "" }
            entries[key] = .object([
                "layer_values": .array(texts.map { .string($0) }),
                "final_value": .string(texts.last { !$0.isEmpty } ?? ""),
            ])
        }
        return .object(["layers": .array(layers.map { .string($0.name) }), "entries": .object(entries)])
    }
}
