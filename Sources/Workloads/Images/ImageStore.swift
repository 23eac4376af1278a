internal import IO
public import Serialization

/// Imported images: one JSON file per name, one directory per layer, named by the digest of what is in it.
///
/// Blocking; any thread. A crash in the middle of an import leaves the earlier image of the name as it was.
public struct ImageStore: Sendable {
    /// An image that containers can be started from.
    public struct StoredImage: Sendable, Hashable {
        /// The name it was imported under, with its tag.
        public var name: String
        /// The unpacked layers, uppermost first, as overlayfs wants them.
        public var layers: [String]
        /// `config` of the image: Entrypoint, Cmd, Env, WorkingDir, User.
        public var config: JSON
        /// When it was imported, RFC 3339.
        public var imported: String

        /// As a root of containers.
        public var image: ContainerImage {
            ContainerImage(root: .layers(layers), config: ContainerImage.Config(config))
        }
    }

    private let directory: String

    /// The store in that directory, which is made when the first image comes.
    public init(directory: String) { self.directory = directory }

    /// The one spelling of an image's name.
    ///
    /// `nginx`, `docker.io/library/nginx` → `nginx:latest`; a tag or digest stays.
    public static func canonicalName(_ name: String) -> String {
        var base = name
        for prefix in ["docker.io/library/", "docker.io/", "library/"] where base.hasPrefix(prefix) {
            base = String(base.dropFirst(prefix.count))
            break
        }
        let last = base.split(separator: "/").last ?? ""
        return last.contains(":") || last.contains("@") ? base : base + ":latest"
    }

    private func recordPath(_ name: String) -> String {
        var file = ""
        for byte in Self.canonicalName(name).utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: file.unicodeScalars.append(UnicodeScalar(byte))
            // `.` and `/` would let a name climb; each byte keeps its own text, so that no two names meet.
            default: file += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return "\(directory)/names/\(file).json"
    }

    private func layerPath(_ digest: String) -> String { "\(directory)/layers/\(digest.replacing(":", with: "-"))" }

    /// Takes the image of an archive in under that name; an earlier image of the name is replaced.
    public func importArchive(name: String, file: String, imported: String) throws(WorkloadError) -> StoredImage {
        guard !name.isEmpty, name.utf8.count <= 200, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw WorkloadError("ImportFailed", "\"\(name)\" is no image name")
        }
        let scratch = "\(directory)/import-\(Environment.processID)"
        defer {
            try? File.remove(scratch + ".tar")
            try? File.removeTree(scratch)
        }
        do throws(SystemError) {
            try File.makeDirectory(directory, mode: 0o700)
            try File.makeDirectory(directory + "/layers", mode: 0o700)
            try File.makeDirectory(directory + "/names", mode: 0o700)
        } catch {
            throw WorkloadError("ImportFailed", "image store", error)
        }
        let archive = try ImageArchive(file, scratch: scratch + ".tar")
        var digests: [String] = []
        for layer in archive.layers { digests.append(try take(layer, of: archive, scratch)) }
        let record: JSON = [
            "name": .string(Self.canonicalName(name)), "layers": .array(digests.map { .string($0) }),
            "config": archive.config, "imported": .string(imported),
        ]
        do throws(SystemError) {
            try File.write(recordPath(name), record.bytes, mode: 0o600)
        } catch {
            throw WorkloadError("ImportFailed", "image store", error)
        }
        return stored(record)
    }

    /// Unpacks a layer beside the others and gives it its name when its digest is right.
    private func take(_ layer: ImageArchive.Layer, of archive: ImageArchive, _ scratch: String) throws(WorkloadError)
        -> String
    {
        if let digest = layer.digest, Self.isDigest(digest), File.isDirectory(layerPath(digest)) { return digest }
        do throws(SystemError) {
            try File.removeTree(scratch)
            try File.makeDirectory(scratch, mode: 0o755)
        } catch {
            throw WorkloadError("ImportFailed", "image store", error)
        }
        let source = DigestSource(try archive.source(of: layer))
        var writer = try LayerWriter(scratch)
        try writer.unpack(source)
        let digest = try source.finish()
        if let expected = layer.digest, expected != digest {
            throw WorkloadError(
                "ImportFailed", "image archive: a layer has the digest \(digest), the image says \(expected)")
        }
        if File.isDirectory(layerPath(digest)) { return digest }
        do throws(SystemError) {
            try File.rename(scratch, layerPath(digest))
            try File.syncDirectory(directory + "/layers")
        } catch {
            throw WorkloadError("ImportFailed", "image store", error)
        }
        return digest
    }

    private static func isDigest(_ text: String) -> Bool {
        text.hasPrefix("sha256:") && text.utf8.count == 71
            && text.utf8.dropFirst(7).allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private func stored(_ record: JSON) -> StoredImage {
        let digests = (record["layers"]?.array ?? []).compactMap(\.string).filter(Self.isDigest)
        return StoredImage(
            name: record["name"]?.string ?? "", layers: digests.reversed().map(layerPath),
            config: record["config"] ?? .null,
            imported: record["imported"]?.string ?? "")
    }

    /// What containers of that image are started from; nil when none of that name was imported.
    public func image(named name: String) throws(WorkloadError) -> ContainerImage? {
        let path = recordPath(name)
        guard File.exists(path) else { return nil }
        guard let bytes = try? File.read(path), let record = try? JSON.parse(bytes) else {
            throw WorkloadError("ErrImageNeverPull", "image \(name): its record \(path) is damaged; import it again")
        }
        let image = stored(record)
        guard !image.layers.isEmpty, image.layers.allSatisfy({ File.isDirectory($0) }) else {
            throw WorkloadError("ErrImageNeverPull", "image \(name) has lost a layer in the store; import it again")
        }
        return image.image
    }

    /// All images by name.
    public func images() -> [StoredImage] {
        let names = (try? File.list(directory + "/names")) ?? []
        return names.compactMap { name in
            guard let bytes = try? File.read("\(directory)/names/\(name)"), let record = try? JSON.parse(bytes) else {
                return nil
            }
            return stored(record)
        }.sorted { $0.name < $1.name }
    }
}
