internal import IO

/// Lets a body that a filter keeps go on at a rate: every 50 ms what the bucket has, as Envoy does.
///
/// The filter answers `wait` to each piece and calls `begin`; the bucket may be its own or one that many streams share.
final class BodyTrickle {
    private let bucket: EvenTokenBucket
    private let interval: Duration
    private var timer: LoopTimer?
    private var isRunning = false
    /// Called with the time from the first piece to the last, when all has gone on.
    var onEnd: ((Duration) -> Void)?
    /// Called with each number of bytes that goes on, and whether more would have liked to.
    var onPassed: ((Int, Bool) -> Void)?
    private var began: MonotonicTime?

    static let intervalDefault: Duration = .milliseconds(50)

    init(_ bucket: EvenTokenBucket, interval: Duration = intervalDefault) {
        self.bucket = bucket
        self.interval = interval
    }

    /// A bucket of its own, with what one interval brings in it.
    convenience init(kilobytesPerSecond: UInt64, at now: MonotonicTime) {
        let bytes = Int(clamping: kilobytesPerSecond.multipliedReportingOverflow(by: 1024).partialValue)
        self.init(
            EvenTokenBucket(
                size: max(bytes, 1), rate: Double(bytes), tokens: Double(bytes) / 20, at: now))
    }

    /// Goes on with what the filter keeps, unless that is under way.
    func begin(_ flow: FilterDirection.Flow, _ stream: HTTPStream, _ filter: any HTTPFilter) {
        guard !isRunning else { return }
        isRunning = true
        if began == nil { began = stream.worker.loop.now }
        tick(after: .zero, flow, stream, filter)
    }

    private func tick(
        after delay: Duration, _ flow: FilterDirection.Flow, _ stream: HTTPStream, _ filter: any HTTPFilter
    ) {
        timer = stream.worker.schedule(after: delay) { [weak self, weak stream, weak filter] in
            guard let self, let stream, let filter, !stream.isFinished else { return }
            let kept = stream.heldBytes(flow, filter)
            let bytes = kept == 0 ? 0 : self.bucket.take(upTo: kept, at: stream.worker.loop.now)
            self.onPassed?(bytes, bytes < kept)
            let endsNow = bytes == kept && stream.holdsEnd(flow, filter)
            if endsNow, let began = self.began { self.onEnd?(stream.worker.loop.now - began) }
            let left = stream.passHeld(flow, filter, bytes: bytes)
            guard !stream.isFinished else { return }
            if left > 0 {
                self.tick(after: self.interval, flow, stream, filter)
            } else {
                self.isRunning = false
            }
        }
    }

    func cancel() { timer?.cancel() }
}
