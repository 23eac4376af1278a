/// How far a zone's clocks are from UTC, and when that changes: a file of the zone database (tzfile(5), RFC 9636).
public struct TimeZoneRules: Sendable, Hashable {
    /// UTC.
    public static let utc = TimeZoneRules()

    /// Files of zones are smaller.
    public static let bytesMax = 1 << 20

    private var changes: [(time: Int64, offset: Int64)] = []
    private var first: Int64 = 0
    private var rule: PosixZone?

    private init() {}

    /// Whether clocks are never moved.
    public var isConstant: Bool { changes.isEmpty && rule?.summer == nil }

    /// Compares what they say.
    public static func == (left: TimeZoneRules, right: TimeZoneRules) -> Bool {
        left.first == right.first && left.rule == right.rule
            && left.changes.elementsEqual(right.changes) { $0.time == $1.time && $0.offset == $1.offset }
    }

    /// Feeds what is compared.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(first)
        hasher.combine(changes.count)
    }

    /// Reads a file of version 2 or later; nil when it is none.
    public init?(file: [UInt8]) {
        func number(_ position: Int, _ bytes: Int) -> Int64? {
            guard position >= 0, position + bytes <= file.count else { return nil }
            let value = file[position..<position + bytes].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return bytes == 4 ? Int64(Int32(truncatingIfNeeded: value)) : Int64(bitPattern: value)
        }
        func counts(_ header: Int) -> [Int]? {
            guard header + 44 <= file.count, Array(file[header..<header + 4]) == Array("TZif".utf8) else { return nil }
            let counts = (0..<6).compactMap { number(header + 20 + $0 * 4, 4).flatMap { Int(exactly: $0) } }
            return counts.count == 6 && counts.allSatisfy { (0...100_000).contains($0) } ? counts : nil
        }
        guard file.count <= Self.bytesMax, file.count > 44, file[4] >= 0x32, let old = counts(0) else { return nil }
        // The first block is for those who know 32 bits only: counts of isut, isstd, leap, times, types, characters.
        let second = 44 + old[3] * 5 + old[4] * 6 + old[5] + old[2] * 8 + old[1] + old[0]
        guard let wide = counts(second) else { return nil }
        let times = second + 44
        let kinds = times + wide[3] * 8
        let types = kinds + wide[3]
        func offset(_ type: Int) -> Int64? { type < wide[4] ? number(types + type * 6, 4) : nil }
        for index in 0..<wide[3] {
            guard let time = number(times + index * 8, 8), kinds + index < file.count,
                let offset = offset(Int(file[kinds + index]))
            else { return nil }
            changes.append((time, offset))
        }
        first = offset(0) ?? 0
        let footer = types + wide[4] * 6 + wide[5] + wide[2] * 12 + wide[1] + wide[0]
        if footer < file.count {
            let line = file[footer...].drop { $0 == 0x0a }.prefix { $0 != 0x0a }
            rule = PosixZone(String(decoding: line, as: UTF8.self))
        }
    }

    /// Seconds east of UTC at a time (seconds since 1970).
    public func offset(at time: Int64) -> Int64 {
        if let last = changes.last, time >= last.time, let rule { return rule.offset(at: time) }
        if changes.isEmpty, let rule { return rule.offset(at: time) }
        var (low, high) = (0, changes.count)
        while low < high {
            let middle = (low + high) / 2
            if changes[middle].time <= time { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? changes[low - 1].offset : first
    }

    /// Whether a text may be the name of a zone: no way out of the folder of zones.
    public static func isName(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return text.utf8.count <= 64 && !parts.isEmpty
            && parts.allSatisfy { part in
                !part.isEmpty && part.first != "."
                    && part.utf8.allSatisfy {
                        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                            || [0x2b, 0x2d, 0x5f].contains($0)
                    }
            }
    }
}

/// What holds after the last change that a file tells: `CET-1CEST,M3.5.0,M10.5.0/3`.
struct PosixZone: Sendable, Hashable {
    /// The `week`th `weekday` of a month, at that many seconds of the day.
    struct Change: Sendable, Hashable {
        var month: Int
        var week: Int
        var weekday: Int
        var seconds: Int64
    }

    var standard: Int64
    var summer: Int64?
    private var begin: Change?
    private var end: Change?

    /// Nil for what cannot be read; days that are counted from the year's begin are not (no zone of today has them).
    init?(_ text: String) {
        var rest = text[...]
        func name() -> Bool {
            if rest.first == "<" {
                guard let close = rest.firstIndex(of: ">") else { return false }
                rest = rest[rest.index(after: close)...]
                return true
            }
            let letters = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(letters.count)
            return !letters.isEmpty
        }
        func seconds() -> Int64? {
            let sign: Int64 = rest.first == "-" ? -1 : 1
            if rest.first == "-" || rest.first == "+" { rest = rest.dropFirst() }
            let digits = rest.prefix { $0.isNumber || $0 == ":" }
            rest = rest.dropFirst(digits.count)
            let parts = digits.split(separator: ":").compactMap { Int64($0) }
            guard let hours = parts.first, parts.count <= 3, parts.allSatisfy({ (0...167).contains($0) }) else {
                return nil
            }
            return sign * (hours * 3600 + (parts.count > 1 ? parts[1] * 60 : 0) + (parts.count > 2 ? parts[2] : 0))
        }
        func change() -> Change? {
            guard rest.hasPrefix(",M") else { return nil }
            rest = rest.dropFirst(2)
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            let parts = digits.split(separator: ".").compactMap { Int($0) }
            guard parts.count == 3, (1...12).contains(parts[0]), (1...5).contains(parts[1]), (0...6).contains(parts[2])
            else { return nil }
            var time: Int64 = 7200
            if rest.first == "/" {
                rest = rest.dropFirst()
                guard let told = seconds() else { return nil }
                time = told
            }
            return Change(month: parts[0], week: parts[1], weekday: parts[2], seconds: time)
        }
        guard name(), let west = seconds() else { return nil }
        standard = -west
        guard !rest.isEmpty else { return }
        guard name() else { return nil }
        summer = standard + 3600
        if rest.first != "," {
            guard let west = seconds() else { return nil }
            summer = -west
        }
        guard let first = change(), let last = change(), rest.isEmpty else { return nil }
        (begin, end) = (first, last)
    }

    func offset(at time: Int64) -> Int64 {
        guard let summer, let begin, let end else { return standard }
        let year = CivilTime(seconds: time + standard).year
        let (from, until) = (Self.time(begin, year) - standard, Self.time(end, year) - summer)
        let isSummer = from < until ? time >= from && time < until : time >= from || time < until
        return isSummer ? summer : standard
    }

    /// When a change happens in a year, by the clock on the wall.
    private static func time(_ change: Change, _ year: Int) -> Int64 {
        let first = CivilTime.days(year: year, month: change.month, day: 1)
        let weekday = ((first % 7) + 4 + 7) % 7
        var day = 1 + (change.weekday - weekday + 7) % 7 + (change.week - 1) * 7
        let next =
            change.month == 12
            ? CivilTime.days(year: year + 1, month: 1, day: 1)
            : CivilTime.days(year: year, month: change.month + 1, day: 1)
        while day > next - first { day -= 7 }
        return Int64(first + day - 1) * 86_400 + change.seconds
    }
}
