internal import Glibc

/// A file that bytes are appended to without ever waiting for it: what cannot be written now is said, not waited for.
///
/// For logs: a pipe that nobody reads, or a disk that is full, must not stop a loop.
public final class AppendFile {
    /// Whoever reads a pipe is promised pieces of this size whole.
    private static let pipePiece = 4096

    private let fd: Int32
    private let isOurs: Bool
    private let isRegular: Bool

    /// Opens or makes a file.
    ///
    /// A named pipe that nobody reads is refused (ENXIO) instead of waited for.
    public init(_ path: String) throws(SystemError) {
        fd = try checkErrno(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0o644), "open \(path)")
        isOurs = true
        isRegular = Self.isRegular(fd)
    }

    /// Writes to a descriptor that somebody else opened (standard output): its flags stay as they are.
    public init(descriptor: Int32) {
        fd = descriptor
        isOurs = false
        isRegular = Self.isRegular(descriptor)
    }

    deinit { if isOurs { close(fd) } }

    private static func isRegular(_ fd: Int32) -> Bool {
        var status = stat()
        return fstat(fd, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Writes as much as goes without waiting; the answer is how much that was.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Int {
        var sent = 0
        while sent < bytes.count {
            var piece = bytes.count - sent
            if !isRegular {
                // A descriptor of somebody else's may block: then only what a ready pipe takes at once is written.
                var descriptor = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                guard poll(&descriptor, 1, 0) == 1 else { return sent }
                piece = min(piece, Self.pipePiece)
            }
            let count = Glibc.write(fd, bytes.baseAddress?.advanced(by: sent), piece)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN { return sent }
            guard count > 0 else { throw .last("write") }
            sent += count
        }
        return sent
    }
}
