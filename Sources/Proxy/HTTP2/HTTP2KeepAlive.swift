internal import HTTP
internal import IO
internal import Upstream

/// When to ask a peer for a sign of life, and when it is dead (`connection_keepalive`).
///
/// Pure: time and randomness come as arguments.
struct HTTP2KeepAlive {
    /// What to do now.
    enum Step { case wait, ping, dead }

    private let interval: Duration
    private let timeout: Duration
    private let jitterPercent: Double
    private var askedAt: MonotonicTime?
    private var nextAt: MonotonicTime

    init?(_ options: HTTP2Options, since now: MonotonicTime, random: UInt64) {
        guard let interval = options.pingInterval, let timeout = options.pingTimeout else { return nil }
        self.interval = interval
        self.timeout = timeout
        jitterPercent = options.pingJitterPercent
        nextAt = now
        nextAt = now + wait(random)
    }

    private func wait(_ random: UInt64) -> Duration {
        let share = Double(random % 1000) / 1000 * jitterPercent / 100
        return interval + interval * share
    }

    /// The peer said something: whatever it was, it lives.
    mutating func heard(at now: MonotonicTime) { askedAt = nil }

    var deadline: MonotonicTime { askedAt.map { $0 + timeout } ?? nextAt }

    mutating func look(at now: MonotonicTime, random: UInt64) -> Step {
        if let askedAt { return askedAt + timeout <= now ? .dead : .wait }
        guard nextAt <= now else { return .wait }
        askedAt = now
        nextAt = now + wait(random)
        return .ping
    }
}

extension HTTP2Limits {
    /// What a configuration says.
    init(_ options: HTTP2Options) {
        self.init()
        streamWindow = options.streamWindowBytes
        connectionWindow = options.connectionWindowBytes
        if let bytes = options.hpackTableBytes { headerTableBytes = bytes }
        if let streams = options.concurrentStreamsMax { concurrentStreams = streams }
        allowsConnect = options.allowsConnect
        outboundFrames = Int(options.outboundFramesMax)
        outboundControlFrames = Int(options.outboundControlFramesMax)
        emptyFrames = Int(options.emptyFramesMax)
        priorityFrames = Int(options.priorityFramesPerStream)
        windowUpdateFrames = Int(options.windowUpdatesPerData)
    }
}

extension ByteBuffer: HTTP2Output {}
