internal import HTTP

extension [UInt8] {
    /// Appends bytes where they lie.
    mutating func append(span: RawSpan) { span.withUnsafeBytes { append(contentsOf: $0) } }

    /// Appends a decimal number with leading zeros up to a width of 20.
    mutating func append(padded number: Int, _ width: Int) {
        if number >= 0, number < 10, width <= 1 { return append(0x30 &+ UInt8(truncatingIfNeeded: number)) }
        var digits = InlineArray<20, UInt8>(repeating: 0x30)
        var value = UInt64(Swift.max(number, 0))
        var start = 20
        repeat {
            start &-= 1
            digits[start] = 0x30 &+ UInt8(truncatingIfNeeded: value % 10)
            value /= 10
        } while value > 0
        start = Swift.min(start, Swift.max(20 - width, 0))
        digits.span.extracting(start..<20).withUnsafeBufferPointer { append(contentsOf: $0) }
    }

    /// Appends the first bytes of a text in the program.
    mutating func append(_ text: StaticString, prefix: Int = .max) {
        append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: Swift.min(prefix, text.utf8CodeUnitCount)))
    }

    /// Appends a UUID (version 4) made of random words.
    mutating func append(uuid first: UInt64, _ second: UInt64) {
        let high = (first & ~0xF000) | 0x4000
        let low = (second & ~(0b11 << 62)) | (0b10 << 62)
        for digit in 0..<32 {
            if digit == 8 || digit == 12 || digit == 16 || digit == 20 { append(UInt8(ascii: "-")) }
            let word = digit < 16 ? high : low
            let value = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * (digit % 16))) & 15
            append(value < 10 ? 48 + value : 87 + value)
        }
    }
}
