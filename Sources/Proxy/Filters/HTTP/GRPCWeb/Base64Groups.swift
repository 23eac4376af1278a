/// Base64 (RFC 4648 §4) in pieces.
enum Base64Groups {
    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let pad = UInt8(ascii: "=")

    /// Appends whole groups of three bytes; with `isEnd` also what is left, padded.
    ///
    /// - Returns: How many bytes were taken.
    static func encode(_ bytes: ArraySlice<UInt8>, isEnd: Bool, into output: inout [UInt8]) -> Int {
        var position = bytes.startIndex
        while bytes.endIndex - position >= 3 {
            append(bytes[position], bytes[position + 1], bytes[position + 2], count: 4, &output)
            position += 3
        }
        guard isEnd, position < bytes.endIndex else { return position - bytes.startIndex }
        let hasSecond = bytes.endIndex - position == 2
        append(bytes[position], hasSecond ? bytes[position + 1] : 0, 0, count: hasSecond ? 3 : 2, &output)
        for _ in 0..<(hasSecond ? 1 : 2) { output.append(pad) }
        return bytes.count
    }

    private static func append(_ a: UInt8, _ b: UInt8, _ c: UInt8, count: Int, _ output: inout [UInt8]) {
        let word = UInt32(a) << 16 | UInt32(b) << 8 | UInt32(c)
        for index in 0..<count { output.append(letters[Int(word >> UInt32(18 - 6 * index)) & 63]) }
    }

    /// The bytes of whole groups of four; nil when they are no base64.
    ///
    /// Padding may end any group: texts that were joined stay readable.
    static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var word: UInt32 = 0
        var digits = 0
        var pads = 0
        for byte in text {
            if byte == pad {
                pads += 1
                guard digits + pads <= 4, digits >= 2 else { return nil }
            } else {
                guard pads == 0, let value = value(byte) else { return nil }
                word = word << 6 | UInt32(value)
                digits += 1
            }
            guard digits + pads == 4 else { continue }
            word <<= UInt32(6 * pads)
            for index in 0..<(3 - pads) { bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(16 - 8 * index))) }
            word = 0
            digits = 0
            pads = 0
        }
        return bytes
    }

    private static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}

/// Encodes a gRPC body for gRPC-Web's text form: each frame by itself, as its bytes come.
struct GRPCWebTextEncoder {
    private var carry: [UInt8] = []
    private var headerBytes = 0
    private var length: UInt32 = 0
    private var rest: UInt32 = 0

    mutating func encode(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        var position = 0
        while position < bytes.count {
            let start = position
            while headerBytes < 5, position < bytes.count {
                if headerBytes > 0 { length = length << 8 | UInt32(bytes[position]) } else { length = 0 }
                headerBytes += 1
                position += 1
                if headerBytes == 5 { rest = length }
            }
            if headerBytes == 5 {
                let step = min(Int(rest), bytes.count - position)
                rest -= UInt32(step)
                position += step
            }
            let frameEnds = headerBytes == 5 && rest == 0
            carry += bytes[start..<position]
            let taken = Base64Groups.encode(carry[...], isEnd: frameEnds, into: &output)
            carry.removeFirst(taken)
            if frameEnds { headerBytes = 0 }
        }
        return output
    }
}
