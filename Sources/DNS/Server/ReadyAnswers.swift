import IO

/// A query in its plainest form, as it lies in a datagram: one question, and perhaps an OPT record.
///
/// What is anything else is read as a message (`DNSMessage`).
struct PlainQuery {
    /// Where the bytes of the question begin.
    static let questionStart = 12

    /// Bytes of the name, its last zero included.
    let nameLength: Int
    /// The largest datagram that the client takes; nil without EDNS.
    let datagramSize: Int?
    /// What changes the answer besides the question: bits RD, AD, EDNS, DO.
    let options: UInt8
    /// A number that follows from the question, whatever its letters, and `options`.
    let hash: UInt64

    /// Bytes of name, type and class.
    var questionLength: Int { nameLength + 4 }

    /// Reads a datagram; nil when it is not of this form.
    init?(_ bytes: UnsafeRawBufferPointer, seed: UInt64) {
        // No response, an ordinary query, not truncated; neither the bit that must be zero nor CD nor a code.
        guard bytes.count >= 17, bytes[2] & 0xFE == 0, bytes[3] & 0xDF == 0, bytes[4] == 0, bytes[5] == 1 else {
            return nil
        }
        for index in 6..<11 where bytes[index] != 0 { return nil }
        guard bytes[11] <= 1 else { return nil }
        var index = Self.questionStart
        while true {
            guard index < bytes.count else { return nil }
            let length = Int(bytes[index])
            guard length <= Name.labelMax else { return nil }
            index += 1 + length
            if length == 0 { break }
        }
        let nameLength = index - Self.questionStart
        guard nameLength <= Name.bytesMax, index + 4 <= bytes.count else { return nil }
        self.nameLength = nameLength
        // The class of the internet.
        guard bytes[index + 2] == 0, bytes[index + 3] == 1 else { return nil }
        // Transfers of zones are refused, whatever is asked of.
        guard bytes[index] != 0 || bytes[index + 1] != 251 && bytes[index + 1] != 252 else { return nil }
        index += 4
        var options = (bytes[2] & 1) | (bytes[3] >> 4 & 0b10)
        if bytes[11] == 1 {
            // The root's name, OPT, version 0; what is in the record is not looked at, only how long it is.
            guard index + 11 <= bytes.count, bytes[index] == 0, bytes[index + 1] == 0, bytes[index + 2] == 41,
                bytes[index + 5] == 0, bytes[index + 6] == 0,
                index + 11 + (Int(bytes[index + 9]) << 8 | Int(bytes[index + 10])) == bytes.count
            else { return nil }
            datagramSize = max(512, Int(bytes[index + 3]) << 8 | Int(bytes[index + 4]))
            options |= 0b100 | (bytes[index + 7] >> 4 & 0b1000)
        } else {
            guard index == bytes.count else { return nil }
            datagramSize = nil
        }
        self.options = options
        hash = Self.hash(bytes, count: nameLength + 4, seed: seed ^ UInt64(options))
    }

    /// Letters count as if they were small.
    ///
    /// Other bytes may fall together with that: who compares looks at them one by one.
    private static func hash(_ bytes: UnsafeRawBufferPointer, count: Int, seed: UInt64) -> UInt64 {
        var hash = seed
        var index = questionStart
        let end = questionStart + count
        func mix(_ word: UInt64) {
            hash = (hash ^ (word | 0x2020_2020_2020_2020)) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 29
        }
        while index + 8 <= end {
            mix(bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            index += 8
        }
        var rest: UInt64 = 0
        while index < end {
            rest = rest << 8 | UInt64(bytes[index])
            index += 1
        }
        mix(rest)
        // The type, whose bits the letters' bit may hide.
        mix(UInt64(bytes[end - 4]) << 40 | UInt64(bytes[end - 3]) << 16)
        return hash ^ hash >> 32
    }
}

/// Answers as bytes, for questions that come again: looked up by the bytes of the question, and copied.
///
/// A table of fixed size, four places for each hash: a new answer takes the place of one of these, so nothing grows and nothing
/// is looked through, whatever is asked. An answer is good until its time has come, or the zones have changed.
struct ReadyAnswers {
    /// How many answers there are at most.
    static let entriesMax = 8192
    /// Longer answers are made each time.
    static let bytesMax = 1024
    private static let ways = 4

