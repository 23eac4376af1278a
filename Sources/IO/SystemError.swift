internal import CLinux
internal import Glibc

/// A system call that failed.
public struct SystemError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The error number, positive.
    public var errno: Int32
    /// What was tried, with its object: `connect 10.0.0.1:80`, `open /etc/x`.
    public var operation: String

    /// A failure of `operation` with that error number.
    public init(_ errno: Int32, _ operation: String) {
        self.errno = errno
        self.operation = operation
    }

    /// The failure that `errno` of this thread tells of.
    public static func last(_ operation: String) -> SystemError { SystemError(Glibc.errno, operation) }

    /// The kernel's words for the error, without the operation, in small letters.
    public var reason: String { kernelText.lowercased() }

    /// The kernel's words for the error as they are: `Connection refused`.
    public var kernelText: String {
        var buffer = [CChar](repeating: 0, count: 128)
        // strerror is not safe between threads.
        return String(cString: clinux_error_text(errno, &buffer, buffer.count))
    }

    /// `connect 10.0.0.1:80: connection refused`.
    public var description: String { "\(operation): \(reason)" }
}

/// Turns the -errno convention of the C doors into a typed error.
@discardableResult
func check<Value: SignedInteger>(
    _ result: Value, _ operation: @autoclosure () -> String
) throws(SystemError) -> Value {
    guard result < 0 else { return result }
    throw SystemError(Int32(truncatingIfNeeded: -result), operation())
}

/// Turns the -1-and-errno convention of libc into a typed error.
@discardableResult
func checkErrno<Value: SignedInteger>(
    _ result: Value, _ operation: @autoclosure () -> String
) throws(SystemError) -> Value {
    guard result < 0 else { return result }
    throw SystemError.last(operation())
}
