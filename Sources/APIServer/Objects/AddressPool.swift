/// IPv4 addresses of one range, each given once.
///
/// Pure. Giving is O(1) amortised: a cursor goes round, so that an address that came back rests as long as possible.
struct AddressPool {
    private let base: UInt32
    private var taken: [Bool]
    private var cursor: Int
    private(set) var free: Int

    /// The range `base`/`length`; its first and last address are never given.
    init(base: UInt32, length: Int) {
        let count = 1 << (32 - min(max(length, 8), 30))
        self.base = base
        taken = Array(repeating: false, count: count)
        taken[0] = true
        taken[count - 1] = true
        cursor = 1
        free = count - 2
    }

    /// Takes one certain address; false when it is outside or taken.
    mutating func take(_ text: String) -> Bool {
        guard let index = index(text), !taken[index] else { return false }
        taken[index] = true
        free -= 1
        return true
    }

    /// Takes the next free address.
    mutating func next() -> String? {
        guard free > 0 else { return nil }
        while taken[cursor] { cursor = (cursor + 1) % taken.count }
        let index = cursor
        taken[index] = true
        free -= 1
        cursor = (index + 1) % taken.count
        return text(index)
    }

    /// Gives an address back.
    mutating func release(_ text: String) {
        guard let index = index(text), index != 0, index != taken.count - 1, taken[index] else { return }
        taken[index] = false
        free += 1
    }

    /// Whether the address belongs to the range.
    func contains(_ text: String) -> Bool { index(text) != nil }

    private func index(_ text: String) -> Int? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part), String(byte) == part else { return nil }
            value = value << 8 | UInt32(byte)
        }
        guard value >= base, Int(value - base) < taken.count else { return nil }
        return Int(value - base)
    }

    private func text(_ index: Int) -> String {
        let value = base + UInt32(index)
        return "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
    }
}
