internal import HTTP
internal import IO

/// Which trace and span a request belongs to, as W3C Trace Context and B3 carry it.
struct TraceContext: Sendable, Hashable {
    /// 128 bits; the high half is 0 for traces that have 64.
    var traceHigh: UInt64
    var traceLow: UInt64
    var span: UInt64
    /// The span that this one is inside of.
    var parent: UInt64?
    var isSampled: Bool
    /// `tracestate`, handed on as it came.
    var state: [UInt8] = []

    func appendTraceID(to bytes: inout [UInt8]) {
        bytes.append(hex: traceHigh)
        bytes.append(hex: traceLow)
    }

    func appendSpanID(to bytes: inout [UInt8]) { bytes.append(hex: span) }
}

extension [UInt8] {
    /// Appends sixteen hexadecimal digits.
    mutating func append(hex word: UInt64) {
        for digit in 0..<16 {
            let value = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * digit)) & 15
            append(value < 10 ? 48 + value : 87 + value)
        }
    }
}

extension TraceContext {
    /// Sixteen bytes, most significant first.
    var traceBytes: [UInt8] { Self.bytes(traceHigh) + Self.bytes(traceLow) }

    /// Eight bytes, most significant first.
    var spanBytes: [UInt8] { Self.bytes(span) }

    static func bytes(_ word: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
    }
}
