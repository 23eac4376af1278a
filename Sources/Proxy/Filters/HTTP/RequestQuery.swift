/// The query of a request's path, read as Envoy reads it: percent escapes of names and values are undone.
struct RequestQuery {
    private let path: [UInt8]
    private let mark: Int?

    init(_ path: [UInt8]) {
        self.path = path
        mark = path.firstIndex(of: UInt8(ascii: "?"))
    }

    private var parts: [ArraySlice<UInt8>] {
        guard let mark else { return [] }
        return path[(mark + 1)...].split(separator: UInt8(ascii: "&"))
    }

    private static func split(_ part: ArraySlice<UInt8>) -> (name: [UInt8], value: [UInt8]) {
        guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { return (decode(part), []) }
        return (decode(part[..<equals]), decode(part[(equals + 1)...]))
    }

    /// The first value of a parameter.
    func first(_ name: [UInt8]) -> [UInt8]? {
        for part in parts {
            let (key, value) = Self.split(part)
            if key == name { return value }
        }
        return nil
    }

    /// The path without a parameter.
    func removing(_ name: [UInt8]) -> [UInt8] {
        guard let mark else { return path }
        let kept = parts.filter { Self.split($0).name != name }
        guard !kept.isEmpty else { return Array(path[..<mark]) }
        var result = Array(path[...mark])
        for (index, part) in kept.enumerated() {
            if index > 0 { result.append(UInt8(ascii: "&")) }
            result += part
        }
        return result
    }

    /// Bytes with their percent escapes undone; what is no escape stays.
    static func decode(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        guard bytes.contains(UInt8(ascii: "%")) else { return Array(bytes) }
        let bytes = Array(bytes)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count, let high = digit(bytes[index + 1]),
                let low = digit(bytes[index + 2])
            {
                result.append(high << 4 | low)
                index += 3
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
