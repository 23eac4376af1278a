internal import CLinux
internal import Glibc

/// Facts about this process and machine.
public enum Environment {
    /// The environment variable's value.
    public static func variable(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        return String(cString: value)
    }

    /// Memory of this process in bytes: its address space, and what of it is in memory; zeros when that is not known.
    public static var memory: (virtual: UInt64, resident: UInt64) {
        guard let text = try? File.text("/proc/self/statm") else { return (0, 0) }
        let pages = text.split(separator: " ").prefix(2).compactMap { UInt64($0) }
        let size = UInt64(max(sysconf(Int32(_SC_PAGESIZE)), 0))
        return pages.count == 2 ? (pages[0] &* size, pages[1] &* size) : (0, 0)
    }

    /// Seconds that local time is ahead of UTC at a moment.
    public static func localTimeOffset(at seconds: Int64) -> Int {
        var moment = time_t(seconds)
        var parts = tm()
        return localtime_r(&moment, &parts) == nil ? 0 : Int(parts.tm_gmtoff)
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

    /// Number of processors that this process may run on: its affinity, and the quota of its control groups.
    public static var processorCount: Int {
        var count = clinux_affinity_count()
        if count <= 0 { count = Int32(clamping: sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
        if let quota = ControlGroup.processorQuota { count = min(count, Int32(max(1, quota.rounded(.up)))) }
        return max(1, Int(count))
    }

    /// Bytes of this process that are in memory.
    public static var residentBytes: UInt64? {
        guard let text = try? File.text("/proc/self/statm") else { return nil }
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = UInt64(fields[1]) else { return nil }
        return pages * UInt64(max(1, sysconf(Int32(_SC_PAGESIZE))))
    }

    /// Bytes that the allocator has given out, and bytes it has from the system.
    public static var heapBytes: (allocated: UInt64, total: UInt64) {
        var (allocated, total) = (UInt64(0), UInt64(0))
        clinux_heap(&allocated, &total)
        return (allocated, total)
    }

    /// Gives memory that is allocated and free back to the system, but for so many bytes at the heap's end.
    public static func returnFreeMemory(keeping bytes: Int = 0) { clinux_heap_trim(max(0, bytes)) }

    /// From now on a block of memory of at least so many bytes (at most 32 MiB) goes back to the system when it is freed, and at most twice as
    /// many stay free at the heap's end.
    ///
    /// For programs that now and then need much for a moment: without it the allocator keeps that for good. Each such block costs its page faults.
    ///
    /// - Returns: false when the allocator does not take the bound.
    @discardableResult
    public static func returnLargeBlocks(from bytes: Int) -> Bool {
        (1...32 << 20).contains(bytes) && clinux_heap_large(Int32(truncatingIfNeeded: bytes)) == 0
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

    /// Raises the limit of open file descriptors as far as this process may; the limit now, and before.
    ///
    /// The usual soft limit of 1024 is for programs that use select(2).
    @discardableResult
    public static func raiseDescriptorLimit() -> (now: UInt64, before: UInt64) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return (0, 0) }
        let before = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        guard before < limit.rlim_max, setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return (UInt64(before), UInt64(before))
        }
        return (UInt64(limit.rlim_cur), UInt64(before))
    }

    /// Lets go of the pages of our own program file that are in memory.
    ///
    /// What is needed again comes back from the page cache. For a process that has done its large start-up work
    /// (decoding, compiling) and will run long: those pages would count as its memory for ever.
    public static func releaseProgramPages() { clinux_release_program() }

    /// Ends the process.
    public static func exit(_ status: Int32) -> Never { Glibc.exit(status) }
}

/// Standard output and error, unbuffered.
public enum Console {
    /// Waits for bytes of the standard input; none at its end.
    ///
    /// Blocks the thread.
    public static func read(upTo count: Int) throws(SystemError) -> [UInt8] {
        while true {
            var result = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
                result = Glibc.read(0, buffer.baseAddress, count)
                initialized = max(0, result)
            }
            if result >= 0 { return bytes }
            guard errno == EINTR else { throw SystemError.last("read the standard input") }
        }
    }

    /// Writes text to standard output.
    public static func out(_ text: String) { write(STDOUT_FILENO, text) }
    /// Writes text to standard error.
    public static func error(_ text: String) { write(STDERR_FILENO, text) }

    /// Writes text to any descriptor; what cannot be written is dropped.
    public static func write(_ fd: Int32, _ text: String) { write(fd, Array(text.utf8)) }

    /// Writes bytes to standard output as they are.
    public static func out(_ bytes: [UInt8]) { write(STDOUT_FILENO, bytes) }

    /// Writes bytes to standard error as they are.
    public static func error(_ bytes: [UInt8]) { write(STDERR_FILENO, bytes) }

    private static func write(_ fd: Int32, _ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress?.advanced(by: sent), $0.count - sent) }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                // Somebody made the terminal or pipe non-blocking: wait for room instead of asking again and again.
                var descriptor = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                _ = poll(&descriptor, 1, -1)
                continue
            }
            guard count > 0 else { return }
            sent += count
        }
    }
}

/// What is piped into the program.
public enum StandardInput {
    /// Everything up to its end, or `limit` bytes of it.
    public static func read(limit: Int) -> [UInt8] {
        var result: [UInt8] = []
        while result.count < limit {
            let piece = [UInt8](unsafeUninitializedCapacity: min(65_536, limit - result.count)) { buffer, initialized in
                var count = Glibc.read(STDIN_FILENO, buffer.baseAddress, buffer.count)
                while count < 0, errno == EINTR { count = Glibc.read(STDIN_FILENO, buffer.baseAddress, buffer.count) }
                initialized = max(0, count)
            }
            if piece.isEmpty { break }
            result += piece
        }
        return result
    }
}
