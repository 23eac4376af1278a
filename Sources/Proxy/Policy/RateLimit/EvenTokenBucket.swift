internal import IO
internal import Synchronization

/// What a token bucket holds at a time: it fills evenly, and is never fuller than its size.
struct TokenCount: Sendable, Hashable {
    let size: Double
    /// Tokens that come in a second.
    let rate: Double
    private var tokens: Double
    private var time: MonotonicTime

    init(size: Double, rate: Double, tokens: Double? = nil, at time: MonotonicTime) {
        self.size = size
        self.rate = rate
        self.tokens = min(tokens ?? size, size)
        self.time = time
    }

    private mutating func fill(_ now: MonotonicTime) {
        guard now > time else { return }
        let seconds = Double((now - time).wholeNanoseconds) / 1e9
        tokens = min(size, tokens + seconds * rate)
        time = now
    }

    /// Takes all that is asked for, or nothing.
    mutating func take(_ count: Double, at now: MonotonicTime) -> Bool {
        fill(now)
        guard tokens >= count else { return false }
        tokens -= count
        return true
    }

    /// Takes as many whole tokens as there are, up to a number.
    mutating func take(upTo count: Int, at now: MonotonicTime) -> Int {
        fill(now)
        let taken = min(Double(count), tokens.rounded(.down))
        tokens -= taken
        return Int(taken)
    }

    /// Whole tokens that are left.
    mutating func remaining(at now: MonotonicTime) -> Int {
        fill(now)
        return Int(tokens)
    }

    mutating func isFull(at now: MonotonicTime) -> Bool {
        fill(now)
        return tokens >= size
    }

    /// Until the next whole token.
    mutating func nextToken(at now: MonotonicTime) -> Duration {
        fill(now)
        guard tokens < 1, rate > 0 else { return .zero }
        return .nanoseconds(Int64(clamping: Int(min((1 - tokens) / rate, 1e9) * 1e9)))
    }
}

/// A token bucket that all loops share.
final class EvenTokenBucket: Sendable {
    let size: Int
    /// Tokens that come in a second.
    let rate: Double
    /// Held for a few instructions; there is nothing in it that could block.
    private let count: Mutex<TokenCount>

    init(size: Int, rate: Double, tokens: Double? = nil, at time: MonotonicTime) {
        self.size = size
        self.rate = rate
        count = Mutex(TokenCount(size: Double(size), rate: rate, tokens: tokens, at: time))
    }

    func take(_ tokens: UInt64, at now: MonotonicTime) -> Bool {
        count.withLock { $0.take(Double(tokens), at: now) }
    }

    func take(upTo tokens: Int, at now: MonotonicTime) -> Int { count.withLock { $0.take(upTo: tokens, at: now) } }

    func remaining(at now: MonotonicTime) -> Int { count.withLock { $0.remaining(at: now) } }

    func isFull(at now: MonotonicTime) -> Bool { count.withLock { $0.isFull(at: now) } }

    func nextToken(at now: MonotonicTime) -> Duration { count.withLock { $0.nextToken(at: now) } }
}
