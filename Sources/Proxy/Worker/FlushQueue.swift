/// The connections of one loop that have said something which the kernel has not got yet.
///
/// What is said while the loop serves the events of one pass leaves together: writes in a row cost less than writes between reads (the
/// kernel's code for each stays in the processor's caches), and a peer that sleeps is woken once for several. The wait is bounded
/// by `Limits.turnsPerFlush`.
///
/// Loop-owned; an object of its own, because the loop holds on to it for longer than a worker lives.
final class FlushQueue {
    private var dirty: [SocketConnection] = []
    private var dirtyForPass: [SocketConnection] = []
    /// Those of `dirtyForPass` that are being flushed.
    private var flushing: [SocketConnection] = []
    private var isFlushing = false
    /// Turns that have ended since `dirty` was flushed.
    private var turns = 0

    /// Asks for `flush` of a connection before the loop waits, or some turns from now.
    func append(_ connection: SocketConnection) {
        guard !connection.isDirty else { return }
        connection.setDirty()
        dirty.append(connection)
    }

    /// Asks for `flush` of a connection when all events of the loop's pass are served: what many of them say on it goes out in one write.
    func appendForPass(_ connection: SocketConnection) {
        guard !connection.isDirty else { return }
        connection.setDirty()
        dirtyForPass.append(connection)
    }

    /// An entry from the loop (readiness, timer, message) has ended.
    @inline(__always)
    func endTurn() {
        turns &+= 1
        if turns >= Limits.turnsPerFlush { flush() }
    }

    /// Hands what was said to the kernel, in one write for each connection.
    private func flush() {
        turns = 0
        guard !dirty.isEmpty, !isFlushing else { return }
        isFlushing = true
        // Flushing may make others dirty, or the same once more.
        var next = 0
        while next < dirty.count {
            dirty[next].flush()
            next += 1
        }
        dirty.removeAll(keepingCapacity: true)
        isFlushing = false
    }

    /// The events of a pass are served: everything goes out before the loop waits.
    func endPass() {
        flush()
        while !dirtyForPass.isEmpty {
            swap(&dirtyForPass, &flushing)
            for index in flushing.indices { flushing[index].flush() }
            flushing.removeAll(keepingCapacity: true)
            flush()
        }
    }
}
