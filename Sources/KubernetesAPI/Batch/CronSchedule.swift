import Serialization

/// When a CronJob runs: five fields of cron(5), or `@hourly` and the like, or `@every 1h30m`.
///
/// Pure. The rules are those of Kubernetes: names of months and weekdays, ranges, steps, lists, `?` as `*`; where neither the day of the month nor that
/// of the week is left open, either will do.
public struct CronSchedule: Sendable, Hashable {
    /// Why a text is no schedule.
    public struct Problem: Error, Sendable, Hashable {
        /// In the words of Kubernetes.
        public var message: String
        /// A problem in these words.
        public init(message: String) { self.message = message }
    }

    private struct Field: Sendable, Hashable {
        var values: Set<Int> = []
        /// Whether everything is meant, and not only named.
        var isOpen = false
    }

    private var minutes = Field()
    private var hours = Field()
    private var days = Field()
    private var months = Field()
    private var weekdays = Field()
    private var interval: Int64?

    /// How far ahead a next time is looked for: a schedule may mean 29 February only.
    private static let yearsMax: Int64 = 5

    private static let monthNames = [
        "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
        "dec": 12,
    ]
    private static let weekdayNames = ["sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6]
    private static let shorthands = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
    ]

    /// Reads a schedule.
    public init(_ text: String) throws(Problem) {
        guard !text.isEmpty else { throw Problem(message: "empty spec string") }
        var text = text
        if text.hasPrefix("@") {
            if text.hasPrefix("@every ") {
                let span = String(text.dropFirst(7))
                guard let nanoseconds = Validator.duration(span) else {
                    throw Problem(message: "failed to parse duration \(text): time: invalid duration \"\(span)\"")
                }
                // Whole seconds, at least one, and no more than a thousand years.
                interval = Int64(exactly: max(1, min((nanoseconds / 1e9).rounded(.down), 3.2e10))) ?? 1
                return
            }
            guard let meant = Self.shorthands[text] else {
                throw Problem(message: "unrecognized descriptor: \(text)")
            }
            text = meant
        }
        let parts = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard parts.count == 5 else {
            throw Problem(
                message: "expected exactly 5 fields, found \(parts.count): [\(parts.joined(separator: " "))]")
        }
        minutes = try Self.field(parts[0], 0...59)
        hours = try Self.field(parts[1], 0...23)
        days = try Self.field(parts[2], 1...31)
        months = try Self.field(parts[3], 1...12, Self.monthNames)
        weekdays = try Self.field(parts[4], 0...6, Self.weekdayNames)
    }

    private static func field(
        _ text: String, _ bounds: ClosedRange<Int>, _ names: [String: Int] = [:]
    ) throws(Problem) -> Field {
        var field = Field()
        for part in text.split(separator: ",") {
            let expression = String(part)
            let halves = expression.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            guard halves.count <= 2 else { throw Problem(message: "too many slashes: \(expression)") }
            let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false).map(String.init)
            guard ends.count <= 2 else { throw Problem(message: "too many hyphens: \(expression)") }
            var (low, high) = (bounds.lowerBound, bounds.upperBound)
            let isStar = ends[0] == "*" || ends[0] == "?"
            if !isStar {
                low = try number(ends[0], names)
                high = ends.count == 2 ? try number(ends[1], names) : low
            }
            var step = 1
            if halves.count == 2 {
                step = try number(halves[1], [:])
                if !isStar, ends.count == 1 { high = bounds.upperBound }
            }
            if low < bounds.lowerBound {
                throw Problem(
                    message: "beginning of range (\(low)) below minimum (\(bounds.lowerBound)): \(expression)")
            }
            if high > bounds.upperBound {
                throw Problem(message: "end of range (\(high)) above maximum (\(bounds.upperBound)): \(expression)")
            }
            if low > high {
                throw Problem(message: "beginning of range (\(low)) beyond end of range (\(high)): \(expression)")
            }
            if step == 0 { throw Problem(message: "step of range should be a positive number: \(expression)") }
            field.values.formUnion(stride(from: low, through: high, by: step))
            if isStar, step == 1 { field.isOpen = true }
        }
        return field
    }

    private static func number(_ text: String, _ names: [String: Int]) throws(Problem) -> Int {
        if let known = names[text.lowercased()] { return known }
        guard let number = Int(text) else {
            throw Problem(
                message: "failed to parse int from \(text): strconv.Atoi: parsing \"\(text)\": invalid syntax")
        }
        guard number >= 0 else { throw Problem(message: "negative number (\(number)) not allowed: \(text)") }
        return number
    }

    /// The first time after `time`, in seconds since 1970; nil when there is none in five years (31 February).
    ///
    /// An hour that a zone leaves out has no times; one that it has twice has them twice.
    public func next(after time: Int64, in zone: TimeZoneRules = .utc) -> Int64? {
        if let interval { return time.addingReportingOverflow(interval).partialValue }
        guard Timestamp.secondsRange.contains(time) else { return nil }
        var minute = time / 60 + 1
        let end = minute + Self.yearsMax * 366 * 1440
        while minute < end {
            guard Timestamp.secondsRange.contains(minute * 60) else { return nil }
            let local = minute * 60 + zone.offset(at: minute * 60)
            let parts = CivilTime(seconds: local)
            guard months.values.contains(parts.month), isDay(parts) else {
                // To shortly before the next day, as an hour may be missing on the way.
                minute += max(1, Int64(1440 - 120 - parts.hour * 60 - parts.minute))
                continue
            }
            guard hours.values.contains(parts.hour) else {
                minute += parts.minute == 0 && zone.isConstant ? 60 : 1
                continue
            }
            if minutes.values.contains(parts.minute) { return minute * 60 }
            minute += 1
        }
        return nil
    }

    private func isDay(_ time: CivilTime) -> Bool {
        let (day, weekday) = (days.values.contains(time.day), weekdays.values.contains(time.weekday))
        return days.isOpen || weekdays.isOpen ? day && weekday : day || weekday
    }
}

/// A time of day on a date, as a clock on the wall shows it.
struct CivilTime: Hashable {
    var year: Int
    var month: Int
    var day: Int
    /// 0 is Sunday.
    var weekday: Int
    var hour: Int
    var minute: Int

    /// The time so many seconds after the begin of 1970, where that clock hangs; by the algorithm civil_from_days.
    init(seconds: Int64) {
        let days = Int((Double(seconds) / 86_400).rounded(.down))
        let rest = Int(seconds) - days * 86_400
        (hour, minute) = (rest / 3600, rest % 3600 / 60)
        weekday = ((days % 7) + 4 + 7) % 7
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970 of a date.
    static func days(year: Int, month: Int, day: Int) -> Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
