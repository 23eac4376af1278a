internal import CLinux
internal import Glibc

/// How a process ended.
public enum ExitStatus: Hashable, Sendable, CustomStringConvertible {
    /// By itself, with this code.
    case exited(Int32)
    /// By this signal.
    case signaled(Int32)

    /// What a shell would show: the code, or 128 and the signal.
    public var code: Int32 {
        switch self {
        case .exited(let code): code
        case .signaled(let signal): 128 &+ signal
        }
    }

    /// Whether the process ended with code 0.
    public var isSuccess: Bool { self == .exited(0) }

    /// `exit status 1`, `signal 9`.
    public var description: String {
        switch self {
        case .exited(let code): "exit status \(code)"
        case .signaled(let signal): "signal \(signal)"
        }
    }
}

/// A process that we started, held by a pidfd, so that its number cannot come to mean another process.
///
/// Dropping it neither kills nor reaps the process: use `wait()`, or `release()` for one that shall outlive us.
public struct Child: ~Copyable, Sendable {
    /// What to start.
    public struct Command: Sendable {
        /// The program's path (not searched for) and its arguments, the program's name first.
        public var arguments: [String]
        /// Path of the program when it is not `arguments[0]`.
        public var program: String?
        /// `NAME=value` entries; nothing is inherited.
        public var environment: [String]
        /// Where it starts; `nil` = where we are.
        public var workingDirectory: String?
        /// Descriptors of ours by the number they get there.
        ///
        /// 0, 1 and 2 are /dev/null unless they stand here.
        public var descriptors: [Int32: Int32] = [:]
        /// User and group; supplementary groups are dropped.
        ///
        /// `nil` = ours.
        public var user: (uid: UInt32, gid: UInt32)?
        /// A network namespace to enter.
        public var networkNamespace: Int32?
        /// A mount namespace to enter.
        public var mountNamespace: Int32?
        /// Whether it leads a session of its own, so that a terminal's Ctrl-C does not reach it.
        public var isSessionLeader = false
        /// The signal it gets when the *thread* that started it ends.
        public var deathSignal: Int32?

        /// A command line with the plain Debian PATH as its whole environment.
        public init(_ arguments: [String], environment: [String] = [Command.standardPath]) {
            self.arguments = arguments
            self.environment = environment
        }

        /// `PATH` as Debian sets it for root.
        public static let standardPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    }

    /// Number of the process.
    public let pid: Int32
    /// Becomes readable when the process has ended.
    ///
    /// Closed with this value.
    public let pidfd: Int32

    /// Starts the program.
    ///
    /// Whatever keeps it from running (no such file, no such user …) is thrown here.
    public init(_ command: Command) throws(SystemError) {
        guard let first = command.arguments.first else { throw SystemError(EINVAL, "start a program without a name") }
        let path = command.program ?? first
        let null = try checkErrno(open("/dev/null", O_RDWR | O_CLOEXEC), "open /dev/null")
        defer { close(null) }
        var descriptors = command.descriptors
        for standard in Int32(0)...2 where descriptors[standard] == nil { descriptors[standard] = null }
        let moves = descriptors.map { clinux_descriptor(source: $0.value, target: $0.key) }

        var pidfd: Int32 = -1
        var step: UnsafePointer<CChar>?
        let arguments = CStrings(command.arguments)
        let environment = CStrings(command.environment)
        let result = path.withCString { path in
            moves.withUnsafeBufferPointer { moves in
                func start(_ directory: UnsafePointer<CChar>?) -> Int32 {
                    var c = clinux_command()
                    c.path = path
                    c.arguments = UnsafePointer(arguments.pointer)
                    c.environment = UnsafePointer(environment.pointer)
                    c.directory = directory
                    c.descriptors = moves.baseAddress
                    c.descriptor_count = moves.count
                    c.uid = command.user.map { Int64($0.uid) } ?? -1
                    c.gid = command.user.map { Int64($0.gid) } ?? -1
                    c.network_namespace = command.networkNamespace ?? -1
                    c.mount_namespace = command.mountNamespace ?? -1
                    c.new_session = command.isSessionLeader ? 1 : 0
                    c.death_signal = command.deathSignal ?? 0
                    return clinux_spawn(&c, &pidfd, &step)
                }
                guard let directory = command.workingDirectory else { return start(nil) }
                return directory.withCString(start)
            }
        }
        let call = step.map { String(cString: $0) } ?? "start"
        self.pid = try check(result, call == "execve" ? "start \(path)" : "start \(path) (\(call))")
        self.pidfd = pidfd
    }

    /// Sends a signal; a process that has ended already is no failure.
    public borrowing func signal(_ number: Int32) throws(SystemError) {
        let result = clinux_pidfd_signal(pidfd, number)
        if result == -ESRCH { return }
        try check(result, "signal \(number) to process \(pid)")
    }

    /// Waits until the process has ended, blocking the thread.
    public consuming func wait() throws(SystemError) -> ExitStatus {
        let number = pid
        guard let status = try Child.reap(pidfd, block: true) else { throw SystemError(ECHILD, "wait for \(number)") }
        return status
    }

