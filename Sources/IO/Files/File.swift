internal import Glibc

/// Files and directories.
///
/// Blocking; for start-up and control-path code.
public enum File {
    /// The whole content.
    ///
    /// Fails with EFBIG beyond `limit` bytes.
    public static func read(_ path: String, limit: Int = 1 << 30) throws(SystemError) -> [UInt8] {
        let fd = try checkErrno(open(path, O_RDONLY | O_CLOEXEC), "open \(path)")
        defer { close(fd) }
        var content: [UInt8] = []
        while true {
            guard content.count <= limit else { throw SystemError(EFBIG, "read \(path)") }
            // /proc files have no size: read until the end, in pieces.
            let piece = 65_536
            var failure: SystemError?
            let bytes = [UInt8](unsafeUninitializedCapacity: piece) { buffer, initialized in
                let count = Glibc.read(fd, buffer.baseAddress, piece)
                if count < 0 { failure = .last("read \(path)") } else { initialized = count }
            }
            if let failure {
                if failure.errno == EINTR { continue }
                throw failure
            }
            if bytes.isEmpty { return content }
            content += bytes
        }
    }

    /// The whole content as text; bytes that are no UTF-8 are replaced.
    public static func text(_ path: String) throws(SystemError) -> String {
        String(decoding: try read(path), as: UTF8.self)
    }

