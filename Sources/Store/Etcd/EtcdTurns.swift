internal import IO

/// Whose turn it is to write, of several servers on one etcd.
///
/// All steps stand in one order, and who made the last one knows of it first: without manners a server that writes without a pause is always
/// first, and the others' steps are taken back every time. So who was overtaken twice in a row says that it waits (a key of its own beside
/// the objects), and as long as somebody waits a server pauses after each step of its own, until another's step has come: long enough for a
/// request that takes its time between looking and writing, as the definition of a kind does. Pure.
struct EtcdTurns {
    /// Steps taken back in a row after which a server says that it waits.
    static let patience = 2
    /// How long a word of waiting stands: who has died or was cut off takes it back no more.
    static let validity = Duration.seconds(2)
    /// How often it is said again.
    static let repetition = Duration.milliseconds(500)
    /// The longest pause; most end with the step of who waits.
    static let pauseMax = Duration.milliseconds(500)
    /// Servers that are known to wait at most.
    static let serversMax = 64

    private var lost = 0
    private var saidAt: MonotonicTime?
    private var waiting: [String: MonotonicTime] = [:]
    private var pauseEnd: MonotonicTime?

    /// Whether this server has said that it waits: its next step takes the word back.
    var hasSaid: Bool { saidAt != nil }

    /// Our step was taken back; true when it is to be said that we wait.
    mutating func wasOvertaken(_ now: MonotonicTime) -> Bool {
        lost += 1
        guard lost >= Self.patience, saidAt.map({ now - $0 >= Self.repetition }) ?? true else { return false }
        saidAt = now
        return true
    }

    /// Our step is stored.
    mutating func stored(_ now: MonotonicTime) {
        lost = 0
        saidAt = nil
        waiting = waiting.filter { now - $0.value < Self.validity }
        pauseEnd = waiting.isEmpty ? nil : now + Self.pauseMax
    }

    /// Another server's step came.
    mutating func otherStored() { pauseEnd = nil }

    /// Another server says that it waits, or takes that back.
    mutating func heard(_ server: String, waits: Bool, _ now: MonotonicTime) {
        guard waits else { return waiting[server] = nil }
        guard waiting[server] != nil || waiting.count < Self.serversMax else { return }
        waiting[server] = now
    }

    /// How long the next step has to wait; nil when it is our turn.
    func pause(_ now: MonotonicTime) -> Duration? {
        guard let pauseEnd, pauseEnd > now else { return nil }
        return pauseEnd - now
    }
}
