public import Serialization

/// Something that containers of a pod may mount.
public struct Volume: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its name in the pod.
    public var name: String { string("name") }
    /// The keys of a ConfigMap as files.
    public var configMap: ConfigMapVolumeSource? { view("configMap") }
    /// The keys of a Secret as files.
    public var secret: SecretVolumeSource? { view("secret") }
    /// An empty directory that lives as long as the pod.
    public var emptyDir: EmptyDirVolumeSource? { view("emptyDir") }
    /// A path of the node.
    public var hostPath: HostPathVolumeSource? { view("hostPath") }
    /// Fields of the pod as files.
    public var downwardAPI: DownwardAPIVolumeSource? { view("downwardAPI") }
    /// Several sources in one directory.
    public var projected: ProjectedVolumeSource? { view("projected") }
}

/// One key as one file.
public struct KeyToPath: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The key.
    public var key: String { string("key") }
    /// The relative path of the file.
    public var path: String { string("path") }
    /// Permission bits.
    public var mode: Int? { int("mode") }
}

/// The keys of a ConfigMap as files.
public struct ConfigMapVolumeSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The ConfigMap.
    public var name: String { string("name") }
    /// Which keys; none means all.
    public var items: [KeyToPath] { views("items") }
    /// Permission bits.
    public var defaultMode: Int { int("defaultMode") ?? 0o644 }
    /// Whether it may be missing.
    public var optional: Bool { bool("optional") }
}

/// The keys of a Secret as files.
public struct SecretVolumeSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The Secret.
    public var secretName: String { string("secretName") }
    /// Which keys; none means all.
    public var items: [KeyToPath] { views("items") }
    /// Permission bits.
    public var defaultMode: Int { int("defaultMode") ?? 0o644 }
    /// Whether it may be missing.
    public var optional: Bool { bool("optional") }
}

/// An empty directory.
public struct EmptyDirVolumeSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Empty, or `Memory`.
    public var medium: String { string("medium") }
    /// At most that much.
    public var sizeLimit: String? { json["sizeLimit"]?.string }
}

/// A path of the node.
public struct HostPathVolumeSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The path.
    public var path: String { string("path") }
    /// Empty, `Directory`, `DirectoryOrCreate`, `File`, `FileOrCreate`, `Socket` and so on.
    public var type: String { string("type") }
}

/// Fields of the pod as files.
public struct DownwardAPIVolumeSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The files.
    public var items: [DownwardAPIVolumeFile] { views("items") }
    /// Permission bits.
    public var defaultMode: Int { int("defaultMode") ?? 0o644 }
}

/// A field of the pod as a file.
public struct DownwardAPIVolumeFile: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The relative path of the file.
    public var path: String { string("path") }
    /// A field.
    public var fieldRef: ObjectFieldSelector? { view("fieldRef") }
    /// A limit or request.
    public var resourceFieldRef: ResourceFieldSelector? { view("resourceFieldRef") }
    /// Permission bits.
    public var mode: Int? { int("mode") }
}

/// Several sources in one directory.
public struct ProjectedVolumeSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The sources.
    public var sources: [VolumeProjection] { views("sources") }
    /// Permission bits.
    public var defaultMode: Int { int("defaultMode") ?? 0o644 }
}

/// One source of a projected volume.
public struct VolumeProjection: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// A ConfigMap (its `name`).
    public var configMap: ConfigMapVolumeSource? { view("configMap") }
    /// A Secret.
    public var secret: KeyedProjection? { view("secret") }
    /// Fields of the pod.
    public var downwardAPI: DownwardAPIVolumeSource? { view("downwardAPI") }
    /// A token.
    public var serviceAccountToken: ServiceAccountTokenProjection? { view("serviceAccountToken") }
}

/// Keys of a named Secret or ConfigMap.
public struct KeyedProjection: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The object.
    public var name: String { string("name") }
    /// Which keys; none means all.
    public var items: [KeyToPath] { views("items") }
    /// Whether it may be missing.
    public var optional: Bool { bool("optional") }
}

/// A service account token as a file.
public struct ServiceAccountTokenProjection: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// For whom.
    public var audience: String { string("audience") }
    /// For how long.
    public var expirationSeconds: Int { int("expirationSeconds") ?? 3600 }
    /// The relative path of the file.
    public var path: String { string("path") }
}