    /// Replaces the file whole: a reader sees the old or the new content, also after a crash (written beside, synced,
    /// renamed, directory synced).
    public static func write(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644) throws(SystemError) {
        let temporary = "\(path).\(getpid()).new"
        unlink(temporary)
        let fd = try checkErrno(
            open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(mode)), "create \(temporary)")
        do throws(SystemError) {
            defer { close(fd) }
            try writeAll(fd, bytes, path)
            try checkErrno(fchmod(fd, mode_t(mode)), "chmod \(path)")
            try checkErrno(fsync(fd), "sync \(path)")
        } catch {
            unlink(temporary)
            throw error
        }
        guard Glibc.rename(temporary, path) == 0 else {
            let error = SystemError.last("rename \(temporary)")
            unlink(temporary)
            throw error
        }
        try syncDirectory(parent(of: path))
    }

    /// Writes into an existing file as it is (no replacement): for /proc and /sys.
    public static func writeInPlace(_ path: String, _ text: String) throws(SystemError) {
        let fd = try checkErrno(open(path, O_WRONLY | O_CLOEXEC), "open \(path)")
        defer { close(fd) }
        try writeAll(fd, Array(text.utf8), path)
    }

    /// Adds to the end of the file, which is made when it is missing.
    public static func append(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644, sync: Bool = false)
        throws(SystemError)
    {
        let fd = try checkErrno(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode_t(mode)), "open \(path)")
        defer { close(fd) }
        try writeAll(fd, bytes, path)
        if sync { try checkErrno(fsync(fd), "sync \(path)") }
    }

    private static func writeAll(_ fd: Int32, _ bytes: [UInt8], _ path: String) throws(SystemError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(fd, $0.baseAddress?.advanced(by: written), $0.count - written)
            }
            if count < 0, errno == EINTR { continue }
            written += try checkErrno(count, "write \(path)")
        }
    }

    /// Whether something is there (a dangling link counts).
    public static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// Whether a directory is there (links are followed).
    public static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Whether a file that may be executed is there.
    public static func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 && !isDirectory(path) }

    /// Makes the directory and those above it that are missing; an existing one keeps its mode.
    public static func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(SystemError) {
        if Glibc.mkdir(path, mode_t(mode)) == 0 {
            // The umask must not decide about 0711 and the like.
            try checkErrno(Glibc.chmod(path, mode_t(mode)), "chmod \(path)")
            return
        }
        switch errno {
        case EEXIST where isDirectory(path): return
        case ENOENT where parent(of: path) != path:
            try makeDirectory(parent(of: path))
            try makeDirectory(path, mode: mode)
        default: throw SystemError.last("make directory \(path)")
        }
    }

    /// The names in a directory, without `.` and `..`, sorted.
    public static func list(_ path: String) throws(SystemError) -> [String] {
        guard let directory = opendir(path) else { throw SystemError.last("list \(path)") }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file, link, socket or empty directory.
    ///
    /// What is not there is removed already.
    public static func remove(_ path: String) throws(SystemError) {
        if unlink(path) == 0 || errno == ENOENT { return }
        if errno == EISDIR || errno == EPERM, rmdir(path) == 0 || errno == ENOENT { return }
        throw SystemError.last("remove \(path)")
    }

    /// Removes a directory with everything in it.
    ///
    /// Does not follow links and does not cross into other file systems.
    public static func removeTree(_ path: String) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw SystemError.last("remove \(path)")
        }
        try removeTree(path, device: status.st_dev)
    }

    private static func removeTree(_ path: String, device: dev_t) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_dev == device else { throw SystemError(EBUSY, "remove \(path) (something is mounted there)") }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in try list(path) { try removeTree("\(path)/\(name)", device: device) }
            if rmdir(path) != 0, errno != ENOENT { throw SystemError.last("remove \(path)") }
        } else {
            try remove(path)
        }
    }

    /// Makes a symbolic link at `path` that says `target`.
    public static func symlink(_ target: String, at path: String) throws(SystemError) {
        try checkErrno(Glibc.symlink(target, path), "link \(path)")
    }

    /// What the symbolic link says.
    public static func readLink(_ path: String) throws(SystemError) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = try checkErrno(readlink(path, &buffer, buffer.count), "read link \(path)")
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Gives `from` the name `to`, replacing what has it.
    public static func rename(_ from: String, _ to: String) throws(SystemError) {
        try checkErrno(Glibc.rename(from, to), "rename \(from)")
    }

    /// Sets the permission bits.
    public static func chmod(_ path: String, _ mode: UInt32) throws(SystemError) {
        try checkErrno(Glibc.chmod(path, mode_t(mode)), "chmod \(path)")
    }

    /// Sets owner and group.
    public static func chown(_ path: String, uid: UInt32, gid: UInt32) throws(SystemError) {
        try checkErrno(Glibc.chown(path, uid, gid), "chown \(path)")
    }

    /// Makes renames in the directory last over a crash.
    public static func syncDirectory(_ path: String) throws(SystemError) {
        let fd = try checkErrno(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open \(path)")
        defer { close(fd) }
        try checkErrno(fsync(fd), "sync \(path)")
    }

    /// The directory that holds `path`.
    public static func parent(of path: String) -> String {
        let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard let slash = trimmed.lastIndex(of: "/") else { return "." }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }
}

/// An advisory lock on a file, held until this value goes (or the process ends, however it ends).
public final class FileLock: Sendable {
    private let fd: Int32

    /// Takes the lock, or fails with EWOULDBLOCK when another process has it.
    public init(_ path: String) throws(SystemError) {
        fd = try checkErrno(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600), "open \(path)")
        guard flock(fd, LOCK_EX | LOCK_NB) == 0 else {
            let error = SystemError.last("lock \(path)")
            close(fd)
            throw error
        }
    }

    /// Puts a text (for example the owner's pid) into the lock file, for people and error messages.
    public func write(_ text: String) {
        ftruncate(fd, 0)
        var bytes = Array(text.utf8)
        pwrite(fd, &bytes, bytes.count, 0)
    }

    deinit { close(fd) }
}

extension File {
    /// What tells one content of a path from another without reading it.
    public struct Stamp: Sendable, Hashable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let seconds: Int64
        let nanoseconds: Int64
    }

    /// The stamp of what is at a path now, links followed; nil when there is nothing.
    public static func stamp(_ path: String) -> Stamp? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Stamp(
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino), size: Int64(status.st_size),
            seconds: Int64(status.st_mtim.tv_sec), nanoseconds: Int64(status.st_mtim.tv_nsec))
    }
}
