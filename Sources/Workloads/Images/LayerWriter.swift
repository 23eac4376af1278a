internal import IO

/// Unpacks one layer into a directory that overlayfs can lay over others.
struct LayerWriter {
    /// Bytes that one layer may unpack to.
    static let bytesMax = 32 << 30

    private let directory: RootedDirectory
    private var written = 0

    /// Unpacks into the existing, empty directory.
    init(_ path: String) throws(WorkloadError) {
        do throws(SystemError) {
            directory = try RootedDirectory(path)
        } catch {
            throw WorkloadError("ImportFailed", "image store", error)
        }
    }

    /// Unpacks everything the archive has.
    mutating func unpack(_ source: any ByteSource) throws(WorkloadError) {
        var archive = TarReader(source)
        while let entry = try archive.next() {
            do throws(SystemError) {
                try make(entry)
            } catch {
                throw WorkloadError("ImportFailed", "image layer: \(entry.path)", error)
            }
            if entry.kind == .file, !isMark(entry) { try write(entry, &archive) }
        }
    }

    private func name(_ entry: TarEntry) -> Substring {
        let trimmed = entry.path.hasSuffix("/") ? entry.path.dropLast() : entry.path[...]
        return trimmed.split(separator: "/").last ?? ""
    }

    /// Whether the entry hides something of lower layers (OCI image layer specification, "Whiteouts").
    private func isMark(_ entry: TarEntry) -> Bool { name(entry).hasPrefix(".wh.") }

    private func make(_ entry: TarEntry) throws(SystemError) {
        let owner = (uid: entry.uid, gid: entry.gid)
        if isMark(entry) {
            let last = name(entry)
            let parent = String(entry.path.dropLast(last.count))
            if last == ".wh..wh..opq" { return try directory.makeOpaque(parent) }
            return try directory.makeWhiteout(parent + last.dropFirst(4))
        }
        switch entry.kind {
        case .directory: try directory.makeDirectory(entry.path, mode: entry.mode, owner: owner)
        case .symbolicLink: try directory.makeLink(entry.path, to: entry.target, owner: owner)
        case .hardLink: try directory.makeHardLink(entry.path, to: entry.target)
        case .fifo: try directory.makeFIFO(entry.path, mode: entry.mode, owner: owner)
        // Containers get a /dev of their own; a device node from an archive is nothing that anybody may have.
        case .device: break
        case .file: break
        }
    }

    private mutating func write(_ entry: TarEntry, _ archive: inout TarReader) throws(WorkloadError) {
        do throws(SystemError) {
            let fd = try directory.makeFile(entry.path, mode: entry.mode, owner: (entry.uid, entry.gid))
            let writer = FileWriter(adopting: fd, name: entry.path)
            defer { writer.close() }
            while true {
                let bytes = try readPiece(&archive)
                guard !bytes.isEmpty else { return }
                written += bytes.count
                guard written <= LayerWriter.bytesMax else {
                    throw SystemError(27, "image layer over \(LayerWriter.bytesMax >> 30) GiB")
                }
                try writer.write(bytes[...])
            }
        } catch {
            throw WorkloadError("ImportFailed", "image layer: \(entry.path)", error)
        }
    }

    private func readPiece(_ archive: inout TarReader) throws(SystemError) -> [UInt8] {
        do throws(WorkloadError) {
            return try archive.read(upTo: 256 << 10)
        } catch {
            throw SystemError(5, error.message)
        }
    }
}
