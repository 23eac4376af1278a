internal import Glibc
internal import Synchronization

/// How much a log record matters.
public enum LogLevel: Int, Sendable, Comparable, CaseIterable {
    /// For finding out why something went as it did.
    case debug
    /// What an operator wants to have seen happen.
    case info
    /// Something is not as it should be; work goes on.
    case warning
    /// Something failed that somebody asked for.
    case error

    /// Less urgent first.
    public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }

    /// The level of that name, as `-l` takes it (`trace` counts as debug, `warn` as warning, `critical` as error).
    public init?(name: some StringProtocol) {
        switch name.lowercased() {
        case "trace", "debug": self = .debug
        case "info": self = .info
        case "warning", "warn": self = .warning
        case "error", "critical", "err": self = .error
        default: return nil
        }
    }
}

/// Writes log records to standard error, one line each: time, level, label, message, fields.
///
/// Values are escaped, so that no text from outside can begin a line of its own (ATK-19). Any thread.
public struct Logger: Sendable {
    /// The part of the program that speaks, for example `xds`.
    public let label: String

    /// A logger that speaks as `label`.
    public init(_ label: String) { self.label = label }

    private static let threshold = Atomic<Int>(LogLevel.info.rawValue)

    /// The lowest level that is written; process-wide.
    public static var level: LogLevel {
        get { LogLevel(rawValue: threshold.load(ordering: .relaxed)) ?? .info }
        set { threshold.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// Something for finding out why.
    public func debug(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard Logger.level <= .debug else { return }
        write("debug", message(), fields)
    }

    /// Something an operator wants to have seen.
    public func info(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard Logger.level <= .info else { return }
        write("info", message(), fields)
    }

    /// Something that is not as it should be.
    public func warning(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard Logger.level <= .warning else { return }
        write("warning", message(), fields)
    }

    /// Something that failed.
    public func error(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        write("error", message(), fields)
    }

    private func write(_ level: String, _ message: String, _ fields: KeyValuePairs<String, String>) {
        var line = Logger.wallTime()
        line += " \(level) [\(label)] "
        Logger.escape(message, into: &line)
        for (key, value) in fields {
            line += " \(key)="
            let quoted = value.isEmpty || value.utf8.contains { $0 <= 0x20 || $0 == 0x22 || $0 == 0x3D }
            if quoted { line += "\"" }
            Logger.escape(value, into: &line)
            if quoted { line += "\"" }
        }
        line += "\n"
        // One write per record: records of several threads and processes do not mix up to PIPE_BUF.
        var bytes = Array(line.utf8)
        bytes.withUnsafeMutableBytes { buffer in
            _ = Glibc.write(STDERR_FILENO, buffer.baseAddress, buffer.count)
        }
    }

    /// Control characters, quotes and backslashes as escapes.
    private static func escape(_ text: String, into line: inout String) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case "\"": line += "\\\""
            case "\\": line += "\\\\"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F: line += "\\x" + String(scalar.value, radix: 16)
            default: line.unicodeScalars.append(scalar)
            }
        }
    }

    /// Now as `2026-01-02T03:04:05.678Z`.
    private static func wallTime() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        var seconds = now.tv_sec
        gmtime_r(&seconds, &parts)
        func pad(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let date = "\(pad(Int(parts.tm_year) + 1900, 4))-\(pad(Int(parts.tm_mon) + 1, 2))-\(pad(Int(parts.tm_mday), 2))"
        let time = "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(pad(now.tv_nsec / 1_000_000, 3))Z"
    }
}
