internal import Glibc

/// A connected socket as a `ByteStream`.
///
/// `@unchecked Sendable`: owned by `loop`; every entry point asserts that it is on it (docs/threads.md).
public final class SocketStream: DirectStream, ReadinessHandler, @unchecked Sendable {
    /// The loop that owns the stream.
    public let loop: EventLoop
    /// The socket, for its addresses and peer credentials.
    public let socket: Socket
    private var registration: Registration?
    private var reader: CheckedContinuation<Void, Never>?
    private var writer: CheckedContinuation<Void, Never>?
    /// Edges that came while nobody waited: between EAGAIN and the wait the runtime may run the loop.
    private var pending: Readiness = []
    private var isClosed = false
    /// Who is told in place of waiting tasks.
    private var handler: (any ReadinessHandler)?
    /// Whether the peer has said that nothing follows: then a short read does not mean that all has been read.
    private var hasEnded = false
    /// Bytes that the socket did not take.
    private var kept: [UInt8] = []

    /// Takes over a connected (or connecting) socket.
    ///
    /// On the loop.
    public init(_ socket: Socket, on loop: EventLoop) throws(SystemError) {
        self.socket = socket
        self.loop = loop
        registration = try loop.register(socket.fd, self)
    }

    /// Connects, or fails with ETIMEDOUT after `timeout`.
    public static func connect(
        to address: SocketAddress, on loop: EventLoop, timeout: Duration = .seconds(10)
    ) async throws(SystemError) -> SocketStream {
        let stream = try SocketStream(Socket.connect(to: address), on: loop)
        if case .unix = address { return stream }  // Connected at once or not at all.
        // On a loop that was busy for long the answer and the deadline come in one pass: the answer counts.
        let deadline = loop.schedule(after: timeout) {
            if !stream.pending.contains(.writable) { stream.close() }
        }
        await stream.waitWritable()
        guard !stream.isClosed else { throw SystemError(ETIMEDOUT, "connect \(address)") }
        deadline.cancel()
        if let error = stream.socket.pendingError("connect \(address)") {
            stream.close()
            throw error
        }
        return stream
    }

    /// Waits until a connect that is under way has ended; what went wrong, or nil.
    public func connected() async -> SystemError? {
        await waitWritable()
        guard !isClosed else { return SystemError(ECANCELED, "connect") }
        return socket.pendingError("connect")
    }

    /// Wakes whoever waits for that readiness.
    public func ready(_ readiness: Readiness) {
        if readiness.contains(.ended) { hasEnded = true }
        if let handler { return handler.ready(readiness) }
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

    // The runtime may run the loop on the way into a continuation, so what is waited for is looked at inside.
    private func waitReadable() async {
        await withCheckedContinuation { continuation in
            assert(reader == nil, "two tasks read from one stream")
            guard !isClosed, !pending.contains(.readable) else { return continuation.resume() }
            reader = continuation
        }
    }

    private func waitWritable() async {
        await withCheckedContinuation { continuation in
            assert(writer == nil, "two tasks write to one stream")
            guard !isClosed, !pending.contains(.writable) else { return continuation.resume() }
            writer = continuation
        }
    }

    /// Waits for bytes; none at the end.
    public func read(upTo count: Int) async throws(SystemError) -> [UInt8] {
        assert(loop.isOnLoop)
        while !isClosed {
            if let bytes = try readNow(upTo: count) { return bytes }
            await waitReadable()
        }
        throw SystemError(ECANCELED, "read")
    }

    /// What is there; nil when there is nothing yet.
    ///
    /// A function of its own, so that who waits holds no memory for what may come.
    private func readNow(upTo count: Int) throws(SystemError) -> [UInt8]? {
        var failure: SystemError?
        var mustWait = false
        pending.remove(.readable)
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            switch socket.read(into: UnsafeMutableRawBufferPointer(buffer)) {
            case .bytes(let read): initialized = read
            case .wouldBlock: mustWait = true
            case .end: break
            case .failed(let error): failure = error
            }
        }
        if let failure { throw failure }
        return mustWait ? nil : bytes
    }

    /// Writes all bytes.
    public func write(_ bytes: [UInt8]) async throws(SystemError) {
        assert(loop.isOnLoop)
        var sent = 0
        while sent < bytes.count {
            guard !isClosed else { throw SystemError(ECANCELED, "write") }
            pending.remove(.writable)
            let result = bytes.withUnsafeBytes { socket.write(UnsafeRawBufferPointer(rebasing: $0[sent...])) }
            switch result {
            case .bytes(let count): sent += count
            case .wouldBlock, .end: await waitWritable()
            case .failed(let error): throw error
            }
        }
    }

