internal import EnvoyAPI
internal import IO
internal import Synchronization
internal import Upstream

/// The buckets of one `local_ratelimit` configuration: the default one, and one for each descriptor.
final class LocalRateLimiter: Sendable {
    private typealias Entry = Upstream.RateLimitDescriptor.Entry

    /// A descriptor with a bucket of its own; an entry without a value takes any, and then each value gets a bucket.
    private struct Rule: Sendable {
        let entries: [Entry]
        let size: Int
        let rate: Double
        let isShadow: Bool
        let bucket: EvenTokenBucket
        var isWildcard: Bool { entries.contains { $0.value.isEmpty } }
    }

    /// Buckets of values that requests brought.
    private struct Dynamic {
        var buckets: [[Entry]: EvenTokenBucket] = [:]
        /// The values in the order of their first sight.
        var order: [[Entry]] = []
    }

    struct Verdict {
        var isAllowed: Bool
        /// The bucket that decided; nil when none applied.
        var bucket: EvenTokenBucket?
        /// What the descriptor that decided says about `x-ratelimit-*`.
        var showsLimit: Bool?
    }

    private let fallback: EvenTokenBucket?
    private let rules: [Rule]
    private let alwaysTakesFallback: Bool
    private let dynamicMax: Int
    /// By the index of the rule; held while a bucket is looked up, only by requests that bring a wildcard's value.
    private let dynamic: Mutex<[Int: Dynamic]>

    var hasDescriptors: Bool { !rules.isEmpty }

    /// Envoy's bound for buckets of wildcard values, where `max_dynamic_descriptors` is not set.
    static let dynamicMaxDefault = 20

    init(compiling message: HTTPLocalRateLimit, at path: String, now: MonotonicTime) throws(ConfigurationError) {
        fallback = try message.tokenBucket.map { bucket throws(ConfigurationError) in
            let (size, rate) = try Self.sizes(bucket, at: path + ".token_bucket")
            return EvenTokenBucket(size: size, rate: rate, at: now)
        }
        var rules: [Rule] = []
        for (index, descriptor) in message.descriptors.enumerated() {
            let place = "\(path).descriptors[\(index)]"
            guard let bucket = descriptor.tokenBucket else {
                throw ConfigurationError(at: place + ".token_bucket", "is missing")
            }
            guard !descriptor.entries.isEmpty else { throw ConfigurationError(at: place + ".entries", "is empty") }
            let (size, rate) = try Self.sizes(bucket, at: place + ".token_bucket")
            let entries = descriptor.entries.map { Entry(key: $0.key, value: $0.value) }
            if rules.contains(where: { $0.entries == entries }) {
                throw ConfigurationError(at: place, "another descriptor has the same entries")
            }
            rules.append(
                Rule(
                    entries: entries, size: size, rate: rate, isShadow: descriptor.shadowMode,
                    bucket: EvenTokenBucket(size: size, rate: rate, at: now)))
        }
        self.rules = rules
        alwaysTakesFallback = message.alwaysConsumeDefaultTokenBucket ?? true
        dynamicMax = message.maxDynamicDescriptors.map { Int($0) } ?? Self.dynamicMaxDefault
        dynamic = Mutex([:])
    }

    static func sizes(_ message: EnvoyAPI.TokenBucket, at path: String) throws(ConfigurationError) -> (
        size: Int, rate: Double
    ) {
        guard message.maxTokens > 0 else { throw ConfigurationError(at: path + ".max_tokens", "must be above 0") }
        guard let interval = message.fillInterval, interval >= .milliseconds(50) else {
            throw ConfigurationError(at: path + ".fill_interval", "must be at least 50 ms")
        }
        let tokens = message.tokensPerFill ?? 1
        guard tokens > 0 else { throw ConfigurationError(at: path + ".tokens_per_fill", "must be above 0") }
        return (Int(message.maxTokens), Double(tokens) / (Double(interval.wholeNanoseconds) / 1e9))
    }

    /// A copy of the default bucket, for limits that each connection has for itself.
    func freshFallback(now: MonotonicTime) -> EvenTokenBucket? {
        fallback.map { EvenTokenBucket(size: $0.size, rate: $0.rate, at: now) }
    }

