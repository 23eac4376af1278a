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
    var bytes: [UInt8] = []
    private let indentation: Int?
    private var level = 0
    /// The texts of parts that come again, where many objects are written.
    private var repeats: JSONRepeats?
    /// The members of the objects that are being written, innermost last.
    private var members: [Member] = []
    /// The text of an object's members in their order, before it is put in the place of the other.
    private var ordered: [UInt8] = []

    init(indentation: Int?) { self.indentation = indentation }

    /// A writer of objects inside of a list that somebody else writes.
    init(inside repeats: JSONRepeats) {
        indentation = nil
        level = 1
        self.repeats = repeats
    }

    /// An object as it would be with `object[outer][name] = value`, or `object[name] = value`.
    mutating func object(_ object: [String: JSON], setting name: String, of outer: String?, to value: JSON) {
        self.object(object, Change(outer: outer, name: name, value: value))
    }

    /// A member that is written in the place of what an object has.
    private struct Change {
        /// The member in which it is; nil in that itself.
        var outer: String?
        var name: String
        var value: JSON
    }

    mutating func value(_ value: JSON) {
        guard repeats != nil, let place = JSONRepeats.place(of: value) else { return plain(value) }
        switch repeats?.take(place, value, into: &bytes) {
        case .written, nil: break
        case .first: plain(value)
        case .again:
            let start = bytes.count
            plain(value)
            repeats?.keep(place, value, bytes[start...])
        }
    }

    private mutating func plain(_ value: JSON) {
        switch value {
        case .null: bytes += "null".utf8
        case .bool(let flag): bytes += (flag ? "true" : "false").utf8
        case .integer(let number): bytes += String(number).utf8
        // JSON has no infinity and no NaN; JavaScript's writer puts null for them too.
        case .number(let number): bytes += (number.isFinite ? "\(number)" : "null").utf8
        case .string(let text): string(text)
        case .array(let elements):
            list("[", "]", elements) { writer, element in writer.value(element) }
        case .object(let members): object(members, nil)
        }
    }

    /// So many members are put into order by insertion.
    private static let insertedMax = 16

    /// A member of the object that is being written: where its text is, and how long its name.
    private struct Member {
        var start: Int
        var end: Int
        var nameCount: Int
    }

    /// Writes the members as they come and puts their texts into order: names and values are read once, and nothing is allocated for them.
    private mutating func object(_ object: [String: JSON], _ change: Change?) {
        // The outermost may be a list of many megabytes, which are not written twice.
        guard indentation == nil,
            object.count > 1 || change != nil && !object.isEmpty || change.map({ $0.outer == nil }) == true,
            level > 0
        else {
            return list("{", "}", object.sorted { $0.key < $1.key }) { writer, member in
                writer.string(member.key)
                writer.bytes.append(UInt8(ascii: ":"))
                if writer.indentation != nil { writer.bytes.append(UInt8(ascii: " ")) }
                writer.value(member.value)
            }
        }
        bytes.append(UInt8(ascii: "{"))
        level += 1
        let first = members.count
        for (name, value) in object {
            if let change {
                if change.outer == nil, name == change.name { continue }
                if name == change.outer, case .object(let inner) = value {
                    member(name) { $0.object(inner, Change(outer: nil, name: change.name, value: change.value)) }
                    continue
                }
            }
            member(name) { $0.value(value) }
        }
        if let change, change.outer == nil { member(change.name) { $0.value(change.value) } }
        level -= 1
        order(from: first)
        members.removeLast(members.count - first)
        // The comma behind the last one.
        bytes[bytes.count - 1] = UInt8(ascii: "}")
    }

    private mutating func member(_ name: String, _ write: (inout JSONWriter) -> Void) {
        let start = bytes.count
        string(name)
        let nameCount = bytes.count - start - 2
        bytes.append(UInt8(ascii: ":"))
        write(&self)
        bytes.append(UInt8(ascii: ","))
        members.append(Member(start: start, end: bytes.count, nameCount: nameCount))
    }

    /// Puts the texts of the members from `first` on into the order of their names: of the names' bytes, which is that of their scalars.
    private mutating func order(from first: Int) {
        let start = members[first].start
        let isSorted = bytes.withUnsafeBufferPointer { text in
            guard members.count - first <= Self.insertedMax else {
                members[first...].sort { Self.isBefore($0, $1, text) }
                return false
            }
            var isSorted = true
            for index in (first + 1)..<members.count {
                let member = members[index]
                var place = index
                while place > first, Self.isBefore(member, members[place - 1], text) {
                    members[place] = members[place - 1]
                    place -= 1
                }
                guard place != index else { continue }
                members[place] = member
                isSorted = false
            }
            return isSorted
        }
        guard !isSorted else { return }
        ordered.removeAll(keepingCapacity: true)
        for member in members[first...] { ordered += bytes[member.start..<member.end] }
        bytes.replaceSubrange(start..., with: ordered)
    }

    private static func isBefore(_ left: Member, _ right: Member, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let count = min(left.nameCount, right.nameCount)
        for index in 0..<count {
            let (one, other) = (text[left.start + 1 + index], text[right.start + 1 + index])
            if one != other { return one < other }
        }
        return left.nameCount < right.nameCount
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
        var text = text
        text.withUTF8 { content in
            var done = 0
            var index = Self.plainPrefix(UnsafeRawBufferPointer(content))
            while index < content.count {
                if Self.mustBeEscaped(content[index]) {
                    bytes.append(contentsOf: content[done..<index])
                    escape(content[index])
                    done = index + 1
                }
                index += 1
            }
            bytes.append(contentsOf: content[done...])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// So many bytes at the start need no escape, counted in sixteens.
    private static func plainPrefix(_ text: UnsafeRawBufferPointer) -> Int {
        var index = 0
        while index + 16 <= text.count {
            let piece = text.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
            let escaped =
                (piece .< 0x20) .| (piece .== UInt8(ascii: "\"")) .| (piece .== UInt8(ascii: "\\")) .| (piece .== 0x7F)
            if any(escaped) { return index }
            index += 16
        }
        return index
    }

    private static func mustBeEscaped(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): bytes += "\\\"".utf8
        case UInt8(ascii: "\\"): bytes += "\\\\".utf8
        case 0x0A: bytes += "\\n".utf8
        case 0x0D: bytes += "\\r".utf8
        case 0x09: bytes += "\\t".utf8
        case 0..<0x10: bytes += "\\u000\(String(byte, radix: 16))".utf8
        default: bytes += "\\u00\(String(byte, radix: 16))".utf8
        }
    }
}
