import Serialization

/// Durations as kubectl prints them.
enum Age {
    /// The time since `text` (RFC 3339); `<unknown>` when there is none.
    static func since(_ text: String?, _ now: Timestamp) -> String {
        guard let text, let time = Timestamp(text) else { return "<unknown>" }
        return short(now.seconds - time.seconds)
    }

    /// `45s`, `3m20s`, `14m`, `5h10m`, `20h`, `3d4h`, `20d`, `3y`.
    static func short(_ seconds: Int64) -> String {
        if seconds < -1 { return "<invalid>" }
        if seconds < 0 { return "0s" }
        if seconds < 120 { return "\(seconds)s" }
        let minutes = seconds / 60
        if minutes < 10 { return pair(minutes, "m", seconds % 60, "s") }
        if minutes < 180 { return "\(minutes)m" }
        let hours = minutes / 60
        if hours < 8 { return pair(hours, "h", minutes % 60, "m") }
        if hours < 48 { return "\(hours)h" }
        let days = hours / 24
        if hours < 192 { return pair(days, "d", hours % 24, "h") }
        if days < 730 { return "\(days)d" }
        if days < 365 * 8 { return pair(days / 365, "y", days % 365, "d") }
        return "\(days / 365)y"
    }

    private static func pair(_ large: Int64, _ name: String, _ small: Int64, _ unit: String) -> String {
        small == 0 ? "\(large)\(name)" : "\(large)\(name)\(small)\(unit)"
    }
}
