/// A range of IP addresses in CIDR form, for checking what people write.
struct AddressRange {
    static let problem = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

    private let bytes: [UInt8]
    private let length: Int

    /// Reads `10.9.8.0/24` or `2001:db8::/64`.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let bytes = Self.v4(parts[0]) ?? Self.v6(parts[0]),
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(parts[1]),
            length <= bytes.count * 8
        else { return nil }
        self.bytes = bytes
        self.length = length
    }

    /// Whether the other range is a part of this one, and not all of it.
    func strictlyContains(_ other: AddressRange) -> Bool {
        other.bytes.count == bytes.count && other.length > length
            && (0..<length).allSatisfy { bit($0) == other.bit($0) }
    }

    /// Whether the other range is a part of this one, or all of it.
    func contains(_ other: AddressRange) -> Bool {
        other.bytes.count == bytes.count && other.length >= length
            && (0..<length).allSatisfy { bit($0) == other.bit($0) }
    }

    /// The range of one address, `10.9.8.7` or `2001:db8::1`.
    static func single(_ text: String) -> AddressRange? { AddressRange(text + (text.contains(":") ? "/128" : "/32")) }

    /// Whether the text is an address.
    static func isAddress(_ text: String) -> Bool { single(text) != nil }

    private func bit(_ index: Int) -> UInt8 { bytes[index / 8] >> UInt8(7 - index % 8) & 1 }

    private static func v4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        let bytes = parts.compactMap { part -> UInt8? in
            guard part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), part.count == 1 || part.first != "0" else {
                return nil
            }
            return UInt8(part)
        }
        return bytes.count == 4 ? bytes : nil
    }

    private static func v6(_ text: Substring) -> [UInt8]? {
        guard text.contains(":"), text.utf8.count <= 45 else { return nil }
        var halves: [[UInt8]] = []
        let sides = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        guard sides.count <= 2 else { return nil }
        for side in sides {
            var bytes: [UInt8] = []
            let groups = side.isEmpty ? [] : side.split(separator: ":", omittingEmptySubsequences: false)
            for (index, group) in groups.enumerated() {
                if group.contains("."), index == groups.count - 1, let v4 = v4(group) {
                    bytes += v4
                } else if (1...4).contains(group.utf8.count), group.allSatisfy({ $0.isASCII && $0.isHexDigit }),
                    let value = UInt16(group, radix: 16)
                {
                    bytes += [UInt8(value >> 8), UInt8(value & 0xFF)]
                } else {
                    return nil
                }
            }
            halves.append(bytes)
        }
        let given = halves.reduce(0) { $0 + $1.count }
        guard halves.count == 1 ? given == 16 : given <= 14 else { return nil }
        return (halves.first ?? []) + [UInt8](repeating: 0, count: 16 - given)
            + (halves.count == 2 ? halves.last ?? [] : [])
    }
}
