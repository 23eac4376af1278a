/// The connections of one loop that have said something which the kernel has not got yet.
///
/// What is said while the loop serves the events of one pass leaves together: writes in a row cost less than writes between reads (the
/// kernel's code for each stays in the processor's caches), and a peer that sleeps is woken once for several. The wait is bounded
/// by `Limits.turnsPerFlush`.
///
/// Loop-owned; an object of its own, because the loop holds on to it for longer than a worker lives.
final class FlushQueue {
    /// Connections in a row, in memory that stays when they are gone.
    private struct Row {
        private var places: [SocketConnection?] = []
        private(set) var count = 0

        mutating func append(_ connection: SocketConnection) {
            if count < places.count { places[count] = connection } else { places.append(connection) }
            count &+= 1
        }

        /// Takes the connection out of its place, which stays.
        mutating func take(_ index: Int) -> SocketConnection? { places[index].take() }

        /// All places are free; nobody stands in one any more.
        mutating func forget() { count = 0 }
    }

    private var dirty = Row()
    private var dirtyForPass = Row()
    /// Those of `dirtyForPass` that are being flushed.
    private var flushing = Row()
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
        guard dirty.count > 0, !isFlushing else { return }
        isFlushing = true
        // Flushing may make others dirty, or the same once more.
        var next = 0
        while next < dirty.count {
            dirty.take(next)?.flush()
            next += 1
        }
        dirty.forget()
        isFlushing = false
    }

    /// The events of a pass are served: everything goes out before the loop waits.
    func endPass() {
        flush()
        while dirtyForPass.count > 0 {
            swap(&dirtyForPass, &flushing)
            for index in 0..<flushing.count { flushing.take(index)?.flush() }
            flushing.forget()
            flush()
        }
    }
}
