/// Why some text is no JSON.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The line, counted from 1.
    public var line: Int
    /// The byte in that line, counted from 1.
    public var column: Int
    /// What is wrong.
    public var problem: String

    /// Line, column and problem.
    public var description: String { "line \(line), column \(column): \(problem)" }
}

extension JSON {
    /// Values nested deeper than this are refused, so that recursion has a bound.
    public static let depthMax = 100

    /// The value that these bytes stand for: RFC 8259, strictly.
    ///
    /// Also refused: two members of one name in one object, a number that is too large for a `Double`, half a
    /// surrogate pair, and more than `depthMax` levels.
    public static func parse(_ bytes: [UInt8]) throws(JSONError) -> JSON {
        var parser = JSONParser(bytes: bytes)
        return try parser.document()
    }

    /// The same, but of two members of one name the later counts, and where they are stands in `duplicates`:
    /// `spec.ports[0].name`, each once, the first `duplicatesMax` of them.
    public static func parse(_ bytes: [UInt8], duplicates: inout [String]) throws(JSONError) -> JSON {
        var parser = JSONParser(bytes: bytes, takesDuplicates: true)
        let value = try parser.document()
        duplicates = parser.duplicates
        return value
    }

    /// Places of duplicates that are told.
    public static let duplicatesMax = 64

    /// The value that this text stands for: RFC 8259, strictly.
    public static func parse(_ text: String) throws(JSONError) -> JSON { try parse(Array(text.utf8)) }
}

struct JSONParser {
    private let bytes: [UInt8]
    private var index = 0
    private let takesDuplicates: Bool
    /// Where we are, as far as duplicates are to be told.
    private var path: [Step] = []
    private(set) var duplicates: [String] = []

    private enum Step {
        case member(String)
        case element(Int)
    }

    init(bytes: [UInt8], takesDuplicates: Bool = false) {
        self.bytes = bytes
        self.takesDuplicates = takesDuplicates
    }

    private mutating func noteDuplicate() {
        guard duplicates.count < JSON.duplicatesMax else { return }
        var text = ""
        for step in path {
            switch step {
            case .member(let name): text += (text.isEmpty ? "" : ".") + name
            case .element(let number): text += "[\(number)]"
            }
        }
        if !duplicates.contains(text) { duplicates.append(text) }
    }

