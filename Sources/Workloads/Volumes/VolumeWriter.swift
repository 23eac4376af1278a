internal import IO

/// Writes volumes to disk.
///
/// Blocking.
///
/// Files appear and change together, as Kubernetes does it: they stand in a directory of their own, `..data` links to it,
/// every name links through `..data`, and an update is one rename.
enum VolumeWriter {
    /// Brings a volume's directory to that content; nothing happens when it has it.
    static func write(_ files: [String: VolumeContent.File], to directory: String) throws(SystemError) {
        try File.makeDirectory(directory, mode: 0o755)
        let current = try? File.readLink(directory + "/..data")
        if let current, holds(files, directory + "/" + current) { return }

        let version = "..\(MonotonicTime.now.nanoseconds)"
        let target = "\(directory)/\(version)"
        try File.makeDirectory(target, mode: 0o755)
        for (path, file) in files {
            let full = "\(target)/\(path)"
            try File.makeDirectory(File.parent(of: full), mode: 0o755)
            try File.append(full, file.bytes, mode: 0o600)
            try File.chmod(full, file.mode)
        }
        try? File.remove(directory + "/..data_tmp")
        try File.symlink(version, at: directory + "/..data_tmp")
        try File.rename(directory + "/..data_tmp", directory + "/..data")

        let names = Set(files.keys.compactMap { $0.split(separator: "/").first.map(String.init) })
        let there = Set(try File.list(directory).filter { !$0.hasPrefix("..") })
        for name in names.subtracting(there) { try File.symlink("..data/\(name)", at: "\(directory)/\(name)") }
        for name in there.subtracting(names) { try? File.remove("\(directory)/\(name)") }
        if let current, current.hasPrefix(".."), !current.contains("/") {
            try? File.removeTree("\(directory)/\(current)")
        }
    }

    private static func holds(_ files: [String: VolumeContent.File], _ directory: String) -> Bool {
        guard let there = try? list(directory, ""), Set(there) == Set(files.keys) else { return false }
        return files.allSatisfy { path, file in (try? File.read("\(directory)/\(path)")) == file.bytes }
    }

    private static func list(_ directory: String, _ prefix: String) throws(SystemError) -> [String] {
        var result: [String] = []
        for name in try File.list(directory) {
            if File.isDirectory("\(directory)/\(name)") {
                result += try list("\(directory)/\(name)", "\(prefix)\(name)/")
            } else {
                result.append(prefix + name)
            }
        }
        return result
    }
}
