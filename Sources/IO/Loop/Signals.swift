internal import CLinux
internal import Glibc

/// Signals as events of a loop.
public enum Signals {
    /// Makes writing to a closed socket an error instead of the end of the process.
    public static func ignorePipe() { signal(SIGPIPE, SIG_IGN) }

    /// Blocks the signals in this thread and those it starts, so that only `SignalSource` sees them.
    ///
    /// Call in `main`, before the first thread.
    public static func block(_ signals: [Int32]) {
        var set = Signals.set(signals)
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    fileprivate static func set(_ signals: [Int32]) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        return set
    }

    /// `SIGINT`.
    public static let interrupt = SIGINT
    /// `SIGTERM`.
    public static let terminate = SIGTERM
    /// `SIGKILL`.
    public static let kill = SIGKILL
    /// `SIGHUP`.
    public static let hangup = SIGHUP
    /// `SIGCHLD`.
    public static let child = SIGCHLD
    /// `SIGUSR1`.
    public static let user1 = SIGUSR1

    /// The signal's number read from `fd`, or nil when none is pending.
    fileprivate static func next(_ fd: Int32) -> Int32? {
        // struct signalfd_siginfo is 128 bytes and begins with ssi_signo.
        var info = [UInt8](repeating: 0, count: 128)
        guard read(fd, &info, info.count) == info.count else { return nil }
        return info.withUnsafeBytes { Int32(truncatingIfNeeded: $0.load(as: UInt32.self)) }
    }

    fileprivate static func open(_ signals: [Int32]) throws(SystemError) -> Int32 {
        let mask = signals.reduce(0 as UInt64) { (1...64).contains($1) ? $0 | 1 << UInt64($1 - 1) : $0 }
        return try check(clinux_signalfd(mask), "signalfd")
    }
}

/// Delivers blocked signals to a closure on the loop.
public final class SignalSource: ReadinessHandler {
    private let fd: Int32
    private let body: (Int32) -> Void
    private var registration: Registration?

    /// Watches `signals`, which `Signals.block` has blocked.
    public init(_ signals: [Int32], on loop: EventLoop, _ body: @escaping (Int32) -> Void) throws(SystemError) {
        fd = try Signals.open(signals)
        self.body = body
        registration = try loop.register(fd, self)
    }

    deinit { close(fd) }

    /// Reads what is pending.
    public func ready(_ readiness: Readiness) {
        while let signal = Signals.next(fd) { body(signal) }
    }

    /// Ends the watch.
    public func cancel() {
        registration?.cancel()
        registration = nil
    }
}
