internal import Glibc

/// A file that is read piece by piece, in order or at places.
public final class FileReader {
    private let fd: Int32
    private let path: String
    /// Bytes in the file when it was opened.
    public let size: Int

    /// Opens the file.
    public init(_ path: String) throws(SystemError) {
        fd = try checkErrno(open(path, O_RDONLY | O_CLOEXEC), "open \(path)")
        self.path = path
        var status = stat()
        guard fstat(fd, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(fd)
            throw SystemError(EINVAL, "open \(path) (not a file)")
        }
        size = Int(status.st_size)
    }

    deinit { close(fd) }

    /// Up to `count` bytes from that place; none at the end.
    public func read(at offset: Int, upTo count: Int) throws(SystemError) -> [UInt8] {
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            let result = pread(fd, buffer.baseAddress, count, off_t(offset))
            if result < 0 { failure = .last("read \(path)") } else { initialized = result }
        }
        if let failure { throw failure }
        return bytes
    }
}

/// Writes to a descriptor that it closes at its end.
public final class FileWriter {
    private var fd: Int32
    private let name: String

    /// Takes over a descriptor; `name` is for errors.
    public init(adopting fd: Int32, name: String) {
        self.fd = fd
        self.name = name
    }

    /// Makes a new file.
    public convenience init(creating path: String, mode: UInt32 = 0o600) throws(SystemError) {
        let fd = try checkErrno(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode_t(mode)), "create \(path)")
        self.init(adopting: fd, name: path)
    }

    deinit { close() }

    /// Writes all bytes.
    public func write(_ bytes: ArraySlice<UInt8>) throws(SystemError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            rest = rest.dropFirst(try checkErrno(count, "write \(name)"))
        }
    }

    /// Closes the file.
    public func close() {
        guard fd >= 0 else { return }
        _ = Glibc.close(fd)
        fd = -1
    }
}
