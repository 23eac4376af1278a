internal import Glibc

extension File {
    /// The path without links, `.` and `..`; nil when it does not exist.
    public static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Removes an empty directory.
    public static func removeDirectory(_ path: String) throws(SystemError) {
        try checkErrno(rmdir(path), "remove \(path)")
    }

    /// The first bytes of a file, at most `count` of them.
    public static func readPrefix(_ path: String, _ count: Int) throws(SystemError) -> [UInt8] {
        try read(path, from: 0, count: count)
    }

    /// A part of a file; shorter at its end.
    public static func read(_ path: String, from offset: Int, count: Int) throws(SystemError) -> [UInt8] {
        let fd = try checkErrno(open(path, O_RDONLY | O_CLOEXEC), "open \(path)")
        defer { close(fd) }
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: max(0, count)) { buffer, initialized in
            let length = pread(fd, buffer.baseAddress, max(0, count), off_t(offset))
            if length < 0 { failure = .last("read \(path)") } else { initialized = length }
        }
        if let failure { throw failure }
        return bytes
    }

    /// The user that a file, directory or link (not what it leads to) belongs to.
    public static func owner(_ path: String) throws(SystemError) -> UInt32 {
        var status = stat()
        try checkErrno(lstat(path, &status), "look at \(path)")
        return status.st_uid
    }

    /// The permission bits of a file, links followed.
    public static func mode(_ path: String) throws(SystemError) -> UInt32 {
        var status = stat()
        try checkErrno(stat(path, &status), "look at \(path)")
        return status.st_mode & 0o7777
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
