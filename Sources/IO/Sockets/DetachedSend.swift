internal import CLinux
internal import Glibc

/// A netlink request that a process or a thread of its own sends and waits for.
///
/// For what keeps the kernel busy long after its effect can be seen (deleting a link). The process outlives us when we end;
/// it is not waited for (init does that), so this is for programs that end soon. Programs that go on use a thread.
public final class DetachedSend {
    private let report: Int32

    /// Starts it with a socket of which this process makes no other use.
    ///
    /// - Parameter inThread: by a thread, which has a descriptor of its own.
    public init(socket: Int32, _ bytes: [UInt8], _ operation: String, inThread: Bool = false) throws(SystemError) {
        guard !inThread else {
            report = try DetachedSend.start(socket, bytes, operation)
            return
        }
        var end: Int32 = -1
        try check(clinux_send_detached(socket, bytes, bytes.count, &end), operation)
        report = end
    }

    private static func start(_ socket: Int32, _ bytes: [UInt8], _ operation: String) throws(SystemError) -> Int32 {
        let own = try checkErrno(fcntl(socket, F_DUPFD_CLOEXEC, 0), operation)
        let (reader, writer): (Int32, Int32)
        do throws(SystemError) { (reader, writer) = try Child.pipe() } catch {
            close(own)
            throw error
        }
        do throws(SystemError) {
            try Thread.start(name: "skein-link") {
                var result: Int32 = 0
                if bytes.withUnsafeBytes({ send(own, $0.baseAddress, $0.count, 0) }) < 0 {
                    result = errno
                } else {
                    // An acknowledgement: a header of 16 bytes, then the error number, negative.
                    var answer = [UInt8](repeating: 0, count: 256)
                    let count = answer.withUnsafeMutableBytes { recv(own, $0.baseAddress, $0.count, 0) }
                    if count < 20 {
                        result = count < 0 ? errno : EIO
                    } else {
                        result = -answer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 16, as: Int32.self) }
                    }
                }
                // Who waited may have gone: then nobody needs to know.
                _ = write(writer, &result, 4)
                close(writer)
                close(own)
            }
        } catch {
            for descriptor in [own, reader, writer] { close(descriptor) }
            throw error
        }
        return reader
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
