internal import Serialization

extension CELTime {
    /// `time.getHours("+02:00")` and its like.
    static func part(_ function: CELFunction, _ operands: [CELValue]) throws(CELError) -> Int64 {
        switch operands.first {
        case .timestamp(let time)?:
            var offset: Int64 = 0
            if operands.count > 1 {
                guard case .string(let zone) = operands[1] else { throw .noSuchOverload(function.rawValue) }
                guard let seconds = self.offset(zone) else {
                    throw .badText("\"\(zone)\" is no zone such as +02:00; names of zones are not known")
                }
                offset = seconds
            }
            return try part(function, time, offset)
        case .duration(let length)? where operands.count == 1:
            let (seconds, attoseconds) = length.components
            switch function {
            case .getHours: return seconds / 3600
            case .getMinutes: return seconds / 60
            case .getSeconds: return seconds
            case .getMilliseconds: return attoseconds / 1_000_000_000_000_000
            default: throw .noSuchOverload(function.rawValue)
            }
        default: throw .noSuchOverload(function.rawValue)
        }
    }

    private static func part(_ function: CELFunction, _ time: Timestamp, _ offset: Int64) throws(CELError) -> Int64 {
        if function == .getMilliseconds { return Int64(time.nanoseconds) / 1_000_000 }
        // A zone can lead out of the years that there are.
        guard Timestamp.secondsRange.contains(time.seconds + offset) else { throw .outOfRange("a timestamp") }
        let moved = Timestamp(seconds: time.seconds + offset, nanoseconds: time.nanoseconds)
        let civil = moved.civil
        // 1970-01-01 was a Thursday.
        let day = (moved.seconds - remainder(moved.seconds, 86_400)) / 86_400
        switch function {
        case .getFullYear: return civil.year
        case .getMonth: return civil.month - 1
        case .getDate: return civil.day
        case .getDayOfMonth: return civil.day - 1
        case .getDayOfWeek: return remainder(day + 4, 7)
        case .getDayOfYear: return dayOfYear(civil.year, civil.month, civil.day)
        case .getHours: return civil.hour
        case .getMinutes: return civil.minute
        default: return civil.second
        }
    }

    /// The remainder that is never negative.
    private static func remainder(_ value: Int64, _ divisor: Int64) -> Int64 {
        let rest = value % divisor
        return rest < 0 ? rest + divisor : rest
    }

    private static func dayOfYear(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let before: [Int64] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let index = Int(month - 1)
        guard before.indices.contains(index) else { return 0 }
        return before[index] + day - 1 + (isLeap && month > 2 ? 1 : 0)
    }
}
