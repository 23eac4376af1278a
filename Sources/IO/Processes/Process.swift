internal import Glibc

/// Processes by number: for those that somebody else started.
public enum Process {
    /// Whether the process exists and is no zombie.
    public static func isAlive(_ pid: Int32) -> Bool {
        guard pid > 0, kill(pid, 0) == 0 || errno == EPERM else { return false }
        guard let status = try? File.text("/proc/\(pid)/stat"), let end = status.lastIndex(of: ")") else {
            return false
        }
        let state = status[status.index(after: end)...].first { $0 != " " }
        return state != "Z" && state != "X"
    }

    /// Sends a signal; a process that is gone is no failure.
    public static func signal(_ pid: Int32, _ number: Int32) {
        guard pid > 1 else { return }
        _ = kill(pid, number)
    }

    /// Takes the exit status of a child of ours, if it has ended.
    public static func reap(_ pid: Int32) {
        var status: Int32 = 0
        _ = waitpid(pid, &status, WNOHANG)
    }

    /// The numbers of all processes that we can see.
    public static var all: [Int32] { ((try? File.list("/proc")) ?? []).compactMap { Int32($0) } }

    /// The command line of a process; empty when it is gone.
    public static func commandLine(_ pid: Int32) -> [String] {
        guard let bytes = try? File.read("/proc/\(pid)/cmdline") else { return [] }
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// A descriptor that closes itself.
public final class Descriptor {
    /// The descriptor; -1 when it is closed.
    public private(set) var number: Int32

    private init(_ number: Int32) { self.number = number }

    deinit { close() }

    /// Closes it now.
    public func close() {
        guard number >= 0 else { return }
        Glibc.close(number)
        number = -1
    }

    /// Opens a file for appending, making it when it is missing.
    public static func append(_ path: String, mode: UInt32) throws(SystemError) -> Descriptor {
        Descriptor(try checkErrno(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode_t(mode)), "open \(path)"))
    }

    /// A pipe: what is written to the second is read from the first.
    public static func pipe() throws(SystemError) -> (read: Descriptor, write: Descriptor) {
        var ends: [Int32] = [-1, -1]
        try checkErrno(Glibc.pipe(&ends), "pipe")
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }

    /// Reads once, blocking; nothing at the end.
    public func read(upTo count: Int) throws(SystemError) -> [UInt8] {
        while true {
            var failure: SystemError?
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
                let result = Glibc.read(number, buffer.baseAddress, count)
                if result < 0 { failure = .last("read") } else { initialized = result }
            }
            guard let failure else { return bytes }
            guard failure.errno == EINTR else { throw failure }
        }
    }

    /// Closes a descriptor that nobody else owns.
    public static func close(_ number: Int32) { Glibc.close(number) }
}
