internal import IO

/// A connected socket with its buffers, registered edge-triggered at its worker's loop.
///
/// Readiness is sticky: the kernel says once that there is something, and we believe it until a call comes back short.
/// So a request costs its two reads and two writes and no call that finds nothing (docs: life of a request).
/// Subclasses override `handleReady`, `handleFlushed` and `handleWriteFailure`.
class SocketConnection: ReadinessHandler {
    /// What came of asking for more bytes.
    enum Filled {
        case bytes, wouldBlock, end
        case failed(SystemError)
    }

    unowned let worker: Worker
    let input: ByteBuffer
    let output: ByteBuffer
    private(set) var socket: Socket?
    private var registration: Registration?
    private(set) var mayRead = false
    private(set) var mayWrite = false
    /// The peer's end (or an error) is queued behind the bytes: a short read does not mean that nothing follows.
    private var peerHasEnded = false
    fileprivate(set) var isDirty = false

    var isClosed: Bool { socket == nil }

    init(_ socket: Socket, worker: Worker, input: ByteBuffer? = nil) {
        self.socket = socket
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

    /// Reads once into `input`.
    final func fill() -> Filled {
        guard let socket else { return .end }
        guard mayRead else { return .wouldBlock }
        let room = input.room(Limits.readMinimumBytes)
        switch socket.read(into: room) {
        case .bytes(let count):
            input.commit(count)
            worker.bytesRead &+= UInt64(count)
            if count < room.count && !peerHasEnded { mayRead = false }
            return .bytes
        case .wouldBlock:
            input.commit(0)
            mayRead = false
            return .wouldBlock
        case .end:
            input.commit(0)
            mayRead = false
            return .end
        case .failed(let error):
            input.commit(0)
            mayRead = false
            return .failed(error)
        }
    }

    /// Appends to `output`, to be sent when the turn ends; large pieces go to the kernel at once, without a copy.
    final func send(_ bytes: UnsafeRawBufferPointer) {
        guard let socket, !bytes.isEmpty else { return }
        if bytes.count >= Limits.directWriteBytes && output.isEmpty && mayWrite {
            switch socket.write(bytes) {
            case .bytes(let count):
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
        guard mayWrite else { return }
        prepareOutput()
        guard let socket else { return }
        guard !output.isEmpty else { return handleFlushed() }
        switch socket.write(output.bytes) {
        case .bytes(let count):
            let isShort = count < output.count
            output.consume(count)
            if isShort { mayWrite = false } else { handleFlushed() }
        case .wouldBlock, .end:
            mayWrite = false
        case .failed(let error):
            mayWrite = false
            output.removeAll()
            handleWriteFailure(error)
        }
    }

    /// Says to the peer that nothing more comes.
    final func shutdownWrite() { socket?.shutdownWrite() }

    final func setDirty() { isDirty = true }

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
        registration?.cancel()
        registration = nil
        socket.close()
        self.socket = nil
        input.removeAll()
        output.removeAll()
    }
}
