/// Why JSON text cannot be read (stands in until the real parser arrives).
public struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What and where.
    public var description: String
}

extension JSON {
    /// Reads JSON text.
    public static func parse(_ text: String) throws(JSONError) -> JSON { try parse(Array(text.utf8)) }

    /// Reads JSON text.
    public static func parse(_ bytes: [UInt8]) throws(JSONError) -> JSON {
        var reader = TemporaryReader(bytes: bytes)
        let value = try reader.value(0)
        reader.space()
        guard reader.at == bytes.count else { throw JSONError(description: "trailing text at byte \(reader.at)") }
        return value
    }

    /// Compact text with sorted keys.
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Compact text with sorted keys.
    public var bytes: [UInt8] {
        var out: [UInt8] = []
        write(&out)
        return out
    }

    private func write(_ out: inout [UInt8]) {
        switch self {
        case .null: out += "null".utf8
        case .bool(let flag): out += (flag ? "true" : "false").utf8
        case .integer(let number): out += String(number).utf8
        case .number(let number): out += "\(number)".utf8
        case .string(let text): JSON.quote(text, &out)
        case .array(let elements):
            out.append(0x5b)
            for (index, element) in elements.enumerated() {
                if index > 0 { out.append(0x2c) }
                element.write(&out)
            }
            out.append(0x5d)
        case .object(let members):
            out.append(0x7b)
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { out.append(0x2c) }
                JSON.quote(member.key, &out)
                out.append(0x3a)
                member.value.write(&out)
            }
            out.append(0x7d)
        }
    }

    private static func quote(_ text: String, _ out: inout [UInt8]) {
        out.append(0x22)
        for byte in text.utf8 {
            switch byte {
            case 0x22, 0x5c: out += [0x5c, byte]
            case 0x0a: out += "\\n".utf8
            case 0..<0x20:
                let hex = String(byte, radix: 16)
                out += ("\\u" + String(repeating: "0", count: 4 - hex.count) + hex).utf8
            default: out.append(byte)
            }
        }
        out.append(0x22)
    }
}

private struct TemporaryReader {
    let bytes: [UInt8]
    var at = 0

    mutating func space() { while at < bytes.count, [0x20, 0x0a, 0x0d, 0x09].contains(bytes[at]) { at += 1 } }

    func fail(_ what: String) -> JSONError { JSONError(description: "\(what) at byte \(at)") }

    mutating func value(_ depth: Int) throws(JSONError) -> JSON {
        guard depth < 200 else { throw fail("too deep") }
        space()
        guard at < bytes.count else { throw fail("unexpected end") }
        switch bytes[at] {
        case 0x7b:
            at += 1
            var members: [String: JSON] = [:]
            space()
            if at < bytes.count, bytes[at] == 0x7d {
                at += 1
                return .object([:])
            }
            while true {
                space()
                let name = try string()
                space()
                guard at < bytes.count, bytes[at] == 0x3a else { throw fail("expected ':'") }
                at += 1
                guard members[name] == nil else { throw fail("duplicate field \"\(name)\"") }
                members[name] = try value(depth + 1)
                space()
                guard at < bytes.count, bytes[at] == 0x2c || bytes[at] == 0x7d else { throw fail("expected ',' or '}'") }
                at += 1
                if bytes[at - 1] == 0x7d { return .object(members) }
            }
        case 0x5b:
            at += 1
            var elements: [JSON] = []
            space()
            if at < bytes.count, bytes[at] == 0x5d {
                at += 1
                return .array([])
            }
            while true {
                elements.append(try value(depth + 1))
                space()
                guard at < bytes.count, bytes[at] == 0x2c || bytes[at] == 0x5d else { throw fail("expected ',' or ']'") }
                at += 1
                if bytes[at - 1] == 0x5d { return .array(elements) }
            }
        case 0x22: return .string(try string())
        default:
            let start = at
            while at < bytes.count, ![0x2c, 0x5d, 0x7d, 0x20, 0x0a, 0x0d, 0x09].contains(bytes[at]) { at += 1 }
            let word = String(decoding: bytes[start..<at], as: UTF8.self)
            switch word {
            case "null": return .null
            case "true": return .bool(true)
            case "false": return .bool(false)
            default:
                if let number = Int64(word) { return .integer(number) }
                if let number = Double(word) { return .number(number) }
                throw fail("unexpected \(word)")
            }
        }
    }

    mutating func string() throws(JSONError) -> String {
        guard at < bytes.count, bytes[at] == 0x22 else { throw fail("expected a string") }
        at += 1
        var out: [UInt8] = []
        while at < bytes.count, bytes[at] != 0x22 {
            guard bytes[at] == 0x5c else {
                out.append(bytes[at])
                at += 1
                continue
            }
            at += 1
            guard at < bytes.count else { break }
            switch bytes[at] {
            case 0x6e: out.append(0x0a)
            case 0x74: out.append(0x09)
            case 0x72: out.append(0x0d)
            case 0x62: out.append(0x08)
            case 0x66: out.append(0x0c)
            case 0x75:
                guard at + 4 < bytes.count else { throw fail("bad escape") }
                var code = UInt32(String(decoding: bytes[at + 1...at + 4], as: UTF8.self), radix: 16) ?? 0xfffd
                at += 4
                if (0xd800..<0xdc00).contains(code), at + 6 < bytes.count,
                    let low = UInt32(String(decoding: bytes[at + 3...at + 6], as: UTF8.self), radix: 16), low >= 0xdc00
                {
                    code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
                    at += 6
                }
                out += String(Unicode.Scalar(code) ?? "\u{fffd}").utf8
            default: out.append(bytes[at])
            }
            at += 1
        }
        guard at < bytes.count else { throw fail("unterminated string") }
        at += 1
        return String(decoding: out, as: UTF8.self)
    }
}
