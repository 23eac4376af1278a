internal import Serialization

extension CELValue {
    /// The value as Envoy prints it into access logs and descriptors.
    public var printed: String {
        switch self {
        case .null: "NULL"
        case .bool(let value): "\(value)"
        case .int(let value): "\(value)"
        case .uint(let value): "\(value)"
        case .double(let value): Int64(exactly: value).map { "\($0)" } ?? "\(value)"
        case .string(let value): value
        case .bytes(let value): String(decoding: value, as: UTF8.self)
        case .timestamp(let value): Self.printed(value)
        case .duration(let value): Self.printed(value)
        case .type: "CelType value"
        case .list: "CelList value"
        case .map, .reference: "CelMap value"
        case .optional, .library: shown
        }
    }

    /// The zone as a number, and no more digits than needed.
    private static func printed(_ time: Timestamp) -> String {
        // `2026-01-02T03:04:05.500Z`
        var text = time.description
        if text.last == "Z" { text.removeLast() }
        if text.contains(".") { while text.last == "0" { text.removeLast() } }
        return text + "+00:00"
    }

    /// `1h2m3.5s`; below a second in the largest unit that makes it one or more: `1.5ms`.
    private static func printed(_ length: Duration) -> String {
        let (seconds, attoseconds) = length.components
        let nanoseconds = (attoseconds / 1_000_000_000).magnitude
        let sign = seconds < 0 || attoseconds < 0 ? "-" : ""
        let whole = seconds.magnitude
        if whole == 0 {
            switch nanoseconds {
            case 0: return "0"
            case ..<1000: return "\(sign)\(nanoseconds)ns"
            case ..<1_000_000: return sign + decimal(nanoseconds, per: 1000) + "us"
            default: return sign + decimal(nanoseconds, per: 1_000_000) + "ms"
            }
        }
        var text = sign
        if whole >= 3600 { text += "\(whole / 3600)h" }
        if whole % 3600 >= 60 { text += "\(whole % 3600 / 60)m" }
        let rest = whole % 60 * 1_000_000_000 + nanoseconds
        if rest > 0 { text += decimal(rest, per: 1_000_000_000) + "s" }
        return text
    }

    private static func decimal(_ value: UInt64, per unit: UInt64) -> String {
        guard value % unit > 0 else { return "\(value / unit)" }
        var digits = String(String(value % unit + unit).dropFirst())
        while digits.last == "0" { digits.removeLast() }
        return "\(value / unit).\(digits)"
    }
}
