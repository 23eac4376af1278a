internal import IO

/// When unsettled writes go to their home: many together.
///
/// At the end of the loop's pass when somebody waits for them, with all that was written in the pass; otherwise a few milliseconds later,
/// with what was written until then. Loop-owned.
final class GroupCommit {
    /// How long a write that does not hurry waits for company.
    private static let company = Duration.milliseconds(5)

    private let loop: EventLoop
    private var isDue = false
    private var timer: LoopTimer?
    /// Sends what there is; it calls `begin` first.
    var send: () -> Void = {}

    init(on loop: EventLoop) { self.loop = loop }

    /// There is something to send.
    func ask(isUrgent: Bool) {
        guard !isDue else { return }
        guard isUrgent else {
            if timer == nil { timer = loop.schedule(after: Self.company) { [weak self] in self?.send() } }
            return
        }
        isDue = true
        loop.atEndOfPass { [weak self] in self?.send() }
    }

    /// It is being sent: what comes now waits for the next time.
    func begin() {
        isDue = false
        stop()
    }

    /// Sends nothing by itself any more.
    func stop() {
        timer?.cancel()
        timer = nil
    }
}
