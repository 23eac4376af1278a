internal import HTTP
internal import Upstream

/// `x-request-id`: a random UUID (version 4).
enum RequestID {
    static func append(to headers: inout HeaderTable, _ random: inout SplitMix64) {
        let high = (random.next() & ~0xF000) | 0x4000
        let low = (random.next() & ~(0b11 << 62)) | (0b10 << 62)
        var text = InlineArray<36, UInt8>(repeating: UInt8(ascii: "-"))
        var position = 0
        for digit in 0..<32 {
            if digit == 8 || digit == 12 || digit == 16 || digit == 20 { position += 1 }
            let word = digit < 16 ? high : low
            let value = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * (digit % 16))) & 15
            text[position] = value < 10 ? 48 + value : 87 + value
            position += 1
        }
        try? headers.append(.xRequestId, text.span.bytes)
    }
}
