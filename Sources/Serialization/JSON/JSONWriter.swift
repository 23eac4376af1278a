extension JSON {
    /// The value as compact JSON; members are sorted by name, so equal values have equal texts.
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The bytes of `text`.
    public var bytes: [UInt8] {
        var writer = JSONWriter(indentation: nil)
        writer.value(self)
        return writer.bytes
    }

    /// The value as JSON for people: two spaces for each level, a line for each member and element.
    public var pretty: String {
        var writer = JSONWriter(indentation: 2)
        writer.value(self)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// A text as a JSON string, with its quotes.
    public static func quoted(_ text: String) -> String {
        var writer = JSONWriter(indentation: nil)
        writer.string(text)
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    private let indentation: Int?
    private var level = 0

    init(indentation: Int?) { self.indentation = indentation }

    mutating func value(_ value: JSON) {
        switch value {
        case .null: bytes += "null".utf8
        case .bool(let flag): bytes += (flag ? "true" : "false").utf8
        case .integer(let number): bytes += String(number).utf8
        // JSON has no infinity and no NaN; JavaScript's writer puts null for them too.
        case .number(let number): bytes += (number.isFinite ? "\(number)" : "null").utf8
        case .string(let text): string(text)
        case .array(let elements):
            list("[", "]", elements) { writer, element in writer.value(element) }
        case .object(let members):
            list("{", "}", members.sorted { $0.key < $1.key }) { writer, member in
                writer.string(member.key)
                writer.bytes.append(UInt8(ascii: ":"))
                if writer.indentation != nil { writer.bytes.append(UInt8(ascii: " ")) }
                writer.value(member.value)
            }
        }
    }

    private mutating func list<Element>(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ elements: [Element],
        _ write: (inout JSONWriter, Element) -> Void
    ) {
        bytes.append(UInt8(ascii: open))
        level += 1
        var isFirst = true
        for element in elements {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            newLine()
            write(&self, element)
        }
        level -= 1
        if !isFirst { newLine() }
        bytes.append(UInt8(ascii: close))
    }

    private mutating func newLine() {
        guard let indentation else { return }
        bytes.append(0x0A)
        bytes += repeatElement(0x20, count: level * indentation)
    }

    mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): bytes += "\\\"".utf8
            case UInt8(ascii: "\\"): bytes += "\\\\".utf8
            case 0x0A: bytes += "\\n".utf8
            case 0x0D: bytes += "\\r".utf8
            case 0x09: bytes += "\\t".utf8
            case 0..<0x10: bytes += "\\u000\(String(byte, radix: 16))".utf8
            case 0x10..<0x20, 0x7F: bytes += "\\u00\(String(byte, radix: 16))".utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
