internal import CLinux
internal import Glibc

/// Facts about this process and machine.
public enum Environment {
    /// The environment variable's value.
    public static func variable(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        return String(cString: value)
    }

    /// The current directory; nil when it is gone.
    public static var workingDirectory: String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        guard let path = getcwd(&buffer, buffer.count) else { return nil }
        return String(cString: path)
    }

    /// This process' number.
    public static var processID: Int32 { getpid() }

    /// The effective user.
    public static var userID: UInt32 { geteuid() }

    /// The machine's host name, up to its first dot.
    public static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.split(separator: ".").first.map(String.init) ?? "localhost"
    }

    /// Number of processors that this process may run on.
    public static var processorCount: Int {
        let count = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        return max(1, count)
    }

    /// Whether the descriptor is a terminal.
    public static func isTerminal(_ fd: Int32) -> Bool { isatty(fd) == 1 }

    /// `count` random bytes from the kernel.
    public static func randomBytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    /// Bytes that may still be written to the file system which holds `path`, and its size.
    public static func freeBytes(at path: String) throws(SystemError) -> (free: UInt64, total: UInt64) {
        var (free, total) = (UInt64(0), UInt64(0))
        try check(clinux_free_bytes(path, &free, &total), "statvfs \(path)")
        return (free, total)
    }

    /// Ends the process.
    public static func exit(_ status: Int32) -> Never { Glibc.exit(status) }
}

/// Standard output and error, unbuffered.
public enum Console {
    /// Writes text to standard output.
    public static func out(_ text: String) { write(STDOUT_FILENO, text) }
    /// Writes text to standard error.
    public static func error(_ text: String) { write(STDERR_FILENO, text) }

    /// Writes text to any descriptor; what cannot be written is dropped.
    public static func write(_ fd: Int32, _ text: String) {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress?.advanced(by: sent), $0.count - sent) }
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else { return }
            sent += count
        }
    }
}
