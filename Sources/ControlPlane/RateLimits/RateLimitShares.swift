import TLS

/// The windows that a server counts in, as it tells the other servers.
///
/// A row of 32 bytes for each, big-endian: 16 of the digest of what is counted together (so that no value of a request leaves the
/// server), 8 of the second in which the window began, 4 of its length in seconds, 4 of the count. One byte before all tells the form.
struct RateLimitShares: Sendable, Equatable {
    /// Windows that are told at most: what has used up most of its limit goes first.
    static let windowsMax = 8_000
    static let form: UInt8 = 1
    private static let rowBytes = 32

    /// Which window of which descriptor.
    struct Slot: Sendable, Hashable {
        var high: UInt64
        var low: UInt64
        /// Seconds since 1970.
        var start: Int64
        var seconds: UInt32

        var end: Int64 {
            let (end, isOver) = start.addingReportingOverflow(Int64(seconds))
            return isOver ? .max : end
        }

        /// - Parameter key: what everything has in common that counts together (`RateLimitRules.limit`).
        init(key: String, start: Int64, seconds: Int64) {
            let digest = SHA256.hash(Array(key.utf8))
            high = RateLimitShares.number(digest.prefix(8))
            low = RateLimitShares.number(digest.dropFirst(8).prefix(8))
            self.start = start
            self.seconds = UInt32(clamping: seconds)
        }

        fileprivate init(row: ArraySlice<UInt8>) {
            high = RateLimitShares.number(row.prefix(8))
            low = RateLimitShares.number(row.dropFirst(8).prefix(8))
            start = Int64(bitPattern: RateLimitShares.number(row.dropFirst(16).prefix(8)))
            seconds = UInt32(truncatingIfNeeded: RateLimitShares.number(row.dropFirst(24).prefix(4)))
        }
    }

    var counts: [Slot: UInt32] = [:]

    init() {}

    /// nil for what is not in this form, or holds more than it may.
    init?(_ bytes: [UInt8]) {
        guard bytes.first == Self.form, (bytes.count - 1) % Self.rowBytes == 0,
            (bytes.count - 1) / Self.rowBytes <= Self.windowsMax
        else { return nil }
        counts.reserveCapacity(bytes.count / Self.rowBytes)
        var rest = bytes.dropFirst()
        while !rest.isEmpty {
            let row = rest.prefix(Self.rowBytes)
            counts[Slot(row: row)] = UInt32(truncatingIfNeeded: Self.number(row.suffix(4)))
            rest = rest.dropFirst(Self.rowBytes)
        }
    }

    var bytes: [UInt8] {
        var bytes = [Self.form]
        bytes.reserveCapacity(1 + counts.count * Self.rowBytes)
        func add(_ number: some FixedWidthInteger) {
            withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
        }
        for (slot, count) in counts {
            add(slot.high)
            add(slot.low)
            add(slot.start)
            add(slot.seconds)
            add(count)
        }
        return bytes
    }

    private static func number(_ bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// What other servers have counted.
///
/// Pure: reports and time come in.
struct RateLimitOthers: Sendable {
    /// Servers that are gone and whose counts stand until their windows end.
    static let departedMax = 64

    private var servers: [String: (bytes: [UInt8], shares: RateLimitShares)] = [:]
    /// In the order in which they went.
    private var departed: [(name: String, shares: RateLimitShares)] = []
    /// Reports that could not be read.
    private(set) var unreadable = 0

    init() {}

    /// Takes what the living servers say now, by their names.
    ///
    /// Who has stopped has not given back what it let through: its counts stand until their windows end, or until it is back.
    mutating func take(_ reports: [String: [UInt8]], now: Int64) {
        for (name, server) in servers where reports[name] == nil {
            departed.append((name, server.shares))
            servers[name] = nil
        }
        for (name, bytes) in reports where servers[name]?.bytes != bytes {
            guard let shares = RateLimitShares(bytes) else {
                unreadable += 1
                continue
            }
            servers[name] = (bytes, shares)
        }
        departed = departed.filter { server in
            servers[server.name] == nil && server.shares.counts.contains { $0.key.end > now }
        }.suffix(Self.departedMax)
    }

    /// What all others have counted in a window.
    func count(_ slot: RateLimitShares.Slot) -> UInt64 {
        var sum: UInt64 = 0
        for server in servers.values { sum += UInt64(server.shares.counts[slot] ?? 0) }
        for server in departed { sum += UInt64(server.shares.counts[slot] ?? 0) }
        return sum
    }
}
