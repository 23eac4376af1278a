internal import IO
public import Telemetry

/// How many connections servers may hold, and which one gives up its place when there are too many.
///
/// Several servers of one loop may share it. A connection that comes when all places are taken gets that of the connection which has waited
/// longest for a next request. When nobody waits it gets a place of the reserve, where its request is answered 429; only when the reserve
/// is taken too, it is closed without an answer.
///
/// `@unchecked Sendable`: touched on one loop only.
public final class ConnectionPlaces: @unchecked Sendable {
    /// Connections that are served at once.
    public let max: Int
    /// Connections beyond those, which are told to come again.
    public let reserve: Int
    /// TLS handshakes at once: others wait in the kernel's queue of connections.
    public let handshakes: Int
    /// So long a connection has waited for a request at least before it gives up its place: the first one may be on its way.
    static let idleLeast = Duration.seconds(1)

    /// How often a connection that waited for a request was closed for a new one.
    public let givenUp = Counter()
    /// How often a request was answered 429 because there were too many connections.
    public let toldToComeAgain = Counter()
    /// How often a connection was closed without an answer.
    public let closed = Counter()

    /// Connections that are served.
    public private(set) var taken = 0
    /// Connections that are told to come again.
    public private(set) var crowded = 0
    private(set) var handshaking = 0
    private var handshakeWaiters: [CheckedContinuation<Void, Never>] = []

    private struct Idle {
        weak var connection: HTTPServerConnection?
        var turn: UInt64
        var since: MonotonicTime
    }
    /// Who waits for a request, longest first; those that have got one are still in it.
    private var idle: [Idle] = []
    private var idleStart = 0

    /// Places for so many.
    public init(max: Int, reserve: Int = 64, handshakes: Int = 1000) {
        self.max = max
        self.reserve = reserve
        self.handshakes = Swift.max(1, handshakes)
    }

    /// What a new connection gets.
    enum Place {
        case served, crowded, none
    }

    /// Looks for a place; `leave` gives it back.
    func enter(now: MonotonicTime) -> Place {
        if taken < max || giveUpIdle(now: now) {
            taken += 1
            return .served
        }
        guard crowded < reserve else {
            closed.add()
            return .none
        }
        crowded += 1
        return .crowded
    }

    func leave(_ place: Place) {
        switch place {
        case .served: taken -= 1
        case .crowded: crowded -= 1
        case .none: break
        }
    }

    /// A connection has begun to wait for a request.
    func waits(_ connection: HTTPServerConnection, since now: MonotonicTime) {
        // What has got a request meanwhile is let go of when it is more than half: so each entry costs a constant time.
        if idle.count > 2 * taken + 64 {
            idle = idle[idleStart...].filter { $0.connection?.waits(since: $0.turn) == true }
            idleStart = 0
        }
        idle.append(Idle(connection: connection, turn: connection.turn, since: now))
    }

    /// Closes the connection that has waited longest.
    private func giveUpIdle(now: MonotonicTime) -> Bool {
        while idleStart < idle.count {
            let first = idle[idleStart]
            if let connection = first.connection, connection.waits(since: first.turn) {
                guard now - first.since >= Self.idleLeast else { return false }
                idleStart += 1
                givenUp.add()
                connection.abort()
                return true
            }
            idleStart += 1
        }
        return false
    }

    /// Waits until one more handshake may begin, and counts it.
    func beginHandshake() async {
        while handshaking >= handshakes {
            await withCheckedContinuation { continuation in
                guard handshaking >= handshakes else { return continuation.resume() }
                handshakeWaiters.append(continuation)
            }
        }
        handshaking += 1
    }

    func endHandshake() {
        handshaking -= 1
        guard !handshakeWaiters.isEmpty else { return }
        handshakeWaiters.removeFirst().resume()
    }
}
