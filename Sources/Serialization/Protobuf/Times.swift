extension Duration: FieldValue {
    /// Zero.
    public init() { self = .zero }

    /// A message on the wire.
    public static var wireType: WireType { .delimited }

    /// Reads a `google.protobuf.Duration`; in JSON a text such as `1.5s`.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Duration {
        if decoder.isJSON {
            guard case .string(let text) = decoder.json else { throw decoder.unexpected("a duration such as \"1.5s\"") }
            guard let duration = DurationText.read(text) else {
                throw MessageError("\"\(text)\" is no duration such as \"1.5s\"")
            }
            return duration
        }
        let (seconds, nanoseconds) = try secondsAndNanoseconds(decoder)
        guard abs(seconds) <= DurationText.secondsMax, abs(nanoseconds) <= 999_999_999 else {
            throw MessageError("a duration out of range")
        }
        return .seconds(seconds) + .nanoseconds(nanoseconds)
    }

    /// Writes seconds and nanoseconds.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON {
            encoder.json = .string(DurationText.write(self))
        } else {
            let (seconds, attoseconds) = components
            encoder.delimited {
                encoder.singular(1, seconds)
                encoder.singular(2, Int32(attoseconds / 1_000_000_000))
            }
        }
    }
}

extension Timestamp: FieldValue {
    /// 1970-01-01T00:00:00Z.
    public init() { self.init(seconds: 0, nanoseconds: 0) }

    /// A message on the wire.
    public static var wireType: WireType { .delimited }

    /// Reads a `google.protobuf.Timestamp`; in JSON RFC 3339.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Timestamp {
        if decoder.isJSON {
            guard case .string(let text) = decoder.json else { throw decoder.unexpected("a time (RFC 3339)") }
            guard let time = Timestamp(text) else { throw MessageError("\"\(text)\" is no RFC 3339 time") }
            return time
        }
        let (seconds, nanoseconds) = try secondsAndNanoseconds(decoder)
        guard Timestamp.secondsRange.contains(seconds), (0...999_999_999).contains(nanoseconds) else {
            throw MessageError("a time out of range")
        }
        return Timestamp(seconds: seconds, nanoseconds: Int32(nanoseconds))
    }

    /// Writes seconds and nanoseconds.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON {
            encoder.json = .string(description)
        } else {
            encoder.delimited {
                encoder.singular(1, seconds)
                encoder.singular(2, nanoseconds)
            }
        }
    }
}

private func secondsAndNanoseconds(_ decoder: MessageDecoder) throws(MessageError) -> (Int64, Int64) {
    var seconds: Int64 = 0
    var nanoseconds: Int32 = 0
    let outer = try decoder.enter()
    while let number = try decoder.nextTag() {
        switch number {
        case 1: seconds = try decoder.value()
        case 2: nanoseconds = try decoder.value()
        default: try decoder.skip()
        }
    }
    decoder.leave(outer)
    guard seconds > -DurationText.secondsMax * 2, seconds < DurationText.secondsMax * 2 else {
        throw MessageError("\(seconds) seconds are out of range")
    }
    return (seconds, Int64(nanoseconds))
}

/// Durations as proto3 JSON writes them: seconds with at most nine decimals and an `s`.
public enum DurationText {
    /// The largest number of seconds that protobuf allows, some 10,000 years.
    public static let secondsMax: Int64 = 315_576_000_000

    /// The duration of that text, or nil.
    public static func read(_ text: String) -> Duration? {
        var body = text.utf8[...]
        guard body.popLast() == UInt8(ascii: "s") else { return nil }
        let isNegative = body.first == UInt8(ascii: "-")
        if isNegative { body = body.dropFirst() }
        let parts = body.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, !whole.isEmpty, whole.count <= 12, whole.allSatisfy(isDigit) else { return nil }
        guard let seconds = Int64(String(Substring(whole))), seconds <= secondsMax else { return nil }
        var nanoseconds: Int64 = 0
        if parts.count == 2 {
            let fraction = parts[1]
            guard !fraction.isEmpty, fraction.count <= 9, fraction.allSatisfy(isDigit) else { return nil }
            for byte in fraction { nanoseconds = nanoseconds * 10 + Int64(byte - UInt8(ascii: "0")) }
            for _ in fraction.count..<9 { nanoseconds *= 10 }
        }
        let result = Duration.seconds(seconds) + .nanoseconds(nanoseconds)
        return isNegative ? .zero - result : result
    }

    /// The text of that duration, with 0, 3, 6 or 9 decimals.
    public static func write(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = abs(attoseconds / 1_000_000_000)
        let sign = seconds < 0 || attoseconds < 0 ? "-" : ""
        return sign + "\(seconds.magnitude)" + fraction(nanoseconds) + "s"
    }

    /// A dot and 3, 6 or 9 digits; nothing for zero.
    static func fraction(_ nanoseconds: Int64) -> String {
        guard nanoseconds != 0 else { return "" }
        var digits = String("\(1_000_000_000 + nanoseconds)".dropFirst())
        while digits.hasSuffix("000") { digits.removeLast(3) }
        return "." + digits
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}
