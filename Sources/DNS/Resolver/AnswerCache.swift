import IO

/// Answers of other servers, kept for as long as they allow and within a bound.
struct AnswerCache {
    /// How many answers are kept; at some 200 bytes each, 2 MB.
    static let entriesMax = 10_000
    /// How long an answer is kept at most, and a negative one, in seconds.
    static let ttlMax: UInt32 = 300
    static let negativeTTLMax: UInt32 = 30

    struct Key: Hashable, Sendable {
        var question: Question
        var options: QueryOptions
    }

    private struct Entry {
        var bytes: [UInt8]
        var ttlOffsets: [Int]
        var stored: MonotonicTime
        var expires: MonotonicTime
    }

    private var entries: [Key: Entry] = [:]

    var count: Int { entries.count }

    /// The answer to that question, its TTLs reduced by the time it has lain here.
    func answer(_ key: Key, now: MonotonicTime) -> [UInt8]? {
        guard let entry = entries[key], now < entry.expires else { return nil }
        var bytes = entry.bytes
        let age = UInt32(clamping: (now - entry.stored).components.seconds)
        for offset in entry.ttlOffsets where offset + 4 <= bytes.count {
            var ttl = bytes[offset..<(offset + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            ttl = min(ttl, Self.ttlMax)
            ttl -= min(ttl, age)
            for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: ttl >> UInt32(24 - 8 * index)) }
        }
        return bytes
    }

    /// Keeps an answer, if it may be kept.
    mutating func keep(_ message: DNSMessage, _ bytes: [UInt8], for key: Key, now: MonotonicTime) {
        guard let ttl = Self.ttl(of: message), ttl > 0, let offsets = try? DNSMessage.ttlOffsets(bytes) else { return }
        if entries.count >= Self.entriesMax { makeRoom(now) }
        entries[key] = Entry(
            bytes: bytes, ttlOffsets: offsets, stored: now, expires: now + .seconds(Int64(ttl)))
    }

    private mutating func makeRoom(_ now: MonotonicTime) {
        entries = entries.filter { now < $0.value.expires }
        // Still full: any tenth goes. The order of a dictionary is as good as random, and nobody can choose it.
        if entries.count >= Self.entriesMax {
            for key in entries.keys.prefix(Self.entriesMax / 10) { entries[key] = nil }
        }
    }

    /// How long an answer may be kept; nil when not at all.
    static func ttl(of message: DNSMessage) -> UInt32? {
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
