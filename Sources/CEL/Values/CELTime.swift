internal import Serialization

/// Times and lengths of time.
public enum CELTime {
    /// The longest length of time, in seconds: ten thousand years.
    public static let secondsMax: Int64 = 315_576_000_000

    /// A length of time that is not too long; nil otherwise.
    public static func checked(_ duration: Duration) -> Duration? {
        let seconds = duration.components.seconds
        return seconds >= -secondsMax && seconds <= secondsMax ? duration : nil
    }

    /// A time moved by a length of time; nil outside the years 1 to 9999.
    static func add(_ time: Timestamp, _ duration: Duration) -> Timestamp? {
        // Both are in ranges whose sum fits.
        let (seconds, attoseconds) = duration.components
        var sum = time.seconds + seconds
        var nanoseconds = Int64(time.nanoseconds) + attoseconds / 1_000_000_000
        if nanoseconds < 0 {
            nanoseconds += 1_000_000_000
            sum -= 1
        } else if nanoseconds >= 1_000_000_000 {
            nanoseconds -= 1_000_000_000
            sum += 1
        }
        guard Timestamp.secondsRange.contains(sum) else { return nil }
        return Timestamp(seconds: sum, nanoseconds: Int32(truncatingIfNeeded: nanoseconds))
    }

    /// What lies between two times.
    static func difference(_ left: Timestamp, _ right: Timestamp) -> Duration {
        .seconds(left.seconds - right.seconds) + .nanoseconds(Int64(left.nanoseconds) - Int64(right.nanoseconds))
    }

    /// A length of time as CEL writes it: `1.5s`.
    public static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = (attoseconds / 1_000_000_000).magnitude
        let sign = seconds < 0 || attoseconds < 0 ? "-" : ""
        guard nanoseconds > 0 else { return "\(sign)\(seconds.magnitude)s" }
        var digits = String(String(nanoseconds + 1_000_000_000).dropFirst())
        while digits.last == "0" { digits.removeLast() }
        return "\(sign)\(seconds.magnitude).\(digits)s"
    }

    private static let units: [(name: String, nanoseconds: Double)] = [
        ("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12),
    ]

    /// A length of time in text: `1h30m`, `-1.5s`, `0`; nil when it is none.
    static func duration(_ text: String) -> Duration? {
        var rest = text[...]
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest.removeFirst() }
        guard !rest.isEmpty else { return nil }
        if rest == "0" { return .zero }
        var sum = Duration.zero
        while !rest.isEmpty {
            let whole = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest[whole.endIndex...]
            var fraction: Substring = ""
            if rest.first == "." {
                fraction = rest.dropFirst().prefix { $0.isASCII && $0.isNumber }
                rest = rest[fraction.endIndex...]
            }
            guard !whole.isEmpty || !fraction.isEmpty, whole.utf8.count < 16, fraction.utf8.count < 32 else {
                return nil
            }
            let name = rest.prefix { $0.isLetter }
            rest = rest[name.endIndex...]
            guard let unit = units.first(where: { $0.name == name })?.nanoseconds else { return nil }
            // At most 10^15 units of an hour: far within a Duration.
            sum += .nanoseconds(1) * Int64(unit) * (Int64(whole) ?? 0)
            sum += .nanoseconds(Int64((Double("0." + fraction) ?? 0) * unit))
            guard checked(sum) != nil else { return nil }
        }
        return isNegative ? .zero - sum : sum
    }

    /// The offset of a zone such as `+02:00` or `UTC`, in seconds; nil for names, which need a database.
    static func offset(_ zone: String) -> Int64? {
        if zone.isEmpty || zone == "UTC" || zone == "Z" { return 0 }
        var rest = Array(zone.utf8)
        var sign: Int64 = 1
        if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") {
            sign = rest.removeFirst() == UInt8(ascii: "-") ? -1 : 1
        }
        guard rest.count == 5, rest[2] == UInt8(ascii: ":"),
            let hours = Int64(String(decoding: rest[..<2], as: UTF8.self)), (0...23).contains(hours),
            let minutes = Int64(String(decoding: rest[3...], as: UTF8.self)), (0...59).contains(minutes)
        else { return nil }
        return sign * (hours * 3600 + minutes * 60)
    }
}
