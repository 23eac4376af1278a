import IO

/// How often each client may ask: a bucket of tokens for each address, in a table of fixed size.
///
/// Four places for each hash: where more clients than that meet, the one that has been silent for longest begins anew.
struct ClientLimits {
    /// How many clients are told apart.
    static let clientsMax = 16_384
    private static let ways = 4

    private struct Slot {
        var high: UInt64 = 0
        var low: UInt64 = 0
        /// Nanoseconds; 0: nobody.
        var last: UInt64 = 0
        /// In billionths of a query.
        var tokens: UInt64 = 0
    }

    /// Queries that a client may send in a second, and at once; 0: as many as it likes.
    var rate: Int {
        didSet { if rate != oldValue { slots = [] } }
    }
    private var slots: [Slot] = []
    private let seed = UInt64.random(in: 0 ... .max)

    init(rate: Int) { self.rate = rate }

    /// Whether that client may ask now.
    mutating func allows(_ client: (high: UInt64, low: UInt64), now: MonotonicTime) -> Bool {
        guard rate > 0 else { return true }
        if slots.isEmpty { slots = Array(repeating: Slot(), count: Self.clientsMax) }
        var hash = (client.high ^ seed) &* 0x9E37_79B9_7F4A_7C15
        hash = (hash ^ hash >> 29 ^ client.low) &* 0xBF58_476D_1CE4_E5B9
        hash ^= hash >> 32
        let first = Int(truncatingIfNeeded: hash % UInt64(Self.clientsMax / Self.ways)) * Self.ways
        var place = first
        var isKnown = false
        for index in first..<(first + Self.ways) {
            if slots[index].last != 0, slots[index].low == client.low, slots[index].high == client.high {
                (place, isKnown) = (index, true)
                break
            }
            if slots[index].last < slots[place].last { place = index }
        }
        let one: UInt64 = 1_000_000_000
        let full = UInt64(min(rate, 1_000_000_000)) &* one
        var slot = slots[place]
        if isKnown {
            let passed = now.nanoseconds > slot.last ? now.nanoseconds - slot.last : 0
            let (gained, overflow) = passed.multipliedReportingOverflow(by: UInt64(min(rate, 1_000_000_000)))
            slot.tokens = overflow || gained >= full - min(slot.tokens, full) ? full : slot.tokens + gained
        } else {
            slot = Slot(high: client.high, low: client.low, last: 0, tokens: full)
        }
        slot.last = max(now.nanoseconds, 1)
        let isAllowed = slot.tokens >= one
        if isAllowed { slot.tokens -= one }
        slots[place] = slot
        return isAllowed
    }
}

extension IPAddress {
    /// As `DatagramBatch.sourceKey`.
    var clientKey: (high: UInt64, low: UInt64) {
        if case .v6(let high, let low) = mapped { return (high, low) }
        return (0, 0)
    }
}
