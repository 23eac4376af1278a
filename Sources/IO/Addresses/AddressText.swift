/// The text of an address while it is made, in place: logs write several for each request, so none becomes a `String` on the way.
struct AddressText {
    /// Room for `[` + 39 bytes of IPv6 + `]:65535`.
    static let room = 48

    /// Where it is made: `room` bytes.
    private let memory: UnsafeMutablePointer<UInt8>
    private(set) var count = 0

    /// Makes a text in memory that has `room` bytes.
    init(in memory: UnsafeMutablePointer<UInt8>) { self.memory = memory }

    /// Calls `use` with what `make` adds.
    @inline(__always)
    static func with<Result>(
        _ make: (inout AddressText) -> Void, _ use: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: room) { memory in
            // Of a capacity that is not zero, so there is an address.
            guard let base = memory.baseAddress else { return use(UnsafeBufferPointer(start: nil, count: 0)) }
            var text = AddressText(in: base)
            make(&text)
            return use(UnsafeBufferPointer(start: base, count: text.count))
        }
    }

    mutating func add(_ byte: UInt8) {
        guard count < Self.room else { return }
        memory[count] = byte
        count &+= 1
    }

    /// Adds a number up to 65,535 in decimal digits.
    mutating func add(decimal value: UInt32) {
        if value >= 10_000 { add(0x30 &+ UInt8(truncatingIfNeeded: value / 10_000)) }
        if value >= 1_000 { add(0x30 &+ UInt8(truncatingIfNeeded: value / 1_000 % 10)) }
        if value >= 100 { add(0x30 &+ UInt8(truncatingIfNeeded: value / 100 % 10)) }
        if value >= 10 { add(0x30 &+ UInt8(truncatingIfNeeded: value / 10 % 10)) }
        add(0x30 &+ UInt8(truncatingIfNeeded: value % 10))
    }

    /// Adds a byte of an IPv4 address and a dot.
    private mutating func add(octet value: UInt32) {
        let index = Int(truncatingIfNeeded: value & 255)
        let offset = count
        guard offset <= 44 else { return }
        // Four bytes are written, and so many count as are digits or the dot.
        UnsafeMutableRawPointer(memory + offset).storeBytes(of: Self.octets[index], as: UInt32.self)
        count = offset &+ (index < 10 ? 2 : index < 100 ? 3 : 4)
    }

    /// The digits of a byte and a dot, in the order in which they lie in memory.
    private static let octets: [UInt32] = (0..<256).map { (value: UInt32) in
        var word: UInt32 = 0
        var shift: UInt32 = 0
        func put(_ byte: UInt32) {
            word |= byte << shift
            shift += 8
        }
        if value >= 100 { put(0x30 + value / 100) }
        if value >= 10 { put(0x30 + value / 10 % 10) }
        put(0x30 + value % 10)
        put(0x2E)
        return word.littleEndian
    }

    /// Adds a group of an IPv6 address: lower-case hexadecimal without leading zeros (RFC 5952 section 4).
    private mutating func add(hexadecimal value: UInt16) {
        var shift: UInt16 = value >= 0x1000 ? 12 : value >= 0x100 ? 8 : value >= 0x10 ? 4 : 0
        while true {
            let digit = UInt8(truncatingIfNeeded: value >> shift) & 15
            add(digit < 10 ? 0x30 &+ digit : 0x57 &+ digit)
            guard shift > 0 else { return }
            shift &-= 4
        }
    }

    /// Adds dotted IPv4, or IPv6 in the canonical form of RFC 5952.
    mutating func add(_ address: IPAddress) {
        switch address {
        case .v4(let value):
            add(octet: value >> 24)
            add(octet: value >> 16 & 255)
            add(octet: value >> 8 & 255)
            add(octet: value & 255)
            // The dot after the last.
            count &-= 1
        case .v6(let high, let low):
            func group(_ index: Int) -> UInt16 {
                UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - 16 * (index % 4)))
            }
            // The longest run of two or more zero groups is left out; of equals the first.
            var best = 0..<0
            var start = 0
            while start < 8 {
                var end = start
                while end < 8, group(end) == 0 { end += 1 }
                if end - start >= 2, end - start > best.count { best = start..<end }
                start = max(end, start + 1)
            }
            var index = 0
            while index < 8 {
                if !best.isEmpty, index == best.lowerBound {
                    add(UInt8(ascii: ":"))
                    add(UInt8(ascii: ":"))
                    index = best.upperBound
                    continue
                }
                if index > 0, index != best.upperBound || best.isEmpty { add(UInt8(ascii: ":")) }
                add(hexadecimal: group(index))
                index += 1
            }
        }
    }

    /// Adds `10.0.0.1:80` or `[fd00::1]:80`.
    mutating func add(_ address: IPAddress, _ port: UInt16) {
        if address.isV6 { add(UInt8(ascii: "[")) }
        add(address)
        if address.isV6 { add(UInt8(ascii: "]")) }
        add(UInt8(ascii: ":"))
        add(decimal: UInt32(port))
    }
}
