internal import KubernetesAPI

/// The files of a configMap, secret, downwardAPI or projected volume.
///
/// Pure: objects in, paths and bytes out.
enum VolumeContent {
    struct File: Sendable, Hashable {
        var bytes: [UInt8]
        var mode: UInt32
    }

    /// The files by relative path; `nil` for volumes that have no such content.
    static func files(
        _ volume: VolumeManifest, of pod: PodManifest, facts: PodFacts, references: some PodReferences
    ) throws(WorkloadError) -> [String: File]? {
        try files(volume.source, mode: volume.mode, name: volume.name, pod, facts, references)
    }

    /// Whether the files hold secrets and must not reach a disk.
    static func isSecret(_ source: VolumeManifest.Source) -> Bool {
        switch source {
        case .secret: true
        case .projected(let sources): sources.contains(where: isSecret)
        case .configMap, .downward, .emptyDirectory, .hostPath, .claim: false
        }
    }

    private static func files(
        _ source: VolumeManifest.Source, mode: UInt32, name: String, _ pod: PodManifest, _ facts: PodFacts,
        _ references: some PodReferences
    ) throws(WorkloadError) -> [String: File]? {
        switch source {
        case .emptyDirectory, .hostPath, .claim: return nil
        case .configMap(let object, let items, let isOptional):
            return try keyed(
                references.configMap(pod.namespace, object), "ConfigMap \(pod.namespace)/\(object)", items, isOptional,
                mode, name)
        case .secret(let object, let items, let isOptional):
            return try keyed(
                references.secret(pod.namespace, object), "Secret \(pod.namespace)/\(object)", items, isOptional, mode,
                name)
        case .downward(let items):
            var files: [String: File] = [:]
            for item in items {
                let value = try PodField.value(item.key, pod, facts, field: "spec.volumes[\(name)].downwardAPI")
                files[item.path] = File(bytes: Array(value.utf8), mode: item.mode ?? mode)
            }
            return files
        case .projected(let sources):
            var files: [String: File] = [:]
            for source in sources {
                let more = try self.files(source, mode: mode, name: name, pod, facts, references) ?? [:]
                files.merge(more, uniquingKeysWith: { _, last in last })
            }
            return files
        }
    }

    private static func keyed(
        _ object: KubernetesObject?, _ title: String, _ items: [VolumeManifest.Item], _ isOptional: Bool,
        _ mode: UInt32, _ volume: String
    ) throws(WorkloadError) -> [String: File] {
        guard let object else {
            if isOptional { return [:] }
            throw .field("spec.volumes[\(volume)]", "\(title) does not exist")
        }
        let content = KeyedContent.bytes(object)
        var files: [String: File] = [:]
        guard !items.isEmpty else {
            // A key that is no plain file name cannot be a file (the API refuses such keys).
            for (key, bytes) in content where !key.contains("/") && key != "." && !key.hasPrefix("..") {
                files[key] = File(bytes: bytes, mode: mode)
            }
            return files
        }
        for item in items {
            guard let bytes = content[item.key] else {
                if isOptional { continue }
                throw .field("spec.volumes[\(volume)].items", "\(title) has no key \(item.key)")
            }
            files[item.path] = File(bytes: bytes, mode: item.mode ?? mode)
        }
        return files
    }
}
