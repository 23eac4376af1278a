import Glibc
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
        for name in ["s.db", "t.db", "filler"] {
            for suffix in ["", "-wal", "-shm", "-journal"] { unlink(path + "/" + name + suffix) }
        }
        rmdir(path)
    }
}

/// Files as bytes.
enum File {
    static func read(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"), "\(path)")
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&block, 1, block.count, file)
            if count == 0 { return bytes }
            bytes += block[..<count]
        }
    }

    static func write(_ path: String, _ bytes: [UInt8]) throws {
        let file = try #require(fopen(path, "w"), "\(path)")
        defer { fclose(file) }
        try #require(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    static func remove(_ path: String) throws { try #require(unlink(path) == 0) }
}