    private final class Entry {
        let hash: UInt64
        let options: UInt8
        let generation: UInt32
        /// Name, type and class in small letters.
        let question: [UInt8]
        let bytes: [UInt8]
        let made: MonotonicTime
        let expires: MonotonicTime
        /// TTLs that grow less, of an answer that another server gave.
        let ttlOffsets: [UInt16]
        /// The first of several addresses that take turns, the bytes of their records, and how many they are.
        let turns: (start: Int, size: Int, count: Int)?

        init(
            _ hash: UInt64, _ options: UInt8, _ generation: UInt32, _ question: [UInt8], _ bytes: [UInt8],
            _ made: MonotonicTime, _ expires: MonotonicTime, _ ttlOffsets: [UInt16],
            _ turns: (start: Int, size: Int, count: Int)?
        ) {
            self.hash = hash
            self.options = options
            self.generation = generation
            self.question = question
            self.bytes = bytes
            self.made = made
            self.expires = expires
            self.ttlOffsets = ttlOffsets
            self.turns = turns
        }
    }

    private var entries: [Entry?] = Array(repeating: nil, count: entriesMax)
    /// Grows when the zones change.
    private(set) var generation: UInt32 = 0
    private var victim = 0
    private var rotation = 0
    /// Nobody outside can know where an answer is kept.
    let seed = UInt64.random(in: 0 ... .max)

    /// Nothing that was kept is good any more.
    mutating func clear() { generation &+= 1 }

    private static func places(_ hash: UInt64) -> Range<Int> {
        let first = Int(truncatingIfNeeded: hash % UInt64(entriesMax / ways)) * ways
        return first..<(first + ways)
    }

    /// Writes the answer to a query into `space`; how long it is, or nil when there is none that fits.
    mutating func write(
        _ query: PlainQuery, _ datagram: UnsafeRawBufferPointer, into space: UnsafeMutableRawBufferPointer, limit: Int,
        now: MonotonicTime
    ) -> Int? {
        for place in Self.places(query.hash) {
            guard let entry = entries[place], entry.hash == query.hash, entry.options == query.options,
                entry.generation == generation, now < entry.expires, Self.equal(entry.question, datagram)
            else { continue }
            let length = entry.bytes.count + (query.datagramSize == nil ? 0 : 11)
            guard length <= limit, length <= space.count else { return nil }
            entry.bytes.withUnsafeBytes { space.copyMemory(from: $0) }
            space[0] = datagram[0]
            space[1] = datagram[1]
            // The name in the letters of this client.
            let name = PlainQuery.questionStart..<(PlainQuery.questionStart + query.nameLength)
            UnsafeMutableRawBufferPointer(rebasing: space[name]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: datagram[name]))
            if !entry.ttlOffsets.isEmpty { Self.age(entry, space, now) }
            if let turns = entry.turns {
                rotation &+= 1
                Self.turn(entry, turns, space, rotation)
            }
            if query.datagramSize != nil {
                DNSServer.optionRecord(wantsSecurity: query.options & 0b1000 != 0).withUnsafeBytes {
                    UnsafeMutableRawBufferPointer(rebasing: space[entry.bytes.count..<length]).copyMemory(from: $0)
                }
                let count = (UInt16(space[10]) << 8 | UInt16(space[11])) &+ 1
                space[10] = UInt8(count >> 8)
                space[11] = UInt8(count & 0xFF)
            }
            return length
        }
        return nil
    }

    private static func equal(_ question: [UInt8], _ datagram: UnsafeRawBufferPointer) -> Bool {
        guard PlainQuery.questionStart + question.count <= datagram.count else { return false }
        return question.withUnsafeBytes { question in
            for index in question.indices {
                let other = datagram[PlainQuery.questionStart + index]
                if question[index] == other { continue }
                // The last four bytes are type and class: no letters.
                guard index < question.count - 4, question[index] == Name.lower(other) else { return false }
            }
            return true
        }
    }

