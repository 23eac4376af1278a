internal import Glibc

/// A pipe or a terminal as a `ByteStream`: what `SocketStream` is for sockets.
///
/// Both may be one descriptor (a terminal) or one direction only (the end of a pipe). The process must ignore SIGPIPE
/// (`Signals.ignorePipe`). `@unchecked Sendable`: owned by `loop`; every entry point asserts that it is on it
/// (docs/threads.md).
public final class DescriptorStream: ByteStream, ReadinessHandler, @unchecked Sendable {
    private let loop: EventLoop
    /// The descriptor; -1 after `close`.
    public private(set) var fd: Int32
    private var registration: Registration?
    private var reader: CheckedContinuation<Void, Never>?
    private var writer: CheckedContinuation<Void, Never>?
    /// Edges that came while nobody waited.
    private var pending: Readiness = []
    private var endsWhenEmpty = false

    /// Takes over a descriptor, also when it fails.
    ///
    /// On the loop.
    public init(adopting fd: Int32, on loop: EventLoop) throws(SystemError) {
        self.fd = fd
        self.loop = loop
        _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
        do throws(SystemError) { registration = try loop.register(fd, self) } catch {
            Glibc.close(fd)
            self.fd = -1
            throw error
        }
    }

    /// Wakes whoever waits for that readiness.
    public func ready(_ readiness: Readiness) {
        var readiness = readiness
        // The other end is gone: reading tells of the end, writing of the failure.
        if readiness.contains(.hangup) { readiness.formUnion([.readable, .writable]) }
        pending.formUnion(readiness)
        if readiness.contains(.readable) {
            reader?.resume()
            reader = nil
        }
        if readiness.contains(.writable) {
            writer?.resume()
            writer = nil
        }
    }

    /// Waits for bytes; none at the end.
    public func read(upTo count: Int) async throws(SystemError) -> [UInt8] {
        assert(loop.isOnLoop)
        while fd >= 0 {
            pending.remove(.readable)
            var failure: Int32 = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
                let result = retrying { Glibc.read(fd, buffer.baseAddress, count) }
                initialized = max(0, result)
                if result < 0 { failure = errno }
            }
            switch failure {
            case 0: return bytes
            // A terminal whose other side nobody holds any more.
            case EIO: return []
            case EAGAIN:
                if endsWhenEmpty { return [] }
                await withCheckedContinuation { continuation in
                    guard fd >= 0, !endsWhenEmpty, !pending.contains(.readable) else { return continuation.resume() }
                    reader = continuation
                }
            default: throw SystemError(failure, "read")
            }
        }
        throw SystemError(ECANCELED, "read")
    }

    /// Writes all bytes.
    public func write(_ bytes: [UInt8]) async throws(SystemError) {
        assert(loop.isOnLoop)
        var sent = 0
        while sent < bytes.count {
            guard fd >= 0 else { throw SystemError(ECANCELED, "write") }
            pending.remove(.writable)
            let result = bytes.withUnsafeBytes { buffer in
                retrying { Glibc.write(fd, buffer.baseAddress.map { $0 + sent }, buffer.count - sent) }
            }
            if result >= 0 {
                sent += result
                continue
            }
            guard errno == EAGAIN else { throw SystemError.last("write") }
            await withCheckedContinuation { continuation in
                guard fd >= 0, !pending.contains(.writable) else { return continuation.resume() }
                writer = continuation
            }
        }
    }

    private func retrying(_ body: () -> Int) -> Int {
        while true {
            let result = body()
            if result >= 0 || errno != EINTR { return result }
        }
    }

    /// Lets `read` take what is there and then tell of the end: whoever wrote has ended, but somebody else may still
    /// hold the other side.
    public func endWhenEmpty() {
        assert(loop.isOnLoop)
        endsWhenEmpty = true
        reader?.resume()
        reader = nil
    }

    /// Closes the descriptor.
    public func close() {
        assert(loop.isOnLoop)
        guard fd >= 0 else { return }
        registration?.cancel()
        registration = nil
        Glibc.close(fd)
        fd = -1
        reader?.resume()
        reader = nil
        writer?.resume()
        writer = nil
    }

    deinit { if fd >= 0 { Glibc.close(fd) } }
}
