internal import IO

/// When a probe is due and what its answers mean.
///
/// Pure: time and answers come in, verdicts go out.
struct ProbeTracker: Sendable, Hashable {
    enum Verdict: Sendable, Hashable { case good, bad }

    /// Time between two questions while the container has not answered well yet and is young.
    ///
    /// Kubernetes waits a whole period, which makes every start seconds longer; early bad answers do not count.
    static let eagerPeriod = Duration.milliseconds(100)
    /// How long a container is young.
    static let eagerTime = Duration.seconds(10)

    private let probe: Probe
    private let kind: Probe.Kind
    private let start: MonotonicTime
    /// When the next question is due; `nil` while one is under way.
    private(set) var due: MonotonicTime?
    private(set) var verdict: Verdict?
    private var goodInARow = 0
    private var badInARow = 0

    init(_ probe: Probe, kind: Probe.Kind, start: MonotonicTime) {
        self.probe = probe
        self.kind = kind
        self.start = start + probe.initialDelay
        due = self.start
    }

    mutating func take() { due = nil }

    /// Notes an answer; the new verdict when it changes, and again each time a bad one is reached.
    mutating func answer(isGood: Bool, at now: MonotonicTime) -> Verdict? {
        let isEager = kind != .liveness && verdict == nil && now < start + Self.eagerTime
        due = now + (isEager && !isGood ? min(Self.eagerPeriod, probe.period) : probe.period)
        if isGood {
            goodInARow += 1
            badInARow = 0
            guard goodInARow >= probe.successThreshold, verdict != .good else { return nil }
            verdict = .good
            return .good
        }
        goodInARow = 0
        guard !isEager else { return nil }
        badInARow += 1
        guard badInARow >= probe.failureThreshold else { return nil }
        badInARow = 0
        verdict = .bad
        return .bad
    }
}
