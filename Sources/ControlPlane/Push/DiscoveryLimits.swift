import IO

/// Bounds on what subscribers may make the control plane hold or do (attacks.md, section D).
public struct DiscoveryLimits: Sendable {
    /// Streams of all proxies together; more are told to come later.
    public var streams = 20_000
    /// Streams of one pod: a proxy that starts anew while the old one drains has two.
    public var streamsPerPod = 8
    /// Bytes of one request.
    public var requestBytes = 8 * 1024 * 1024
    /// Requests of one stream at once.
    public var requestBurst = 5_000.0
    /// Requests of one stream in a second.
    public var requestRate = 500.0
    /// New streams at once (ATK-48: when all proxies come at once, the last are told to come later).
    public var openingBurst = 2_500.0
    /// New streams in a second.
    public var openingRate = 500.0
    /// How long a subscriber may leave responses unread.
    public var unreadTime = Duration.seconds(60)
    /// How long a TLS handshake and the first request may take.
    public var firstRequestTime = Duration.seconds(15)

    /// The default limits.
    public init() {}
}

/// Why streams were refused or ended, counted.
public struct DiscoveryCounts: Sendable, Hashable {
    /// Streams over a limit of number or rate.
    public var refusedStreams = 0
    /// Subscribers that said to be somebody else, or could not show who they are.
    public var refusedIdentities = 0
    /// Streams that were ended since their pod was gone.
    public var endedWithPod = 0
    /// Streams that broke the protocol or a limit of names.
    public var violations = 0
    /// Streams with too many requests.
    public var floods = 0
    /// Streams that did not read.
    public var unread = 0
    /// Answers to responses that are not under way.
    public var staleAnswers = 0
}

/// A bucket that fills with time.
struct TokenBucket: Sendable {
    let burst: Double
    let rate: Double
    private var tokens: Double
    private var last: MonotonicTime?

    init(burst: Double, rate: Double) {
        self.burst = burst
        self.rate = rate
        tokens = burst
    }

    /// Takes one; false when there is none.
    mutating func take(now: MonotonicTime) -> Bool {
        if let last {
            let passed = (now - last).components
            let seconds = Double(passed.seconds) + Double(passed.attoseconds) / 1e18
            tokens = min(burst, tokens + seconds * rate)
        }
        last = now
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }
}
