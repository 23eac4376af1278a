/// A point in time as Kubernetes and protobuf write it: RFC 3339, in UTC.
public struct Timestamp: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Years 1 to 9999, what RFC 3339 can write.
    public static let secondsRange: ClosedRange<Int64> = -62_135_596_800...253_402_300_799

    /// Seconds since 1970-01-01T00:00:00Z, within `secondsRange`.
    public let seconds: Int64
    /// The part of a second, 0 to 999,999,999.
    public let nanoseconds: Int32

    /// A time from seconds since 1970 and nanoseconds; what is outside the years 1 to 9999 becomes the nearest end.
    public init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = min(max(seconds, Self.secondsRange.lowerBound), Self.secondsRange.upperBound)
        self.nanoseconds = min(max(nanoseconds, 0), 999_999_999)
    }

    /// The time of an RFC 3339 text, with any offset; nil when it is none.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        func number(_ from: Int, _ count: Int) -> Int64? {
            guard from + count <= bytes.count else { return nil }
            var result: Int64 = 0
            for byte in bytes[from..<(from + count)] {
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                result = result * 10 + Int64(byte - 0x30)
            }
            return result
        }
        func isAt(_ index: Int, _ characters: String) -> Bool {
            index < bytes.count && characters.utf8.contains(bytes[index])
        }
        guard let year = number(0, 4), isAt(4, "-"), let month = number(5, 2), isAt(7, "-"), let day = number(8, 2),
            isAt(10, "Tt "), let hour = number(11, 2), isAt(13, ":"), let minute = number(14, 2), isAt(16, ":"),
            let second = number(17, 2)
        else { return nil }
        guard year >= 1, (1...12).contains(month), day >= 1, day <= Self.days(in: month, of: year), hour < 24,
            minute < 60, second <= 60
        else { return nil }
        var index = 19
        var nanoseconds: Int64 = 0
        if isAt(index, ".") {
            index += 1
            var digits = 0
            while let digit = number(index, 1) {
                if digits < 9 { nanoseconds = nanoseconds * 10 + digit }
                digits += 1
                index += 1
            }
            guard digits > 0 else { return nil }
            for _ in min(digits, 9)..<9 { nanoseconds *= 10 }
        }
        var offset: Int64 = 0
        if isAt(index, "Zz") {
            index += 1
        } else {
            guard isAt(index, "+-"), let hours = number(index + 1, 2), isAt(index + 3, ":"),
                let minutes = number(index + 4, 2), hours < 24, minutes < 60
            else { return nil }
            offset = (hours * 3600 + minutes * 60) * (isAt(index, "-") ? -1 : 1)
            index += 6
        }
        guard index == bytes.count else { return nil }
        // A leap second is counted as the second before it.
        let ofDay = hour * 3600 + minute * 60 + min(second, 59)
        let seconds = Self.dayNumber(year, month, day) * 86_400 + ofDay - offset
        guard Self.secondsRange.contains(seconds) else { return nil }
        self.init(seconds: seconds, nanoseconds: Int32(nanoseconds))
    }

    /// RFC 3339 in UTC with 0, 3, 6 or 9 decimals, for example `2026-01-31T12:00:00.250Z`.
    public var description: String { text(DurationText.fraction(Int64(nanoseconds))) }

    /// RFC 3339 in UTC without decimals, as Kubernetes writes times.
    public var secondsText: String { text("") }

    /// RFC 3339 in UTC with six decimals, as Kubernetes writes `MicroTime`.
    public var microsecondsText: String {
        text("." + "\(1_000_000 + Int64(nanoseconds) / 1000)".dropFirst())
    }

    /// The calendar date and time of day in UTC.
    public var civil: (year: Int64, month: Int64, day: Int64, hour: Int64, minute: Int64, second: Int64) {
        let day = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
        let ofDay = seconds - day * 86_400
        let (year, month, dayOfMonth) = Self.date(day)
        return (year, month, dayOfMonth, ofDay / 3600, ofDay / 60 % 60, ofDay % 60)
    }

    private func text(_ fraction: String) -> String {
        let civil = civil
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let year = String("\(10_000 + civil.year)".dropFirst())
        let date = "\(year)-\(two(civil.month))-\(two(civil.day))"
        return "\(date)T\(two(civil.hour)):\(two(civil.minute)):\(two(civil.second))\(fraction)Z"
    }

    /// The earlier of two times is the smaller one.
    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }

    /// The time between two times.
    public static func - (left: Timestamp, right: Timestamp) -> Duration {
        .seconds(left.seconds - right.seconds) + .nanoseconds(Int64(left.nanoseconds) - Int64(right.nanoseconds))
    }

    /// The time that much later.
    public static func + (left: Timestamp, right: Duration) -> Timestamp {
        let (whole, attoseconds) = right.components
        var seconds = left.seconds.addingReportingOverflow(whole).partialValue
        if abs(whole) > DurationText.secondsMax { seconds = whole < 0 ? .min / 2 : .max / 2 }
        var nanoseconds = Int64(left.nanoseconds) + attoseconds / 1_000_000_000
        if nanoseconds < 0 {
            nanoseconds += 1_000_000_000
            seconds -= 1
        } else if nanoseconds >= 1_000_000_000 {
            nanoseconds -= 1_000_000_000
            seconds += 1
        }
        return Timestamp(seconds: seconds, nanoseconds: Int32(nanoseconds))
    }
}

// The calendar: days are counted in 400-year eras of 146,097 days that begin on 1 March, so that the leap day is last.
extension Timestamp {
    private static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    private static func dayNumber(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = year / 400
        let ofEra = year - era * 400
        let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
    }

    private static func date(_ dayNumber: Int64) -> (Int64, Int64, Int64) {
        let shifted = dayNumber + 719_468  // Not negative from year 1 on.
        let era = shifted / 146_097
        let ofEra = shifted - era * 146_097
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * ofYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