    /// Takes tokens for a request.
    ///
    /// The strictest of the matching buckets is asked first; one that is empty refuses the request.
    func ask(_ descriptors: [Upstream.RateLimitDescriptor], own: EvenTokenBucket? = nil, now: MonotonicTime) -> Verdict
    {
        var matches: [(bucket: EvenTokenBucket, hits: UInt64, isShadow: Bool, shows: Bool?)] = []
        for descriptor in descriptors {
            guard let found = bucket(for: descriptor, now: now) else { continue }
            matches.append((found.bucket, descriptor.hitsAddend ?? 1, found.isShadow, descriptor.showsLimit))
        }
        if matches.count > 1 { matches.sort { $0.bucket.rate < $1.bucket.rate } }
        for match in matches where !match.bucket.take(match.hits, at: now) && !match.isShadow {
            return Verdict(isAllowed: false, bucket: match.bucket, showsLimit: match.shows)
        }
        if matches.isEmpty || alwaysTakesFallback {
            guard let bucket = own ?? fallback else {
                return Verdict(isAllowed: true, bucket: matches.first?.bucket, showsLimit: matches.first?.shows)
            }
            guard bucket.take(matches.first?.hits ?? 1, at: now) else {
                return Verdict(isAllowed: false, bucket: bucket)
            }
            return Verdict(isAllowed: true, bucket: matches.first?.bucket ?? bucket, showsLimit: matches.first?.shows)
        }
        return Verdict(isAllowed: true, bucket: matches.first?.bucket, showsLimit: matches.first?.shows)
    }

    /// Takes what finished requests cost: as much as there is of it.
    func charge(_ descriptors: [Upstream.RateLimitDescriptor], now: MonotonicTime) {
        for descriptor in descriptors {
            _ = bucket(for: descriptor, now: now)?.bucket.take(
                upTo: Int(clamping: descriptor.hitsAddend ?? 1), at: now)
        }
    }

    private func bucket(for descriptor: Upstream.RateLimitDescriptor, now: MonotonicTime) -> (
        bucket: EvenTokenBucket, isShadow: Bool
    )? {
        for rule in rules where !rule.isWildcard && rule.entries == descriptor.entries {
            return (rule.bucket, rule.isShadow)
        }
        for (index, rule) in rules.enumerated() where rule.isWildcard {
            guard rule.entries.count == descriptor.entries.count,
                zip(rule.entries, descriptor.entries).allSatisfy({
                    $0.key == $1.key && ($0.value.isEmpty || $0.value == $1.value)
                })
            else { continue }
            return (dynamicBucket(index, rule, descriptor.entries, now), rule.isShadow)
        }
        return nil
    }

    /// ATK-19: values come from requests; the oldest bucket makes room for a new one.
    private func dynamicBucket(
        _ index: Int, _ rule: Rule, _ entries: [Entry], _ now: MonotonicTime
    ) -> EvenTokenBucket {
        dynamic.withLock { all in
            if let known = all[index]?.buckets[entries] { return known }
            let fresh = EvenTokenBucket(size: rule.size, rate: rule.rate, at: now)
            var own = all[index] ?? Dynamic()
            all[index] = nil
            if own.order.count >= max(dynamicMax, 1) { own.buckets[own.order.removeFirst()] = nil }
            own.order.append(entries)
            own.buckets[entries] = fresh
            all[index] = own
            return fresh
        }
    }
}

/// Buckets that connections have for themselves.
///
/// A bucket that has filled up again is as good as a new one, so full ones are what is forgotten when there are many.
final class ConnectionBuckets: Sendable {
    private let buckets = Mutex<[UInt64: EvenTokenBucket]>([:])

    /// Connections remembered.
    static let countMax = 65_536

    func bucket(of connection: UInt64, now: MonotonicTime, make: () -> EvenTokenBucket?) -> EvenTokenBucket? {
        buckets.withLock { buckets in
            if let known = buckets[connection] { return known }
            if buckets.count >= Self.countMax { buckets = buckets.filter { !$0.value.isFull(at: now) } }
            guard buckets.count < Self.countMax, let fresh = make() else { return make() }
            buckets[connection] = fresh
            return fresh
        }
    }
}
