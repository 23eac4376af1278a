internal import CLinux
internal import Glibc

/// A netlink request that a process of its own sends and waits for.
///
/// For what keeps the kernel busy long after its effect can be seen (deleting a link). The process outlives us when we end;
/// it is not waited for (init does that), so this is for programs that end soon.
public final class DetachedSend {
    private let report: Int32

    /// Starts it with a socket of which this process makes no other use.
    public init(socket: Int32, _ bytes: [UInt8], _ operation: String) throws(SystemError) {
        var end: Int32 = -1
        try check(clinux_send_detached(socket, bytes, bytes.count, &end), operation)
        report = end
    }

    deinit { close(report) }

    /// What came first.
    public enum Event: Sendable {
        /// The kernel has answered with that error number; 0 is success.
        case answered(Int32)
        /// The other descriptor can be read.
        case readable
        /// Neither, in all that time.
        case timeout
    }

    /// Waits for the answer, or for another descriptor to become readable.
    public func wait(besides descriptor: Int32, milliseconds: Int32) -> Event {
        var entries = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: report, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            let count = poll(&entries, 2, milliseconds)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return .timeout }
            break
        }
        guard entries[1].revents != 0 else { return .readable }
        var error: Int32 = 0
        return .answered(read(report, &error, 4) == 4 ? error : EIO)
    }
}
