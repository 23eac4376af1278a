internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// What one loop owns: listeners, connections, pools, timers, and the tables it serves from.
///
/// Everything here is touched on the loop's thread alone; `Proxy` sends it new tables by `loop.execute`.
final class Worker {
    let index: Int
    let loop: EventLoop
    let blocks = BlockPool()
    var random: SplitMix64
    /// Reused by everyone who serialises a head, for the length of one call.
    var scratch: [UInt8] = []
    var bytesRead: UInt64 = 0

    private var dirty: [SocketConnection] = []
    private var isEndingTurn = false

    private(set) var clock = HTTPClock()

    init(index: Int, loop: EventLoop, seed: UInt64) {
        self.index = index
        self.loop = loop
        random = SplitMix64(seed: seed)
    }

    /// Asks for `flush` of a connection before control returns to the loop.
    func markDirty(_ connection: SocketConnection) {
        guard !connection.isDirty else { return }
        connection.setDirty()
        dirty.append(connection)
    }

    /// Ends an entry from the loop (readiness, timer, message): what was said during it goes out now, in one write each.
    func endTurn() {
        guard !isEndingTurn else { return }
        isEndingTurn = true
        while let connection = dirty.popLast() { connection.flush() }
        isEndingTurn = false
    }

    /// A timer whose body is a turn of its own.
    func schedule(after delay: Duration, _ body: @escaping () -> Void) -> LoopTimer {
        loop.schedule(after: delay) { [unowned self] in
            body()
            endTurn()
        }
    }
}
