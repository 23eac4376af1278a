internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// A layer of the runtime as the bootstrap describes it.
struct RuntimeLayerConfig: Sendable {
    /// Where its values come from.
    enum Kind: Sendable {
        case fixed([String: RuntimeValue])
        case admin
        /// Files below `root/subdirectory`, whose names are keys; the link `root` is replaced to change them.
        case disk(root: String, subdirectory: String, appendsCluster: Bool)
        case rtds(name: String, source: ConfigSource?)
    }

    var name: String
    var kind: Kind

    static func compile(_ message: LayeredRuntime?, at path: String) throws(ConfigurationError) -> [Self] {
        var layers: [Self] = []
        var hasAdmin = false
        for (index, layer) in (message?.layers ?? []).enumerated() {
            let here = "\(path).layers[\(index)]"
            guard !layer.name.isEmpty else { throw ConfigurationError(at: here + ".name", "is empty") }
            guard !layers.contains(where: { $0.name == layer.name }) else {
                throw ConfigurationError(at: here + ".name", "\"\(layer.name)\" is there twice")
            }
            let kind: Kind
            switch layer.layerSpecifier {
            case .staticLayer(let values): kind = .fixed(RuntimeValue.flatten(values))
            case .adminLayer:
                guard !hasAdmin else { throw ConfigurationError(at: here + ".admin_layer", "there is one already") }
                hasAdmin = true
                kind = .admin
            case .diskLayer(let disk):
                guard !disk.symlinkRoot.isEmpty else {
                    throw ConfigurationError(at: here + ".disk_layer.symlink_root", "is empty")
                }
                kind = .disk(
                    root: disk.symlinkRoot, subdirectory: disk.subdirectory,
                    appendsCluster: disk.appendServiceCluster)
            case .rtdsLayer(let rtds):
                guard rtds.rtdsConfig != nil else {
                    throw ConfigurationError(at: here + ".rtds_layer.rtds_config", "is missing")
                }
                kind = .rtds(name: rtds.name.isEmpty ? layer.name : rtds.name, source: rtds.rtdsConfig)
            case nil:
                throw ConfigurationError(
                    at: here, "one of static_layer, admin_layer, disk_layer, rtds_layer is needed")
            }
            layers.append(Self(name: layer.name, kind: kind))
        }
        return layers
    }
}
