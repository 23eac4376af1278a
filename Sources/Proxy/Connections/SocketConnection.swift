internal import IO

/// A connected socket with its buffers, registered edge-triggered at its worker's loop.
///
/// Readiness is sticky: the kernel says once that there is something, and we believe it until a call comes back short.
/// So a request costs its two reads and two writes and no call that finds nothing (docs: life of a request). What is said
/// goes out with what others say (`FlushQueue`).
/// Subclasses override `handleReady`, `handleFlushed` and `handleWriteFailure`.
class SocketConnection: ReadinessHandler {
    /// What came of asking for more bytes.
    enum Filled {
        case bytes, wouldBlock, end
        case failed(SystemError)
    }

    /// Strong, though the worker outlives its connections: an unowned reference costs a check at each use.
    let worker: Worker
    let input: ByteBuffer
    let output: ByteBuffer
    /// The connection's TLS; nil for plain text.
    private(set) var tls: TLSTransport?
    private(set) var socket: Socket?
    private var registration: Registration?
    private(set) var mayRead = false
    /// The latest reads found more than a block holds.
    private(set) var isStreaming = false
    private(set) var mayWrite = false
    /// The peer's end (or an error) is queued behind the bytes: a short read does not mean that nothing follows.
    private var peerHasEnded = false
    fileprivate(set) var isDirty = false

    var isClosed: Bool { socket == nil }

    init(_ socket: Socket, worker: Worker, input: ByteBuffer? = nil, tls: TLSTransport? = nil) {
        self.socket = socket
        self.tls = tls
        self.worker = worker
        self.input = input ?? ByteBuffer(pool: worker.blocks)
        output = ByteBuffer(pool: worker.blocks)
    }

    /// Registers at the loop; the loop then owns the connection until `close`.
    func start() throws(SystemError) {
        guard let socket else { return }
        registration = try worker.loop.register(socket.fd, self)
    }

    func ready(_ readiness: Readiness) {
        guard !isClosed else { return }
        if readiness.contains(.readable) { mayRead = true }
        if readiness.contains(.writable) { mayWrite = true }
        if readiness.contains(.ended) { peerHasEnded = true }
        if mayWrite, let tls, !tls.wireOutput.isEmpty { worker.markDirty(self) }
        handleReady(readiness)
        worker.endTurn()
    }

    /// Something became possible.
    ///
    /// Called once per readiness event.
    func handleReady(_ readiness: Readiness) {}

    /// Everything in `output` is with the kernel.
    func handleFlushed() {}

    /// The peer takes no more bytes.
    func handleWriteFailure(_ error: SystemError) {}

    /// So many bytes of `output` are on their way (with TLS: before they were sealed).
    func countSent(_ count: Int) {}

    /// Reads once into `input`.
    final func fill() -> Filled {
        guard let socket else { return .end }
        if let tls { return fill(tls, socket) }
        guard mayRead else { return .wouldBlock }
        return readOnce(
            socket, into: input, input.room(isStreaming ? BlockPool.largeBlockSize : Limits.readMinimumBytes))
    }

    /// One call of the kernel, into room of a buffer.
    @inline(__always)
    final func readOnce(_ socket: Socket, into buffer: ByteBuffer, _ room: UnsafeMutableRawBufferPointer) -> Filled {
        switch socket.read(into: room) {
        case .bytes(let count):
            buffer.commit(count)
            worker.bytesRead &+= UInt64(count)
            // Who fills a block has more to say; who says little at once goes back to small ones.
            isStreaming = count >= BlockPool.blockSize / 2 && (isStreaming || count == room.count)
            if count < room.count && !peerHasEnded { mayRead = false }
            return .bytes
        case .wouldBlock:
            buffer.commit(0)
            mayRead = false
            return .wouldBlock
        case .end:
            buffer.commit(0)
            mayRead = false
            return .end
        case .failed(let error):
            buffer.commit(0)
            mayRead = false
            return .failed(error)
        }
    }

    final func setMayRead(_ value: Bool) { mayRead = value }

    final func setMayWrite(_ value: Bool) { mayWrite = value }

    /// Begins TLS on a connection that was plain so far: an upstream's, once it is established.
    final func beginTLS(_ transport: TLSTransport) { tls = transport }

    /// Appends to `output`, to be sent when the turn ends; large pieces go to the kernel at once, without a copy.
    final func send(_ bytes: UnsafeRawBufferPointer) {
        guard let socket, !bytes.isEmpty else { return }
        if bytes.count >= Limits.directWriteBytes && output.isEmpty && mayWrite && tls == nil {
            switch socket.write(bytes) {
            case .bytes(let count):
                countSent(count)
                if count == bytes.count { return }
                mayWrite = false
                output.append(UnsafeRawBufferPointer(rebasing: bytes[count...]))
            case .wouldBlock, .end:
                mayWrite = false
                output.append(bytes)
            case .failed:
                // The failure shows again, at the one place that handles it, when the turn ends.
                output.append(bytes)
            }
        } else {
            output.append(bytes)
        }
        worker.markDirty(self)
    }

    final func send(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { send($0) }
    }

    /// Puts what is still elsewhere into `output`, before it is written.
    func prepareOutput() {}

    /// Hands `output` to the kernel as far as it takes it.
    final func flush() {
        isDirty = false
        guard mayWrite, !isClosed else { return }
        prepareOutput()
        guard let socket else { return }
        if let tls { return flush(tls, socket) }
        guard !output.isEmpty else { return handleFlushed() }
        switch socket.write(output.bytes) {
        case .bytes(let count):
            let isShort = count < output.count
            output.consume(count)
            countSent(count)
            if isShort { mayWrite = false } else { handleFlushed() }
        case .wouldBlock, .end:
            mayWrite = false
        case .failed(let error):
            mayWrite = false
            output.removeAll()
            handleWriteFailure(error)
        }
    }

    final func setDirty() { isDirty = true }

    /// What was said earlier in the pass leaves before the connection is closed, as far as the kernel takes it.
    private func flushLast(_ socket: Socket) {
        guard !output.isEmpty else { return }
        if let tls { return flushLast(tls, socket) }
        if case .bytes(let count) = socket.write(output.bytes) { countSent(count) }
    }

    /// Gives socket and bytes read so far to another owner.
    final func surrender() -> (Socket, ByteBuffer)? {
        guard let socket else { return nil }
        registration?.cancel()
        registration = nil
        self.socket = nil
        return (socket, input)
    }

    /// Closes at once, also with bytes unsent.
    func close() {
        guard let socket else { return }
        if isDirty, mayWrite, !socket.resetsOnClose { flushLast(socket) }
        if let tls {
            // An orderly end says so; a reset is meant to say the contrary.
            if !socket.resetsOnClose, !peerHasEnded {
                tls.shutdown()
                flushWire(tls, socket)
            }
            tls.wireInput.removeAll()
            tls.wireOutput.removeAll()
            tls.sealedBytes = 0
        }
        registration?.cancel()
        registration = nil
        socket.close()
        self.socket = nil
        input.removeAll()
        output.removeAll()
    }
}
