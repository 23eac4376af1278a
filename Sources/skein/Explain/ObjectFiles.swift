internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// Where objects are written: the file that `skein apply -f` or `skein up -f` took them from, and the line of a field in it.
struct ObjectFiles: Sendable {
    /// The annotation that names the file.
    static let annotation = "skein.dev/source"

    private struct Document: Sendable {
        var document: YAMLDocument
        var json: JSON
        var prefix: String
    }

    private var files: [String: [Document]] = [:]
    private let objects: KnownObjects

    /// Reads the files that objects name.
    init(_ objects: KnownObjects) {
        self.objects = objects
        for object in objects.everything {
            guard let file = object.metadata.annotations[Self.annotation], files[file] == nil else { continue }
            files[file] = Self.read(file)
        }
    }

    private static func read(_ file: String) -> [Document] {
        guard let text = try? File.text(file), let documents = try? YAML.parse(text, file: file) else { return [] }
        return documents.flatMap { document -> [Document] in
            guard document.json["kind"]?.string == "List" else {
                return [Document(document: document, json: document.json, prefix: "")]
            }
            return (document.json["items"]?.array ?? []).enumerated().map {
                Document(document: document, json: $1, prefix: "items[\($0)].")
            }
        }
    }

    /// The files of objects that would be applied over others.
    init(_ manifests: [Manifest], over objects: KnownObjects) {
        var changed = objects
        for manifest in manifests {
            var object = manifest.object
            // As it would stand in the store.
            object.metadata.annotations[Applier.lastApplied] = object.json.text
            object.metadata.annotations[Self.annotation] = manifest.file
            changed.add(object)
        }
        self.init(changed)
    }

    /// `reviews.yaml:14`; the file alone when it has changed since, nil when nobody has said where.
    func place(_ origin: Provenance) -> String? {
        guard let object = objects.object(origin.kind, origin.object),
            let file = object.metadata.annotations[Self.annotation]
        else { return nil }
        let shown = file.split(separator: "/").last.map(String.init) ?? file
        let found = (files[file] ?? []).first { document in
            let written = KubernetesObject(json: document.json)
            return written.kind == origin.kind && written.name == origin.object.name
                && (written.namespace.isEmpty || written.namespace == origin.object.namespace)
        }
        guard let found else { return "\(shown), where it no longer is" }
        guard found.json["spec"] == Self.applied(object)?["spec"] else {
            return "\(shown), changed since it was applied"
        }
        // The nearest field that is written: defaults are not.
        var path = origin.field
        while !path.isEmpty, KubernetesObject(json: found.json).value(at: path) == nil {
            path = String(path[..<(path.lastIndex { $0 == "." || $0 == "[" } ?? path.startIndex)])
        }
        return "\(shown):\(found.document.line(of: found.prefix + path))"
    }

    /// The object as the file had it.
    private static func applied(_ object: KubernetesObject) -> JSON? {
        object.metadata.annotations[Applier.lastApplied].flatMap { try? JSON.parse($0) }
    }
}
