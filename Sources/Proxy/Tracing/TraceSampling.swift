internal import HTTP
internal import IO
internal import Upstream

/// Whether a request is traced, and what its `x-request-id` says about that to the next proxy.
///
/// Envoy's rules: the id's first 32 bits decide about samples, so that all proxies on the way decide alike, and its 15th
/// digit says what was decided: `4` no, `9` sampled, `a` forced by the operator, `b` forced by the client.
struct TraceSampling: Sendable {
    /// Why a request is traced.
    enum Reason: Sendable, Equatable {
        case notTraceable, sampled, serviceForced, clientForced

        /// The digit in `x-request-id`.
        var digit: UInt8 {
            switch self {
            case .notTraceable: UInt8(ascii: "4")
            case .sampled: UInt8(ascii: "9")
            case .serviceForced: UInt8(ascii: "a")
            case .clientForced: UInt8(ascii: "b")
            }
        }

        init(digit: UInt8) {
            switch digit {
            case UInt8(ascii: "9"): self = .sampled
            case UInt8(ascii: "a"): self = .serviceForced
            case UInt8(ascii: "b"): self = .clientForced
            default: self = .notTraceable
            }
        }
    }

    /// Out of 10,000 each.
    var client: UInt64 = 10_000
    var random: UInt64 = 10_000
    var overall: UInt64 = 10_000

    private static let digitPosition = 14

    /// Decides, and writes the decision into the id; a request without a proper id is not traced.
    func decide(requestID: inout [UInt8], hasClientTraceID: Bool, isForced: Bool) -> Reason {
        guard let draw = Self.draw(requestID) else { return .notTraceable }
        var reason = Reason(digit: requestID[Self.digitPosition])
        if reason == .notTraceable {
            if hasClientTraceID, draw < client {
                reason = .clientForced
            } else if isForced {
                reason = .serviceForced
            } else if draw < random {
                reason = .sampled
            }
        }
        if reason != .notTraceable, draw >= overall { reason = .notTraceable }
        requestID[Self.digitPosition] = reason.digit
        return reason
    }

    /// Whether a request with that id is not traced and its id stays as it is, as far as the id alone decides: true of nearly all.
    func leaves(_ requestID: RawSpan) -> Bool {
        guard requestID.byteCount == 36,
            requestID.unsafeLoad(fromByteOffset: Self.digitPosition, as: UInt8.self) == Reason.notTraceable.digit
        else { return false }
        var value: UInt64 = 0
        for index in 0..<8 {
            guard let digit = HexDigits.value(requestID.unsafeLoad(fromByteOffset: index, as: UInt8.self)) else {
                return false
            }
            value = value << 4 | UInt64(digit)
        }
        return value % 10_000 >= random
    }

    /// The first eight digits modulo 10,000; nil when it is no UUID.
    private static func draw(_ id: [UInt8]) -> UInt64? {
        guard id.count == 36 else { return nil }
        var value: UInt64 = 0
        for byte in id.prefix(8) {
            guard let digit = HexDigits.value(byte) else { return nil }
            value = value << 4 | UInt64(digit)
        }
        return value % 10_000
    }
}

/// Hexadecimal digits.
enum HexDigits {
    static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }

    /// A number of at most 16 digits.
    static func word(_ digits: ArraySlice<UInt8>) -> UInt64? {
        guard !digits.isEmpty, digits.count <= 16 else { return nil }
        var word: UInt64 = 0
        for byte in digits {
            guard let digit = value(byte) else { return nil }
            word = word << 4 | UInt64(digit)
        }
        return word
    }

    /// Sixteen digits in lower case, for a header of every request: eight at a time.
    static func write(_ word: UInt64, to text: inout InlineArray<55, UInt8>, at offset: Int) {
        var span = text.mutableSpan
        span.withUnsafeMutableBytes { bytes in
            guard offset >= 0, offset &+ 16 <= bytes.count else { return }
            bytes.storeBytes(of: eight(word >> 32).bigEndian, toByteOffset: offset, as: UInt64.self)
            bytes.storeBytes(of: eight(word & 0xFFFF_FFFF).bigEndian, toByteOffset: offset &+ 8, as: UInt64.self)
        }
    }

    /// The digits of 32 bits, the first in the highest byte.
    private static func eight(_ word: UInt64) -> UInt64 {
        // A nibble in every byte, then '0', and the way from behind '9' to 'a' where it is above 9.
        var nibbles = (word << 16 | word) & 0x0000_FFFF_0000_FFFF
        nibbles = (nibbles << 8 | nibbles) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles << 4 | nibbles) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (nibbles &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return nibbles &+ 0x3030_3030_3030_3030 &+ letters &* 39
    }
}