    /// How the process ended; `nil` while it runs.
    ///
    /// Reaps it: asked again, it fails.
    public borrowing func poll() throws(SystemError) -> ExitStatus? { try Child.reap(pidfd, block: false) }

    /// Gives the pidfd away; the caller closes it.
    public consuming func release() -> (pid: Int32, pidfd: Int32) {
        let result = (pid, pidfd)
        discard self
        return result
    }

    private static func reap(_ pidfd: Int32, block: Bool) throws(SystemError) -> ExitStatus? {
        var code: Int32 = 0
        var status: Int32 = 0
        let result = try check(clinux_pidfd_wait(pidfd, block ? 1 : 0, &code, &status), "wait for a process")
        guard result == 1 else { return nil }
        // CLD_EXITED is 1; CLD_KILLED and CLD_DUMPED carry the signal.
        return code == 1 ? .exited(status) : .signaled(status)
    }

    deinit { close(pidfd) }
}

extension Child {
    /// A close-on-exec pipe; the caller closes both ends.
    public static func pipe() throws(SystemError) -> (reader: Int32, writer: Int32) {
        var ends: [Int32] = [-1, -1]
        try check(clinux_pipe(&ends), "make a pipe")
        return (ends[0], ends[1])
    }

    /// How long a program that somebody waits for may take, unless he says otherwise.
    public static let runTimeout = Duration.seconds(60)

    /// Runs a program to its end and returns how it ended and what it wrote to standard output and error together, at
    /// most `limit` bytes of it.
    ///
    /// Blocks the thread. A program that has not ended after `timeout` is killed, and the error is `ETIMEDOUT`.
    ///
    /// - Parameter input: What it finds at standard input, whole, in memory; nil: what the command says.
    public static func run(
        _ command: Command, input: [UInt8]? = nil, limit: Int = 1 << 20, timeout: Duration = runTimeout
    ) throws(SystemError) -> (ExitStatus, [UInt8]) {
        let source = try input.map { bytes throws(SystemError) in try inMemory(bytes) }
        defer { if let source { close(source) } }
        let (readEnd, writeEnd) = try pipe()
        defer { close(readEnd) }
        var command = command
        if let source { command.descriptors[0] = source }
        command.descriptors[1] = command.descriptors[1] ?? writeEnd
        command.descriptors[2] = command.descriptors[2] ?? writeEnd
        let child: Child
        do throws(SystemError) { child = try Child(command) } catch {
            close(writeEnd)
            throw error
        }
        close(writeEnd)
        let deadline = MonotonicTime.now + timeout
        var output: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            guard waitUntilReadable(readEnd, deadline) else { return try child.killAsLate(command, timeout) }
            let count = piece.withUnsafeMutableBytes { Glibc.read(readEnd, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            if output.count < limit { output += piece.prefix(min(count, limit - output.count)) }
        }
        // It may have closed its output and go on. A pidfd can be read when its process has ended.
        guard waitUntilReadable(child.pidfd, deadline) else { return try child.killAsLate(command, timeout) }
        return (try child.wait(), output)
    }

    /// A file without a name that has these bytes and stands at its beginning; the caller closes it.
    private static func inMemory(_ bytes: [UInt8]) throws(SystemError) -> Int32 {
        let file = try check(clinux_memory_file("input"), "make a file in memory")
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let error = SystemError.last("write a file in memory")
                close(file)
                throw error
            }
            rest = rest.dropFirst(count)
        }
        lseek(file, 0, SEEK_SET)
        return file
    }

    /// Whether there is something to read, or the end, before the deadline.
    private static func waitUntilReadable(_ descriptor: Int32, _ deadline: MonotonicTime) -> Bool {
        while true {
            let left = deadline - MonotonicTime.now
            guard left > .zero else { return false }
            let (seconds, attoseconds) = left.components
            let milliseconds = seconds &* 1_000 &+ attoseconds / 1_000_000_000_000_000 &+ 1
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = Glibc.poll(&entry, 1, Int32(clamping: milliseconds))
            if count > 0 { return true }
            if count < 0, errno != EINTR { return true }  // Reading tells what is wrong.
        }
    }

    private consuming func killAsLate<Result>(_ command: Command, _ timeout: Duration) throws(SystemError) -> Result {
        try signal(SIGKILL)
        let name = command.arguments.first ?? "a program"
        _ = try wait()
        throw SystemError(ETIMEDOUT, "\(name) had not ended after \(timeout) and was killed")
    }
}

/// A null-terminated array of C strings that lives as long as this object.
private final class CStrings {
    private var strings: [UnsafeMutablePointer<CChar>?]
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

    init(_ values: [String]) {
        strings = values.map { strdup($0) } + [nil]
        pointer = .allocate(capacity: strings.count)
        pointer.initialize(from: strings, count: strings.count)
    }

    deinit {
        for string in strings { free(string) }
        pointer.deallocate()
    }
}
