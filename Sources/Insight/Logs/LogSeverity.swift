internal import Serialization

/// How serious a line of a log is, as far as the line tells: programs write their levels in many ways.
public enum LogSeverity: Int, Sendable, Comparable, CaseIterable {
    /// For those who look for something.
    case debug
    /// What happens in any case.
    case info
    /// Something that may become a problem.
    case warning
    /// Something went wrong.
    case error

    /// By their weight.
    public static func < (left: LogSeverity, right: LogSeverity) -> Bool { left.rawValue < right.rawValue }

    /// The level of that name, in any of the usual spellings; nil for another word.
    public init?(name: some StringProtocol) {
        switch name.lowercased() {
        case "trace", "debug", "dbg", "verbose", "fine": self = .debug
        case "info", "information", "notice", "inf": self = .info
        case "warn", "warning", "wrn": self = .warning
        case "error", "err", "fatal", "critical", "crit", "panic", "severe", "alert", "emerg", "emergency", "exception":
            self = .error
        default: return nil
        }
    }

    /// The level of a line; nil where it names none, as the lines of a stack trace.
    public init?(line: some StringProtocol) {
        let text = line.drop { $0 == " " || $0 == "\t" }
        if text.first == "{", let found = Self.json(String(text)) {
            self = found
        } else if let found = Self.klog(text) ?? Self.named(text) ?? Self.status(text) {
            self = found
        } else {
            return nil
        }
    }

    /// `{"level": "error"}`, `{"severity": "ERROR"}`, pino's numbers, and access logs with their status.
    private static func json(_ text: String) -> LogSeverity? {
        guard let json = try? JSON.parse(Array(text.utf8)), json.object != nil else { return nil }
        for name in ["level", "severity", "lvl", "log.level", "levelname"] {
            guard let value = json[name] else { continue }
            if let word = value.string, let found = LogSeverity(name: word) { return found }
            if let number = value.int {
                return number >= 50 ? .error : number >= 40 ? .warning : number >= 30 ? .info : .debug
            }
        }
        for name in ["response_code", "status"] {
            if let status = json[name]?.int, (100...599).contains(status) { return of(status: status) }
        }
        return nil
    }

    /// `E0102 15:04:05.000000`: Go's klog.
    private static func klog(_ text: some StringProtocol) -> LogSeverity? {
        let start = Array(text.utf8.prefix(6))
        guard start.count == 6, let letter = start.first,
            start.dropFirst().prefix(4).allSatisfy({ $0 >= 48 && $0 <= 57 }),
            start.last == UInt8(ascii: " ")
        else { return nil }
        switch letter {
        case UInt8(ascii: "I"): return .info
        case UInt8(ascii: "W"): return .warning
        case UInt8(ascii: "E"), UInt8(ascii: "F"): return .error
        default: return nil
        }
    }

    /// Among the first words: `ERROR:`, `[warn]`, `level=info`.
    private static func named(_ text: some StringProtocol) -> LogSeverity? {
        for word in text.prefix(240).split(separator: " ", omittingEmptySubsequences: true).prefix(6) {
            // What stands in quotation marks is what somebody asked, not what is told.
            if word.first == "\"" { return nil }
            var bare = word[...]
            if let equals = bare.firstIndex(of: "="),
                ["level", "lvl", "severity"].contains(bare[..<equals].lowercased())
            {
                bare = bare[bare.index(after: equals)...]
            }
            while let first = bare.first, !first.isLetter { bare.removeFirst() }
            while let last = bare.last, !last.isLetter { bare.removeLast() }
            if let found = LogSeverity(name: bare) { return found }
        }
        return nil
    }

    /// An access log's line: the status behind the request in quotation marks.
    private static func status(_ text: some StringProtocol) -> LogSeverity? {
        let parts = text.prefix(4096).split(separator: "\"", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3,
            parts[1].hasSuffix("HTTP/1.1") || parts[1].hasSuffix("HTTP/2") || parts[1].hasSuffix("HTTP/1.0"),
            let word = parts[2].split(separator: " ").first, let status = Int(word), (0...599).contains(status)
        else { return nil }
        return of(status: status)
    }

    private static func of(status: Int) -> LogSeverity {
        status >= 500 || status == 0 ? .error : status >= 400 ? .warning : .info
    }
}