    private static func age(_ entry: Entry, _ space: UnsafeMutableRawBufferPointer, _ now: MonotonicTime) {
        let age = UInt32(clamping: now.nanoseconds(since: entry.made) / 1_000_000_000)
        guard age > 0 else { return }
        for offset in entry.ttlOffsets {
            let ttl = UInt32(bigEndian: space.loadUnaligned(fromByteOffset: Int(offset), as: UInt32.self))
            space.storeBytes(of: (ttl - min(ttl, age)).bigEndian, toByteOffset: Int(offset), as: UInt32.self)
        }
    }

    private static func turn(
        _ entry: Entry, _ turns: (start: Int, size: Int, count: Int), _ space: UnsafeMutableRawBufferPointer,
        _ rotation: Int
    ) {
        let first = Int(rotation.magnitude % UInt(turns.count)) * turns.size
        let total = turns.count * turns.size
        entry.bytes.withUnsafeBytes { bytes in
            for (from, to) in [(first..<total, 0), (0..<first, total - first)] where !from.isEmpty {
                let source = bytes[(turns.start + from.lowerBound)..<(turns.start + from.upperBound)]
                let target = (turns.start + to)..<(turns.start + to + from.count)
                UnsafeMutableRawBufferPointer(rebasing: space[target]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: source))
            }
        }
    }

    /// Keeps an answer.
    ///
    /// - Parameters:
    ///   - bytes: The whole answer without OPT record.
    ///   - expires: Until when it may be given; `.max` nanoseconds for one that the zones have made.
    ///   - ages: Whether the TTLs grow less with the time.
    mutating func keep(
        _ bytes: [UInt8], for query: PlainQuery, _ question: UnsafeRawBufferPointer, now: MonotonicTime,
        expires: MonotonicTime, ages: Bool
    ) {
        guard bytes.count <= Self.bytesMax, bytes.count >= PlainQuery.questionStart + query.questionLength,
            question.count == query.questionLength
        else { return }
        var offsets: [Int] = []
        // Only these need them: TTLs that grow less, and several addresses.
        if ages || bytes[6] > 0 || bytes[7] > 1 {
            guard let found = try? DNSMessage.ttlOffsets(bytes) else { return }
            offsets = found
        }
        let entry = Entry(
            query.hash, query.options, generation, question.dropLast(4).map(Name.lower) + question.suffix(4), bytes,
            now, expires,
            ages ? offsets.map { UInt16(clamping: $0) } : [],
            ages ? nil : Self.turns(bytes, offsets, after: PlainQuery.questionStart + query.questionLength))
        let places = Self.places(query.hash)
        let free = places.first { place in
            guard let other = entries[place] else { return true }
            return other.generation != generation || now >= other.expires
                || (other.hash == entry.hash && other.options == entry.options)
        }
        victim &+= 1
        entries[free ?? (places.lowerBound + Int(victim.magnitude % UInt(Self.ways)))] = entry
    }

    /// Several addresses of one kind that follow each other, each behind a pointer to the question.
    private static func turns(
        _ bytes: [UInt8], _ offsets: [Int], after start: Int
    ) -> (start: Int, size: Int, count: Int)? {
        let count = Int(bytes[6]) << 8 | Int(bytes[7])
        guard count > 1, count <= offsets.count, bytes[8] == 0, bytes[9] == 0, start + 12 <= bytes.count else {
            return nil
        }
        let size = 12 + (Int(bytes[start + 10]) << 8 | Int(bytes[start + 11]))
        guard start + count * size <= bytes.count else { return nil }
        for index in 0..<count {
            let record = start + index * size
            guard bytes[record] == 0xC0, bytes[record + 1] == 12, bytes[record + 2] == 0,
                bytes[record + 3] == 1 || bytes[record + 3] == 28, bytes[record + 3] == bytes[start + 3],
                offsets[index] == record + 6
            else { return nil }
        }
        return (start, size, count)
    }
}
