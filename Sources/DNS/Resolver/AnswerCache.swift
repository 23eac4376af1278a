import IO

/// Answers of other servers, kept for as long as they allow and within a bound.
///
/// Two halves: what is new or was asked for again is in the younger one. When that is full, the older one goes as a whole,
/// so that nothing is ever looked through.
struct AnswerCache {
    /// How many answers are kept.
    static let entriesMax = 10_000
    /// Their bytes, all together.
    static let bytesMax = 16 << 20
    /// The TTL of records that are given after their end, in seconds (RFC 8767 §4).
    static let staleTTL: UInt32 = 30
    /// For how long after a failure an answer that has ended is given without asking anew (RFC 8767 §5).
    static let failurePause = Duration.seconds(30)

    struct Key: Hashable, Sendable {
        var question: Question
        var options: QueryOptions
    }

    /// An answer that is there.
    struct Hit {
        var bytes: [UInt8]
        /// How long it is good; past for an answer that has ended.
        var expires: MonotonicTime
        var isStale: Bool
        /// Whether the servers have failed just now: they need not be asked again yet.
        var hasFailed = false
    }

    private struct Entry {
        var bytes: [UInt8]
        var ttlOffsets: [Int]
        var stored: MonotonicTime
        var expires: MonotonicTime
        var failedUntil: MonotonicTime?

        var cost: Int { bytes.count + 8 * ttlOffsets.count + 200 }
    }

    private enum Kept {
        case answer(Entry)
        case failure(LookupFailure, until: MonotonicTime)

        var cost: Int { if case .answer(let entry) = self { entry.cost } else { 200 } }
    }

    var settings = CacheSettings()
    private var young: [Key: Kept] = [:]
    private var old: [Key: Kept] = [:]
    private var youngBytes = 0
    private var oldBytes = 0

    var count: Int { young.count + old.count }
    /// About how much memory the answers take.
    var byteCount: Int { youngBytes + oldBytes }

    private mutating func kept(_ key: Key) -> Kept? {
        if let kept = young[key] { return kept }
        guard let kept = old.removeValue(forKey: key) else { return nil }
        oldBytes -= kept.cost
        put(kept, key)
        return kept
    }

    private mutating func put(_ kept: Kept, _ key: Key) {
        if let gone = old.removeValue(forKey: key) { oldBytes -= gone.cost }
        if let gone = young.updateValue(kept, forKey: key) { youngBytes -= gone.cost }
        youngBytes += kept.cost
        guard young.count > Self.entriesMax / 2 || youngBytes > Self.bytesMax / 2 else { return }
        (old, oldBytes) = (young, youngBytes)
        (young, youngBytes) = ([:], 0)
    }

    /// The answer to that question, its TTLs reduced by the time it has lain here; one that has ended has a TTL of 30 s.
    mutating func answer(_ key: Key, now: MonotonicTime) -> Hit? {
        guard case .answer(let entry)? = kept(key), now < entry.expires + settings.staleMax else { return nil }
        let isStale = now >= entry.expires
        var bytes = entry.bytes
        let age = UInt32(clamping: (now - entry.stored).components.seconds)
        for offset in entry.ttlOffsets where offset + 4 <= bytes.count {
            var ttl = bytes[offset..<(offset + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            ttl = min(ttl, settings.ttlMax)
            ttl -= min(ttl, age)
            if isStale { ttl = Self.staleTTL }
            for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: ttl >> UInt32(24 - 8 * index)) }
        }
        return Hit(
            bytes: bytes, expires: entry.expires, isStale: isStale,
            hasFailed: entry.failedUntil.map { now < $0 } ?? false)
    }

    /// Why the question was not answered just now; nil when it may be asked.
    mutating func failure(_ key: Key, now: MonotonicTime) -> LookupFailure? {
        guard case .failure(let failure, let until)? = kept(key), now < until else { return nil }
        return failure
    }

    /// Keeps an answer, if it may be kept; until when it is good.
    @discardableResult
    mutating func keep(
        _ message: DNSMessage, _ bytes: [UInt8], for key: Key, now: MonotonicTime
    ) -> MonotonicTime? {
        guard let ttl = settings.ttl(of: message), ttl > 0, let offsets = try? DNSMessage.ttlOffsets(bytes) else {
            return nil
        }
        let expires = now + .seconds(Int64(ttl))
        put(.answer(Entry(bytes: bytes, ttlOffsets: offsets, stored: now, expires: expires)), key)
        return expires
    }

    /// Remembers that nobody could answer; an answer that has ended is kept, and given for a while.
    mutating func fail(_ key: Key, _ failure: LookupFailure, now: MonotonicTime) {
        if case .answer(var entry)? = kept(key), now < entry.expires + settings.staleMax {
            entry.failedUntil = now + Self.failurePause
            return put(.answer(entry), key)
        }
        guard settings.failureTTL > .zero else { return }
        put(.failure(failure, until: now + settings.failureTTL), key)
    }
}

extension CacheSettings {
    /// How long an answer may be kept; nil when not at all.
    func ttl(of message: DNSMessage) -> UInt32? {
        guard !message.isTruncated else { return nil }
        guard message.code == .success || message.code == .nameError else { return nil }
        let question = message.questions.first
        let isNegative = message.code == .nameError || !message.answers.contains { $0.type == question?.type }
        guard isNegative else {
            return min(message.answers.map(\.ttl).min() ?? 0, ttlMax)
        }
        // RFC 2308 §5: no longer than the smaller of the record's TTL and the minimum in it; without one, not at all.
        for record in message.authorities {
            if case .soa(_, _, _, _, _, _, let minimum) = record.value {
                let aliases = message.answers.map(\.ttl).min() ?? .max
                return min(record.ttl, minimum, aliases, negativeTTLMax)
            }
        }
        return nil
    }
}
