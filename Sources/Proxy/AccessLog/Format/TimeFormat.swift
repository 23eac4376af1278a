internal import IO

/// A format for moments: the conversions of `strftime` that make sense in a log, and fractions of a second.
struct TimeFormat: Sendable {
    /// Why a format is refused.
    struct Refusal: Error { let text: String }

    /// A moment by the wall clock.
    typealias Moment = (seconds: Int64, nanoseconds: Int32)

    private enum Piece: Sendable {
        case literal([UInt8])
        case conversion(UInt8)
        /// So many digits of the second's fraction.
        case fraction(Int)
    }

    private let pieces: [Piece]
    private let isLocal: Bool

    /// An empty format is ISO 8601 with milliseconds in UTC.
    init(_ format: String, isLocal: Bool = false) throws(Refusal) {
        self.isLocal = isLocal
        var pieces: [Piece] = []
        let bytes = Array(format.utf8)
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "%") else {
                if case .literal(let before)? = pieces.last {
                    pieces[pieces.count - 1] = .literal(before + [bytes[index]])
                } else {
                    pieces.append(.literal([bytes[index]]))
                }
                index += 1
                continue
            }
            index += 1
            guard index < bytes.count else { throw Refusal(text: "ends with a percent sign") }
            let byte = bytes[index]
            if byte &- 49 < 9 {
                guard index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "f") else {
                    throw Refusal(text: "after %\(byte - 48) an f is needed")
                }
                pieces.append(.fraction(Int(byte - 48)))
                index += 2
                continue
            }
            index += 1
            switch byte {
            case UInt8(ascii: "f"): pieces.append(.fraction(9))
            case UInt8(ascii: "%"): pieces.append(.literal([byte]))
            case _ where "YymdeHIMSpjsabAhBTFDRzZnt".utf8.contains(byte): pieces.append(.conversion(byte))
            default: throw Refusal(text: "%\(Character(Unicode.Scalar(byte))) is no conversion that is supported")
            }
        }
        self.pieces = pieces
    }

    func append(_ moment: Moment, to bytes: inout FormatLine) {
        let offset = isLocal ? Environment.localTimeOffset(at: moment.seconds) : 0
        let nanoseconds = Int(max(0, min(moment.nanoseconds, 999_999_999)))
        if pieces.isEmpty {
            bytes.append(iso: moment.seconds &+ Int64(offset), nanoseconds)
            if isLocal {
                bytes.cut(to: bytes.count - 1)
                Self.appendOffset(offset, to: &bytes)
            }
            return
        }
        let date = CivilTime(seconds: moment.seconds &+ Int64(offset))
        for piece in pieces {
            switch piece {
            case .literal(let literal): bytes.append(literal)
            case .fraction(let digits):
                var value = nanoseconds
                for _ in digits..<9 { value /= 10 }
                bytes.append(padded: value, digits)
            case .conversion(let conversion): append(conversion, date, moment.seconds, offset, to: &bytes)
            }
        }
    }

    /// `2026-01-02T03:04:05.000Z`: where each digit of a moment has its place.
    static func isoText(_ date: CivilTime) -> InlineArray<24, UInt8> {
        var text: InlineArray<24, UInt8> = [
            0x30, 0x30, 0x30, 0x30, 0x2D, 0x30, 0x30, 0x2D, 0x30, 0x30, 0x54, 0x30, 0x30, 0x3A, 0x30, 0x30, 0x3A, 0x30,
            0x30, 0x2E, 0x30, 0x30, 0x30, 0x5A,
        ]
        func put(_ value: Int, _ digits: Int, at start: Int) {
            var (value, index) = (value, start + digits)
            while index > start {
                index &-= 1
                text[index] = 0x30 &+ UInt8(truncatingIfNeeded: value % 10)
                value /= 10
            }
        }
        put(date.year, 4, at: 0)
        put(date.month, 2, at: 5)
        put(date.day, 2, at: 8)
        put(date.hour, 2, at: 11)
        put(date.minute, 2, at: 14)
        put(date.second, 2, at: 17)
        return text
    }

    private static func appendDate(_ date: CivilTime, to bytes: inout FormatLine) {
        bytes.append(padded: date.year, 4)
        bytes.append(UInt8(ascii: "-"))
        bytes.append(padded: date.month, 2)
        bytes.append(UInt8(ascii: "-"))
        bytes.append(padded: date.day, 2)
    }

    private static func appendTime(_ date: CivilTime, to bytes: inout FormatLine) {
        bytes.append(padded: date.hour, 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(padded: date.minute, 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(padded: date.second, 2)
    }

    private static func appendOffset(_ offset: Int, to bytes: inout FormatLine) {
        bytes.append(offset < 0 ? UInt8(ascii: "-") : UInt8(ascii: "+"))
        bytes.append(padded: abs(offset) / 3600, 2)
        bytes.append(padded: abs(offset) / 60 % 60, 2)
    }

    private static let months: [StaticString] = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    private static let days: [StaticString] = [
        "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]

    private func append(
        _ conversion: UInt8, _ date: CivilTime, _ seconds: Int64, _ offset: Int, to bytes: inout FormatLine
    ) {
        let local = max(0, seconds &+ Int64(offset))
        switch conversion {
        case UInt8(ascii: "Y"): bytes.append(padded: date.year, 4)
        case UInt8(ascii: "y"): bytes.append(padded: date.year % 100, 2)
        case UInt8(ascii: "m"): bytes.append(padded: date.month, 2)
        case UInt8(ascii: "d"): bytes.append(padded: date.day, 2)
        case UInt8(ascii: "e"):
            if date.day < 10 { bytes.append(UInt8(ascii: " ")) }
            bytes.append(padded: date.day, 1)
        case UInt8(ascii: "H"): bytes.append(padded: date.hour, 2)
        case UInt8(ascii: "I"): bytes.append(padded: (date.hour + 11) % 12 + 1, 2)
        case UInt8(ascii: "M"): bytes.append(padded: date.minute, 2)
        case UInt8(ascii: "S"): bytes.append(padded: date.second, 2)
        case UInt8(ascii: "p"): bytes.append(date.hour < 12 ? "AM" : "PM")
        case UInt8(ascii: "j"):
            let first = CivilTime.days(year: date.year, month: 1, day: 1)
            bytes.append(padded: Int(local / 86_400) - first + 1, 3)
        case UInt8(ascii: "s"): bytes.append(padded: Int(seconds), 1)
        case UInt8(ascii: "a"), UInt8(ascii: "A"):
            bytes.append(Self.days[Int((local / 86_400 + 4) % 7)], prefix: conversion == UInt8(ascii: "a") ? 3 : 9)
        case UInt8(ascii: "b"), UInt8(ascii: "h"): bytes.append(Self.months[date.month - 1], prefix: 3)
        case UInt8(ascii: "B"): bytes.append(Self.months[date.month - 1], prefix: 9)
        case UInt8(ascii: "T"): Self.appendTime(date, to: &bytes)
        case UInt8(ascii: "F"): Self.appendDate(date, to: &bytes)
        case UInt8(ascii: "D"):
            append(UInt8(ascii: "m"), date, seconds, offset, to: &bytes)
            bytes.append(UInt8(ascii: "/"))
            append(UInt8(ascii: "d"), date, seconds, offset, to: &bytes)
            bytes.append(UInt8(ascii: "/"))
            append(UInt8(ascii: "y"), date, seconds, offset, to: &bytes)
        case UInt8(ascii: "R"):
            bytes.append(padded: date.hour, 2)
            bytes.append(UInt8(ascii: ":"))
            bytes.append(padded: date.minute, 2)
        case UInt8(ascii: "z"): Self.appendOffset(offset, to: &bytes)
        case UInt8(ascii: "Z"): bytes.append(isLocal && offset != 0 ? "LOCAL" : "UTC")
        case UInt8(ascii: "n"): bytes.append(0x0A)
        default: bytes.append(0x09)
        }
    }
}

extension CivilTime {
    /// Days from 1970-01-01 to a date (Hinnant's `days_from_civil`).
    static func days(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
