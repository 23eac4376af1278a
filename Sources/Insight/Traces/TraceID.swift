/// The id of a trace: 128 bits, of which the high half is 0 where a tracer has 64 only.
public struct TraceID: Hashable, Sendable, CustomStringConvertible {
    /// The first eight bytes.
    public var high: UInt64
    /// The last eight bytes.
    public var low: UInt64

    /// An id of two halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Sixteen bytes, most significant first; nil for another number of them, and for zero, which is no id (W3C Trace Context, 3.2.2.3).
    public init?(bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        high = SpanID.word(bytes[..<8])
        low = SpanID.word(bytes[8...])
        guard high | low != 0 else { return nil }
    }

    /// 32 or 16 hexadecimal digits; nil for anything else.
    public init?(_ text: String) {
        let digits = Array(text.utf8)
        guard digits.count == 32 || digits.count == 16 else { return nil }
        guard let low = SpanID.word(hex: digits.suffix(16)),
            let high = digits.count == 32 ? SpanID.word(hex: digits.prefix(16)) : 0, high | low != 0
        else { return nil }
        self.high = high
        self.low = low
    }

    /// 32 hexadecimal digits.
    public var description: String { SpanID.hex(high) + SpanID.hex(low) }
}

/// Ids of spans as they are written.
public enum SpanID {
    /// Eight bytes, most significant first, as a number; what is missing is 0.
    static func word(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The id of eight bytes; nil for another number of them, and for zero, which is no id.
    public static func id(bytes: [UInt8]) -> UInt64? {
        guard bytes.count == 8 else { return nil }
        let id = word(bytes[...])
        return id == 0 ? nil : id
    }

    /// Up to sixteen hexadecimal digits; nil for anything else.
    static func word(hex digits: ArraySlice<UInt8>) -> UInt64? {
        guard !digits.isEmpty, digits.count <= 16 else { return nil }
        var word: UInt64 = 0
        for digit in digits {
            switch digit {
            case 48...57: word = word << 4 | UInt64(digit - 48)
            case 65...70: word = word << 4 | UInt64(digit - 55)
            case 97...102: word = word << 4 | UInt64(digit - 87)
            default: return nil
            }
        }
        return word
    }

    /// Sixteen hexadecimal digits.
    public static func hex(_ word: UInt64) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: (0..<16).map { digits[Int(word >> UInt64(60 - 4 * $0) & 15)] }, as: UTF8.self)
    }
}
