internal import HTTP
internal import IO

/// The `date` header, made once a second.
struct HTTPClock {
    private var second: Int64 = -1
    private var field: PreparedField?

    /// `date` with the present IMF-fixdate (RFC 9110 §5.6.7).
    mutating func date() -> PreparedField? {
        let now = WallClock.now.seconds
        if now != second {
            second = now
            field = try? PreparedField(.date, Array(HTTPClock.format(now).utf8).span.bytes)
        }
        return field
    }

    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    static func format(_ seconds: Int64) -> String {
        let date = CivilTime(seconds: seconds)
        let day = days[Int((seconds / 86_400 + 4) % 7)]
        return "\(day), \(pad(date.day)) \(months[date.month - 1]) \(date.year) "
            + "\(pad(date.hour)):\(pad(date.minute)):\(pad(date.second)) GMT"
    }

    static func pad(_ number: Int, _ width: Int = 2) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

/// A moment in UTC by calendar fields.
struct CivilTime {
    var year = 1970
    var month = 1
    var day = 1
    var hour = 0
    var minute = 0
    var second = 0

    /// Days to civil date after Hinnant's `civil_from_days`; seconds before 1970 count as 1970.
    init(seconds: Int64) {
        let total = max(0, min(seconds, 253_402_300_799))
        let days = Int(total / 86_400) + 719_468
        let rest = Int(total % 86_400)
        let era = days / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
        month = shifted < 10 ? shifted + 3 : shifted - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        hour = rest / 3600
        minute = rest / 60 % 60
        second = rest % 60
    }

    /// `2026-01-02T03:04:05.678Z`, as Envoy's `%START_TIME%`.
    func text(milliseconds: Int) -> String {
        let date = "\(HTTPClock.pad(year, 4))-\(HTTPClock.pad(month))-\(HTTPClock.pad(day))"
        let time = "\(HTTPClock.pad(hour)):\(HTTPClock.pad(minute)):\(HTTPClock.pad(second))"
        return "\(date)T\(time).\(HTTPClock.pad(milliseconds, 3))Z"
    }
}

extension MonotonicTime {
    /// Later than every deadline.
    static var never: MonotonicTime { MonotonicTime(nanoseconds: .max) }
}
