internal import Serialization

/// What a peer sent cannot end the line, a field in quotes, or a JSON string (ATK-19).
enum LogEscape {
    /// Escapes the bytes from `start` on for a line of text: quotes and backslashes, and control characters as `\x0a`.
    static func text(_ bytes: inout FormatLine, from start: Int) {
        guard bytes.containsWord(from: start, where: { mustEscape($0) & highs != 0 }) else { return }
        let raw = bytes.withBytes { [UInt8]($0.dropFirst(start)) }
        bytes.cut(to: start)
        for byte in raw {
            switch byte {
            case 0x22, 0x5C: bytes.append([0x5C, byte])
            case 0..<0x20, 0x7F: bytes.append([0x5C, UInt8(ascii: "x"), hexDigit(byte >> 4), hexDigit(byte & 15)])
            default: bytes.append(byte)
            }
        }
    }

    /// The bytes from `start` on become the inside of a JSON string; what is no UTF-8 is replaced.
    static func json(_ bytes: inout FormatLine, from start: Int) {
        guard bytes.containsWord(from: start, where: { (mustEscape($0) | $0) & highs != 0 }) else { return }
        let quoted = JSON.quoted(bytes.withBytes { String(decoding: $0.dropFirst(start), as: UTF8.self) })
        bytes.cut(to: start)
        bytes.append([UInt8](quoted.utf8.dropFirst().dropLast()))
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// A word whose highest bits, looked at together, say whether one of eight bytes is a control character, a quote or a backslash.
    ///
    /// A byte below n borrows from its highest bit when n is taken away; one that was high before does not count. A borrow may run on into
    /// the byte above, which is then named wrongly: that there is one is right.
    @inline(__always)
    private static func mustEscape(_ word: UInt64) -> UInt64 {
        let quote = (word ^ (ones &* 0x22)) &- ones
        let backslash = (word ^ (ones &* 0x5C)) &- ones
        let delete = (word ^ (ones &* 0x7F)) &- ones
        return ((word &- ones &* 0x20) | quote | backslash | delete) & ~word
    }
}
