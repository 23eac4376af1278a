internal import CLinux
internal import Glibc

/// A directory that is filled by names from a stranger (the layers of an image): no name and no symbolic link leads out of it.
///
/// Paths are taken as below the directory, whatever slashes and dots they begin with; links inside are followed as if the
/// directory were `/` (openat2(2), RESOLVE_IN_ROOT).
public final class RootedDirectory {
    private let root: Int32
    /// The parent used last, since archives list the files of a directory one after the other.
    private var parent: (path: String, fd: Int32)?

    /// Opens an existing directory.
    public init(_ path: String) throws(SystemError) {
        root = try checkErrno(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open \(path)")
    }

    deinit {
        if let parent { close(parent.fd) }
        close(root)
    }

    /// The path's parts without empty ones and dots; nil when it climbs with `..`.
    private static func parts(_ path: String) -> [String]? {
        let parts = path.split(separator: "/").filter { $0 != "." }.map(String.init)
        return parts.contains("..") ? nil : parts
    }

    /// Opens the directory that holds `path`, making what is missing, and calls `body` with it and the last name.
    private func inParent(
        of path: String, _ operation: String, _ body: (Int32, String) throws(SystemError) -> Void
    ) throws(SystemError) {
        guard let parts = RootedDirectory.parts(path), let name = parts.last else {
            throw SystemError(EINVAL, "\(operation) \(path)")
        }
        let directory = parts.dropLast().joined(separator: "/")
        if let parent, parent.path == directory { return try body(parent.fd, name) }
        let fd = try openDirectory(Array(parts.dropLast()), operation)
        if let parent { close(parent.fd) }
        parent = (directory, fd)
        try body(fd, name)
    }

    private func openDirectory(_ parts: [String], _ operation: String) throws(SystemError) -> Int32 {
        let flags = UInt64(O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let path = parts.isEmpty ? "." : parts.joined(separator: "/")
        let fd = clinux_open_in_root(root, path, flags, 0)
        if fd >= 0 { return fd }
        guard fd == -ENOENT, !parts.isEmpty else { return try check(fd, "\(operation) \(path)") }
        let above = try openDirectory(Array(parts.dropLast()), operation)
        defer { close(above) }
        if mkdirat(above, parts[parts.count - 1], 0o755) < 0, errno != EEXIST {
            throw SystemError.last("\(operation) \(path)")
        }
        return try check(clinux_open_in_root(root, path, flags, 0), "\(operation) \(path)")
    }

    /// Makes way for a new entry: what has the name and is no directory goes.
    private func clear(_ directory: Int32, _ name: String) {
        if unlinkat(directory, name, 0) < 0, errno == EISDIR || errno == EPERM {
            _ = unlinkat(directory, name, AT_REMOVEDIR)
        }
    }

    private func own(_ directory: Int32, _ name: String, _ owner: (uid: UInt32, gid: UInt32)) throws(SystemError) {
        try checkErrno(fchownat(directory, name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW), "chown \(name)")
    }

    /// Makes a directory, or changes the one that is there.
    public func makeDirectory(_ path: String, mode: UInt32, owner: (uid: UInt32, gid: UInt32)) throws(SystemError) {
        guard let parts = RootedDirectory.parts(path) else { throw SystemError(EINVAL, "make directory \(path)") }
        if parts.isEmpty {
            try checkErrno(fchown(root, owner.uid, owner.gid), "chown /")
            try checkErrno(fchmod(root, mode_t(mode)), "chmod /")
            return
        }
        try inParent(of: path, "make directory") { directory, name throws(SystemError) in
            if mkdirat(directory, name, 0o755) < 0 {
                guard errno == EEXIST else { throw SystemError.last("make directory \(path)") }
                var status = stat()
                if fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT != S_IFDIR {
                    // An earlier entry of the same layer made a file of it; the last entry counts.
                    clear(directory, name)
                    try checkErrno(mkdirat(directory, name, 0o755), "make directory \(path)")
                }
            }
            try own(directory, name, owner)
            try checkErrno(fchmodat(directory, name, mode_t(mode), 0), "chmod \(path)")
        }
    }

    /// Makes a file and hands over the descriptor to write it; the caller closes it.
    public func makeFile(_ path: String, mode: UInt32, owner: (uid: UInt32, gid: UInt32)) throws(SystemError) -> Int32 {
        var result: Int32 = -1
        try inParent(of: path, "create") { directory, name throws(SystemError) in
            clear(directory, name)
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
            let fd = try checkErrno(openat(directory, name, flags, 0o600), "create \(path)")
            // The owner first: changing it clears the set-user bits.
            guard fchown(fd, owner.uid, owner.gid) == 0, fchmod(fd, mode_t(mode)) == 0 else {
                let error = SystemError.last("create \(path)")
                close(fd)
                throw error
            }
            result = fd
        }
        return result
    }

    /// Makes a symbolic link that says `target`, wherever that leads inside a container.
    public func makeLink(_ path: String, to target: String, owner: (uid: UInt32, gid: UInt32)) throws(SystemError) {
        try inParent(of: path, "link") { directory, name throws(SystemError) in
            clear(directory, name)
            try checkErrno(symlinkat(target, directory, name), "link \(path)")
            try own(directory, name, owner)
        }
    }

    /// Gives the file at `target`, inside, a further name.
    public func makeHardLink(_ path: String, to target: String) throws(SystemError) {
        guard let parts = RootedDirectory.parts(target), let targetName = parts.last else {
            throw SystemError(EINVAL, "link \(path) to \(target)")
        }
        let source = try openDirectory(Array(parts.dropLast()), "link")
        defer { close(source) }
        try inParent(of: path, "link") { directory, name throws(SystemError) in
            clear(directory, name)
            try checkErrno(linkat(source, targetName, directory, name, 0), "link \(path) to \(target)")
        }
    }

    /// Makes a named pipe.
    public func makeFIFO(_ path: String, mode: UInt32, owner: (uid: UInt32, gid: UInt32)) throws(SystemError) {
        try inParent(of: path, "make fifo") { directory, name throws(SystemError) in
            clear(directory, name)
            try checkErrno(mkfifoat(directory, name, mode_t(mode)), "make fifo \(path)")
            try own(directory, name, owner)
        }
    }

    /// Hides what lower layers have at `path` (overlayfs).
    public func makeWhiteout(_ path: String) throws(SystemError) {
        try inParent(of: path, "whiteout") { directory, name throws(SystemError) in
            clear(directory, name)
            try check(clinux_make_whiteout(directory, name), "whiteout \(path)")
        }
    }

    /// Hides everything that lower layers have in the directory `path` (overlayfs).
    public func makeOpaque(_ path: String) throws(SystemError) {
        guard let parts = RootedDirectory.parts(path) else { throw SystemError(EINVAL, "opaque \(path)") }
        let directory = try openDirectory(parts, "opaque")
        defer { close(directory) }
        try check(clinux_set_overlay_opaque(directory), "opaque \(path)")
    }
}
