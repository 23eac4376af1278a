internal import Glibc

/// Tells when a file is moved into one of the watched directories: how configuration and certificates are replaced
/// atomically.
///
/// Lives on one loop.
public final class DirectoryWatch: ReadinessHandler {
    private let fd: Int32
    private let body: (_ directory: String, _ name: String) -> Void
    private var registration: Registration?
    private var directories: [Int32: String] = [:]

    /// A watch of nothing yet; `body` gets the directory and the name in it.
    public init(
        on loop: EventLoop, _ body: @escaping (_ directory: String, _ name: String) -> Void
    ) throws(SystemError) {
        fd = try checkErrno(inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC)), "inotify_init1")
        self.body = body
        registration = try loop.register(fd, self)
    }

    deinit { close(fd) }

    /// Watches a directory; a second time changes nothing.
    public func add(_ directory: String) throws(SystemError) {
        guard !directories.values.contains(directory) else { return }
        let watch = try checkErrno(
            inotify_add_watch(fd, directory, UInt32(IN_MOVED_TO)), "inotify_add_watch \(directory)")
        directories[watch] = directory
    }

    /// Reads what happened.
    public func ready(_ readiness: Readiness) {
        // struct inotify_event: wd, mask, cookie, len (4 bytes each), then len bytes of name.
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = read(fd, &buffer, buffer.count)
            guard count > 0 else { return }
            var moved: [(String, String)] = []
            buffer.withUnsafeBytes { bytes in
                var at = 0
                while at + 16 <= count {
                    let watch = bytes.loadUnaligned(fromByteOffset: at, as: Int32.self)
                    let length = Int(bytes.loadUnaligned(fromByteOffset: at + 12, as: UInt32.self))
                    guard at + 16 + length <= count else { return }
                    let name = bytes[(at + 16)..<(at + 16 + length)].prefix { $0 != 0 }
                    if let directory = directories[watch] {
                        moved.append((directory, String(decoding: name, as: UTF8.self)))
                    }
                    at += 16 + length
                }
            }
            for (directory, name) in moved { body(directory, name) }
        }
    }

    /// Ends the watch.
    public func cancel() {
        registration?.cancel()
        registration = nil
    }
}
