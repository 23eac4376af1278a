/// Which traces somebody wants.
public struct TraceQuestion: Sendable, Hashable {
    /// Of this service: `web.default`, or `web` in any namespace.
    public var service: String?
    /// That took so long at least; nanoseconds.
    public var durationMin: Int64?
    /// That took so long at most; nanoseconds.
    public var durationMax: Int64?
    /// A status (`503`), a class (`5xx`), `error`, `ok`, or a response flag (`UH`).
    public var status: String?
    /// That began then or later; nanoseconds since 1970.
    public var since: Int64?
    /// So many, the newest first.
    public var limit = 20

    /// A question for the newest.
    public init() {}

    /// Whether a trace is wanted.
    public func wants(_ summary: TraceSummary) -> Bool {
        if let service {
            guard summary.services.contains(where: { $0 == service || $0.hasPrefix(service + ".") }) else {
                return false
            }
        }
        if let durationMin, summary.duration < durationMin { return false }
        if let durationMax, summary.duration > durationMax { return false }
        if let since, summary.start < since { return false }
        if let status { return wants(status: status, summary) }
        return true
    }

    private func wants(status: String, _ summary: TraceSummary) -> Bool {
        switch status.lowercased() {
        case "error": return summary.failures > 0
        case "ok": return summary.failures == 0
        case let text where text.count == 3 && text.hasSuffix("xx"):
            return summary.statuses.contains { String($0 / 100) == text.prefix(1) }
        default:
            if let number = Int(status) { return summary.statuses.contains(number) }
            return summary.flags.contains(status.uppercased())
        }
    }

    /// Reads `service`, `min`, `max` (times like `20ms`), `status`, `since` (seconds since 1970, or a time before now) and `limit`.
    ///
    /// - Parameter now: Milliseconds since 1970.
    /// - Returns: The name of the parameter that cannot be read, with the reason.
    public static func read(
        _ parameters: [(name: String, value: String)], now: Int64, limits: TraceLimits = TraceLimits()
    ) -> Result<TraceQuestion, QueryError> {
        var question = TraceQuestion()
        for (name, value) in parameters where !value.isEmpty {
            switch name {
            case "service": question.service = value
            case "status": question.status = value
            case "min", "max":
                guard let time = TimeText.nanoseconds(value) else {
                    return .failure(QueryError("\(name)=\(value): no time like 20ms, 1.5s or 2m"))
                }
                if name == "min" { question.durationMin = time } else { question.durationMax = time }
            case "since":
                if let time = TimeText.nanoseconds(value) {
                    question.since = now &* 1_000_000 &- time
                } else if let seconds = Double(value), seconds >= 0, seconds < 9e9 {
                    question.since = Int64(seconds * 1e9)
                } else {
                    return .failure(QueryError("since=\(value): no time before now like 5m, nor seconds since 1970"))
                }
            case "limit":
                guard let number = Int(value), (1...limits.answers).contains(number) else {
                    return .failure(QueryError("limit=\(value): a number from 1 to \(limits.answers)"))
                }
                question.limit = number
            default: return .failure(QueryError("\(name): service, min, max, status, since and limit are known"))
            }
        }
        return .success(question)
    }
}

/// Times as people write them.
public enum TimeText {
    private static let units: [(name: String, nanoseconds: Double)] = [
        ("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12), ("d", 8.64e13),
    ]

    /// `250us`, `20ms`, `1.5s`, `5m`, `2h`, `1d` in nanoseconds; nil for anything else.
    public static func nanoseconds(_ text: String) -> Int64? {
        for unit in units.sorted(by: { $0.name.count > $1.name.count }) where text.hasSuffix(unit.name) {
            guard let number = Double(text.dropLast(unit.name.count)), number >= 0, number * unit.nanoseconds < 9e18
            else { continue }
            return Int64(number * unit.nanoseconds)
        }
        return nil
    }
}
