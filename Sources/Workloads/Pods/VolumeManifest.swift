internal import Serialization

/// One volume of a pod, read and checked.
public struct VolumeManifest: Sendable, Hashable {
    /// A key and the file it becomes.
    public struct Item: Sendable, Hashable {
        /// The key of the ConfigMap or Secret, or the field for downwardAPI.
        public var key: String
        /// Relative path of the file.
        public var path: String
        /// Permission bits; `nil` = the volume's.
        public var mode: UInt32?
    }

    /// Where files come from.
    public enum Source: Sendable, Hashable {
        /// A ConfigMap; no items = every key.
        case configMap(name: String, items: [Item], isOptional: Bool)
        /// A Secret; no items = every key.
        case secret(name: String, items: [Item], isOptional: Bool)
        /// Fields of the pod.
        case downward(items: [Item])
        /// Several of these in one directory.
        case projected([Source])
        /// An empty directory that lives as long as the pod.
        case emptyDirectory(inMemory: Bool, sizeBytes: Int?)
        /// A file or directory of the host.
        case hostPath(String, type: String)
        /// The volume of a claim, which outlives the pod.
        case claim(String, isReadOnly: Bool)

        /// Whether containers fill it, so that a directory in it that is mounted is made when it is missing.
        var isWritten: Bool {
            switch self {
            case .emptyDirectory, .claim(_, isReadOnly: false): true
            case .configMap, .secret, .downward, .projected, .hostPath, .claim: false
            }
        }
    }

    /// The volume's name.
    public var name: String
    /// Where its files come from.
    public var source: Source
    /// Permission bits of files.
    public var mode: UInt32

    init(_ json: JSON, path: String) throws(WorkloadError) {
        name = json["name"]?.string ?? ""
        guard PodManifest.isPlain(name) else { throw .field("\(path).name", "is not a name") }
        mode = 0o644
        if let map = json["configMap"] {
            source = try Self.keyed(map, name: map["name"]?.string, isSecret: false, path: "\(path).configMap")
            mode = Self.mode(map) ?? 0o644
        } else if let secret = json["secret"] {
            source = try Self.keyed(secret, name: secret["secretName"]?.string, isSecret: true, path: "\(path).secret")
            mode = Self.mode(secret) ?? 0o644
        } else if let downward = json["downwardAPI"] {
            source = .downward(items: try Self.items(downward, path: "\(path).downwardAPI"))
            mode = Self.mode(downward) ?? 0o644
        } else if let projected = json["projected"] {
            var sources: [Source] = []
            for (index, entry) in (projected["sources"]?.array ?? []).enumerated() {
                let field = "\(path).projected.sources[\(index)]"
                if let map = entry["configMap"] {
                    sources.append(try Self.keyed(map, name: map["name"]?.string, isSecret: false, path: field))
                } else if let secret = entry["secret"] {
                    sources.append(try Self.keyed(secret, name: secret["name"]?.string, isSecret: true, path: field))
                } else if let downward = entry["downwardAPI"] {
                    sources.append(.downward(items: try Self.items(downward, path: field)))
                } else {
                    throw .field(
                        field, "only configMap, secret and downwardAPI are supported (no service account token)")
                }
            }
            source = .projected(sources)
            mode = Self.mode(projected) ?? 0o644
        } else if let empty = json["emptyDir"] {
            var size: Int?
            if let limit = empty["sizeLimit"] {
                guard let quantity = Quantity(limit.string ?? limit.int.map(String.init) ?? "") else {
                    throw .field("\(path).emptyDir.sizeLimit", "is not a quantity such as 64Mi")
                }
                size = quantity.whole
            }
            source = .emptyDirectory(inMemory: empty["medium"]?.string == "Memory", sizeBytes: size)
        } else if let host = json["hostPath"] {
            let target = host["path"]?.string ?? ""
            guard target.hasPrefix("/"), !target.split(separator: "/").contains("..") else {
                throw .field("\(path).hostPath.path", "must be an absolute path without '..'")
            }
            source = .hostPath(target, type: host["type"]?.string ?? "")
        } else if let claim = json["persistentVolumeClaim"] {
            guard let target = claim["claimName"]?.string, PodManifest.isPlain(target) else {
                throw .field("\(path).persistentVolumeClaim.claimName", "is not a name")
            }
            source = .claim(target, isReadOnly: claim["readOnly"]?.bool ?? false)
        } else {
            let kinds = (json.object ?? [:]).keys.filter { $0 != "name" }.sorted().joined(separator: ", ")
            throw .field(
                path,
                "volume of kind \(kinds) is not supported; "
                    + "use configMap, secret, emptyDir, hostPath, persistentVolumeClaim, downwardAPI or projected")
        }
    }

    private static func mode(_ json: JSON) -> UInt32? {
        json["defaultMode"]?.int.flatMap { UInt32(exactly: $0) }.map { $0 & 0o777 }
    }

    private static func keyed(
        _ json: JSON, name: String?, isSecret: Bool, path: String
    ) throws(WorkloadError) -> Source {
        let items = try items(json, path: path)
        let isOptional = json["optional"]?.bool ?? false
        return isSecret
            ? .secret(name: name ?? "", items: items, isOptional: isOptional)
            : .configMap(name: name ?? "", items: items, isOptional: isOptional)
    }

    private static func items(_ json: JSON, path: String) throws(WorkloadError) -> [Item] {
        var items: [Item] = []
        for (index, item) in (json["items"]?.array ?? []).enumerated() {
            let target = item["path"]?.string ?? ""
            guard !target.isEmpty, !target.hasPrefix("/"), !target.split(separator: "/").contains(".."),
                !target.hasPrefix("..")
            else { throw .field("\(path).items[\(index)].path", "must be a relative path without '..'") }
            items.append(
                Item(
                    key: item["key"]?.string ?? item["fieldRef"]?["fieldPath"]?.string ?? "", path: target,
                    mode: item["mode"]?.int.flatMap { UInt32(exactly: $0) }.map { $0 & 0o777 }))
        }
        return items
    }
}
