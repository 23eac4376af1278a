/// Looking for bytes eight at a time (SWAR): plain integers, no C and no SIMD types.
enum ByteScan {
    static let ones: UInt64 = 0x0101_0101_0101_0101
    static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The first position at or after `start` that holds a control byte other than a horizontal tab, or `end`.
    ///
    /// Control bytes are 0x00–0x1F and 0x7F; bytes from 0x80 on are opaque text (RFC 9110 §5.5).
    @inline(__always)
    static func firstControl(in bytes: RawSpan, from start: Int, to end: Int) -> Int {
        bytes.withUnsafeBytes { memory in
            guard let base = memory.baseAddress else { return end }
            return firstControl(in: base, from: start, to: end)
        }
    }

    /// As above, in memory that holds bytes up to `end`.
    @inline(__always)
    static func firstControl(in bytes: UnsafeRawPointer, from start: Int, to end: Int) -> Int {
        var position = start
        while end &- position >= 8 {
            let word = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self).littleEndian
            let small = (word &- 0x2020_2020_2020_2020) & ~word & highs
            let delete = word ^ 0x7F7F_7F7F_7F7F_7F7F
            let hits = small | ((delete &- ones) & ~delete & highs)
            if hits == 0 {
                position &+= 8
                continue
            }
            // A borrow can only invent hits above the lowest true one, so the lowest is exact.
            position &+= hits.trailingZeroBitCount >> 3
            if bytes.load(fromByteOffset: position, as: UInt8.self) != ASCII.tab { return position }
            position &+= 1
        }
        while position < end {
            let byte = bytes.load(fromByteOffset: position, as: UInt8.self)
            if (byte < 0x20 && byte != ASCII.tab) || byte == 0x7F { return position }
            position &+= 1
        }
        return end
    }

    /// The first position at or after `start` that holds a byte, or `end`.
    @inline(__always)
    static func first(_ byte: UInt8, in bytes: RawSpan, from start: Int, to end: Int) -> Int {
        let pattern = ones &* UInt64(byte)
        var position = start
        while end &- position >= 8 {
            let word = bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self).littleEndian ^ pattern
            let hits = (word &- ones) & ~word & highs
            if hits != 0 { return position &+ (hits.trailingZeroBitCount >> 3) }
            position &+= 8
        }
        while position < end {
            if ByteScan.byte(bytes, position) == byte { return position }
            position &+= 1
        }
        return end
    }

    /// Whether all bytes are visible ASCII: 0x21–0x7E.
    static func isVisible(_ bytes: RawSpan) -> Bool {
        let end = bytes.byteCount
        var position = 0
        while end &- position >= 8 {
            let word = bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self)
            let small = (word &- 0x2121_2121_2121_2121) & ~word
            let delete = word ^ 0x7F7F_7F7F_7F7F_7F7F
            if (small | word | ((delete &- ones) & ~delete)) & highs != 0 { return false }
            position &+= 8
        }
        while position < end {
            let byte = byte(bytes, position)
            if byte <= 0x20 || byte >= 0x7F { return false }
            position &+= 1
        }
        return true
    }

    @inline(__always)
    static func byte(_ bytes: RawSpan, _ offset: Int) -> UInt8 {
        bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// Whether two byte strings are the same.
    static func equal(_ left: RawSpan, _ right: RawSpan) -> Bool {
        let count = left.byteCount
        guard count == right.byteCount else { return false }
        // Whole words, the last of which may lie over the one before it.
        if count >= 8 {
            var position = 0
            while count &- position > 8 {
                if word(left, position) != word(right, position) { return false }
                position &+= 8
            }
            return word(left, count &- 8) == word(right, count &- 8)
        }
        if count >= 4 {
            let (first, other) = (halfWord(left, 0), halfWord(right, 0))
            return first == other && halfWord(left, count &- 4) == halfWord(right, count &- 4)
        }
        for position in 0..<count where byte(left, position) != byte(right, position) { return false }
        return true
    }

    @inline(__always)
    private static func word(_ bytes: RawSpan, _ offset: Int) -> UInt64 {
        bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    @inline(__always)
    private static func halfWord(_ bytes: RawSpan, _ offset: Int) -> UInt32 {
        bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
    }

    /// Whether two byte strings are the same when ASCII letters of either case count as equal.
    static func equalIgnoringCase(_ left: RawSpan, _ right: RawSpan) -> Bool {
        guard left.byteCount == right.byteCount else { return false }
        for position in 0..<left.byteCount
        where ASCII.lowercase(byte(left, position)) != ASCII.lowercase(byte(right, position)) {
            return false
        }
        return true
    }

    /// Whether the bytes spell the lowercase word, in either case.
    static func equalIgnoringCase(_ bytes: RawSpan, _ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard bytes.byteCount == count else { return false }
        // Mostly it is in lower case.
        if equal(bytes, UnsafeRawBufferPointer(start: word.utf8Start, count: count).bytes) { return true }
        let spelled = UnsafeBufferPointer(start: word.utf8Start, count: count)
        for position in 0..<count where ASCII.lowercase(byte(bytes, position)) != spelled[position] { return false }
        return true
    }

    /// The positions of the first and one past the last byte that is no space or tab.
    static func trimmed(_ bytes: RawSpan, _ range: Range<Int>) -> Range<Int> {
        var low = range.lowerBound
        var high = range.upperBound
        while low < high, ASCII.isBlank(byte(bytes, low)) { low &+= 1 }
        while high > low, ASCII.isBlank(byte(bytes, high &- 1)) { high &-= 1 }
        return low..<high
    }
}

/// The bytes HTTP's grammar names.
enum ASCII {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let comma: UInt8 = 0x2C
    static let slash: UInt8 = 0x2F
    static let colon: UInt8 = 0x3A
    static let semicolon: UInt8 = 0x3B
    static let underscore: UInt8 = 0x5F

    // `token` characters (RFC 9110 §5.6.2) as two bitmaps: bytes 0–63 (!#$%&'*+-. and digits) and 64–127 (letters ^_`|~).
    // Numbers, not computed: a lazily made global costs a call of swift_once for each byte.
    private static var tokenLow: UInt64 {
        @inline(__always) get { 0x03FF_6CFA_0000_0000 }
    }
    private static var tokenHigh: UInt64 {
        @inline(__always) get { 0x57FF_FFFF_C7FF_FFFE }
    }

    /// The eight hexadecimal digits of a number in lower case, the first in the lowest byte.
    @inline(__always)
    static func hexadecimal(_ number: UInt32) -> UInt64 {
        // All digits at once: each takes a byte, and those above 9 are moved from after "9" to "a".
        var digits = UInt64(number.byteSwapped)
        digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF
        digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF
        digits = (digits >> 4 | digits << 8) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
    }

    /// How many decimal digits a number has.
    @inline(__always)
    static func digitCount(_ number: UInt64) -> Int {
        var count = 1
        var limit: UInt64 = 10
        // 20 digits are the most.
        while number >= limit, count < 20 {
            count &+= 1
            limit = limit &* 10
        }
        return count
    }

    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        if byte < 64 { return (tokenLow >> UInt64(byte)) & 1 == 1 }
        return byte < 128 && (tokenHigh >> UInt64(byte & 63)) & 1 == 1
    }

    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    @inline(__always)
    static func lowercase(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

    /// The value of a hexadecimal digit.
    @inline(__always)
    static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte &- 0x30
        case 0x41...0x46: byte &- 0x37
        case 0x61...0x66: byte &- 0x57
        default: nil
        }
    }

    /// A decimal number of digits alone; nil when there is anything else or it exceeds `Int`.
    static func number(_ bytes: RawSpan) -> Int? {
        guard bytes.byteCount > 0, bytes.byteCount <= 19 else { return nil }
        var value = 0
        for position in 0..<bytes.byteCount {
            let digit = ByteScan.byte(bytes, position) &- 0x30
            guard digit < 10 else { return nil }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = scaled.addingReportingOverflow(Int(digit))
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }
}
