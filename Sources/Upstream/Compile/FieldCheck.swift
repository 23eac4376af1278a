internal import EnvoyAPI
internal import Serialization

/// Refuses what Skein does not act on: every field that is set must be among those the compiler reads, or in the table
/// of ignored ones (`IgnoredFields`).
enum FieldCheck {
    /// - Parameter handled: The names of the fields that the caller reads, separated by spaces.
    static func check<M: Message>(
        _ message: M, _ path: FieldPath, handles handled: String
    ) throws(ConfigurationError) {
        let known = handled.split(separator: " ")
        assert(
            known.allSatisfy { M.schema.number(of: String($0)) != nil }, "\(M.schema.name) has no field in \(handled)")
        let ignored = IgnoredFields.reasons[M.schema.name] ?? [:]
        assert(ignored.keys.allSatisfy { M.schema.number(of: $0) != nil }, "\(M.schema.name): wrong ignored field")
        for number in setFields(message.serialized()) {
            let name = M.schema.name(of: number, .proto)
            if known.contains(where: { $0 == name }) || ignored[name] != nil { continue }
            throw (path / name).unsupported()
        }
    }

    /// The numbers of the fields that stand in a serialized message, in their order.
    static func setFields(_ bytes: [UInt8]) -> [Int] {
        var numbers: [Int] = []
        var index = 0
        func varint() -> UInt64 {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while index < bytes.count {
                let byte = bytes[index]
                index += 1
                value |= UInt64(byte & 0x7F) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            return value
        }
        while index < bytes.count {
            let tag = varint()
            let number = Int(truncatingIfNeeded: tag >> 3)
            if numbers.last != number { numbers.append(number) }
            switch tag & 7 {
            case 0: _ = varint()
            case 1: index += 8
            case 2: index += Int(clamping: varint())
            default: index += 4
            }
        }
        return numbers
    }
}

extension Duration {
    /// A duration from a message, or a fallback; negative ones are refused.
    static func checked(
        _ duration: Duration?, default fallback: Duration, _ path: FieldPath
    ) throws(ConfigurationError) -> Duration {
        guard let duration else { return fallback }
        guard duration >= .zero else { throw path.error("\(duration) is negative") }
        return duration
    }

    /// A duration of which zero means "off", hence nil.
    static func checkedLimit(
        _ duration: Duration?, default fallback: Duration?, _ path: FieldPath
    ) throws(ConfigurationError) -> Duration? {
        guard let duration else { return fallback }
        guard duration >= .zero else { throw path.error("\(duration) is negative") }
        return duration == .zero ? nil : duration
    }
}
