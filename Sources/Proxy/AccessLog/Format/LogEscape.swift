internal import Serialization

/// What a peer sent cannot end the line, a field in quotes, or a JSON string (ATK-19).
enum LogEscape {
    /// Escapes the bytes from `start` on for a line of text: quotes and backslashes, and control characters as `\x0a`.
    static func text(_ bytes: inout [UInt8], from start: Int) {
        guard needsEscape(bytes, from: start, alsoHigh: false) else { return }
        let raw = Array(bytes[start...])
        bytes.removeLast(raw.count)
        for byte in raw {
            switch byte {
            case 0x22, 0x5C: bytes += [0x5C, byte]
            case 0..<0x20, 0x7F: bytes += [0x5C, UInt8(ascii: "x"), hexDigit(byte >> 4), hexDigit(byte & 15)]
            default: bytes.append(byte)
            }
        }
    }

    /// The bytes from `start` on become the inside of a JSON string; what is no UTF-8 is replaced.
    static func json(_ bytes: inout [UInt8], from start: Int) {
        guard needsEscape(bytes, from: start, alsoHigh: true) else { return }
        let quoted = JSON.quoted(String(decoding: bytes[start...], as: UTF8.self))
        bytes.removeLast(bytes.count - start)
        bytes += quoted.utf8.dropFirst().dropLast()
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }

    /// Whether there is a control character, a quote or a backslash, or, if asked for, a byte that is not ASCII; eight bytes at a time.
    private static func needsEscape(_ bytes: [UInt8], from start: Int, alsoHigh: Bool) -> Bool {
        bytes.withUnsafeBytes { all in
            var index = start
            while index &+ 8 <= all.count {
                let word = all.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                if needsEscape(word, alsoHigh: alsoHigh) { return true }
                index &+= 8
            }
            let rest = all.count &- index
            guard rest > 0 else { return false }
            var word: UInt64 = 0x6161_6161_6161_6161
            if all.count >= 8 {
                // The last eight bytes, with letters in the places of those that are looked at already or are not ours.
                let last = all.loadUnaligned(fromByteOffset: all.count &- 8, as: UInt64.self)
                let looked = UInt64(64 &- 8 &* rest)
                word = last.littleEndian >> looked | word << UInt64(8 &* rest)
            } else {
                while index < all.count {
                    word = word << 8 | UInt64(all[index])
                    index &+= 1
                }
            }
            return needsEscape(word, alsoHigh: alsoHigh)
        }
    }

    @inline(__always)
    private static func needsEscape(_ word: UInt64, alsoHigh: Bool) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        // A byte below n borrows from its highest bit when n is taken away; one that was high before does not count.
        func below(_ value: UInt64, _ bound: UInt64) -> UInt64 { (value &- ones &* bound) & ~value }
        let found =
            below(word, 0x20) | below(word ^ (ones &* 0x22), 1) | below(word ^ (ones &* 0x5C), 1)
            | below(word ^ (ones &* 0x7F), 1)
        return (found | (alsoHigh ? word : 0)) & highs != 0
    }
}