    mutating func document() throws(JSONError) -> JSON {
        skipSpace()
        let value = try value(depth: 0)
        skipSpace()
        guard index == bytes.count else { throw error("something follows the value") }
        return value
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSON {
        guard index < bytes.count else { throw error("the text ends where a value is expected") }
        switch bytes[index] {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("a value is expected")
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSON {
        guard depth <= JSON.depthMax else { throw error("nested deeper than \(JSON.depthMax) levels") }
        index += 1
        var members: [String: JSON] = [:]
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw error("the name of a member is expected") }
            let start = index
            let name = try string()
            if takesDuplicates { path.append(.member(name)) }
            if members[name] != nil {
                guard takesDuplicates else {
                    index = start
                    throw error("the member \"\(name)\" is there twice")
                }
                noteDuplicate()
            }
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw error("':' is expected") }
            skipSpace()
            members[name] = try value(depth: depth)
            if takesDuplicates { path.removeLast() }
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "}")) else { throw error("',' or '}' is expected") }
            return .object(members)
        }
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSON {
        guard depth <= JSON.depthMax else { throw error("nested deeper than \(JSON.depthMax) levels") }
        index += 1
        var elements: [JSON] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            skipSpace()
            if takesDuplicates { path.append(.element(elements.count)) }
            elements.append(try value(depth: depth))
            if takesDuplicates { path.removeLast() }
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "]")) else { throw error("',' or ']' is expected") }
            return .array(elements)
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        let end = index + word.utf8CodeUnitCount
        guard end <= bytes.count, bytes[index..<end].elementsEqual(word.description.utf8) else {
            throw error("a value is expected")
        }
        index = end
        return value
    }

    private mutating func number() throws(JSONError) -> JSON {
        let start = index
        let isNegative = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) {
            guard digits() > 0 else { throw error("a digit is expected") }
        }
        var isWhole = true
        if take(UInt8(ascii: ".")) {
            isWhole = false
            guard digits() > 0 else { throw error("a digit is expected") }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isWhole = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard digits() > 0 else { throw error("a digit is expected") }
        }
        if isWhole, index - start <= 18 {  // Cannot overflow, and most numbers are such.
            var value: Int64 = 0
            for byte in bytes[(isNegative ? start + 1 : start)..<index] {
                value = value * 10 + Int64(byte - UInt8(ascii: "0"))
            }
            return .integer(isNegative ? -value : value)
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isWhole, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else {
            index = start
            throw error("the number \(text.prefix(40)) is too large")
        }
        return .number(value)
    }

    private mutating func digits() -> Int {
        let start = index
        while let byte = peek, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { index += 1 }
        return index - start
    }

    private mutating func string() throws(JSONError) -> String {
        index += 1
        let start = index
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""):
                let text = try text(bytes[start..<index])
                index += 1
                return text
            case UInt8(ascii: "\\"): return try escapedString(from: start)
            case 0..<0x20: throw error("a control character in a string must be escaped")
            default: index += 1
            }
        }
        throw error("the text ends inside a string")
    }

    /// The slow path: the string has at least one escape, at which we stand.
    private mutating func escapedString(from start: Int) throws(JSONError) -> String {
        var result = Array(bytes[start..<index])
        while index < bytes.count {
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "\""):
                let text = try text(result[...])
                index += 1
                return text
            case UInt8(ascii: "\\"): try escape(into: &result)
            case 0..<0x20: throw error("a control character in a string must be escaped")
            default:
                result.append(byte)
                index += 1
            }
        }
        throw error("the text ends inside a string")
    }

    private mutating func escape(into result: inout [UInt8]) throws(JSONError) {
        guard index + 1 < bytes.count else { throw error("the text ends inside a string") }
        let code = bytes[index + 1]
        switch code {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(code)
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0C)
        case UInt8(ascii: "n"): result.append(0x0A)
        case UInt8(ascii: "r"): result.append(0x0D)
        case UInt8(ascii: "t"): result.append(0x09)
        case UInt8(ascii: "u"): return try unicodeEscape(into: &result)
        default: throw error("an unknown escape")
        }
        index += 2
    }

    private mutating func unicodeEscape(into result: inout [UInt8]) throws(JSONError) {
        var value = try hexadecimal(at: index + 2)
        var length = 6
        if value >> 10 == 0b110110 {  // The first half of a pair (RFC 8259 §7).
            guard index + 7 < bytes.count, bytes[index + 6] == UInt8(ascii: "\\"),
                bytes[index + 7] == UInt8(ascii: "u")
            else { throw error("half a surrogate pair") }
            let low = try hexadecimal(at: index + 8)
            guard low >> 10 == 0b110111 else { throw error("half a surrogate pair") }
            value = 0x10000 + (value & 0x3FF) << 10 + (low & 0x3FF)
            length = 12
        }
        guard let scalar = Unicode.Scalar(value) else { throw error("half a surrogate pair") }
        result += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
        index += length
    }

    private func hexadecimal(at start: Int) throws(JSONError) -> UInt32 {
        guard start + 4 <= bytes.count else { throw error("four hexadecimal digits are expected") }
        var value: UInt32 = 0
        for byte in bytes[start..<(start + 4)] {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt32(byte - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | UInt32(byte - UInt8(ascii: "A") + 10)
            default: throw error("four hexadecimal digits are expected")
            }
        }
        return value
    }

    private func text(_ slice: ArraySlice<UInt8>) throws(JSONError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else { throw error("a string that is not UTF-8") }
        return text
    }

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private func error(_ problem: String) -> JSONError {
        var line = 1
        var column = 1
        for byte in bytes[..<min(index, bytes.count)] {
            column += 1
            if byte == 0x0A {
                line += 1
                column = 1
            }
        }
        return JSONError(line: line, column: column, problem: problem)
    }
}