    /// Ends both directions at once.
    public func close() {
        assert(loop.isOnLoop)
        guard !isClosed else { return }
        isClosed = true
        registration?.cancel()
        registration = nil
        socket.close()
        reader?.resume()
        reader = nil
        writer?.resume()
        writer = nil
        kept = []
        let handler = handler
        self.handler = nil
        handler?.ready([.readable, .writable, .hangup, .ended])
    }

    /// Whether `close` was called.
    public var hasClosed: Bool { isClosed }

    // MARK: Without a task

    /// Has `handler` told in place of waiting tasks.
    public func handOver(to handler: any ReadinessHandler) {
        assert(loop.isOnLoop)
        if !isClosed { self.handler = handler }
    }

    /// Gives what has come to `body`.
    public func readReady(_ body: (UnsafeRawBufferPointer) -> Bool) throws(SystemError) -> ReadyEnd {
        let buffer = loop.scratch.wire
        while !isClosed {
            switch socket.read(into: buffer) {
            case .bytes(let count):
                guard body(UnsafeRawBufferPointer(rebasing: buffer[..<count])) else { return .stopped }
                // There was no more (epoll(7)), unless an end or an error lies behind.
                if count < buffer.count, !hasEnded { return .empty }
            case .wouldBlock: return .empty
            case .end: return .ended
            case .failed(let error): throw error
            }
        }
        throw SystemError(ECANCELED, "read")
    }

    /// Writes bytes, and keeps what the socket does not take.
    public func writeReady(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        guard !isClosed else { throw SystemError(ECANCELED, "write") }
        guard kept.isEmpty else { return kept.append(contentsOf: bytes) }
        let sent = try write(bytes)
        if sent < bytes.count { kept.append(contentsOf: bytes[sent...]) }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Int {
        var sent = 0
        while sent < bytes.count {
            switch socket.write(UnsafeRawBufferPointer(rebasing: bytes[sent...])) {
            case .bytes(let count): sent += count
            case .wouldBlock, .end: return sent
            case .failed(let error): throw error
            }
        }
        return sent
    }

    /// Goes on with what was kept.
    public func writeKept() throws(SystemError) {
        guard !kept.isEmpty, !isClosed else { return }
        var outcome = Result<Int, SystemError>.success(0)
        kept.withUnsafeBytes { bytes in
            do throws(SystemError) {
                outcome = .success(try write(bytes))
            } catch {
                outcome = .failure(error)
            }
        }
        let sent = try outcome.get()
        if sent == kept.count { kept = [] } else { kept.removeFirst(sent) }
    }

    /// Whether something was kept.
    public var isBlocked: Bool { !kept.isEmpty }
}

/// A listening socket whose connections a task takes one by one.
///
/// `@unchecked Sendable`: owned by `loop` (docs/threads.md).
public final class SocketListener: ReadinessHandler, @unchecked Sendable {
    private let loop: EventLoop
    /// The listening socket.
    public let socket: Socket
    private var registration: Registration?
    private var waiter: CheckedContinuation<Void, Never>?
    private var isPending = false
    private var isClosed = false

    /// Takes over a listening socket.
    ///
    /// On the loop.
    public init(_ socket: Socket, on loop: EventLoop) throws(SystemError) {
        self.socket = socket
        self.loop = loop
        registration = try loop.register(socket.fd, self)
    }

    /// Wakes the accepting task.
    public func ready(_ readiness: Readiness) {
        isPending = true
        waiter?.resume()
        waiter = nil
    }

    /// Waits for the next connection.
    ///
    /// ECANCELED after `close`. With no descriptor left it waits until there is one.
    public func accept() async throws(SystemError) -> Socket {
        while !isClosed {
            isPending = false
            do throws(SystemError) {
                if let accepted = try socket.accept() {
                    accepted.setNoDelay()
                    return accepted
                }
            } catch {
                guard [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(error.errno) else { throw error }
                await loop.sleep(for: .milliseconds(50))
                continue
            }
            await withCheckedContinuation { continuation in
                guard !isPending, !isClosed else { return continuation.resume() }
                waiter = continuation
            }
        }
        throw SystemError(ECANCELED, "accept")
    }

    /// Stops listening; a waiting `accept` fails with ECANCELED.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        registration?.cancel()
        registration = nil
        socket.close()
        waiter?.resume()
        waiter = nil
    }
}
