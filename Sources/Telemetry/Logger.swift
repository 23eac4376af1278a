internal import Glibc
internal import Synchronization

/// How much a log record matters.
public enum LogLevel: Int, Sendable, Comparable, CaseIterable {
    /// More than anybody wants to read.
    case trace
    /// For finding out why something went as it did.
    case debug
    /// What an operator wants to have seen happen.
    case info
    /// Something is not as it should be; work goes on.
    case warning
    /// Something failed that somebody asked for.
    case error
    /// The process cannot go on.
    case critical
    /// Nothing is written.
    case off

    /// Less urgent first.
    public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }

    /// The level of that name, as `-l` takes it (`warn` is warning, `err` is error).
    public init?(name: some StringProtocol) {
        switch name.lowercased() {
        case "trace": self = .trace
        case "debug": self = .debug
        case "info": self = .info
        case "warning", "warn": self = .warning
        case "error", "err": self = .error
        case "critical": self = .critical
        case "off": self = .off
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

    /// The lowest level of any part, so that what is not written costs one load.
    private static let threshold = Atomic<Int>(LogLevel.info.rawValue)

    /// How and where records are written.
    ///
    /// The mutex is taken for records that are written and when levels change.
    private struct Settings {
        var level = LogLevel.info
        var components: [String: LogLevel] = [:]
        var format: LogFormat?
        var descriptor: Int32 = STDERR_FILENO

        var lowest: LogLevel { components.values.min().map { min($0, level) } ?? level }
    }

    private static let settings = Mutex(Settings())

    /// The lowest level that is written where nothing else is said of a part; process-wide.
    public static var level: LogLevel {
        get { settings.withLock(\.level) }
        set {
            settings.withLock { settings in
                settings.level = newValue
                threshold.store(settings.lowest.rawValue, ordering: .relaxed)
            }
        }
    }

    /// The levels of parts that have one of their own, by label.
    public static var componentLevels: [String: LogLevel] {
        get { settings.withLock(\.components) }
        set {
            settings.withLock { settings in
                settings.components = newValue
                threshold.store(settings.lowest.rawValue, ordering: .relaxed)
            }
        }
    }

    /// How records look; nil is `time level [part] message key=value …`.
    public static func setFormat(_ format: LogFormat?) { settings.withLock { $0.format = format } }

    /// Writes to a file from now on, at its end; false when it cannot be opened (`errno` tells why).
    public static func open(_ path: String) -> Bool {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return false }
        settings.withLock { settings in
            if settings.descriptor != STDERR_FILENO { close(settings.descriptor) }
            settings.descriptor = descriptor
        }
        return true
    }

    /// Whether records of that level are written: what costs much to say is asked first.
    public func isWritten(_ level: LogLevel) -> Bool {
        guard level.rawValue >= Self.threshold.load(ordering: .relaxed) else { return false }
        return Self.settings.withLock { level >= ($0.components[label] ?? $0.level) }
    }

    /// Something for finding out why.
    public func debug(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard isWritten(.debug) else { return }
        write(.debug, message(), fields)
    }

    /// Something an operator wants to have seen.
    public func info(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard isWritten(.info) else { return }
        write(.info, message(), fields)
    }

    /// Something that is not as it should be.
    public func warning(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard isWritten(.warning) else { return }
        write(.warning, message(), fields)
    }

    /// Something that failed.
    public func error(_ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard isWritten(.error) else { return }
        write(.error, message(), fields)
    }

    private func write(_ level: LogLevel, _ message: String, _ fields: KeyValuePairs<String, String>) {
        var text = ""
        Logger.escape(message, into: &text)
        for (key, value) in fields {
            text += " \(key)="
            let quoted = value.isEmpty || value.utf8.contains { $0 <= 0x20 || $0 == 0x22 || $0 == 0x3D }
            if quoted { text += "\"" }
            Logger.escape(value, into: &text)
            if quoted { text += "\"" }
        }
        let (format, descriptor) = Logger.settings.withLock { ($0.format, $0.descriptor) }
        let line = format.map { $0.line(level, label, text) } ?? "\(WallTime.now.text) \(level) [\(label)] \(text)\n"
        // One write per record: records of several threads and processes do not mix up to PIPE_BUF.
        var bytes = Array(line.utf8)
        bytes.withUnsafeMutableBytes { buffer in
            _ = Glibc.write(descriptor, buffer.baseAddress, buffer.count)
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
}

/// The clock on the wall, in parts.
private struct WallTime {
    var parts = tm()
    var milliseconds = 0
    var nanoseconds = 0

    static var now: WallTime {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var result = WallTime()
        var seconds = now.tv_sec
        gmtime_r(&seconds, &result.parts)
        result.milliseconds = now.tv_nsec / 1_000_000
        result.nanoseconds = now.tv_nsec
        return result
    }

    static func pad(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    var date: String { "\(field("Y"))-\(field("m"))-\(field("d"))" }
    var time: String { "\(field("H")):\(field("M")):\(field("S"))" }
    /// `2026-01-02T03:04:05.678Z`.
    var text: String { "\(date)T\(time).\(Self.pad(milliseconds, 3))Z" }

    /// What a letter of a pattern stands for.
    func field(_ letter: Character) -> String {
        switch letter {
        case "Y": Self.pad(Int(parts.tm_year) + 1900, 4)
        case "C": Self.pad((Int(parts.tm_year) + 1900) % 100, 2)
        case "m": Self.pad(Int(parts.tm_mon) + 1, 2)
        case "d": Self.pad(Int(parts.tm_mday), 2)
        case "H": Self.pad(Int(parts.tm_hour), 2)
        case "M": Self.pad(Int(parts.tm_min), 2)
        case "S": Self.pad(Int(parts.tm_sec), 2)
        case "e": Self.pad(milliseconds, 3)
        case "f": Self.pad(nanoseconds / 1000, 6)
        case "F": Self.pad(nanoseconds, 9)
        case "T": time
        case "D": "\(field("m"))/\(field("d"))/\(field("C"))"
        case "E": String(timegmCopy)
        default: "+00:00"
        }
    }

    private var timegmCopy: Int {
        var copy = parts
        return timegm(&copy)
    }
}

extension LogFormat {
    fileprivate func line(_ level: LogLevel, _ label: String, _ text: String) -> String {
        let now = WallTime.now
        var line = ""
        for part in parts {
            switch part {
            case .text(let text): line += text
            case .time(let letter): line += now.field(letter)
            case .level: line += "\(level)"
            case .shortLevel: line += "\(level)".prefix(1).uppercased()
            case .label: line += label
            case .message: line += text
            case .processID: line += "\(getpid())"
            case .threadID: line += "\(pthread_self())"
            }
        }
        return line + "\n"
    }
}
