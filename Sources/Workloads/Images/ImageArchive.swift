internal import IO
internal import Serialization

/// A file that holds an image: a `docker save` archive, an OCI layout as tar, or a root file system as tar; packed with
/// gzip or not.
struct ImageArchive {
    /// One layer and how its bytes are found.
    struct Layer {
        let offset: Int
        let count: Int
        /// Digest of the unpacked tar, when the image says it.
        let digest: String?
    }

    private let file: FileReader
    let layers: [Layer]
    /// The image's `config`; null for a root file system.
    let config: JSON

    private static func failure(_ problem: String) -> WorkloadError { WorkloadError("ImportFailed", problem) }

    /// Opens the archive.
    ///
    /// - Parameter scratch: where a packed archive is unpacked to; the caller removes it.
    init(_ path: String, scratch: String) throws(WorkloadError) {
        var file = try Self.open(path)
        if GzipSource.isGzip(try Self.bytes(file, 0, 2)) {
            // Layers are read at their places, so a packed archive is unpacked first.
            try Self.unpack(file, scratch)
            file = try Self.open(scratch)
        }
        self.file = file
        let index = try Self.index(file)
        if let manifest = index["manifest.json"] {
            (layers, config) = try Self.docker(file, index, manifest)
        } else if let manifest = index["index.json"], index["oci-layout"] != nil {
            (layers, config) = try Self.oci(file, index, manifest)
        } else {
            (layers, config) = ([Layer(offset: 0, count: file.size, digest: nil)], .null)
        }
    }

    /// The layer's tar.
    func source(of layer: Layer) throws(WorkloadError) -> any ByteSource {
        let source = FileSource(file, offset: layer.offset, count: layer.count)
        guard GzipSource.isGzip(try Self.bytes(file, layer.offset, 2)) else { return source }
        return try GzipSource(source, limit: LayerWriter.bytesMax)
    }

    private static func open(_ path: String) throws(WorkloadError) -> FileReader {
        do throws(SystemError) {
            return try FileReader(path)
        } catch {
            throw failure("\(error)")
        }
    }

    private static func bytes(_ file: FileReader, _ offset: Int, _ count: Int) throws(WorkloadError) -> [UInt8] {
        var bytes: [UInt8] = []
        let source = FileSource(file, offset: offset, count: count)
        while true {
            let piece = try source.read(upTo: count)
            if piece.isEmpty { return bytes }
            bytes += piece
        }
    }

    private static func unpack(_ file: FileReader, _ scratch: String) throws(WorkloadError) {
        let source = try GzipSource(FileSource(file), limit: LayerWriter.bytesMax)
        do throws(SystemError) {
            let writer = try FileWriter(creating: scratch)
            while true {
                let piece = try read(source)
                guard !piece.isEmpty else { return writer.close() }
                try writer.write(piece[...])
            }
        } catch {
            throw failure("image archive: \(error)")
        }
    }

    private static func read(_ source: GzipSource) throws(SystemError) -> [UInt8] {
        do throws(WorkloadError) {
            return try source.read(upTo: 256 << 10)
        } catch {
            throw SystemError(5, error.message)
        }
    }

    /// Where the content of each file of the outer archive is.
    private static func index(_ file: FileReader) throws(WorkloadError) -> [String: Range<Int>] {
        var index: [String: Range<Int>] = [:]
        var links: [String: String] = [:]
        var archive = TarReader(FileSource(file))
        while let entry = try archive.next() {
            let path = clean(entry.path)
            switch entry.kind {
            case .file: index[path] = archive.position..<(archive.position + entry.size)
            // Old versions of docker save link equal layers: ../ID/layer.tar.
            case .symbolicLink: links[path] = clean(File.parent(of: path) + "/" + entry.target)
            default: break
            }
        }
        for (path, target) in links { index[path] = index[target] }
        return index
    }

    private static func clean(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return parts.joined(separator: "/")
    }

    private static func json(_ file: FileReader, _ range: Range<Int>?, _ name: String) throws(WorkloadError) -> JSON {
        guard let range else { throw failure("image archive: \(name) is missing") }
        guard range.count <= 8 << 20 else { throw failure("image archive: \(name) is too large") }
        let content = try bytes(file, range.lowerBound, range.count)
        do throws(JSONError) {
            return try JSON.parse(content)
        } catch {
            throw failure("image archive: \(name): \(error)")
        }
    }

    private static func docker(
        _ file: FileReader, _ index: [String: Range<Int>], _ manifest: Range<Int>
    ) throws(WorkloadError) -> ([Layer], JSON) {
        let entries = try json(file, manifest, "manifest.json").array ?? []
        guard entries.count == 1, let entry = entries.first else {
            throw failure("image archive: has \(entries.count) images; save them one by one")
        }
        let name = entry["Config"]?.string ?? ""
        let image = try json(file, index[clean(name)], name)
        let digests = (image["rootfs"]?["diff_ids"]?.array ?? []).compactMap(\.string)
        let names = (entry["Layers"]?.array ?? []).compactMap(\.string)
        guard digests.count == names.count else {
            throw failure("image archive: \(names.count) layers but \(digests.count) diff_ids")
        }
        var layers: [Layer] = []
        for (name, digest) in zip(names, digests) { layers.append(try layer(index, name, digest)) }
        return (layers, image["config"] ?? .null)
    }

    private static func oci(
        _ file: FileReader, _ index: [String: Range<Int>], _ manifest: Range<Int>
    ) throws(WorkloadError) -> ([Layer], JSON) {
        func blob(_ digest: String) -> String { "blobs/" + digest.replacing(":", with: "/") }
        var descriptors = try json(file, manifest, "index.json")["manifests"]?.array ?? []
        var image: JSON = .null
        // An index may name another index (one manifest per platform); ours is linux on this processor.
        for _ in 0..<4 {
            let fitting = descriptors.filter { descriptor in
                guard let platform = descriptor["platform"] else { return true }
                return platform["os"]?.string == "linux" && platform["architecture"]?.string == architecture
            }
            guard fitting.count == 1, let digest = fitting.first?["digest"]?.string else {
                throw failure(
                    "image archive: \(fitting.count) of \(descriptors.count) manifests are for linux/\(architecture), one is needed"
                )
            }
            image = try json(file, index[blob(digest)], blob(digest))
            guard let inner = image["manifests"]?.array else { break }
            descriptors = inner
        }
        let name = blob(image["config"]?["digest"]?.string ?? "")
        let config = try json(file, index[name], name)
        let digests = (config["rootfs"]?["diff_ids"]?.array ?? []).compactMap(\.string)
        let names = (image["layers"]?.array ?? []).compactMap { $0["digest"]?.string }
        guard digests.count == names.count else {
            throw failure("image archive: \(names.count) layers but \(digests.count) diff_ids")
        }
        var layers: [Layer] = []
        for (name, digest) in zip(names, digests) { layers.append(try layer(index, blob(name), digest)) }
        return (layers, config["config"] ?? .null)
    }

    private static func layer(_ index: [String: Range<Int>], _ name: String, _ digest: String) throws(WorkloadError)
        -> Layer
    {
        guard let range = index[clean(name)] else { throw failure("image archive: \(name) is missing") }
        return Layer(offset: range.lowerBound, count: range.count, digest: digest)
    }

    private static var architecture: String {
        #if arch(x86_64)
            "amd64"
        #else
            "arm64"
        #endif
    }
}
