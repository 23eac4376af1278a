import IO

/// Addresses of one range, each given once.
///
/// Pure. Giving is O(1) amortised: a cursor goes round, so that an address that came back rests as long as possible.
struct AddressPool {
    /// The range: `ServiceRanges` has seen to it that it is not too large.
    let range: Prefix
    private var taken: [Bool]
    private var cursor: Int
    private(set) var free: Int

    /// The addresses of a range but its first and last; of more than 20 bits, the first 2^20.
    init(_ range: Prefix) {
        let bits = min(max(range.address.bitCount - range.length, 2), ServiceRanges.bitsMax)
        self.range = range
        taken = Array(repeating: false, count: 1 << bits)
        taken[0] = true
        taken[taken.count - 1] = true
        cursor = 1
        free = taken.count - 2
    }

    /// Takes one certain address; false when it is outside or taken.
    mutating func take(_ address: IPAddress) -> Bool {
        guard let index = index(address), !taken[index] else { return false }
        taken[index] = true
        free -= 1
        return true
    }

    /// Takes the next free address.
    mutating func next() -> IPAddress? {
        guard free > 0 else { return nil }
        while taken[cursor] { cursor = (cursor + 1) % taken.count }
        let index = cursor
        taken[index] = true
        free -= 1
        cursor = (index + 1) % taken.count
        return address(index)
    }

    /// Gives an address back.
    mutating func release(_ address: IPAddress) {
        guard let index = index(address), index != 0, index != taken.count - 1, taken[index] else { return }
        taken[index] = false
        free += 1
    }

    /// Whether the address belongs to the range.
    func contains(_ address: IPAddress) -> Bool { index(address) != nil }

    /// The address of that number in the range.
    func address(_ index: Int) -> IPAddress {
        switch range.address {
        case .v4(let base): .v4(base &+ UInt32(truncatingIfNeeded: index))
        case .v6(let high, let low): .v6(high: high, low: low &+ UInt64(truncatingIfNeeded: index))
        }
    }

    private func index(_ address: IPAddress) -> Int? {
        guard range.contains(address) else { return nil }
        let offset: UInt64 =
            switch (range.address, address) {
            case (.v4(let base), .v4(let value)): UInt64(value &- base)
            case (.v6(_, let base), .v6(_, let value)): value &- base
            default: .max
            }
        return Int(exactly: offset).flatMap { $0 < taken.count ? $0 : nil }
    }
}
