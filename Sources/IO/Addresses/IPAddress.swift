/// An IPv4 or IPv6 address without scope.
public enum IPAddress: Hashable, Sendable, Comparable {
    /// IPv4, in host byte order: 127.0.0.1 is 0x7f000001.
    case v4(UInt32)
    /// IPv6: the first and the last eight bytes, in host byte order.
    case v6(high: UInt64, low: UInt64)

    /// Reads `10.1.2.3` or `fd00::1`; nothing else (no scope, no brackets, no leading zeros in IPv4).
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8.prefix(64))
        if bytes.contains(UInt8(ascii: ":")) {
            guard let address = IPAddress.parseV6(bytes[...]) else { return nil }
            self = address
        } else {
            guard let value = IPAddress.parseV4(bytes[...]) else { return nil }
            self = .v4(value)
        }
    }

    /// The address in network byte order: 4 or 16 bytes, otherwise `nil`.
    public init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4: self = .v4(bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            let high = bytes.prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            let low = bytes.dropFirst(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            self = .v6(high: high, low: low)
        default: return nil
        }
    }

    /// Network byte order: 4 or 16 bytes.
    public var bytes: [UInt8] {
        switch self {
        case .v4(let value): (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
        case .v6(let high, let low):
            (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> UInt64(56 - 8 * ($0 % 8))) }
        }
    }

    /// Whether this is IPv6.
    public var isV6: Bool { if case .v6 = self { true } else { false } }

    /// Whether this is 127.0.0.0/8 or ::1.
    public var isLoopback: Bool {
        switch self {
        case .v4(let value): value >> 24 == 127
        case .v6(let high, let low): high == 0 && low == 1
        }
    }

    /// Whether this is 0.0.0.0 or ::.
    public var isUnspecified: Bool {
        switch self {
        case .v4(let value): value == 0
        case .v6(let high, let low): high == 0 && low == 0
        }
    }

    /// An IPv4-mapped IPv6 address as the IPv4 address it means, any other as it is (ATK-46).
    public var canonical: IPAddress {
        guard case .v6(0, let low) = self, low >> 32 == 0xFFFF else { return self }
        return .v4(UInt32(truncatingIfNeeded: low))
    }

    /// An IPv4 address in the form in which an IPv6 socket speaks to it (RFC 4291 section 2.5.5.2), any other as it is.
    public var mapped: IPAddress {
        guard case .v4(let value) = self else { return self }
        return .v6(high: 0, low: 0xFFFF << 32 | UInt64(value))
    }

    /// Bits of an address of this family.
    public var bitCount: Int { isV6 ? 128 : 32 }

    /// IPv4 before IPv6, then by value.
    public static func < (left: IPAddress, right: IPAddress) -> Bool {
        switch (left, right) {
        case (.v4(let a), .v4(let b)): a < b
        case (.v6(let ah, let al), .v6(let bh, let bl)): ah == bh ? al < bl : ah < bh
        case (.v4, .v6): true
        case (.v6, .v4): false
        }
    }

    private static func parseV4(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        var value: UInt32 = 0
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
            guard part.count == 1 || part.first != 0x30 else { return nil }
            let number = part.reduce(0 as UInt32) { $0 * 10 + UInt32($1 - 0x30) }
            guard number <= 255 else { return nil }
            value = value << 8 | number
        }
        return value
    }

    private static func parseV6(_ bytes: ArraySlice<UInt8>) -> IPAddress? {
        var groups: [UInt16] = []
        var gap: Int?
        var rest = bytes
        let colon = UInt8(ascii: ":")
        if rest.starts(with: [colon, colon]) {
            gap = 0
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            guard groups.count < 8 else { return nil }
            let part = rest.prefix { $0 != colon }
            if part.contains(UInt8(ascii: ".")) {  // The last 32 bits in dotted form.
                guard part.endIndex == rest.endIndex, groups.count <= 6, let v4 = parseV4(part) else { return nil }
                groups += [UInt16(truncatingIfNeeded: v4 >> 16), UInt16(truncatingIfNeeded: v4)]
                rest = []
                break
            }
            guard (1...4).contains(part.count) else { return nil }
            var group: UInt16 = 0
            for byte in part {
                guard let digit = Character(UnicodeScalar(byte)).hexDigitValue else { return nil }
                group = group << 4 | UInt16(digit)
            }
            groups.append(group)
            rest = rest.dropFirst(part.count)
            guard !rest.isEmpty else { break }
            rest = rest.dropFirst()
            if rest.first == colon {
                guard gap == nil else { return nil }
                gap = groups.count
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil  // A single colon at the end.
            }
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: [UInt16](repeating: 0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        let high = groups[..<4].reduce(0 as UInt64) { $0 << 16 | UInt64($1) }
        let low = groups[4...].reduce(0 as UInt64) { $0 << 16 | UInt64($1) }
        return .v6(high: high, low: low)
    }
}

extension IPAddress: CustomStringConvertible {
    /// Dotted IPv4, or IPv6 in the canonical form of RFC 5952.
    public var description: String {
        AddressText.with({ $0.add(self) }, { String(decoding: $0, as: UTF8.self) })
    }

    /// Appends the text of `description`.
    public func append(to bytes: inout [UInt8]) {
        AddressText.with({ $0.add(self) }, { bytes.append(contentsOf: $0) })
    }

    /// Writes the text of `description` where there is room for `SocketAddress.textBytesMax` bytes, and says how many it wrote.
    public func writeText(to memory: UnsafeMutablePointer<UInt8>) -> Int {
        var text = AddressText(in: memory)
        text.add(self)
        return text.count
    }
}

/// An address range in CIDR form.
///
/// Bits beyond the length are zero.
public struct Prefix: Hashable, Sendable, CustomStringConvertible {
    /// The first address.
    public let address: IPAddress
    /// Significant bits: 0...32 or 0...128.
    public let length: Int

    /// The range of `address` with that many significant bits; `nil` when there are not so many.
    ///
    /// Further bits are cleared.
    public init?(_ address: IPAddress, length: Int) {
        guard (0...address.bitCount).contains(length) else { return nil }
        self.length = length
        switch address {
        case .v4(let value): self.address = .v4(length == 0 ? 0 : value & ~0 << UInt32(32 - length))
        case .v6(let high, let low):
            let highMask: UInt64 = length == 0 ? 0 : length >= 64 ? ~0 : ~0 << UInt64(64 - length)
            let lowMask: UInt64 = length <= 64 ? 0 : ~0 << UInt64(128 - length)
            self.address = .v6(high: high & highMask, low: low & lowMask)
        }
    }

    /// Reads `10.0.0.0/8` or `fd00::/8`; a lone address is a range of one.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        guard parts.count == 2 else {
            self.init(address, length: address.bitCount)
            return
        }
        guard let length = Int(parts[1]), !parts[1].hasPrefix("+") else { return nil }
        self.init(address, length: length)
    }

    /// Whether the address lies in the range.
    public func contains(_ other: IPAddress) -> Bool {
        guard other.isV6 == address.isV6 else { return false }
        return Prefix(other, length: length)?.address == address
    }

    /// Whether the ranges share an address.
    public func overlaps(_ other: Prefix) -> Bool { contains(other.address) || other.contains(address) }

    /// `10.0.0.0/8`.
    public var description: String { "\(address)/\(length)" }
}
