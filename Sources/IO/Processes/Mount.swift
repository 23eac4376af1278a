internal import CLinux
internal import Glibc

/// Mounting and unmounting file systems.
public enum Mount {
    /// A temporary file system with that mode and a bound on its size.
    public static func temporary(at path: String, mode: String, sizeBytes: Int) throws(SystemError) {
        let flags = UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC)
        try check(
            clinux_mount_filesystem("tmpfs", path, "tmpfs", flags, "mode=\(mode),size=\(sizeBytes)"),
            "mount tmpfs at \(path)")
    }

    /// An overlay of read-only `lower` directories (topmost first), writable in `upper` when it is given.
    public static func overlay(
        at path: String, lower: [String], upper: (directory: String, work: String)?
    ) throws(SystemError) {
        var options = "lowerdir=" + lower.joined(separator: ":")
        if let upper { options += ",upperdir=\(upper.directory),workdir=\(upper.work)" }
        try check(clinux_mount_filesystem("overlay", path, "overlay", 0, options), "mount overlay at \(path)")
    }

    /// Takes away the topmost mount at that path.
    ///
    /// Nothing mounted there is no failure.
    public static func remove(_ path: String) throws(SystemError) {
        let result = clinux_unmount(path)
        if result == -EINVAL || result == -ENOENT { return }
        try check(result, "unmount \(path)")
    }

    /// The mount points at or below a path, deepest last as the kernel lists them.
    public static func points(below path: String) throws(SystemError) -> [String] {
        let text = String(decoding: try File.read("/proc/self/mountinfo"), as: UTF8.self)
        return text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.indices.contains(4) else { return nil }
            let point = unescape(String(fields[4]))
            return point == path || point.hasPrefix(path + "/") ? point : nil
        }
    }

    /// The kernel writes space, tab, newline and backslash as octal.
    private static func unescape(_ text: String) -> String {
        text.replacing("\\040", with: " ").replacing("\\011", with: "\t").replacing("\\012", with: "\n")
            .replacing("\\134", with: "\\")
    }
}
