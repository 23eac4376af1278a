internal import CLinux
internal import Glibc

/// A process that need not be our child, held by a pidfd: for what a former life of ours started.
public final class ProcessHandle: Sendable {
    /// Number of the process.
    public let pid: Int32
    /// Becomes readable when the process has ended.
    ///
    /// Closed with this object.
    public let pidfd: Int32

    /// Takes hold of the process with that number; fails with ESRCH when there is none.
    public init(pid: Int32) throws(SystemError) {
        pidfd = try check(clinux_pidfd_open(pid), "open process \(pid)")
        self.pid = pid
    }

    /// Takes over a child's pidfd.
    public init(adopting child: consuming Child) { (pid, pidfd) = child.release() }

    /// Sends a signal; a process that has ended already is no failure.
    public func signal(_ number: Int32) throws(SystemError) {
        let result = clinux_pidfd_signal(pidfd, number)
        if result == -ESRCH { return }
        try check(result, "signal \(number) to process \(pid)")
    }

    /// Whether it still runs (a zombie does not).
    public var isRunning: Bool {
        var descriptor = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&descriptor, 1, 0) == 0
    }

    /// When the process started, in clock ticks since boot: with the pid it names a process for ever.
    public static func startTime(of pid: Int32) -> UInt64? {
        guard let bytes = try? File.read("/proc/\(pid)/stat", limit: 1 << 16) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        // The command's name may hold anything: fields are counted from behind its closing parenthesis.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.indices.contains(19) ? UInt64(fields[19]) : nil
    }

    deinit { close(pidfd) }
}
