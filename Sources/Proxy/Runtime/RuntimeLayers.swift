internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The layers of the runtime: reads files, takes what RTDS and the admin server say.
///
/// On the control loop.
final class RuntimeLayers {
    private static let log = Logger("runtime")
    /// A disk layer has keys, not data.
    private static let filesMax = 10_000
    private static let depthMax = 16

    let runtime = Runtime()
    private let layers: [RuntimeLayerConfig]
    private let serviceCluster: String
    private var watches: [DirectoryWatch] = []
    /// How often layers were read anew, and how often that failed.
    private(set) var loads: UInt64 = 0
    private(set) var loadErrors: UInt64 = 0

    init(_ layers: [RuntimeLayerConfig], serviceCluster: String) {
        self.layers = layers
        self.serviceCluster = serviceCluster
        var values: [Runtime.Layer] = []
        for layer in layers {
            switch layer.kind {
            case .fixed(let fixed): values.append(Runtime.Layer(name: layer.name, values: fixed))
            case .disk: values.append(Runtime.Layer(name: layer.name, values: read(layer)))
            case .admin, .rtds: values.append(Runtime.Layer(name: layer.name))
            }
        }
        runtime.set(values)
    }

    /// Watches the links of disk layers.
    func start(on loop: EventLoop) throws(ConfigurationError) {
        for (index, layer) in layers.enumerated() {
            guard case .disk(let root, _, _) = layer.kind else { continue }
            var parent = "."
            if let slash = root.lastIndex(of: "/") { parent = slash == root.startIndex ? "/" : String(root[..<slash]) }
            do throws(SystemError) {
                let watch = try DirectoryWatch(on: loop) { [weak self] _, _ in
                    guard let self else { return }
                    self.replace(layer.name, self.read(layer))
                }
                try watch.add(parent)
                watches.append(watch)
            } catch {
                throw ConfigurationError(
                    at: "layered_runtime.layers[\(index)].disk_layer.symlink_root", "\(error)")
            }
        }
    }

    /// What RTDS layers need.
    func wants(hasADS: Bool) throws(ConfigurationError) -> [ConfigurationStore.Want] {
        var wants: [ConfigurationStore.Want] = []
        for (index, layer) in layers.enumerated() {
            guard case .rtds(let name, let source) = layer.kind else { continue }
            let path = "layered_runtime.layers[\(index)].rtds_layer.rtds_config"
            wants.append(
                ConfigurationStore.Want(
                    source: try DiscoverySource(compiling: source, at: path, hasADS: hasADS),
                    typeURL: RuntimeResource.typeURL, name: name))
        }
        return wants
    }

    /// Takes a layer from RTDS; nil takes its values away.
    func set(rtds name: String, _ values: JSON?) {
        for layer in layers {
            guard case .rtds(name, _) = layer.kind else { continue }
            replace(layer.name, values.map(RuntimeValue.flatten) ?? [:])
        }
    }

    /// `/runtime_modify`: an empty value takes the key away; false without an admin layer.
    func modify(_ changes: [(name: String, value: String)]) -> Bool {
        guard
            let layer = layers.first(where: {
                if case .admin = $0.kind { true } else { false }
            })
        else { return false }
        var values: [String: RuntimeValue?] = [:]
        for change in changes {
            values.updateValue(change.value.isEmpty ? nil : RuntimeValue(text: change.value), forKey: change.name)
        }
        runtime.modify(layer: layer.name, values)
        return true
    }

    private func replace(_ name: String, _ values: [String: RuntimeValue]) {
        loads += 1
        runtime.set(runtime.layers.map { $0.name == name ? Runtime.Layer(name: name, values: values) : $0 })
    }

    private func read(_ layer: RuntimeLayerConfig) -> [String: RuntimeValue] {
        guard case .disk(let root, let subdirectory, let appendsCluster) = layer.kind else { return [:] }
        var path = root
        if !subdirectory.isEmpty { path += "/" + subdirectory }
        if appendsCluster { path += "/" + serviceCluster }
        var values: [String: RuntimeValue] = [:]
        collect(path, key: "", depth: 0, into: &values)
        return values
    }

    private func collect(_ path: String, key: String, depth: Int, into values: inout [String: RuntimeValue]) {
        guard depth < Self.depthMax, let names = try? File.list(path) else { return }
        for name in names where !name.hasPrefix(".") && values.count < Self.filesMax {
            let inner = path + "/" + name
            let full = key.isEmpty ? name : key + "." + name
            if File.isDirectory(inner) {
                collect(inner, key: full, depth: depth + 1, into: &values)
            } else {
                do throws(SystemError) {
                    // Lines that begin with # are comments, as in Envoy.
                    let lines = try File.text(inner).split(separator: "\n").filter { !$0.hasPrefix("#") }
                    values[full] = RuntimeValue(text: trimmed(lines.joined(separator: "\n")))
                } catch {
                    loadErrors += 1
                    Self.log.warning("a runtime file is not read: \(error)")
                }
            }
        }
    }

    private func trimmed(_ text: String) -> String {
        let space: (Character) -> Bool = { $0 == " " || $0 == "\n" || $0 == "\t" || $0 == "\r" }
        return String(text.drop(while: space).reversed().drop(while: space).reversed())
    }
}
