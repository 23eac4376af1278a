import Glibc
import IO
import Testing

/// A directory of its own for one test.
final class Scratch {
    let path: String
    private var isMounted = false

    init() throws {
        var template = Array("/tmp/skein-store-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    /// Makes it a file system of so many bytes; needs root.
    func limit(bytes: Int) throws {
        try #require(mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0, "mounting a small tmpfs needs root")
        isMounted = true
    }

    deinit {
        if isMounted { umount2(path, Int32(MNT_DETACH)) }
        try? File.removeTree(path)
    }
}
