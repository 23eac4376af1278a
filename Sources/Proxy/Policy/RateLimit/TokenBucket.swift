internal import EnvoyAPI
internal import IO
internal import Synchronization
internal import Upstream

/// A bucket of tokens that fills by a number of them at a fixed interval.
///
/// Pure: the time is an argument. It is full at the beginning, and whole intervals count.
struct TokenBucket: Sendable {
    let maxTokens: UInt64
    let tokensPerFill: UInt64
    let fillInterval: Duration
    private(set) var tokens: UInt64
    private var filled: MonotonicTime?

    init(maxTokens: UInt64, tokensPerFill: UInt64, fillInterval: Duration) {
        self.maxTokens = maxTokens
        self.tokensPerFill = tokensPerFill
        self.fillInterval = fillInterval
        tokens = maxTokens
    }

    init(compiling message: EnvoyAPI.TokenBucket, at path: String) throws(ConfigurationError) {
        guard message.maxTokens > 0 else { throw ConfigurationError(at: path + ".max_tokens", "at least 1 is needed") }
        let perFill = message.tokensPerFill ?? 1
        guard perFill > 0 else { throw ConfigurationError(at: path + ".tokens_per_fill", "at least 1 is needed") }
        guard let interval = message.fillInterval, interval >= .milliseconds(1) else {
            throw ConfigurationError(at: path + ".fill_interval", "at least 0.001s is needed")
        }
        self.init(
            maxTokens: UInt64(message.maxTokens), tokensPerFill: UInt64(perFill), fillInterval: interval)
    }

    /// Takes tokens when there are enough.
    mutating func take(_ count: UInt64 = 1, now: MonotonicTime) -> Bool {
        fill(now)
        guard tokens >= count else { return false }
        tokens -= count
        return true
    }

    /// Brings the bucket up to the present.
    mutating func fill(_ now: MonotonicTime) {
        guard let last = filled else {
            filled = now
            return
        }
        let interval = max(fillInterval.wholeNanoseconds, 1)
        let passed = (now - last).wholeNanoseconds / interval
        guard passed > 0 else { return }
        filled = last + .nanoseconds(passed * interval)
        let (added, overflow) = UInt64(passed).multipliedReportingOverflow(by: tokensPerFill)
        tokens = overflow || added > maxTokens - tokens ? maxTokens : tokens + added
    }
}

/// A bucket that several loops take from.
final class SharedTokenBucket: Sendable {
    /// Held for a few instructions.
    private let bucket: Mutex<TokenBucket>

    init(_ bucket: TokenBucket) { self.bucket = Mutex(bucket) }

    func take(_ count: UInt64 = 1, now: MonotonicTime) -> Bool { bucket.withLock { $0.take(count, now: now) } }

    /// The tokens that are left.
    func remaining(now: MonotonicTime) -> UInt64 {
        bucket.withLock { bucket in
            bucket.fill(now)
            return bucket.tokens
        }
    }
}
