internal import Glibc

extension File {
    /// The path without links, `.` and `..`; nil when it does not exist.
    public static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Size of a file in bytes; nil when it does not exist.
    public static func size(_ path: String) -> Int? {
        var status = stat()
        return lstat(path, &status) == 0 ? Int(status.st_size) : nil
    }

    /// Replaces the file whole, without waiting for the disk: a crash of the process leaves the old or the new content, a
    /// crash of the machine may leave neither.
    public static func replace(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644) throws(SystemError) {
        let temporary = "\(path).\(getpid()).new"
        unlink(temporary)
        try append(temporary, bytes, mode: mode)
        try rename(temporary, path)
    }
}
